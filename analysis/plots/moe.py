"""Layers with experts: where their time goes, and the load, time and memory of every GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from analysis.load import Results
from analysis.plots.style import COLOURS, TEXT, elide, sheet, si, si_axis

# in the order in which a layer passes them; the rest are gates, counts, kernels of sending, other micro-batches
STAGES = ("planner", "dispatch", "wait for weights", "experts", "combine", "rest")
_COLOURS = (COLOURS[5], COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[4], "#BBBBBB")
_BARS = 40  # variants
_WRITTEN = 0.07  # a share that is larger is written into its bar

_VARIANTS = 6  # side by side
_MAP = 64  # more GPUs are drawn as a map
_ALARM = COLOURS[1]


def stages(layers: pd.DataFrame) -> NDArray[np.float64]:
    """Mean us of each of ``STAGES`` over finished rows of moe_steps; they add up to the mean of time_us.

    The recorded times are the longest of any GPU and overlap. From the layer's end backwards each gets what is left:
    so dispatch is only the part of it that the experts waited for, weights only what came after the last token.
    """
    time, dispatch, experts, combine, weights, planner = (
        layers[column].to_numpy(dtype=float)
        for column in ("time_us", "dispatch_us", "expert_us", "combine_us", "weights_us", "planner_us")
    )
    late = np.maximum(weights - dispatch, 0)
    found = dict.fromkeys(STAGES, np.zeros(len(time)))
    left = time
    given = (("combine", combine), ("experts", experts), ("planner", planner))
    for name, asked in (*given, ("wait for weights", late), ("dispatch", dispatch)):
        found[name] = np.minimum(asked, left)
        left = left - found[name]
    found["rest"] = left
    return np.array([found[name].mean() for name in STAGES])


def steps(runs: Mapping[str, Results]) -> Figure | None:
    """A stacked bar a variant, as long as the mean time of a layer; how much faster than the first."""
    tables = {name: run.frame("moe_steps").dropna(subset=["time_us"]) for name, run in runs.items()}
    tables = {name: table for name, table in tables.items() if len(table)}
    if not tables:
        return None
    shown = dict(list(tables.items())[:_BARS])
    values = np.array([stages(table) for table in shown.values()])
    total = values.sum(axis=1)
    used = [index for index in range(len(STAGES)) if values[:, index].max() > 0]
    counts = {len(table) for table in shown.values()}
    title = "Mean time of a layer with experts, by what it waits for"
    title += f" (first {_BARS} of {len(tables)} variants)" if len(tables) > _BARS else ""
    names = [elide(name, 24) + ("" if len(counts) == 1 else f"\n{len(t):,} layers") for name, t in shown.items()]
    left = 0.3 + 0.075 * max(len(line) for name in names for line in name.split("\n"))
    drawn = sheet(1, 1, (5.6, 0.36 * len(shown) + 0.1), title, [STAGES[i] for i in used], left=left)
    axes = drawn.axes[0, 0]
    place = np.arange(len(shown))
    start = np.zeros(len(shown))
    for index in used:
        axes.barh(place, values[:, index], left=start, height=0.72, color=_COLOURS[index], label=STAGES[index],
                  edgecolor="white", linewidth=0.6)  # fmt: skip
        for row in np.flatnonzero(values[:, index] > _WRITTEN * total.max()):
            share = f"{values[row, index] / total[row]:.0%}"
            axes.text(start[row] + values[row, index] / 2, row, share, ha="center", va="center", fontsize=8,
                      color="white" if STAGES[index] == "dispatch" else "black")  # fmt: skip
        start += values[:, index]
    for row, time in enumerate(total):
        axes.annotate(si(time * 1e-6, "s"), (time, row), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    axes.set_yticks(place, names)
    axes.set(ylim=(len(shown) - 0.5, -0.5), xlim=(0, total.max() * 1.12))
    axes.set_xlabel("time" + (f", mean of {next(iter(counts)):,} layers" if len(counts) == 1 and counts != {1} else ""))
    si_axis(axes.xaxis, "s", 1e-6)
    axes.grid(axis="y", visible=False)
    drawn.legend()
    return drawn.figure


def load(runs: Mapping[str, Results]) -> Figure | None:
    """Rows: tokens, busy time, peak memory of each GPU; columns: the variants. Beyond 64 GPUs as a map."""
    tables = {name: run.frame("gpus") for name, run in runs.items()}
    tables = {name: table for name, table in tables.items() if table["tokens"].sum() > 0}
    if not tables:
        return None
    shown = dict(list(tables.items())[:_VARIANTS])
    several = len(shown) > 1
    what = "token copies" if any(run.rows("moe_steps") for run in runs.values()) else "tokens"
    rows = [("tokens", "", 1.0, what), ("busy_us", "s", 1e-6, "busy time")]
    if any(table["peak_memory_bytes"].max() > 0 for table in shown.values()):
        rows.append(("peak_memory_bytes", "B", 1.0, "peak memory"))
    title = f"{what.capitalize()}, busy time" + (" and peak memory" if len(rows) == 3 else "") + " of each GPU"
    title += f" (first {_VARIANTS} of {len(tables)} variants)" if len(tables) > _VARIANTS else ""
    mapped = max(map(len, shown.values())) > _MAP
    alike = len({tuple(table["gpu"]) for table in shown.values()}) == 1
    full = any(table["out_of_memory"].any() for table in shown.values())
    handles: list[Any] = [] if mapped else [Line2D([], [], color=TEXT, ls=(0, (4, 2)), lw=1.2, label="mean")]
    if full:
        handles.append(_full_handle(mapped))
    cell = (2.1 if several else 5.0, 1.75 if mapped else 1.35)
    labels = [handle.get_label() for handle in handles]
    room: dict[str, Any] = {"right": 1.15, "sharey": False} if mapped else {"sharey": "row"}
    gap = (0.25 if alike else 0.5, 0.5)
    drawn = sheet(len(rows), len(shown), cell, title, labels, left=0.95, gap=gap, headed=True, **room)
    for row, (column, unit, factor, label) in enumerate(rows):
        top = max(float(table[column].max()) for table in shown.values()) * (1.0 if mapped else 1.12) or 1.0
        image = None
        for number, (name, table) in enumerate(shown.items()):
            ax, alarm = drawn.axes[row, number], column == "peak_memory_bytes"
            values, over = table[column].to_numpy(dtype=float), table["out_of_memory"].to_numpy(dtype=bool) & alarm
            head = f"{elide(name)}: " if several and row == 0 else ""
            ax.set_title(head + _finding(values, over, unit), fontsize=8.5)
            if mapped:
                image = _map(ax, values, over, top, table["gpu"].tolist())
                ax.tick_params(labelleft=number == 0 or not alike)
            else:
                _bars(ax, values, over)
                _number(ax, table["gpu"].tolist())
            if row == len(rows) - 1:
                ax.set_xlabel("GPU in the row" if mapped else "GPU", fontsize=8)
        first = drawn.axes[row, 0]
        if mapped:
            first.set_ylabel("first GPU of the row", fontsize=8)
            _scale(drawn.figure, drawn.axes[row, -1], image, label, unit, factor)
        else:
            first.set(ylim=(0, top), ylabel=label)
            si_axis(first.yaxis, unit, factor)
            first.yaxis.get_major_locator().set_params(nbins=5)
    if handles:
        drawn.legend(handles)
    return drawn.figure


def _finding(values: NDArray[np.float64], over: NDArray[np.bool_], unit: str) -> str:
    """What a panel shows in a number: of memory the most, of loads how uneven."""
    if unit == "B":
        return f"max {si(values.max(), 'B')}" + (f", {over.sum():,} out of memory" if over.any() else "")
    return f"max/mean {values.max() / values.mean():.2f}" if values.mean() > 0 else "idle"


def _bars(ax: Axes, values: NDArray[np.float64], over: NDArray[np.bool_]) -> None:
    place = np.arange(len(values))
    ax.bar(place, values, width=0.8, color=np.where(over, _ALARM, COLOURS[0]).tolist())
    ax.scatter(place[over], values[over], marker="x", s=14, lw=1.2, color="black", zorder=3)
    ax.axhline(values.mean(), color=TEXT, ls=(0, (4, 2)), lw=1.2)
    ax.set_xlim(-0.7, len(values) - 0.3)
    ax.grid(axis="x", visible=False)
    ax.tick_params(labelsize=8)


def _number(ax: Axes, gpus: list[int]) -> None:
    """At most nine labels, at round distances."""
    step = next(step for step in (1, 2, 4, 8, 16) if len(gpus) <= 9 * step)
    ax.set_xticks(range(0, len(gpus), step), [str(gpu) for gpu in gpus[::step]])


def _map(ax: Axes, values: NDArray[np.float64], over: NDArray[np.bool_], top: float, gpus: list[int]) -> AxesImage:
    """GPUs row by row, a power of two in a row, so that the 8 of a server lie side by side."""
    width = 2 ** int(np.ceil(np.log2(len(values)) / 2))
    height = -(-len(values) // width)
    grid = np.full(width * height, np.nan)
    grid[: len(values)] = values
    image = ax.imshow(grid.reshape(height, width), cmap="viridis", vmin=0, vmax=top, aspect="auto",
                      interpolation="nearest")  # fmt: skip
    marked = np.flatnonzero(over)
    ax.scatter(marked % width, marked // width, marker="X", s=22, lw=0.6, color="black", edgecolors="white")
    ax.grid(False)
    ax.set_facecolor("#EEEEEE")
    ax.tick_params(length=2, pad=2, labelsize=7)
    ax.set_xticks(range(0, width, max(1, width // 8)))
    lines = range(0, height, max(1, -(-height // 8)))
    ax.set_yticks(lines, [str(gpus[line * width]) for line in lines])
    return image


def _scale(figure: Figure, beside: Axes, image: Any, label: str, unit: str, factor: float) -> None:
    box, width = beside.get_position(), figure.get_size_inches()[0]
    bar = figure.colorbar(image, cax=figure.add_axes((box.x1 + 0.1 / width, box.y0, 0.12 / width, box.height)))
    bar.set_label(label, fontsize=8)
    si_axis(bar.ax.yaxis, unit, factor)
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    bar.ax.tick_params(labelsize=7)


def _full_handle(mapped: bool) -> Line2D | Patch:
    if mapped:
        return Line2D([], [], ls="", marker="X", ms=6, mfc="black", mec="white", label="out of memory")
    return Patch(color=_ALARM, label="out of memory (x)")
