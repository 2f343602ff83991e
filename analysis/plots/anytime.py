"""How good a plan was after how many seconds: objective and bound of each solver, and the gap to the best bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from analysis.plots.style import TEXT, colour, log_if_wide, sheet, si_axis

_LOWEST = 0.8  # of the best objective: what lies below is cut off
_DASH = (0, (4, 2))


def curves(plans: Mapping[str, Mapping[str, Any]]) -> Figure:
    """``plans``: the content of plan.json files of one instance, by what the legend calls them."""
    bound = min(float(plan["bound"]) for plan in plans.values())
    drawn = sheet(1, 2, (4.2, 3.2), "How good, how fast", list(plans), left=0.8, headed=True, gap=(0.8, 0.7))
    value, gap = drawn.axes[0]
    seconds, gaps = [], []
    for index, plan in enumerate(plans.values()):
        time, objective, own = points(plan)
        how = {"color": colour(index), "drawstyle": "steps-post"}
        value.plot(time, objective, **how)
        value.plot(time, own, ls=_DASH, lw=1.1, **how)
        far = (bound - objective) / bound if bound > 0 else np.zeros(len(objective))
        gap.plot(time, far, **how)
        for ax, end in ((value, objective[-1]), (gap, far[-1])):
            ax.plot(time[-1:], [end], marker="o", ms=5, color=colour(index))
        seconds.append(time)
        gaps.append(far)
    times = np.concatenate(seconds)
    for ax in (value, gap):
        log_if_wide(ax.xaxis, times)
        si_axis(ax.xaxis, "s")
        ax.set_xlabel("time of the solver")
    _dress_value(value, list(plans.values()), bound)
    _dress_gap(gap, np.concatenate(gaps))
    drawn.legend([Line2D([], [], color=colour(i), label=name) for i, name in enumerate(plans)])
    return drawn.figure


def points(plan: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(seconds, objective, bound) of the steps in order, and of the end; both only ever get better."""
    steps = sorted((step["seconds"], step["objective"], step["bound"]) for step in plan["steps"])
    rows = [step for step in steps if step[1] > 0 and step[0] < plan["seconds"]]
    rows.append((plan["seconds"], plan["objective"], plan["bound"]))
    time, objective, bound = np.array([[np.nan if x is None else x for x in row] for row in rows], dtype=float).T
    return np.maximum(time, 1e-6), np.maximum.accumulate(objective), np.fmin.accumulate(bound)


def _dress_value(ax: Axes, plans: Sequence[Mapping[str, Any]], bound: float) -> None:
    best = max(float(plan["objective"]) for plan in plans)
    first = min(float(points(plan)[1][0]) for plan in plans)
    low, high = max(min(first, best), _LOWEST * best), max(bound, best)
    room = max(high - low, 0.02 * high, 1.0)
    ax.set_ylim(low - 0.08 * room, high + 0.12 * room)
    ax.set_title("Objective, and bound (dashed)", fontsize=9, loc="left")
    ax.set_ylabel("sum of admitted priorities")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.6g}"))


def _dress_gap(ax: Axes, gaps: NDArray[np.float64]) -> None:
    ax.set_title("Gap to the best bound", fontsize=9, loc="left")
    if len(gaps) and gaps.max() > 0:
        ax.set_ylim(-0.03 * min(gaps.max(), 1 - _LOWEST), 1.05 * min(gaps.max(), 1 - _LOWEST))
    else:
        ax.set_ylim(-0.001, 0.01)
        ax.annotate("0 from the first plan on", (0.5, 0.5), xycoords="axes fraction", ha="center", color=TEXT)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.3g}%"))
