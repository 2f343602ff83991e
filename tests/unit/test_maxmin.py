"""Weighted max-min rates against an independent oracle: a sequence of linear programs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

from solvers.maxmin import rates

Instance = tuple[
    NDArray[np.float64], NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64],
    NDArray[np.float64],
]  # fmt: skip


def instance(rng: np.random.Generator, links: int, flows: int) -> Instance:
    counts = rng.integers(1, min(links, 5) + 1, flows)
    link = np.concatenate([rng.choice(links, count, replace=False) for count in counts]).astype(np.int32)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    share = np.where(rng.random(link.size) < 0.5, 1.0, rng.integers(1, 9, link.size) / 8)
    capacity = rng.integers(1, 20, links).astype(np.float64)
    capacity[rng.random(links) < 0.05] = 0.0
    cap = np.where(rng.random(flows) < 0.3, rng.uniform(0.1, 5.0, flows), np.inf)
    return capacity, start, link, share, rng.choice([0.5, 1.0, 1.0, 2.0, 3.0], flows), cap


def matrix(case: Instance) -> NDArray[np.float64]:
    """[links, flows] the splits."""
    capacity, start, link, share, _, _ = case
    result = np.zeros((capacity.size, start.size - 1))
    for flow in range(start.size - 1):
        for at in range(start[flow], start[flow + 1]):
            result[link[at], flow] = share[at]
    return result


def oracle(case: Instance) -> NDArray[np.float64]:
    """Maximise the common level of the free flows; fix those that can't be above it; again until none is free."""
    capacity, _, _, _, weight, cap = case
    split, flows = matrix(case), weight.size
    fixed = np.full(flows, np.nan)
    while np.isnan(fixed).any():
        free = np.isnan(fixed)
        upper = np.column_stack([split, np.zeros(capacity.size)])  # variables: rates, level
        above = np.column_stack([-np.eye(flows)[free], weight[free]])  # level x weight <= rate
        bounds = [(0, c if np.isfinite(c) else None) for c in cap]
        bounds = [b if np.isnan(f) else (f, f) for b, f in zip(bounds, fixed, strict=True)] + [(0, None)]
        goal = np.zeros(flows + 1)
        goal[-1] = -1
        found = linprog(
            goal, np.vstack([upper, above]), np.concatenate([capacity, np.zeros(free.sum())]), bounds=bounds
        )
        assert found.status == 0
        level = found.x[-1]
        # at this level of all free flows: who could not rise alone?
        low = np.where(free, level * weight, fixed)
        slack = capacity - split @ low
        full = slack <= 1e-9 * np.maximum(capacity, 1)
        stuck = free & ((split[full] > 0).any(axis=0) | (low >= cap * (1 - 1e-9)))
        assert stuck.any()
        fixed[stuck] = low[stuck]
    return fixed


@pytest.mark.parametrize("block", range(10))
def test_rates_are_those_of_the_linear_programs(block: int) -> None:
    """300 random instances with weights, caps, splits and dead links."""
    rng = np.random.default_rng(block)
    for _ in range(30):
        case = instance(rng, int(rng.integers(1, 9)), int(rng.integers(1, 13)))
        np.testing.assert_allclose(rates(*case), oracle(case), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_every_flow_has_a_bottleneck(seed: int) -> None:
    """No link above its capacity; each flow at its cap or on a full link where nobody is at a higher level."""
    rng = np.random.default_rng(seed)
    case = instance(rng, 40, 400)
    capacity, start, link, _, weight, cap = case
    found = rates(*case)
    load = matrix(case) @ found
    assert (load <= capacity * (1 + 1e-12)).all()
    level = found / weight
    top = np.zeros(capacity.size)
    np.maximum.at(top, link, np.repeat(level, np.diff(start)))
    for flow in range(weight.size):
        at = link[start[flow] : start[flow + 1]]
        full = load[at] >= capacity[at] * (1 - 1e-12)
        highest = level[flow] >= top[at] * (1 - 1e-12)
        assert found[flow] >= cap[flow] or (full & highest).any()


def test_a_flow_over_a_dead_link_gets_nothing_and_hinders_nobody() -> None:
    found = rates(
        np.array([0.0, 8.0]), np.array([0, 2, 3]), np.array([0, 1, 1], dtype=np.int32), np.ones(3), np.ones(2),
        np.full(2, np.inf),
    )  # fmt: skip
    assert found.tolist() == [0.0, 8.0]


def test_a_flow_without_links_gets_its_cap() -> None:
    found = rates(
        np.array([1.0]), np.array([0, 0, 0]), np.zeros(0, dtype=np.int32), np.zeros(0), np.ones(2),
        np.array([3.0, np.inf]),
    )  # fmt: skip
    assert found.tolist() == [3.0, np.inf]


def test_weights_far_apart_leave_no_rounding() -> None:
    """A flow of weight 1e-6 beside ones of 1e6 that stop at small caps gets all the rest."""
    flows = 101
    cap = np.full(flows, 1e-3)
    cap[-1] = np.inf
    weight = np.full(flows, 1e6)
    weight[-1] = 1e-6
    found = rates(np.array([1.0]), np.arange(flows + 1), np.zeros(flows, dtype=np.int32), np.ones(flows), weight, cap)
    assert found[-1] == pytest.approx(0.9, rel=1e-12)
