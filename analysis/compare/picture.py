"""The picture of a comparison: relative differences with their intervals, seed by seed, or over the swept range."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis.compare.findings import Findings
from analysis.compare.metrics import Metric
from analysis.compare.sentence import ratio_to
from analysis.compare.verdicts import figures
from analysis.compare.words import listed
from analysis.plots.style import MARKERS, TEXT, colour, elide, sheet
from analysis.stats import Interval

_FADED = 0.45  # of differences that can't be told from 0
_FEW = 7  # labels below an axis
_MISSING = "no figure to compare"


def differences(found: Findings) -> Figure | None:
    """A panel a metric. None where no ratio exists."""
    if not any(verdict.difference and verdict.difference.ratio for verdict in found.verdicts):
        return None
    return _range(found) if len(found.study.points) > 1 else _forest(found)


def _forest(found: Findings) -> Figure:
    """A row an arm, against the best: dots are seeds, the bar is the interval."""
    metrics, arms = found.study.metrics, found.study.arms
    title = f"{found.study.name}: difference to the best, {100 * found.study.rule.confidence:g} % intervals"
    drawn = sheet(len(metrics), 1, (5.4, 0.34 * len(arms) + 0.25), title, left=1.25, gap=(0, 0.85), headed=True)
    for axes, metric in zip(drawn.axes[:, 0], metrics, strict=True):
        ranked = found.ranked(0, metric)
        best = ranked[0]
        for row, arm in enumerate(ranked):
            if arm == best:
                axes.plot(0, row, "o", ms=5, color=colour(arms.index(arm)))
                continue
            verdict = found.verdict(best, arm, 0, metric)
            ratio = ratio_to(verdict, best)
            if ratio is None:
                axes.annotate(
                    verdict.kind, (0, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8
                )
                continue
            cut = found.cuts[0, metric]
            mine, base = (figures(metric, found.arm(name, 0), cut) for name in (arm, best))
            shade = colour(arms.index(arm))
            axes.plot(mine / base - 1, np.full(len(mine), row + 0.22), "o", ms=3.5, color=shade, alpha=0.5, mew=0)
            _bar(axes, ratio, row, shade, verdict.winner is not None)
        axes.axvline(0, color=TEXT, lw=1)
        axes.set_yticks(range(len(ranked)), [elide(arm) for arm in ranked])
        axes.set_ylim(len(ranked) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        _per_cent(axes.xaxis)
        axes.set_title(_titled(metric), fontsize=9, loc="left")
    drawn.axes[-1, 0].set_xlabel(f"relative difference (dots: {found.seeds[0]} seeds)")
    return drawn.figure


def _bar(axes: Any, ratio: Interval, row: float, shade: str, decided: bool) -> None:
    low, high = ratio.low, _cut(ratio)
    alpha = 1.0 if decided else _FADED
    axes.plot([low, high], [row - 0.08] * 2, color=shade, lw=2.5, alpha=alpha, solid_capstyle="butt")
    axes.plot(ratio.value, row - 0.08, "|", ms=11, mew=1.8, color=shade, alpha=alpha)


def _cut(ratio: Interval) -> float:
    """The upper end, at most 100 % or twice the value: one that is far away, or nowhere, would hide all else."""
    return min(ratio.high, max(1.0, 2 * ratio.value))


def _range(found: Findings) -> Figure:
    """A line an arm, against the first one; hollow where it can't be told from it, a cross where there is no figure."""
    study = found.study
    base = study.arms[0]
    title = f"{study.name}: difference to {base}, {100 * study.rule.confidence:g} % intervals"
    labels = [*study.arms[1:], "cannot be told apart", _MISSING]
    drawn = sheet(len(study.metrics), 1, (5.6, 2.3), title, labels, left=0.95, gap=(0, 0.75), headed=True)
    numbers = [point.at for point in study.points]
    numeric = all(number is not None for number in numbers)
    places = np.array(numbers if numeric else range(len(numbers)), dtype=float)
    order = np.argsort(places)
    absent = False
    for axes, metric in zip(drawn.axes[:, 0], study.metrics, strict=True):
        for index, arm in enumerate(study.arms[1:], 1):
            verdicts = [found.verdict(base, arm, point, metric) for point in order]
            ratios = [ratio_to(verdict, base) for verdict in verdicts]
            ends = np.array([[r.value, r.low, _cut(r)] if r else [np.nan] * 3 for r in ratios])
            ends[[verdict.kind == "identical" for verdict in verdicts]] = 0
            x = places[order]
            axes.plot(x, ends[:, 0], color=colour(index), marker=MARKERS[index % 8], ms=4.5)
            axes.fill_between(x, ends[:, 1], ends[:, 2], color=colour(index), alpha=0.18, lw=0)
            missing = np.isnan(ends[:, 0])
            unclear = ~missing & [verdict.winner is None for verdict in verdicts]
            axes.plot(x[unclear], ends[unclear, 0], ls="", marker="o", ms=8, mfc="white", mec=colour(index), mew=1.5)
            axes.plot(x[missing], np.zeros(missing.sum()), ls="", marker="x", ms=7, color=colour(index), mew=1.5)
            absent |= bool(missing.any())
        axes.axhline(0, color=TEXT, lw=1)
        _per_cent(axes.yaxis)
        axes.set_title(_titled(metric), fontsize=9, loc="left")
        if numeric and places.min() > 0 and places.max() / places.min() > 20:
            axes.set_xscale("log")
        # where there is no room for every label, both ends and some between
        labelled = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), _FEW)).round().astype(int))]
        axes.set_xticks(places[labelled], [elide(study.points[point].label, 20) for point in labelled])
        axes.minorticks_off()
    drawn.axes[-1, 0].set_xlabel(listed(list(study.points[0].values)))
    handles: list[Any] = [
        Line2D([], [], color=colour(i), marker=MARKERS[i % 8], ms=5, label=arm) for i, arm in enumerate(study.arms) if i
    ]
    handles.append(Line2D([], [], color=TEXT, ls="", marker="o", mfc="white", ms=7, label=labels[-2]))
    if absent:
        handles.append(Line2D([], [], color=TEXT, ls="", marker="x", ms=6, mew=1.5, label=_MISSING))
    drawn.legend(handles)
    return drawn.figure


def _titled(metric: Metric) -> str:
    return f"{metric} ({'larger' if metric.larger_is_better else 'smaller'} is better)"


def _per_cent(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:+.3g} %" if share else "0"))
