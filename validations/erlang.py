"""Blocking of demands on one link against Erlang's loss formula."""

from __future__ import annotations

from tests.validation import erlang
from validations._row import Found, Row

TITLE = "Blocking on one link"
KIND = "theory"
SOURCE = "Erlang's loss formula B(C, a)"
ABOUT = """\
A link of C circuits, Poisson demands for one circuit, exponential holds of 1 s, `greedy`. One class is blocked with
B(C, a). With preemption the high class sees only itself, B(C, a1), and of the low class the share
(a B(C, a) - a1 B(C, a1)) / a2 is refused or pushed out, a = a1 + a2. Band: 3 %, which is also the most that half of the
99 % interval (30 batches) may be wide.
"""


def run(quick: bool) -> Found:
    rows = []
    for circuits, high, low, demands, width in erlang.FULL:
        count = demands // 10 if quick else demands
        for one in erlang.run(circuits, high, low, count):
            load = f"{high:g} + {low:g}" if high else f"{low:g}"
            case = f"{circuits} circuits, {load} erlang, {one.name} ({one.measured.n} batches of {count:,} demands)"
            rows.append(Row(case, "share not served", one.theory, one.measured.value, "", width))
            relative = one.measured.relative
            rows.append(Row(case, "half of the 99 % interval, of the mean", width, relative, side="at most"))
            inside = int(one.theory in one.measured)
            rows.append(Row(case, "the formula is inside the interval (1: yes)", 1, inside, side="at least"))
    return Found(rows)
