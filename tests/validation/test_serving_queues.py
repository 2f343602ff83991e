"""Replicas and routers: theory inside the 99 % interval, which must be narrow enough to say something.

Longer runs of the same are in ``validations/serving_queues.py``.
"""

from __future__ import annotations

import pytest

from tests.validation import serving_queues

SHORT = [("M/D/1", 0.6, 20_000, 0.1), ("M/M/4", 0.7, 4_000, 0.4), ("M/G/1-PS", 0.6, 6_000, 0.2)]


@pytest.mark.parametrize(("kind", "load", "requests", "width"), SHORT)
def test_mean_agrees_with_theory(kind: str, load: float, requests: int, width: float) -> None:
    queue = serving_queues.run(kind, load, requests)
    assert queue.measured.relative <= width
    assert queue.theory in queue.measured, queue


def test_two_choices_follow_the_mean_field_and_the_least_of_all_has_fewer() -> None:
    load, requests = 0.7, 40_000
    two = serving_queues.crowded("power_of_two", load, requests)
    for theory, share in zip(serving_queues.mean_field(load), two, strict=True):
        assert theory in share, (theory, share)
    least = serving_queues.crowded("least_requests", load, requests)
    assert least[0].low < load < least[0].high
    assert least[1].high < two[1].low
    assert least[2].high < two[2].low
