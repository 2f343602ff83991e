"""What proves a plan: each rule broken once, by hand. A line n0 - n1 - n2 - n3 with a ring cable n0 - n3."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solvers.admission.check import broken, prove
from solvers.admission.plan import Plan, PlanError
from solvers.admission.problem import Problem
from tests.admission_worlds import graph_of, problem_of

RING = [(0, 1), (1, 2), (2, 3), (0, 3)]  # links 0 and 1 are n0->n1 and n1->n0, and so on
GRAPH = graph_of(RING, 4)


def ring(demands: list[tuple[int, int, int, int]], capacity: int = 10, **changes: object) -> Problem:
    return replace(problem_of(GRAPH, [capacity] * 8, demands), **changes)


def plan(problem: Problem, way: list[int], status: str = "feasible", bound: float = 100.0) -> Plan:
    return Plan(status, problem, np.array(way), bound, "ilp", "by hand", 0.0)  # type: ignore[arg-type]


def of_way(links: tuple[int, ...], *, cut: int | None = None, src: int = 0, dst: int = 2) -> list[str]:
    """The faults of a single way."""
    second = [[len(links) if cut is None else cut]]
    problem = problem_of(GRAPH, [10] * 8, [(src, dst, 1, 1)], [[links]], second)
    return broken(problem, plan(problem, [0]))


def test_a_good_plan_breaks_nothing():
    problem = ring([(0, 2, 6, 1), (0, 2, 6, 2), (1, 0, 10, 1)])
    assert broken(problem, plan(problem, [0, 3, 4], "optimal", 4.0)) == []
    assert broken(problem, plan(problem, [-1, -1, -1])) == []
    prove(problem, plan(problem, [0, 3, 4], "optimal", 4.9))


def test_capacity_is_summed_exactly():
    problem = ring([(0, 1, 6, 1), (0, 1, 5, 1)])
    assert broken(problem, plan(problem, [0, 2])) == ["n0->n1 carries 11 bit/s of 10"]
    assert broken(problem, plan(problem, [0, 3])) == []
    huge = replace(problem_of(GRAPH, [2**62] * 8, [(0, 1, 2**62, 1), (0, 1, 1, 1)]))
    assert "carries 4611686018427387905" in broken(huge, plan(huge, [0, 2]))[0]
    with pytest.raises(PlanError, match="by hand: n0->n1 carries"):
        prove(problem, plan(problem, [0, 2]))


@pytest.mark.parametrize(
    ("links", "fault"),
    [
        ((0,), "ends at n1, not at n2"),
        ((2,), "n1->n2 does not go on from n0"),
        ((0, 4), "n2->n3 does not go on from n1"),
        ((0, 1, 0, 2), "n0 twice"),
        ((0, 2, 4, 5), "n2 twice"),
        ((0, 99), "no link 99"),
        ((), "a path without links"),
    ],
)
def test_a_way_is_a_simple_path_from_source_to_destination(links: tuple[int, ...], fault: str):
    assert fault in of_way(links)[0]


def test_a_second_path_shares_no_cable_with_the_first():
    assert of_way((0, 2, 6, 5), cut=2) == []
    assert of_way((0, 2, 6), cut=2) == ["demand 0: second path: the path ends at n3, not at n2"]
    # against the direction of the first path, on its own cable: n0-n1-n2 and n0-n3-n2 by way of a fifth cable
    graph = graph_of([(0, 1), (1, 2), (2, 3), (0, 3), (0, 2), (1, 3)], 4)
    first, second = (0, 10, 5), (6, 11, 2)  # n0 n1 n3 n2 and n0 n3 n1 n2: both on n1-n3
    problem = problem_of(graph, [10] * 12, [(0, 2, 1, 1)], [[first + second]], [[3]])
    assert broken(problem, plan(problem, [0])) == ["demand 0: both paths use n1->n3"]


def test_the_only_cable_of_a_host_may_be_in_both_paths_and_is_reserved_once():
    graph = graph_of([(0, 1), (1, 2), (2, 3), (1, 3)], 4)  # n0 hangs on n1
    host = replace(graph, transit=np.array([False, True, True, True]))
    for network, fine in ((host, True), (graph, False)):
        problem = problem_of(network, [5] * 8, [(0, 3, 5, 1)], [[(0, 6, 2, 4)]], [[2]])
        assert problem.paths_of(0) == ((0, 6), (0, 2, 4))
        assert (broken(problem, plan(problem, [0])) == []) == fine


def test_hosts_are_not_passed_through_and_delay_bounds_are_kept():
    host = replace(GRAPH, transit=np.array([True, False, True, True]))
    problem = problem_of(host, [10] * 8, [(0, 2, 1, 1)], [[(0, 2)]])
    assert broken(problem, plan(problem, [0])) == ["demand 0: n1 can't be passed through"]
    slow = ring([(0, 1, 1, 1)], delay_bound=np.array([2000]))
    assert broken(slow, plan(slow, [0])) == []
    assert "a delay of 3000 ps, above its bound of 2000 ps" in broken(slow, plan(slow, [1]))[0]
    kept = replace(slow, current=np.array([1]))  # what it has it may keep
    assert broken(kept, plan(kept, [1])) == []


def test_answers_are_complete_and_their_own():
    problem = ring([(0, 1, 6, 1), (0, 1, 5, 1)])
    assert broken(problem, plan(problem, [0])) == ["the plan has 1 answers for 2 demands"]
    assert broken(problem, plan(problem, [2, -1])) == ["demand 0: way 2 is none of its own"]
    assert broken(problem, plan(problem, [-2, -1])) == ["demand 0: way -2 is none of its own"]
    other = ring([(0, 1, 6, 1), (0, 1, 4, 1)])
    assert "another problem" in broken(problem, plan(other, [0, 2]))[0]


def test_required_and_moves():
    problem = ring([(0, 1, 6, 1), (0, 1, 5, 1)], required=np.array([True, False]))
    assert broken(problem, plan(problem, [-1, 2])) == ["demand 0 is required, but rejected"]
    moved = ring([(0, 1, 6, 1), (0, 1, 4, 1)], current=np.array([0, 2]), moves=1)
    assert broken(moved, plan(moved, [1, 2])) == []
    assert broken(moved, plan(moved, [1, 3])) == ["2 demands are moved, at most 1 may be"]
    assert broken(moved, plan(moved, [-1, -1])) == []  # to leave is no move
    lying = replace(moved, current=np.array([1, 3]))  # as if they had been there before
    assert "another problem" in broken(moved, plan(lying, [1, 3]))[0]


def test_bounds_and_statuses():
    problem = ring([(0, 1, 6, 2), (0, 1, 5, 3)])
    assert "the bound is 4, below the objective 5" in broken(problem, plan(problem, [0, 3], bound=4.0))[0]
    assert "the bound is nan" in broken(problem, plan(problem, [0, 3], bound=float("nan")))[0]
    assert "called optimal, but the bound is 6" in broken(problem, plan(problem, [0, 3], "optimal", 6.0))[0]
    assert "is rejected in an optimal plan" in broken(problem, plan(problem, [0, -1], "optimal", 2.0))[0]
    for status in ("infeasible", "not_found"):
        assert "no demand is required" in broken(problem, plan(problem, [-1, -1], status, 0.0))[0]
    held = replace(problem, required=np.array([True, True]))
    assert broken(held, plan(held, [-1, -1], "infeasible", 0.0)) == []
    assert broken(held, plan(held, [-1, -1], "infeasible", 1.0)) == ["infeasible with a bound of 1"]
    assert broken(held, plan(held, [0, -1], "not_found")) == ["a plan that is not_found admits demands"]


def test_strict_priority():
    line = [[(0,)], [(0,)], [(0,)]]
    problem = problem_of(GRAPH, [10] * 8, [(0, 1, 8, 3), (0, 1, 5, 1), (0, 1, 5, 2)], line)
    assert broken(problem, plan(problem, [-1, 1, 2])) == []  # of equal weight as a sum
    strict = replace(problem, strict=True)
    faults = broken(strict, plan(strict, [-1, 1, 2]))
    assert faults == ["demand 0 of priority 3 is rejected for less important ones"]
    assert broken(strict, plan(strict, [0, -1, -1])) == []
    assert broken(replace(strict, required=np.array([False, True, False])), plan(strict, [-1, 1, 2]))
    held = replace(strict, required=np.array([False, True, False]))
    assert broken(held, plan(held, [-1, 1, 2])) == []  # what is required comes before all


def test_who_has_a_way_loses_it_only_to_the_more_important():
    line = [[(0,)], [(0,)]]
    problem = problem_of(GRAPH, [10] * 8, [(0, 1, 8, 1), (0, 1, 8, 1)], line)
    strict = replace(problem, strict=True, current=np.array([0, -1]))
    faults = broken(strict, plan(strict, [-1, 1]))
    assert "demand 0 of priority 1 lost its way, but no new one of higher priority is admitted" in faults
    better = replace(strict, weight=np.array([1, 2]))
    assert broken(better, plan(better, [-1, 1])) == []
    shrunk = replace(strict, capacity=np.full(8, 5))  # it would not fit any more
    assert broken(shrunk, plan(shrunk, [-1, -1])) == []
