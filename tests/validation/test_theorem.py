"""Ethereal loads every fabric link as spray does; ECMP does not; a ring does not care."""

from __future__ import annotations

import pytest

from tests.validation import theorem

POLICIES = ("ecmp", "wcmp", "static", "least_loaded", "ethereal", "subflows", "spray")
SHIFT = [(host, (host + 16) % theorem.HOSTS) for host in range(theorem.HOSTS)]


@pytest.mark.parametrize(("spines", "size"), [(16, 125_000), (12, 120_000)])
def test_direct_loads_links_exactly_as_spray(spines: int, size: int) -> None:
    case = theorem.direct(spines, size)
    assert case.allowed == 0
    assert case.holds, case


def test_direct_differs_by_no_more_than_rounding() -> None:
    case = theorem.direct(12, 10_001, leaves=8, hosts_per_leaf=8)
    assert case.allowed > 0
    assert case.difference > 0
    assert case.holds, case


@pytest.mark.parametrize(
    ("spines", "size", "exact"), [(16, 4_096_000, True), (12, 3_072_000, True), (12, 1_000_000, False)]
)
def test_every_halving_doubling_step(spines: int, size: int, exact: bool) -> None:
    cases = theorem.halving_doubling(spines, size)
    assert len(cases) == 8
    assert all(case.allowed == 0 for case in cases) == exact
    assert all(case.holds for case in cases), cases


def test_random_numbers_of_flows_and_spines() -> None:
    cases = theorem.random_cases(200)
    assert [case for case in cases if not case.holds] == []
    assert sum(case.allowed == 0 for case in cases) >= 100


def test_the_number_of_pieces_is_the_least() -> None:
    assert theorem.minimal(40) == []


def test_single_paths_add_up_as_in_the_engine() -> None:
    """The ratio below is taken without the engine."""
    topology, routes = theorem.fabric(16)
    flows = theorem.flows_of(SHIFT, 16_000)
    by_engine = theorem.link_bytes("ecmp", topology, routes, flows, 3)
    assert (by_engine == theorem.path_bytes("ecmp", topology, routes, flows, 3)).all()


def test_ecmp_of_a_shift() -> None:
    assert theorem.ecmp_ratio(SHIFT, 200).mean() == pytest.approx(4.5, abs=0.15)


@pytest.mark.parametrize("seeds", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_ecmp_of_direct_all_to_all(seeds: int) -> None:
    assert theorem.ecmp_ratio(theorem.all_to_all(theorem.HOSTS), seeds).mean() == pytest.approx(1.19, abs=0.03)


@pytest.mark.parametrize(("leaves", "hosts"), [(4, 4), pytest.param(16, 16, marks=pytest.mark.slow)])
def test_a_ring_takes_the_same_time_under_all_policies(leaves: int, hosts: int) -> None:
    times = theorem.ring_times(POLICIES, leaves, hosts)
    assert max(times.values()) - min(times.values()) <= 1e-9 * min(times.values()), times
