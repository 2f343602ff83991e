"""What became of the demands of each class, how long they waited, and how much of the links was reserved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from analysis.admission.booked import booked
from analysis.load import Results
from analysis.plots.curves import LINE, Against, Panel, draw
from analysis.plots.loads import load_of, policy_names
from analysis.plots.style import TEXT, colour, line_style, settings, sheet, si_axis
from models.demand_figures import class_figures

_CLASSES = 4  # that have a panel of their own against load, the most important ones
_BARS = (
    ("blocking", "Blocked", 1.0),
    ("not_served", "Blocked, preempted or lost", 1.0),
    ("wait_mean_ms", "Mean time until the answer", 1e-3),
)


def outcome(runs: Mapping[str, Results]) -> Figure | None:
    """Bars for each class and run, and the links by their reserved share."""
    runs = {name: run for name, run in runs.items() if run.rows("demand_classes")}
    if not runs:
        return None
    tables = [run.frame("demand_classes").set_index("priority") for run in runs.values()]
    classes = sorted({priority for table in tables for priority in table.index}, reverse=True)
    names = list(runs)
    drawn = sheet(2, 2, (3.7, 2.4), "Demands", names if len(names) > 1 else [], left=0.8, headed=True, gap=(0.8, 0.8))
    for ax, (column, title, factor) in zip(drawn.axes.flat, _BARS, strict=False):
        heights = [[table[column].get(priority, np.nan) * factor for priority in classes] for table in tables]
        _bars(ax, heights, classes, title, share=column != "wait_mean_ms")
    _reserved(drawn.axes[1, 1], list(runs.values()))
    if len(names) > 1:
        drawn.legend([Patch(color=colour(index), label=name) for index, name in enumerate(names)])
    return drawn.figure


def _bars(ax: Axes, heights: Sequence[Sequence[float]], classes: Sequence[int], title: str, *, share: bool) -> None:
    width = 0.8 / len(heights)
    for index, values in enumerate(heights):
        places = np.arange(len(classes)) - 0.4 + (index + 0.5) * width
        ax.bar(places, np.nan_to_num(values), width=width * 0.92, color=colour(index))
    ax.set_title(title, fontsize=9, loc="left")
    ax.set_xticks(range(len(classes)), [str(priority) for priority in classes])
    ax.set_xlabel("priority (larger is more important)")
    ax.grid(axis="x", visible=False)
    found = np.nan_to_num(np.array(heights, dtype=float))
    ax.set_ylim(0, max(float(found.max()) * 1.08, 1e-4 if share else 1e-12))
    if share:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}%"))
    elif found.max() > 0:
        si_axis(ax.yaxis, "s")
    else:
        ax.set_yticks([0], ["0 s"])


def _reserved(ax: Axes, runs: Sequence[Results]) -> None:
    """Links from the fullest to the emptiest: the mean over the run, and the peak as a thin line."""
    for index, run in enumerate(runs):
        table = booked(run)
        table = table[table["demands"] > 0]
        mean = np.sort(table["mean_share"].to_numpy(dtype=float))[::-1]
        peak = np.sort((table["peak_mbps"] / table["capacity_mbps"]).to_numpy(dtype=float))[::-1]
        style: dict[str, Any] = line_style(index) | {"linestyle": "-"}
        ax.plot(np.arange(1, len(mean) + 1), mean, **style)
        ax.plot(np.arange(1, len(peak) + 1), peak, **(style | {"lw": 0.9, "linestyle": (0, (4, 2))}))
    ax.set_title("Reserved share", fontsize=9, loc="left")
    ax.set_xlabel("links between switches in use, the fullest first")
    ax.set_ylim(0, 1.05)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}%"))
    handles = [
        Line2D([], [], color=TEXT, ls=style, lw=width, label=label)
        for style, width, label in (("-", 1.6, "mean"), ((0, (4, 2)), 0.9, "peak"))
    ]
    with settings():
        ax.legend(handles=handles, ncols=2, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


def blocking_panels(columns: Sequence[str]) -> list[Panel]:
    """A panel of blocking for each class that ``columns`` (names of figures) tell of, four at most."""
    found = [column for column in columns if column.startswith("demand_classes.blocking.class_")]
    found.sort(key=lambda column: -int(column.rpartition("_")[2]))
    return [Panel(f"Blocked, priority {name.rpartition('_')[2]}", ((name, ""),), kind="blocking") for name in found][
        :_CLASSES
    ]


def against_load(runs: Sequence[Results]) -> Figure | None:
    """Blocking of each class against load, a line a policy. None unless runs of two loads are there."""
    import pandas as pd

    runs = [run for run in runs if run.manifest.get("loads") and run.rows("demand_classes")]
    if len({load_of(run) for run in runs}) < 2:
        return None
    rows = [
        {LINE: name, "load": load_of(run), "status": run.status, **class_figures(run.frame("demand_classes"))}
        for run, name in zip(runs, policy_names(runs), strict=True)
    ]
    frame = pd.DataFrame(rows)
    against = Against("load", "offered load (share of capacity)")
    return draw(frame, against, blocking_panels(list(frame.columns)), "Blocking against load")
