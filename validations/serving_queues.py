"""Waiting and time at model replicas, and the crowding of many of them, against queueing theory."""

from __future__ import annotations

import sys

from tests.validation import serving_queues
from validations._row import Found, Row

TITLE = "Replicas as queues"
KIND = "theory"
SOURCE = (
    "Pollaczek-Khinchine's formula (M/D/1), Erlang C (M/M/c), E[S] / (1 - load) (M/G/1 processor sharing); the mean "
    "field of the power of two choices: M. Mitzenmacher, IEEE TPDS 2001"
)
ABOUT = """\
Replicas whose iterations cost what makes them these queues, as whole runs of the program: one sequence at a time
(M/D/1), four places in the batch and geometric outputs (M/M/4), iterations that take a time for each sequence
(processor sharing). Half an iteration is added where an arrival waits for the end of the one under way. Then 200
replicas behind one router: the share of time in which a replica has at least i requests. The band is the half-width of
the 99 % interval by batch means; `least_requests` has fewer than two choices at 2 and 3.
"""


def run(quick: bool) -> Found:
    rows = []
    for kind, load, requests in serving_queues.FULL:
        number = requests // 10 if quick else requests
        queue = serving_queues.run(kind, load, number)
        name = "mean time" if kind == "M/G/1-PS" else "mean waiting"
        half = queue.measured.half_width / queue.theory
        rows.append(
            Row(f"{kind}, load {load}, {number:,} requests", name, queue.theory, queue.measured.value, "ms", half)
        )
        print(rows[-1].case, file=sys.stderr, flush=True)
    load, number = 0.7, 40_000 if quick else 500_000
    two = serving_queues.crowded("power_of_two", load, number)
    least = serving_queues.crowded("least_requests", load, number)
    case = f"{serving_queues.SERVERS} replicas, load {load}, {number:,} requests"
    for i, (theory, share) in enumerate(zip(serving_queues.mean_field(load), two, strict=True), start=1):
        rows.append(Row(case, f"power_of_two: at least {i}", theory, share.value, "", share.half_width / theory))
    for i in (2, 3):
        rows.append(Row(case, f"least_requests: at least {i}", two[i - 1].low, least[i - 1].high, "", side="at most"))
    return Found(rows)
