"""Single queues: theory inside the 99 % interval, which must be narrow enough to say something."""

from __future__ import annotations

import pytest

from tests.validation import queueing

FULL = queueing.FULL
SHORT = [("M/D/1", 0.6, 50_000, 0.08), ("M/M/1", 0.6, 100_000, 0.09), ("M/G/1-PS", 0.6, 200_000, 0.08)]


@pytest.mark.parametrize(
    ("kind", "load", "flows", "width"), [*SHORT, *(pytest.param(*one, marks=pytest.mark.slow) for one in FULL)]
)
def test_mean_agrees_with_theory(kind: str, load: float, flows: int, width: float) -> None:
    queue = queueing.run(kind, load, flows)
    assert queue.measured.relative <= width
    assert queue.theory in queue.measured, queue
