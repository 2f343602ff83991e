"""Cases of uet-htsim's suite run again: small ones always, the large ones on demand."""

from __future__ import annotations

import statistics

import pytest

from benchmarks.uet import found as suite
from benchmarks.uet.cases import Case, cases
from benchmarks.uet.runs import run

BY_NAME = {case.slug: case for case in cases()}


@pytest.mark.parametrize("control", ["nscc", "credit", "both"])
def test_one_flow(control: str) -> None:
    """Without credit by arithmetic: 489 x 4150 B + 2010 B at 100 Gbps, 6 us each way and what is stored on the way."""
    case = BY_NAME[f"one_flow_{control}"]
    ran = run(case, 1)
    assert ran.again == 0
    assert ran.tail == pytest.approx(case.tail, rel=suite.EXACT)
    if control == "nscc":
        assert ran.tail == pytest.approx(176.1995, abs=1e-3)


@pytest.mark.parametrize("slug", ["15_to_1_nscc", "15_to_1_credit", "15_to_1_both", "3_to_1_with_a_long_flow_nscc",
                                  "permutation_of_16_nscc", "permutation_of_16_credit"])  # fmt: skip
def test_small_cases(slug: str) -> None:
    assert _median(BY_NAME[slug]) == pytest.approx(BY_NAME[slug].tail, rel=suite.BAND)


@pytest.mark.slow
@pytest.mark.parametrize("slug", [case.slug for case in cases() if case.kind == "band" and case.listed])
def test_listed_cases(slug: str) -> None:
    assert _median(BY_NAME[slug]) == pytest.approx(BY_NAME[slug].tail, rel=suite.BAND)


def _median(case: Case) -> float:
    return statistics.median(run(case, seed).tail for seed in suite.seeds(case))
