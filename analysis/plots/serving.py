"""Requests: how TTFT, TPOT and E2E are distributed, and the load of every replica over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from analysis.load import Results
from analysis.plots.flows import distribution
from analysis.plots.style import colour, elide, line_style, log_if_wide, sheet, si_axis

_TIMES = (
    ("ttft_ms", "time to first token (TTFT)"),
    ("tpot_ms", "time per output token (TPOT)"),
    ("e2e_ms", "time to the last token (E2E)"),
)
_VARIANTS = 4  # side by side
_LINES = 8  # more replicas are drawn as a band
_POINTS = 300
_LOADS = (("waiting", "waiting"), ("running", "running"), ("kv_share", "KV blocks in use"))
_BAND = 0.18  # opacity


def latency(runs: Mapping[str, Results]) -> Figure | None:
    """Three panels, a line a variant, of a single run a line a class: the share of injected requests within a time.

    Requests that never had it (rejected, lost, unfinished) keep a line below 1; those of one token have no TPOT, and
    are left out there.
    """
    groups = _groups(runs)
    if not groups:
        return None
    labels = [f"{name} ({len(frame):,})" for name, frame in groups.items()]
    title = "Requests: share of those injected"
    drawn = sheet(1, 3, (3.1, 2.6), title, labels, headed=True, gap=(0.3, 0.4), sharey=True)
    for ax, (column, head) in zip(drawn.axes[0], _TIMES, strict=True):
        found = []
        for index, frame in enumerate(groups.values()):
            asked = frame[frame["output_tokens"] > 1] if column == "tpot_ms" else frame
            values = asked[column].to_numpy(dtype=float)
            if np.isfinite(values).any():
                ax.step(*distribution(values), where="post", **line_style(index))
                found.append(values)
        if found:
            log_if_wide(ax.xaxis, np.concatenate(found))
        si_axis(ax.xaxis, "s", 1e-3)
        if ax.get_xscale() != "log":
            ax.xaxis.get_major_locator().set_params(nbins=5)
        ax.set_title(head, fontsize=9, loc="left")
        ax.tick_params(axis="x", labelsize=7.5)
    drawn.axes[0, 0].set(ylim=(0, 1.02))
    drawn.axes[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.3g}%"))
    drawn.legend([Line2D([], [], label=label, **line_style(index)) for index, label in enumerate(labels)])
    return drawn.figure


def _groups(runs: Mapping[str, Results]) -> dict[str, pd.DataFrame]:
    """Rows of requests by variant; of a single run by class."""
    columns = ["class", "output_tokens", *(column for column, _ in _TIMES)]
    frames = {name: run.frame("requests", columns) for name, run in runs.items() if run.rows("requests")}
    if len(frames) != 1:
        return frames
    (frame,) = frames.values()
    if frame["class"].nunique() < 2:
        return frames
    return {str(name): part for name, part in frame.groupby("class", sort=False)}


class _Panel(NamedTuple):
    """What one run has at each sample: s, [samples, replicas] by column."""

    time: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


def over_time(runs: Mapping[str, Results]) -> Figure | None:
    """Rows: waiting, running, KV blocks in use; columns: variants. A line a replica; of many the range and the mean."""
    panels = {name: panel for name, run in runs.items() if (panel := _panel(run)) is not None}
    if not panels:
        return None
    shown = dict(list(panels.items())[:_VARIANTS])
    most = max(panel.values["waiting"].shape[1] for panel in shown.values())
    few = most <= _LINES
    labels = [f"replica {replica}" for replica in range(most)] if few else ["mean", "least to most of the replicas"]
    title = "Load of the replicas over time"
    title += f" (first {_VARIANTS} of {len(panels)} variants)" if len(panels) > _VARIANTS else ""
    cell = (6.0 if len(shown) == 1 else 2.6, 1.5)
    drawn = sheet(len(_LOADS), len(shown), cell, title, labels, left=0.8, gap=(0.22, 0.22), headed=len(shown) > 1,
                  sharex="col", sharey="row")  # fmt: skip
    for place, (name, panel) in enumerate(shown.items()):
        for row, (column, label) in enumerate(_LOADS):
            ax = drawn.axes[row, place]
            _lines(ax, panel.time, panel.values[column], few)
            if place == 0:
                ax.set_ylabel(label)
        if len(shown) > 1:
            drawn.axes[0, place].set_title(elide(name, 28), fontsize=9)
        last = drawn.axes[-1, place]
        last.set_xlabel("time")
        si_axis(last.xaxis, "s")
        last.xaxis.get_major_locator().set_params(nbins=5)
    for ax in drawn.axes[:2, 0]:
        ax.set_ylim(0, max(1.05, ax.get_ylim()[1]))  # requests: a part of one says nothing
    drawn.axes[2, 0].set_ylim(0, 1.05)
    drawn.axes[2, 0].yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.3g}%"))
    drawn.legend(_handles(labels, few))
    return drawn.figure


def _panel(run: Results) -> _Panel | None:
    frame = run.frame("serving_series")
    if not len(frame):
        return None
    keys = ["workload", "replica"]
    tables = {name: frame.pivot_table(index="time_s", columns=keys, values=name) for name, _ in _LOADS}
    values = {name: table.to_numpy(dtype=float) for name, table in tables.items()}
    return _Panel(np.unique(frame["time_s"].to_numpy(dtype=float)), values)


def _lines(ax: Axes, time: NDArray[np.float64], values: NDArray[np.float64], few: bool) -> None:
    step = -(-len(time) // _POINTS)
    time, values = time[::step], values[::step]
    if few:
        for index, line in enumerate(values.T):
            how: dict[str, Any] = line_style(index) if values.shape[1] <= 4 else {"color": colour(index)}
            ax.plot(time, line, lw=1.1, **how)
        return
    ax.fill_between(time, np.nanmin(values, axis=1), np.nanmax(values, axis=1), color=colour(0), alpha=_BAND, lw=0)
    ax.plot(time, np.nanmean(values, axis=1), color=colour(0), lw=1.3)


def _handles(labels: list[str], few: bool) -> list[Line2D]:
    if few:
        styles = [line_style(i) if len(labels) <= 4 else {"color": colour(i)} for i in range(len(labels))]
        return [Line2D([], [], label=label, **style) for label, style in zip(labels, styles, strict=True)]
    return [
        Line2D([], [], color=colour(0), label=labels[0]),
        Line2D([], [], color=colour(0), lw=6, alpha=_BAND, label=labels[1]),
    ]
