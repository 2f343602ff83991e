"""Figures of many runs against what was varied: a line a policy, the mean over seeds with its interval.

The interval is the t interval of 95 % over seeds. The knee of a rising line is where it lies the furthest below the
straight line between its ends, both scaled to 1 (V. Satopaa et al., "Finding a 'kneedle' in a haystack", 2011); it is
marked where that is at least 0.2 and the line doubles at least. Points at which a run was saturated are hollow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from analysis.plots.style import MARKERS, TEXT, colour, log_if_wide, settings, sheet, si, si_axis
from analysis.stats import mean_interval

_DASH = (0, (4, 2))
_KNEE = 0.2  # distance below the chord
_RISE = 2.0
_TICKS = 0.1  # least distance of two labels on the x axis, of its length
_KNEELESS = ("blocking", "rate")  # kinds of panels
_WIDE = 20.0  # an x axis that spans more is logarithmic
_SATURATED, _MARKED = "saturated: no steady state", "knee"
LINE = "line"  # the column that names a row's line


class Panel(NamedTuple):
    """One panel: its title, (column, label) of each figure, and the unit. ``kind``: how its axis is dressed."""

    title: str
    figures: Sequence[tuple[str, str]]
    unit: str = ""
    factor: float = 1.0  # from the column's unit
    kind: str = "latency"  # latency, queue, share, use; without knees blocking (a share), rate

    def first(self, frame: pd.DataFrame) -> Panel:
        """The same with the first figure alone that has values."""
        there = (one for one in self.figures if one[0] in frame and frame[one[0]].notna().any())
        figure = next(there, self.figures[0])
        return self._replace(title=f"{self.title}: {figure[1]}" if figure[1] else self.title, figures=(figure,))


SLOWDOWN = Panel("Slowdown", (("flows.slowdown.p99", "p99"), ("flows.slowdown.p50", "p50")))
QUEUE = Panel("Queue at switches: p99 of the longest", (("congestion.queue_p99_bytes", ""),), "B", kind="queue")
MARKS = Panel(
    "Packets marked and dropped",
    (("congestion.marked_share", "marked"), ("congestion.dropped_share", "dropped")),
    kind="share",
)
USE = Panel(
    "Use of links between switches", (("congestion.use_max", "max"), ("congestion.use_mean", "mean")), kind="use"
)


class Against(NamedTuple):
    """The x axis: a column, what is written below it, and its unit."""

    column: str
    label: str
    unit: str = ""
    factor: float = 1.0


def draw(frame: pd.DataFrame, x: Against, panels: Sequence[Panel], title: str, *, joined: bool = True) -> Figure:
    """One line for each value of the column ``line``, over x.

    ``joined`` False, as for a sample, and where x is words: points alone, and of each panel only the first figure.
    """
    places, words = positions(frame[x.column])
    joined = joined and not words
    if not joined:
        panels = [panel.first(frame) for panel in panels]
    names = list(dict.fromkeys(frame[LINE]))
    full = bool((frame["status"] == "saturated").any())
    kneed: list[bool] = []
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    marks = [_SATURATED] * full + [_MARKED] * (joined and any(panel.kind not in _KNEELESS for panel in panels))
    size = (5.2, 3.2) if columns == 1 else (3.7, 2.4)
    drawn = sheet(rows, columns, size, title, [*names, *marks], left=0.8, headed=True, gap=(0.75, 0.8))
    for place, panel in enumerate(panels):
        ax = drawn.axes[place // columns, place % columns]
        heights: list[NDArray[Any]] = []
        for index, name in enumerate(names):
            part = frame[frame[LINE] == name]
            for order, (column, _) in enumerate(panel.figures):
                curve = Curve(part, places[frame[LINE] == name], column)
                knee = curve.draw(ax, index, "-" if order == 0 else _DASH, joined, panel.kind not in _KNEELESS)
                kneed.append(knee and order == 0)
                heights.append(curve.heights())
        _dress(ax, panel, np.concatenate(heights))
        _dress_x(ax, x, places, words)
    for place in range(len(panels), rows * columns):
        drawn.axes[place // columns, place % columns].set_visible(False)
    handles: list[Any] = [
        Line2D([], [], color=colour(i), marker=MARKERS[i % 8], ms=5, ls="-" if joined else "", label=name)
        for i, name in enumerate(names)
    ]
    if full:
        handles.append(Line2D([], [], color=TEXT, ls="", marker="o", mfc="white", ms=8, label=_SATURATED))
    if any(kneed):
        handles.append(Line2D([], [], color=TEXT, ls="", marker="D", mfc="none", ms=10, label=_MARKED))
    drawn.legend(handles)
    return drawn.figure


class Curve:
    """One figure of one line: means over the seeds at each x."""

    def __init__(self, part: pd.DataFrame, places: NDArray[Any], column: str) -> None:
        values = part[column].to_numpy(dtype=float) if column in part else np.full(len(part), np.nan)
        full = (part["status"] == "saturated").to_numpy()
        self.x = np.unique(places[np.isfinite(values)])
        samples = [values[(places == place) & np.isfinite(values)] for place in self.x]
        self.intervals = [mean_interval(several) for several in samples]
        self.mean = np.array([interval.value for interval in self.intervals])
        self.full = np.array([bool(full[places == place].any()) for place in self.x], dtype=bool)

    def draw(self, ax: Any, index: int, style: Any, joined: bool, knees: bool) -> bool:
        """Whether a knee was marked."""
        how = {"color": colour(index), "marker": MARKERS[index % 8], "ms": 4}
        ax.plot(self.x, self.mean, ls=style if joined else "", **how)
        for place, interval in zip(self.x, self.intervals, strict=True):
            if interval.n > 1:
                ax.vlines(place, interval.low, interval.high, color=colour(index), lw=1)
        ax.plot(
            self.x[self.full], self.mean[self.full], ls="", marker="o", ms=8, mfc="white", mec=colour(index), mew=1.5
        )
        at = knee(self.x, self.mean) if joined and knees and style == "-" else None
        if at is not None:
            ax.plot(self.x[at], self.mean[at], ls="", marker="D", ms=10, mfc="none", mec=colour(index), mew=1.2)
        return at is not None

    def heights(self) -> NDArray[Any]:
        """What the y axis must show: means, and intervals where three seeds or more make them of use."""
        ends = [end for one in self.intervals if one.n > 2 for end in (one.low, one.high)]
        return np.concatenate([self.mean, ends])


def knee(x: NDArray[Any], y: NDArray[Any]) -> int | None:
    """Index of the knee of a rising, bent curve; None where there is none."""
    if len(x) < 4 or not y[-1] >= _RISE * y[0] or y[-1] <= 0:
        return None
    across, up = (x - x[0]) / (x[-1] - x[0]), (y - y[0]) / (y[-1] - y[0])
    below = across - up
    best = int(np.argmax(below))
    return best if below[best] >= _KNEE else None


def positions(values: pd.Series[Any]) -> tuple[NDArray[Any], list[str]]:
    """Where each row stands on the x axis, and the words below it where they are no numbers."""
    if values.dtype.kind in "iuf":
        return values.to_numpy(dtype=float), []
    words = list(dict.fromkeys(values))
    return values.map(words.index).to_numpy(dtype=float), [str(word) for word in words]


def _dress_x(ax: Any, x: Against, places: NDArray[Any], words: Sequence[str]) -> None:
    ax.set_xlabel(x.label)
    if words:
        ax.set_xticks(range(len(words)), words, rotation=20 if sum(map(len, words)) > 36 else 0)
        return
    if len(set(places)) > 2 and places.min() > 0 and places.max() / places.min() > _WIDE:
        ax.set_xscale("log")
    _numbers(ax.xaxis, x.unit, x.factor)
    if len(set(places)) <= (8 if ax.get_xscale() == "log" else 5):
        ax.set_xticks(_apart(sorted(set(places)), log=ax.get_xscale() == "log"))
    elif ax.get_xscale() != "log":
        ax.xaxis.set_major_locator(MaxNLocator(5))  # labels carry a unit: more of them would touch


def _apart(places: Sequence[float], *, log: bool) -> list[float]:
    """Those that stand far enough from each other to be labelled, from the last one backwards."""
    across = np.log(places) if log else np.asarray(places)
    least = _TICKS * (across[-1] - across[0])
    kept = [len(places) - 1]
    for place in range(len(places) - 2, -1, -1):
        if across[kept[-1]] - across[place] >= least:
            kept.append(place)
    return [places[place] for place in reversed(kept)]


def _dress(ax: Any, panel: Panel, heights: NDArray[Any]) -> None:
    found = heights[np.isfinite(heights)]
    top, low = (float(found.max()), float(found.min())) if len(found) else (1.0, 0.0)
    if panel.kind in ("latency", "queue"):
        log_if_wide(ax.yaxis, found)
    if ax.get_yscale() == "log":
        positive = found[found > 0]
        ax.set_ylim(positive.min() / 1.3, top * 1.3)
    elif panel.kind == "use":
        ax.set_ylim(0, 1.05)
    elif panel.kind == "blocking":  # an interval may reach below 0, a share can't
        ax.set_ylim(0, max(top * 1.08, 1e-4))
    else:
        ax.set_ylim(min(0, low * 1.08), max(top * 1.08, 1e-4))
    if panel.kind in ("share", "use", "blocking"):
        ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.3g}%"))
    else:
        _numbers(ax.yaxis, panel.unit, panel.factor)
    ax.set_title(panel.title, fontsize=9, loc="left")
    if len(panel.figures) > 1:
        styles = ["-", _DASH]
        handles = [
            Line2D([], [], color=TEXT, ls=style, lw=1.2, label=label)
            for (_, label), style in zip(panel.figures, styles, strict=True)
        ]
        with settings():  # beside the title, where it hides no line
            place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2, "borderpad": 0.1}
            ax.legend(handles=handles, ncols=2, fontsize=8, columnspacing=1, **place)


def _numbers(axis: Any, unit: str, factor: float) -> None:
    """SI prefixes where there is a unit; of a plain number 0.1 reads better than 100 m."""
    si_axis(axis, unit, factor)
    if not unit:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * factor:.4g}"))


def shown(number: float, unit: str, factor: float = 1.0) -> str:
    """A value of an axis as text."""
    return si(number * factor, unit) if unit else f"{number * factor:.4g}"


def has_values(frame: pd.DataFrame, panel: Panel) -> bool:
    """Whether there is something to see: a number that is not 0."""
    columns = [column for column, _ in panel.figures if column in frame]
    return any(bool((frame[column].abs() > 0).any()) for column in columns)
