"""How the longest switch queue grows with the message length under packet policies."""

from __future__ import annotations

from typing import Any

from tests.validation import growth
from validations._row import Found, Row

TITLE = "Growth of queues with the message length"
KIND = "theory"
SOURCE = "McClure et al., arXiv 2507.21372v2"
ABOUT = """\
Packet engine, k = 8 fat-tree, `line_rate`, unlimited buffers, random derangements, all start at 0. The longest output
queue of a switch in packets of 4160 B, mean of 10 permutations, over the packets of a message: its slope in log-log
should be 1 for round robin and for the least queue, a half for random spraying, 0 for rotation per destination. The
band is a difference of the slope.
"""


def run(quick: bool) -> Found:
    lengths, permutations = (growth.LENGTHS[:4], 3) if quick else (growth.LENGTHS, 10)
    rows, curves = [], {}
    for expected in growth.EXPECTED:
        means = growth.queues(expected, lengths, permutations)
        slope = growth.slope(lengths, means)
        case, metric = f"{expected.policy}, {lengths[0]} to {lengths[-1]} packets", "slope of the longest queue"
        rows.append(Row(case, metric, expected.slope, slope, "", expected.tolerance, difference=True))
        curves[expected.policy] = {"x": [float(one) for one in lengths], "y": [mean / 4160 for mean in means]}
    return Found(rows, curves)


def draw(found: Found) -> Any:
    """Queue against message length, a line a policy, log-log."""
    from analysis.plots.style import line_style, settings, sheet

    page = sheet(1, 1, (5.4, 3.0), TITLE, list(found.curves))
    axis = page.axes[0, 0]
    with settings():
        for number, (name, curve) in enumerate(found.curves.items()):
            axis.plot(curve["x"], curve["y"], marker="o", ms=4, label=name, **line_style(number))
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        lengths = next(iter(found.curves.values()))["x"]
        axis.set_xticks(lengths, [f"{length:g}" for length in lengths])
        axis.set(xlabel="packets a message", ylabel="longest queue, packets")
    page.legend()
    return page.figure
