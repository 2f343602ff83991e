"""Weighted max-min rates against a sequence of linear programmes."""

from __future__ import annotations

import numpy as np

from solvers.maxmin import rates
from tests.unit.test_maxmin import instance, oracle
from validations._row import Found, Row

TITLE = "Max-min fair rates"
KIND = "another way to compute it"
SOURCE = "a sequence of linear programmes (HiGHS through scipy), which raises the common level until a flow is stuck"
ABOUT = """\
300 random instances with weights, caps, fixed splits and dead links; largest relative difference of a rate among the
instances of a block of 30.
"""


def run(quick: bool) -> Found:
    rows = []
    for block in range(2 if quick else 10):
        rng = np.random.default_rng(block)
        worst = 0.0
        for _ in range(30):
            case = instance(rng, int(rng.integers(1, 9)), int(rng.integers(1, 13)))
            found, expected = rates(*case), oracle(case)
            worst = max(worst, float((np.abs(found - expected) / np.maximum(expected, 1e-3)).max()))
        rows.append(Row(f"block {block}", "largest difference of a rate", 1e-9, worst, side="at most"))
    return Found(rows)


def draw(found: Found) -> None:
    """No picture: all differences are roundings."""
