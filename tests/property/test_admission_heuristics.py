"""Greedy, LP rounding and the genetic algorithm: plans that keep every rule, against brute force and one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.admission import ga, greedy, lp_rounding
from solvers.admission.check import broken
from solvers.admission.plan import NoPlanError, Plan
from solvers.admission.problem import Limits, Problem
from tests.admission_worlds import best, random_problem, value, with_present

SHORT = Limits(generations=3)
METHODS: dict[str, Callable[[Problem], Plan]] = {
    "shortest": lambda problem: greedy.solve(problem, path="shortest"),
    "widest": lambda problem: greedy.solve(problem, path="widest"),
    "least_loaded": lambda problem: greedy.solve(problem, path="least_loaded"),
    "lp_rounding": lambda problem: lp_rounding.solve(problem, SHORT, tries=4),
    "ga": lambda problem: ga.solve(problem, SHORT, population=8),
}


def tried(name: str, problem: Problem) -> Plan | None:
    """The plan, checked; None where the method found none, which is right only where demands are required."""
    try:
        plan = METHODS[name](problem)
    except NoPlanError:
        assert problem.required.any()
        return None
    assert broken(problem, plan) == []
    return plan


@settings(deadline=None, max_examples=120)
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(list(METHODS)),
    strict=st.booleans(),
    present=st.booleans(),
    units=st.sampled_from([1, 10**9, 10**12]),
)
def test_every_plan_keeps_every_rule_and_claims_no_more_than_brute_force_finds(seed, name, strict, present, units):
    problem = replace(random_problem(seed, present=present, units=units), strict=strict)
    plan = tried(name, problem)
    known = best(problem)
    if known is None:
        assert plan is None or plan.status == "infeasible"
        return
    if plan is None:
        return
    assert plan.status != "infeasible"
    assert value(problem, plan.admitted) <= known
    if plan.status == "optimal":
        assert value(problem, plan.admitted) == known
    if not strict:
        assert plan.bound >= known[0]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), strict=st.booleans())
def test_the_genetic_algorithm_is_never_below_greedy(seed, strict):
    problem = replace(random_problem(seed, present=True), strict=strict)
    floors = [plan for rule in ("shortest", "widest", "least_loaded") if (plan := tried(rule, problem)) is not None]
    plan = tried("ga", problem)
    for floor in floors:
        assert plan is not None
        assert value(problem, plan.admitted) >= value(problem, floor.admitted)


def test_small_problems_are_nearly_always_solved_to_the_best():
    reached = {"ga": 0, "lp_rounding": 0}
    for seed in range(80):
        problem = random_problem(seed)
        for name in reached:
            plan = METHODS[name](problem)
            reached[name] += value(problem, plan.admitted) == best(problem)
    assert reached["ga"] >= 78
    assert reached["lp_rounding"] >= 64


@pytest.mark.parametrize("name", list(METHODS))
def test_failed_links_move_what_was_on_them_as_far_as_may_be_moved(name):
    moved = 0
    for seed in range(40):
        problem = with_present(random_problem(seed), np.random.default_rng(seed))
        capacity = problem.capacity.copy()
        capacity[:2] = 0
        for moves in (-1, 0, 1):
            failed = replace(problem, capacity=capacity, required=np.zeros(problem.demands, np.bool_), moves=moves)
            plan = tried(name, failed)
            assert plan is not None
            moved += int(((plan.way >= 0) & (failed.current >= 0) & (plan.way != failed.current)).sum())
    assert moved > 0


@pytest.mark.parametrize("name", list(METHODS))
def test_the_same_seed_gives_the_same_plan(name):
    problem = random_problem(11)
    one, again = METHODS[name](problem), METHODS[name](problem)
    assert one.way.tolist() == again.way.tolist()
    assert one.bound == again.bound


def test_nothing_to_place_and_demands_without_a_way():
    problem = random_problem(3)
    empty = replace(problem, src=problem.src[:0], dst=problem.dst[:0], bandwidth=problem.bandwidth[:0],
                    weight=problem.weight[:0], delay_bound=problem.delay_bound[:0], first=problem.first[:1],
                    start=problem.start[:1], link=problem.link[:0], backup=problem.backup[:0],
                    required=problem.required[:0], current=problem.current[:0])  # fmt: skip
    homeless = replace(problem, first=np.zeros_like(problem.first), start=problem.start[:1], link=problem.link[:0],
                       backup=problem.backup[:0])  # fmt: skip
    for name in METHODS:
        for case in (empty, homeless):
            plan = tried(name, case)
            assert plan is not None
            assert (plan.status, plan.objective) == ("optimal", 0)
