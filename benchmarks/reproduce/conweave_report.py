"""Table and figure of ``conweave.py``, from its kept results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept_rows import Row
from benchmarks.report import table, verdict

POLICIES: dict[str, dict[str, Any]] = {
    "ecmp": {"path": "ecmp"},
    "letflow": {"path": "spray", "packet": "letflow"},
    "conga": {"path": "spray", "packet": "conga"},
    "hula": {"path": "spray", "packet": "hula"},
    "drill": {"path": "spray", "packet": {"kind": "least_queue", "samples": 2, "memory": 1}},
}
LOSSES = ("lossless", "irn")
LOADS = (0.5, 0.8)
EDGES = (0, 4_000, 8_000, 16_000, 32_000, 128_000, 2_000_000)  # bytes, of the size classes
FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
ORDERINGS = (("letflow", "ecmp"), ("conga", "letflow"), ("conga", "ecmp"), ("hula", "conga"), ("drill", "ecmp"))
CLOSE = 0.02  # two means that differ by less are called equal


def report(rows: dict[str, Row], figures: Path = FIGURES) -> None:
    """Prints slowdowns and orderings, and draws the figure."""
    if not rows:
        print("No results yet.")
        return
    print("Slowdown of the flow completion time: mean of the seeds' means and 99th percentiles.\n")
    lines = []
    for losses in LOSSES:
        for load in LOADS:
            for policy in POLICIES:
                some = _of(rows, policy, losses, load)
                if some:
                    sums = [sum(row[name] for row in some) for name in ("reordered", "retransmitted", "unfinished")]
                    mean, tail = _figure(rows, policy, losses, load)
                    lines.append((losses, load, policy, len(some), f"{mean:.2f}", f"{tail:.1f}", *sums))
    table("loss | load | policy | seeds | mean | p99 | reordered packets | sent again | unfinished", lines)
    print(f"Published orderings; closer than {CLOSE:.0%} counts as equal, which is not less.\n")
    lines = []
    for losses in LOSSES:
        for load in LOADS:
            for better, worse in ORDERINGS:
                one, other = _figure(rows, better, losses, load), _figure(rows, worse, losses, load)
                if np.isfinite([*one, *other]).all():
                    gains = [1 - a / b for a, b in zip(one, other, strict=True)]
                    shown = [f"{gain:+.1%} {verdict(gain > CLOSE)}" for gain in gains]
                    lines.append((losses, load, f"{better} below {worse}", *shown))
    table("loss | load | ordering | by, mean | by, p99", lines)
    from analysis.plots.style import save

    save(draw(rows), figures / "conweave.png")


def _of(rows: dict[str, Row], policy: str, losses: str, load: float) -> list[Row]:
    return [row for case, row in rows.items() if case.rpartition("/")[0] == f"{policy}/{losses}/{load}"]


def _figure(rows: dict[str, Row], policy: str, losses: str, load: float) -> tuple[float, float]:
    some = _of(rows, policy, losses, load)
    if not some:
        return float("nan"), float("nan")
    return float(np.mean([row["mean"] for row in some])), float(np.mean([row["p99"] for row in some]))


def draw(rows: dict[str, Row]) -> Any:
    """A row of panels for mean and p99, a column for each kind of loss and load: slowdown over the size class."""
    from matplotlib.figure import Figure

    from analysis.plots.style import COLOURS, MARKERS

    columns = [(losses, load) for losses in LOSSES for load in LOADS]
    columns = [one for one in columns if any(_of(rows, policy, *one) for policy in POLICIES)]
    figure = Figure(figsize=(1 + 3.7 * max(len(columns), 2), 7), layout="constrained")
    axes = figure.subplots(2, len(columns), sharex=True, squeeze=False)
    sizes = [str(edge) for edge in EDGES[1:]]
    names = [f"{int(size) / 1000:g} kB" if int(size) < 10**6 else f"{int(size) / 1e6:g} MB" for size in sizes]
    for column, (losses, load) in enumerate(columns):
        for row, (place, what) in enumerate((("0", "mean"), ("1", "99th percentile"))):
            axis = axes[row, column]
            for number, policy in enumerate(POLICIES):
                some = _of(rows, policy, losses, load)
                known = [size for size in sizes if some and all(size in one["classes"] for one in some)]
                values = [float(np.mean([one["classes"][size][int(place)] for one in some])) for size in known]
                at = [sizes.index(size) for size in known]
                if known:
                    axis.plot(at, values, color=COLOURS[number], marker=MARKERS[number], label=policy)
            axis.set(yscale="log", xticks=range(len(sizes)), title=f"{losses}, load {load:g}" if row == 0 else "")
            axis.set_xticklabels(names, rotation=45, ha="right")
            if column == 0:
                axis.set_ylabel(f"slowdown, {what}")
        axes[1, column].set_xlabel("flow size up to")
    axes[0, 0].legend(frameon=False)
    return figure
