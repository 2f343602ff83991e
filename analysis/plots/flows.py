"""Flow completion times: their distribution, and slowdown against size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.load import Results
from analysis.plots.style import MARKERS, colour, line_style, log_if_wide, sheet, si, si_axis
from analysis.stats import percentile

_POINTS = 1000  # of a curve; more can't be seen
_BINS = 10
QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
_Binned = tuple[list[int], NDArray[Any]]  # samples a bin, [bins, quantiles]


def completion(runs: Mapping[str, Results]) -> Figure | None:
    """Share of all started flows that finished within a time; unfinished ones keep a curve below 1."""
    times = {name: completion_times(run) for name, run in runs.items()}
    times = {name: values for name, values in times.items() if np.isfinite(values).any()}
    if not times:
        return None
    done = {name: np.sort(values[~np.isnan(values)]) for name, values in times.items()}
    labels = [_with_p99(name, done[name], len(values)) for name, values in times.items()]
    drawn = sheet(1, 1, (5.6, 3.3), "Flow completion time", labels)
    axes = drawn.axes[0, 0]
    for index, (label, values) in enumerate(zip(labels, times.values(), strict=True)):
        axes.step(*distribution(values), where="post", label=label, **line_style(index))
    log_if_wide(axes.xaxis, np.concatenate(list(times.values())))
    si_axis(axes.xaxis, "s", 1e-6)
    axes.set(xlabel="flow completion time", ylabel="share of started flows", ylim=(0, 1.02))
    drawn.legend()
    return drawn.figure


def completion_times(run: Results) -> NDArray[Any]:
    """us, NaN of unfinished flows; those that were stopped, as when an admitted demand leaves, are left out."""
    frame = run.frame("flows", ["fct_us", "status"])
    return frame.loc[frame["status"] != "stopped", "fct_us"].to_numpy(dtype=float)


def distribution(times: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Steps of the share of all rows that finished within a time; null is not finished. At most 1000 of them."""
    ordered = np.sort(times[~np.isnan(times)])
    picked = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), _POINTS)).astype(int))
    return np.concatenate([ordered[:1], ordered[picked]]), np.concatenate([[0], (picked + 1) / len(times)])


def _with_p99(name: str, done: NDArray[Any], started: int) -> str:
    p99 = percentile(done, 0.99)
    facts = [] if p99 is None else [f"p99 {si(p99 * 1e-6, 's')}"]
    facts += [f"{started - len(done):,} unfinished"] if len(done) < started else []
    return f"{name} ({', '.join(facts)})" if facts else name


def slowdown(runs: Mapping[str, Results]) -> Figure | None:
    """p50, p95 and p99 of slowdown in bins of size with equal counts; by variant where all sizes are the same."""
    data = {}
    for name, run in runs.items():
        frame = run.frame("flows", ["bytes", "slowdown"]).dropna()
        if len(frame):
            data[name] = (frame["bytes"].to_numpy(dtype=float), frame["slowdown"].to_numpy(dtype=float))
    if not data:
        return None
    sizes = np.concatenate([size for size, _ in data.values()])
    edges = size_bins(sizes)
    exact = len(edges) == len(np.unique(sizes))
    found = {name: by_bin(size, value, edges) for name, (size, value) in data.items()}
    return _one_size(edges[0], found) if len(edges) == 1 else _many_sizes(edges, found, exact)


def size_bins(sizes: NDArray[Any]) -> NDArray[Any]:
    """Upper edges of the bins: each size where there are few, else bins with equal counts."""
    distinct = np.unique(sizes)
    if len(distinct) <= _BINS:
        return distinct
    return np.unique(np.quantile(sizes, np.linspace(0, 1, _BINS + 1)[1:], method="higher"))


def by_bin(size: NDArray[Any], value: NDArray[Any], edges: NDArray[Any]) -> _Binned:
    """Samples in each bin, and p50, p95, p99 of it: [bins, 3], NaN where there are too few."""
    bins = np.searchsorted(edges, size)
    counts, rows = [], []
    for index in range(len(edges)):
        inside = value[bins == index]
        counts.append(len(inside))
        rows.append([np.nan if (p := percentile(inside, q)) is None else p for q, _ in QUANTILES])
    return counts, np.array(rows)


def _many_sizes(edges: NDArray[Any], found: Mapping[str, _Binned], exact: bool) -> Figure:
    """A panel a percentile with a line a variant; a single run has its three lines in one panel."""
    single = len(found) == 1
    # percentiles that no bin has samples enough for are left out
    shown = [c for c in range(len(QUANTILES)) if any(np.isfinite(values[:, c]).any() for _, values in found.values())]
    labels = [QUANTILES[column][1] for column in shown] if single else list(found)
    shape = (1, (6.6, 3.0)) if single else (len(shown), (6.6, 1.9))
    drawn = sheet(shape[0], 1, shape[1], "Slowdown (completion time over unloaded ideal) by flow size", labels,
                  bottom=0.75, gap=(0, 0.4), headed=not single, sharex=True)  # fmt: skip
    axes = drawn.axes[:, 0]
    place = np.arange(len(edges))
    for index, (name, (_, values)) in enumerate(found.items()):
        for row, column in enumerate(shown):
            which = column if single else index
            how = line_style(which) | {"marker": MARKERS[which % 8], "ms": 4}
            label = QUANTILES[column][1] if single else name
            axes[0 if single else row].plot(place, values[:, column], label=label, **how)
    for ax, column in zip(axes, shown, strict=False):
        log_if_wide(ax.yaxis, np.concatenate([line.get_ydata() for line in ax.lines]), 8)
        si_axis(ax.yaxis, "")
        ax.set_ylabel("slowdown")
        if not single:
            ax.set_title(QUANTILES[column][1], loc="left", fontsize=9)
    counts = np.array([count for count, _ in found.values()])
    marks = [f"{'' if exact else '≤ '}{si(edge, 'B')}\n{_samples(counts[:, i])}" for i, edge in enumerate(edges)]
    axes[-1].set_xticks(place, marks, fontsize=7)
    axes[-1].set_xlabel("flow size, and the number of finished flows of that size")
    drawn.legend()
    return drawn.figure


def _one_size(size: float, found: Mapping[str, _Binned]) -> Figure:
    """All flows have one size: a row of dots a variant."""
    values = np.array([rows[0] for _, rows in found.values()])
    shown = [column for column in range(3) if np.isfinite(values[:, column]).any()]
    title = f"Slowdown (completion time over unloaded ideal); every flow has {si(size, 'B')}"
    names = [f"{name}\n{_samples(np.array(counts))}" for name, (counts, _) in found.items()]
    left = 0.3 + 0.075 * max(max(map(len, name.split("\n"))) for name in names)
    drawn = sheet(1, 1, (5.6, 0.42 * len(found)), title, [QUANTILES[c][1] for c in shown], left=left)
    axes = drawn.axes[0, 0]
    place = np.arange(len(found))
    axes.hlines(place, np.nanmin(values, axis=1), np.nanmax(values, axis=1), color="#BBBBBB", lw=1.5, zorder=1)
    for column in shown:
        style = {"marker": MARKERS[column], "color": colour(column), "s": 36, "label": QUANTILES[column][1]}
        axes.scatter(values[:, column], place, zorder=2, **style)
    log_if_wide(axes.xaxis, values.ravel())
    si_axis(axes.xaxis, "")
    axes.set_yticks(place, names)
    axes.set(xlabel="slowdown", ylim=(len(found) - 0.5, -0.5))
    drawn.legend()
    return drawn.figure


def _samples(counts: NDArray[Any]) -> str:
    """How many; a range where variants differ."""
    low, high = int(counts.min()), int(counts.max())
    return f"n={low:,}" if low == high else f"n={low:,}..{high:,}"
