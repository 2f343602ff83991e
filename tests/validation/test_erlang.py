"""Blocking of one link: Erlang's formula inside the 99 % interval, which must be narrow enough to say something."""

from __future__ import annotations

import pytest

from tests.validation import erlang

SHORT = [(5, 0.0, 4.0, 5_000, 0.2), (3, 2.0, 2.0, 2_500, 0.25)]


def test_the_formula() -> None:
    assert erlang.erlang_b(1, 1.0) == pytest.approx(0.5)
    assert erlang.erlang_b(2, 1.0) == pytest.approx(0.2)
    assert erlang.erlang_b(10, 8.0) == pytest.approx(0.12166, abs=1e-5)


@pytest.mark.parametrize(
    ("circuits", "high", "low", "demands", "width"),
    [*SHORT, *(pytest.param(*one, marks=pytest.mark.slow) for one in erlang.FULL)],
)
def test_blocking_agrees_with_theory(circuits: int, high: float, low: float, demands: int, width: float) -> None:
    for found in erlang.run(circuits, high, low, demands):
        assert found.measured.relative <= width, found
        assert found.theory in found.measured, found
