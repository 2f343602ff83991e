"""Table and figure of ``ethereal.py``, from its kept results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.kept_rows import Row
from benchmarks.report import table

COLLECTIVES = {
    "direct": ("all_reduce", "direct"),
    "halving_doubling": ("all_reduce", "halving_doubling"),
    "ring": ("all_reduce", "ring"),
    "tree": ("all_reduce", "double_binary_tree"),
    "all_to_all": ("all_to_all", "direct"),
}
POLICIES: dict[str, dict[str, Any]] = {
    "ethereal": {"path": "ethereal"},
    "spray": {"path": "spray"},
    "reps": {"path": "spray", "packet": "reps"},
    "reps_v1": {"path": "spray", "packet": "reps_v1"},
    "ecmp": {"path": "ecmp"},
    "subflows_2": {"path": {"kind": "subflows", "k": 2}},
    "subflows_4": {"path": {"kind": "subflows", "k": 4}},
    "subflows_8": {"path": {"kind": "subflows", "k": 8}},
}
AFTER_FAILURE = ("ethereal", "spray", "reps", "reps_v1")
FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
TITLES = {
    "direct": "all-reduce, direct", "halving_doubling": "all-reduce, halving-doubling", "ring": "all-reduce, ring",
    "tree": "all-reduce, double binary tree", "all_to_all": "All2All, direct",
}  # fmt: skip


def report(rows: dict[str, Row], figures: Path = FIGURES) -> None:
    """Prints the table and the sentence's check, and draws the figure."""
    if not rows:
        print("No results yet.")
        return
    print("Completion time over the bandwidth lower bound; a dash: not run, or not finished within 2 s.\n")
    lines = []
    for collective in COLLECTIVES:
        for size in _sizes(rows):
            for link in ("up", "failed"):
                some = [_ratio(rows, collective, policy, size, link) for policy in POLICIES]
                if any(ratio is not None for ratio in some):
                    shown = ["-" if ratio is None else f"{ratio:.3f}" for ratio in some]
                    lines.append((TITLES[collective], size, "leaf0-spine0 down" if link == "failed" else "", *shown))
    table(" | ".join(["collective", "MB", "failed", *POLICIES]), lines)
    for rival, published in (("spray", 30), ("reps", 40), ("reps_v1", 40)):
        print(_sentence(rows, rival, published))
    from analysis.plots.style import save

    save(draw(rows), figures / "ethereal_paper.png")


def _sizes(rows: dict[str, Row]) -> list[int]:
    return sorted({int(case.split("/")[2]) for case in rows})


def _ratio(rows: dict[str, Row], collective: str, policy: str, size: int, link: str) -> float | None:
    row = rows.get(f"{collective}/{policy}/{size}/{link}")
    return None if row is None else row["ratio"]


def _sentence(rows: dict[str, Row], rival: str, published: int) -> str:
    """By how much Ethereal's time is below a rival's, at the most and at the least, with and without the failure."""
    parts = []
    for link, when in (("up", "all links up"), ("failed", "one link down")):
        gains = {}
        for collective in COLLECTIVES:
            for size in _sizes(rows):
                own = _ratio(rows, collective, "ethereal", size, link)
                other = _ratio(rows, collective, rival, size, link)
                if own is not None and other is not None:
                    gains[f"{TITLES[collective]}, {size} MB"] = 100 * (1 - own / other)
        if gains:
            best, worst = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
            parts.append(f"{when}: from {gains[worst]:.1f} % ({worst}) to {gains[best]:.1f} % ({best})")
    return f"\nEthereal below {rival} (published: up to {published} %): " + "; ".join(parts) + "."


def draw(rows: dict[str, Row]) -> Any:
    """A column a collective: ratios over the size, with all links up and, below, with the failed one."""
    from matplotlib.figure import Figure

    from analysis.plots.style import COLOURS, MARKERS

    figure = Figure(figsize=(15, 6.4), layout="constrained")
    axes = figure.subplots(2, len(COLLECTIVES), sharex=True)
    for column, collective in enumerate(COLLECTIVES):
        for row, (link, policies) in enumerate((("up", tuple(POLICIES)), ("failed", AFTER_FAILURE))):
            axis = axes[row, column]
            for number, policy in enumerate(policies):
                points = [(size, _ratio(rows, collective, policy, size, link)) for size in _sizes(rows)]
                known = [(size, ratio) for size, ratio in points if ratio is not None]
                if known:
                    style = {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 5}
                    axis.plot(*zip(*known, strict=True), label=policy, **style)
            axis.set(xscale="log", yscale="linear" if link == "up" else "log")
            axis.set_xticks(_sizes(rows), [str(size) for size in _sizes(rows)])
            axis.tick_params(axis="x", which="minor", length=0, labelsize=0)
            axis.margins(x=0.15)
        axes[0, column].set_title(TITLES[collective])
        axes[1, column].set_xlabel("size in MB")
    axes[0, 0].set_ylabel("time / bandwidth lower bound")
    axes[1, 0].set_ylabel("the same, leaf0-spine0 down")
    axes[0, 0].legend(frameon=False, fontsize=8)
    return figure
