"""The genetic algorithm of admission on a congested instance, and the kernels that it is made of."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from models.candidates import Candidates
from models.instances import random_demands, semi_random
from solvers.admission import ga, greedy, lp_rounding
from solvers.admission.build import problem_of
from solvers.admission.check import broken
from solvers.admission.decode import world_of
from solvers.admission.generation import decode, in_order
from solvers.admission.plan import NoPlanError, Step
from solvers.admission.prices import descend
from solvers.admission.problem import Limits, Problem
from solvers.admission.relaxation import relax
from tests.admission_worlds import graph_of
from tests.admission_worlds import problem_of as small_problem

GBPS = 10**9


@pytest.fixture(scope="module")
def congested() -> Problem:
    topology = semi_random(15, 4, 1, hosts_per_node=0)
    return problem_of(topology, random_demands(topology, 300, 1.0, 1), Candidates(topology, 5))


def prices(problem: Problem, rounds: int) -> tuple[float, np.ndarray, np.ndarray]:
    price, share = np.zeros(problem.links), np.zeros(problem.ways)
    worth = problem.weight.astype(np.float64)
    target = float(greedy.solve(problem).objective)
    return descend(world_of(problem), worth, target, rounds, price, share), price, share


def test_within_few_generations_it_is_near_the_bound_and_above_greedy_and_rounding(congested):
    bound = relax(congested).bound
    plan = ga.solve(congested, Limits(generations=3))
    assert broken(congested, plan) == []
    rounded = lp_rounding.solve(congested, Limits())
    assert broken(congested, rounded) == []
    floor = max(greedy.solve(congested, path=rule).objective for rule in ("shortest", "widest", "least_loaded"))
    assert floor < rounded.objective <= plan.objective
    assert plan.objective >= 0.97 * bound
    assert plan.bound >= plan.objective


def test_one_seed_gives_one_plan_and_another_seed_another(congested):
    plans = [ga.solve(congested, Limits(generations=2, seed=seed), population=16) for seed in (1, 1, 2)]
    ways = [plan.way.tobytes() for plan in plans]
    assert ways[0] == ways[1] != ways[2]
    assert plans[0].bound == plans[1].bound
    curves = [[(step.objective, step.bound) for step in plan.steps] for plan in plans]
    assert curves[0] == curves[1]


def test_the_curve_rises_is_told_as_it_goes_and_ends_with_the_plan(congested):
    told: list[Step] = []
    plan = ga.solve(congested, Limits(generations=3), population=16, watch=told.append)
    objectives = [step.objective for step in plan.steps]
    assert objectives == sorted(objectives)
    assert objectives[-1] == plan.objective
    assert list(plan.steps[:-1]) == told
    assert [step.seconds for step in plan.steps] == sorted(step.seconds for step in plan.steps)


def test_seconds_end_it(congested):
    began = time.perf_counter()
    plan = ga.solve(congested, Limits(seconds=0.3, generations=10**6))
    assert time.perf_counter() - began < 3.0  # on a busy machine; generations alone would take days
    assert broken(congested, plan) == []


def test_ctrl_c_keeps_the_best_plan_so_far(congested):
    def stop(step: Step) -> None:
        if step.objective > greedy.solve(congested).objective:
            raise KeyboardInterrupt

    plan = ga.solve(congested, Limits(generations=10**6), watch=stop)
    assert plan.interrupted
    assert broken(congested, plan) == []


def test_a_strict_plan_has_the_order_of_levels_and_is_never_below_greedy(congested):
    strict = replace(congested, strict=True)
    plan = ga.solve(strict, Limits(generations=2), population=16)
    for one in (plan, lp_rounding.solve(strict, Limits(), tries=4)):
        assert broken(strict, one) == []
    counts = [share.admitted for share in plan.classes()]
    for rule in ("shortest", "widest", "least_loaded"):
        floor = greedy.solve(strict, path=rule)
        assert broken(strict, floor) == []
        assert counts >= [share.admitted for share in floor.classes()]


def test_moves_are_kept_when_links_fail(congested):
    before = ga.solve(congested, Limits(generations=2), population=16)
    capacity = congested.capacity.copy()
    capacity[:4] = 0
    for moves in (0, 5):
        failed = replace(congested, capacity=capacity, current=before.way, moves=moves)
        for plan in (
            ga.solve(failed, Limits(generations=2), population=16),
            lp_rounding.solve(failed, Limits(), tries=4),
        ):
            assert broken(failed, plan) == []


def test_prices_come_near_the_bound_of_the_linear_program(congested):
    bound, price, share = prices(congested, 600)
    exact = relaxed(congested)
    assert exact * (1 - 1e-9) <= bound <= 1.01 * exact
    assert (price >= 0).all()
    assert np.add.reduceat(share, congested.first[:-1]).max() <= 1 + 1e-9
    assert share.min() >= 0


def relaxed(problem: Problem) -> float:
    """The value of the linear program over the ways that carry their demand alone, written down once more."""
    columns = [
        way for way in range(problem.ways)
        if min(problem.capacity[link] for link in problem.links_of(way)) >= problem.bandwidth[problem.demand_of[way]]
    ]  # fmt: skip
    rows = np.zeros((problem.links + problem.demands, len(columns)))
    for column, way in enumerate(columns):
        demand = problem.demand_of[way]
        rows[list(problem.links_of(way)), column] = problem.bandwidth[demand] / 10**9
        rows[problem.links + demand, column] = 1.0
    limits = np.concatenate((problem.capacity / 10**9, np.ones(problem.demands)))
    answer = linprog(-problem.weight[problem.demand_of[columns]], rows, limits, method="highs")
    return float(-answer.fun)


def test_prices_do_not_count_ways_that_are_too_small_or_may_not_be_taken():
    two_ways = small_problem(graph_of([(0, 1), (0, 2), (2, 1)], 3), [0, 0, 9, 9, 9, 9], [(0, 1, 10, 7)])
    assert prices(two_ways, 50)[0] == 0.0
    wide = replace(two_ways, capacity=np.full(6, 20), current=np.array([0]), moves=0)
    assert prices(wide, 50)[0] == pytest.approx(7.0)
    assert prices(replace(wide, capacity=np.array([0, 0, 20, 20, 20, 20])), 50)[0] == 0.0


def test_decoding_makes_a_plan_of_any_genes(congested):
    rng = np.random.default_rng(5)
    world, cost, order = world_of(congested), congested.hops.astype(np.float64), np.arange(congested.demands)
    free = np.empty(congested.links, np.int64)
    for _ in range(20):
        wanted = congested.first[:-1] + rng.integers(-1, 5, congested.demands)
        genes = np.where((wanted < congested.first[:-1]) | (wanted >= congested.first[1:]), -1, wanted)
        assert decode(world, cost, order, 0.0, genes, free)
        assert (congested.capacity - congested.load(genes) == free).all()
        assert (free >= 0).all()
        rejected = np.flatnonzero(genes < 0)
        for demand in rejected.tolist():  # nothing more fits
            for way in range(congested.first[demand], congested.first[demand + 1]):
                assert min(free[link] for link in congested.links_of(way)) < congested.bandwidth[demand]


def test_less_important_demands_make_room_in_a_strict_plan():
    problem = small_problem(graph_of([(0, 1)], 2), [10 * GBPS, 0], [(0, 1, 6 * GBPS, 1), (0, 1, 6 * GBPS, 2)])
    strict = replace(problem, strict=True)
    assert in_order(strict, np.array([0, -1])).tolist() == [-1, 1]


def test_no_room_for_the_required_is_said_not_planned():
    problem = small_problem(graph_of([(0, 1)], 2), [10 * GBPS, 0], [(0, 1, 6 * GBPS, 1), (0, 1, 6 * GBPS, 2)])
    both = replace(problem, required=np.array([True, True]))
    with pytest.raises(NoPlanError):
        ga.solve(both)
    with pytest.raises(NoPlanError):
        greedy.solve(both)


@pytest.mark.parametrize(("strict", "moves", "ways"), [(False, -1, [0, -1]), (True, -1, [-1, 1])])
def test_a_newcomer_of_higher_priority_preempts_where_that_pays(strict, moves, ways):
    """Two demands of priority 1 hold the link; one of priority 2 needs all of it: worth no more, but more important."""
    problem = small_problem(
        graph_of([(0, 1)], 2), [10 * GBPS, 0], [(0, 1, 9 * GBPS, 2), (0, 1, 10 * GBPS, 3 if strict else 2)]
    )
    held = replace(problem, current=np.array([0, -1]), strict=strict, moves=moves)
    assert greedy.solve(held).way.tolist() == ways


def test_a_seed_may_be_any_number(congested):
    assert ga.solve(congested, Limits(generations=1, seed=2**70 + 1)).found
