"""Least-loaded expert parallelism against the tables and figures of its paper."""

from __future__ import annotations

from typing import Any

from benchmarks.reproduce import llep as ours
from validations._row import Found, Row

TITLE = "Least-loaded expert parallelism (LLEP)"
KIND = "published"
SOURCE = "arXiv 2601.17111, figures 4, 6b, 7a, 7b (8 H200, one layer, forward), read from vector graphics to 0.5 %"
ABOUT = """\
`scenarios/llep.yaml`. The paper states no times, only ratios. Two pass counts and the planner's cost were fitted to
the 26 speed-ups of figure 4 at once, nothing to a single one; figures 6b, 7a and 7b set nothing but the dimensions
that they leave unsaid. Bands: 15 % for speed-ups (at least 20 of the 26 were due), 5 % for the peak memory of plain
expert parallelism, 15 % and 10 % for LLEP's (but for balanced loads, where its batch buffers differ). What misses are
DeepSeek-V3's mild skews, where the paper's overhead is larger than ours.
[More](moe.md#least-loaded-expert-parallelism-llep).
"""
SPEED = 0.15
METRICS = ("figure 4: speed-up", "figure 4: peak memory, EP", "figure 4: peak memory, LLEP")
ABLATIONS = {"6b": "figure 6b: speed-up by alpha", "7a": "figure 7a: by lambda", "7b": "figure 7b: by dimension"}


def run(quick: bool) -> Found:
    rows = []
    for model, skew, speed, paper, ep, ep_paper, llep, llep_paper in ours.figure_4(
        ("30:4", "95:1") if quick else ours.SKEWS
    ):
        case, held = f"{model}, {skew}", ours.MEMORY_BOUND[model] if skew != "balanced" else None
        rows += [
            Row(case, METRICS[0], paper, speed, "", SPEED),
            Row(case, METRICS[1], ep_paper, ep, "GiB", 0.05),
            Row(case, METRICS[2], llep_paper, llep, "GiB", held),
        ]
    for figure, case, paper, found in ours.ablations(ours.SHARES[-1:] if quick else ours.SHARES):
        rows.append(Row(case, ABLATIONS[figure], paper, found, "", SPEED))
    return Found(rows)


def draw(found: Found) -> Any:
    """Figure 4: speed-ups above, peak memory below, a column a model; the paper's values open, ours filled."""
    from analysis.plots.style import colour, settings, sheet

    labels = ["paper (EP)", "Spillway (EP)", "paper, LLEP", "Spillway, LLEP"]
    page = sheet(2, 2, (4.2, 2.2), "LLEP over EP: speed-up and peak memory by skew", labels, headed=True, sharex="col",
                 bottom=1.0, gap=(0.6, 0.45))  # fmt: skip
    with settings():
        for column, model in enumerate(ours.TOKENS):
            above, below = page.axes[0][column], page.axes[1][column]
            for axis, number, metric in ((above, 0, 0), (below, 0, 1), (below, 1, 2)):
                rows = [row for row in found.rows if row.metric == METRICS[metric] and row.case.startswith(model)]
                at, hue = range(len(rows)), colour(number)
                axis.plot(at, [row.expected for row in rows], "o", mfc="none", color=hue, label=labels[2 * number])
                axis.plot(at, [row.ours for row in rows], ".-", color=hue, label=labels[2 * number + 1])
                axis.set_ylim(bottom=0)
            above.set_title(model)
            below.set_xticks(at, [row.case.split(", ")[1] for row in rows], rotation=60)
            below.set_xlabel("hot share in % : hot experts")
        page.axes[0][0].set_ylabel("speed-up")
        page.axes[1][0].set_ylabel("peak memory, GiB")
    page.legend(page.axes[1, 0].get_legend_handles_labels()[0])
    return page.figure
