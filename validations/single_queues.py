"""Mean waiting and mean time in single queues against queueing theory."""

from __future__ import annotations

import sys

from tests.validation import queueing
from validations._row import Found, Row

TITLE = "Single queues"
KIND = "theory"
SOURCE = "Pollaczek-Khinchine's formula for M/D/1 and M/M/1; E[S] / (1 - load) for M/G/1 processor sharing"
ABOUT = """\
Mean waiting before the first link (packet engine) and mean time less latency (fluid, websearch sizes), with 99 %
batch-means intervals. The band of a mean is the half-width of its interval: theory must lie inside. The half-width
itself may be 2 % at most, 3 % at a load of 0.9.
"""


def run(quick: bool) -> Found:
    rows = []
    for kind, load, flows, width in queueing.FULL:
        number, aim = (flows // 10, 3 * width) if quick else (flows, width)
        queue = queueing.run(kind, load, number)
        case = f"{kind}, load {load}, {number:,} flows"
        half = queue.measured.half_width / queue.theory
        rows.append(Row(case, "mean", queue.theory / 1e6, queue.measured.value / 1e6, "us", half))
        rows.append(
            Row(case, "half-width of the interval", 100 * aim, 100 * queue.measured.relative, "%", side="at most")
        )
        print(case, file=sys.stderr, flush=True)
    return Found(rows)
