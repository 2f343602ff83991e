"""Random small runs end within their limits and keep every law; those that once did not are kept."""

from __future__ import annotations

import pytest

from benchmarks.soak import run

KEPT = (9, 25)  # numbers of runs that once failed: a policy that asks for the buffer was not told it
LIMIT_S = 300  # of wall-clock time: tests share their machine


@pytest.mark.parametrize("number", KEPT)
def test_what_once_failed_holds(number: int) -> None:
    status, why = run(number, LIMIT_S)
    assert status != "failed", why


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_random_runs_end_and_keep_the_laws(count: int) -> None:
    run(0, limit=0)  # compiles, so that no run's minute goes to that
    told = {number: run(number, LIMIT_S) for number in range(count)}
    assert not [f"run {number}: {why}" for number, (status, why) in told.items() if status == "failed"]
