"""The validation suite of uet-htsim: tails of flow completion, from the rows that the benchmark keeps."""

from __future__ import annotations

from typing import Any

from benchmarks.uet import found as suite
from benchmarks.uet.cases import cases
from validations._row import Found, Row

TITLE = "Packet transport: the suite of uet-htsim"
KIND = "published"
SOURCE = "ultraethernet/uet-htsim, committed outputs of its validation suite (commit 40ccb05, 2025-08-12)"
ABOUT = """\
NSCC, receiver credit and both, trimming, host load balancers, slow links, fat-trees of 16 to 1024 hosts at 100 Gbps:
the end of the last flow. Ours: median of 5 seeds. Bands: 15 % a row, 5 % for the median deviation, 1 % for one flow. On
one path the published value is held to lie between the 5th and 95th percentile of 50 seeds: those rows state ours as
the nearer end of that range, or as the published value itself where it lies inside. The 1023-to-1 incast under `nscc`
misses the suite's own target and is reported. [More](uet_suite.md).
"""
TAIL, RANGE, MEDIAN = "end of the last flow", "end of the last flow, 5th to 95th percentile", "median deviation"


def run(quick: bool) -> Found:
    """Quick: two small cases are run anew. Otherwise all rows as the benchmark has them."""
    if quick:
        rows = [_again(slug) for slug in ("one_flow_nscc", "permutation_of_16_nscc")]
    else:
        rows = suite.found()
    medians = [
        Row(words, MEDIAN, 0, suite.median_deviation(part), "", suite.MEDIAN, difference=True)
        for words, part in _parts(rows)
        if part and not quick
    ]
    return Found([*medians, *map(_row, rows)])


def _parts(rows: list[suite.Found]) -> list[tuple[str, list[suite.Found]]]:
    listed = [one for one in rows if one.case.listed]
    return [("listed rows", listed), ("further rows", [one for one in rows if not one.case.listed])]


def _again(slug: str) -> suite.Found:
    from benchmarks.uet.runs import run as run_case

    case = next(case for case in cases() if case.slug == slug)
    return suite.Found(case, tuple(run_case(case, seed)._asdict() for seed in suite.seeds(case)))


def _row(one: suite.Found) -> Row:
    name, band = f"{one.case.title}, {one.case.control}", suite.BAND
    if one.case.kind == "range":
        low, high = one.range
        return Row(name, RANGE, one.case.tail, min(max(one.case.tail, low), high), "us", 1e-3)
    if one.case.kind == "shown":
        return Row(name, TAIL, one.case.tail, one.tail, "us")
    return Row(name, TAIL, one.case.tail, one.tail, "us", suite.EXACT if one.case.matrix == "one" else band)


def draw(found: Found) -> Any:
    """Ours over theirs, a dot a row, by their value; the band of 15 % in grey."""
    from analysis.plots.style import colour, settings, sheet

    page = sheet(1, 1, (6.4, 3.0), TITLE, ["nscc", "credit", "both"])
    axis = page.axes[0, 0]
    with settings():
        axis.axhspan(1 - suite.BAND, 1 + suite.BAND, color="0.92", zorder=0)
        axis.axhline(1.0, color="0.6", lw=0.8, zorder=1)
        for number, control in enumerate(("nscc", "credit", "both")):
            rows = [row for row in found.rows if row.metric == TAIL and row.case.endswith(control)]
            axis.plot([row.expected for row in rows], [row.ours / row.expected for row in rows if row.expected], "o",
                      ms=4, color=colour(number), label=control)  # fmt: skip
        axis.set_xscale("log")
        axis.set(xlabel="published end of the last flow, us", ylabel="ours / published")
    page.legend()
    return page.figure
