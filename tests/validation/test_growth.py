"""Slopes of the longest queue over the message length."""

from __future__ import annotations

import pytest

from tests.validation import growth

SHORT = (growth.LENGTHS[:4], 4)
FULL = (growth.LENGTHS, 10)


@pytest.mark.parametrize("expected", growth.EXPECTED, ids=lambda expected: expected.policy)
@pytest.mark.parametrize(("lengths", "permutations"), [SHORT, pytest.param(*FULL, marks=pytest.mark.slow)])
def test_queue_growth(expected: growth.Expected, lengths: tuple[int, ...], permutations: int) -> None:
    means = growth.queues(expected, lengths, permutations)
    assert growth.slope(lengths, means) == pytest.approx(expected.slope, abs=expected.tolerance), means
