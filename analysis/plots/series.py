"""Queues and use of the link groups over time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.load import Results
from analysis.plots.style import colour, line_style, sheet, si_axis

_POINTS = 300
_GROUPS = 4  # panels side by side for variants
_DASHED = 5  # up to so many lines are dashed as well, so that lines that lie on each other are seen


def over_time(runs: Mapping[str, Results]) -> Figure | None:
    """Above the longest queue at switches, below the mean use. One run: a line a group; variants: a panel a group."""
    tables = {name: table for name, table in sampled(runs).items() if len(table)}
    if not tables:
        return None
    groups = list(dict.fromkeys(group for table in tables.values() for group in table["group"]))
    # a NIC's own queue is only its backlog, and would hide those of the switches
    switch = [group for group in groups if not group.startswith("host->")] or groups
    title = "Queues and link use over time"
    if len(tables) == 1:
        panels, lines = [""], groups
    else:
        groups = switch
        panels, lines = groups[:_GROUPS], list(tables)
        title += f" (first {_GROUPS} of {len(groups)} groups)" if len(groups) > _GROUPS else ""
    cell = (5.6 if len(panels) == 1 else 2.4, 1.9)
    drawn = sheet(2, len(panels), cell, title, lines, left=0.85, gap=(0.18, 0.22),
                  headed=len(tables) > 1, sharex=True, sharey="row")  # fmt: skip
    axes = drawn.axes
    for column, panel in enumerate(panels):
        for index, line in enumerate(lines):
            table = next(iter(tables.values())) if panel == "" else tables[line]
            part = table[table["group"] == (line if panel == "" else panel)]
            time, queue, use = thin(part)
            how = line_style(index) if len(lines) <= _DASHED else {"color": colour(index)}
            if panel or line in switch:
                axes[0, column].plot(time, queue, lw=1.2, **how)
            axes[1, column].plot(time, use, label=line, lw=1.2, **how)
        axes[0, column].set_title(panel, fontsize=9)
        axes[1, column].set_xlabel("time")
        si_axis(axes[1, column].xaxis, "s", 1e-6)
        axes[1, column].xaxis.get_major_locator().set_params(nbins=5)
    for ax in axes[:, 0]:
        ax.set_ylim(bottom=0)
    si_axis(axes[0, 0].yaxis, "B")
    axes[0, 0].set_ylabel("longest queue")
    axes[1, 0].set(ylabel="mean use of the links", ylim=(0, 1.05))
    drawn.legend(axes[1, 0].get_legend_handles_labels()[0])
    return drawn.figure


def sampled(runs: Mapping[str, Results]) -> dict[str, pd.DataFrame]:
    """The samples of each run; nothing where no link of any run was ever in use."""
    tables = {name: run.frame("series") for name, run in runs.items()}
    used = any(table[["queue_max_bytes", "utilisation_mean"]].to_numpy().any() for table in tables.values())
    return tables if used else {}


def thin(part: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Time us, longest queue, mean use: at most 300 points, each the largest queue and the mean use of its span."""
    time, queue, use = (part[c].to_numpy(dtype=float) for c in ("time_us", "queue_max_bytes", "utilisation_mean"))
    if len(time) <= _POINTS:
        return time, queue, use
    start = np.unique(np.linspace(0, len(time), _POINTS, endpoint=False).astype(int))
    count = np.diff(np.append(start, len(time)))
    return time[start], np.maximum.reduceat(queue, start), np.add.reduceat(use, start) / count
