"""Exact admission against trying all choices: 300 small random problems on all their simple paths, by every solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solvers.admission import solve
from solvers.admission.plan import Plan
from solvers.admission.problem import Limits, Problem
from solvers.admission.relaxation import bound_of, relax
from tests.admission_worlds import best, graph_of, problem_of, random_problem, value

SEEDS = range(300)


def proven_best(problem: Problem, plan: Plan) -> None:
    expected = best(problem)
    if expected is None:
        assert plan.status == "infeasible"
        assert not plan.admitted.any()
        return
    assert plan.status == "optimal", plan.notes
    assert value(plan.problem, plan.admitted) == expected
    assert plan.bound == plan.objective


def test_path_and_arc_form_agree_with_brute_force_where_the_path_set_is_complete():
    for seed in SEEDS:
        problem = random_problem(seed)
        for form in ("path", "arc"):
            plan = solve(problem, "ilp", form=form)
            assert plan.method == "ilp", plan.notes
            proven_best(problem, plan)


def test_strict_priority_is_lexicographic_class_by_class_and_by_dominating_weights():
    for seed in SEEDS:
        problem = replace(random_problem(seed), strict=True)
        proven_best(problem, solve(problem, "ilp", strict_by=("classes", "weights")[seed % 2]))
        if seed % 4 == 0:
            proven_best(problem, solve(problem, "ilp", strict_by=("weights", "classes")[seed % 2]))
            proven_best(problem, solve(problem, "ilp", form="arc"))


def test_required_and_present_demands_moves_and_problems_without_a_plan():
    infeasible = 0
    for seed in SEEDS[:200]:
        problem = replace(random_problem(seed, present=True), strict=bool(seed % 2))
        plan = solve(problem, "ilp", form="arc" if seed % 3 == 0 else "path")
        assert plan.method == "ilp", plan.notes
        proven_best(problem, plan)
        infeasible += plan.status == "infeasible"
    assert 10 < infeasible < 100


def test_delay_bounds_hold_in_the_arc_form_too():
    for seed in range(60):
        problem = random_problem(seed)
        delays = np.array([sum(problem.graph.hops[i][2] for i in problem.links_of(w)) for w in range(problem.ways)])
        bound = np.random.default_rng(seed).integers(3000, 20000, problem.demands)
        keep = delays <= bound[problem.demand_of]
        lengths = problem.hops[keep]
        within = replace(
            problem,
            delay_bound=bound,
            first=np.concatenate([[0], np.cumsum(np.bincount(problem.demand_of[keep], minlength=problem.demands))]),
            start=np.concatenate([[0], np.cumsum(lengths)]),
            link=problem.link[np.repeat(keep, problem.hops)],
            backup=np.cumsum(lengths),
        )
        for form in ("path", "arc"):
            proven_best(within, solve(within, "ilp", form=form))


@pytest.mark.parametrize(("solver", "seeds"), [("pulp", range(60)), ("cbc", range(40)), ("cpsat", range(300, 330, 10))])
def test_the_other_solvers_prove_the_same(solver: str, seeds: range):
    if solver == "cpsat":
        pytest.importorskip("ortools")
    for seed in seeds:
        problem = replace(random_problem(seed, present=True), strict=seed % 4 == 0)
        plan = solve(problem, "ilp", solver=solver)
        assert not any("took over" in note for note in plan.notes)
        proven_best(problem, plan)


def test_no_plan_beats_the_relaxation():
    for seed in range(50):
        problem = random_problem(seed, present=True)
        optimum = best(problem)
        by_highs, by_scipy = relax(problem), relax(problem, solvers=["linprog"])
        assert by_highs.bound == by_scipy.bound
        if optimum is not None:
            assert optimum[0] <= by_highs.bound
            assert bound_of(problem) <= problem.weight.sum()
        if by_highs.bound == -np.inf:
            assert optimum is None


def test_bandwidths_that_tolerances_can_not_tell_apart_are_told_apart():
    """Two demands of 2 Gbit/s and 1 bit/s each on 4 Gbit/s: one fits. In floating point both would."""
    for seed in range(40):
        problem = random_problem(seed, units=10**12)
        proven_best(problem, solve(problem, "ilp", solver=("highs", "pulp", "cbc")[seed % 3]))


def test_a_limit_of_nodes_gives_the_same_plan_twice():
    problem = random_problem(7)
    limits = Limits(nodes=1, seed=3)
    for strict in (False, True):
        plans = [solve(replace(problem, strict=strict), "ilp", limits) for _ in range(2)]
        assert plans[0].way.tobytes() == plans[1].way.tobytes()
        assert (plans[0].status, plans[0].bound, plans[0].nodes) == (plans[1].status, plans[1].bound, plans[1].nodes)


def test_two_solvers_agree_on_more_demands_than_can_be_tried():
    """60 demands on a ring: the relaxation and its rounding come first, then the solver."""
    rng = np.random.default_rng(5)
    graph = graph_of([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)], 6)
    for strict in (False, True):
        ends = [rng.choice(6, 2, replace=False).tolist() for _ in range(60)]
        demands = [(a, b, int(rng.integers(1, 9)), int(rng.integers(1, 4))) for a, b in ends]
        problem = replace(problem_of(graph, [20] * 12, demands), strict=strict)
        plans = [solve(problem, "ilp", Limits(seconds=30), solver=solver) for solver in ("highs", "cbc")]
        assert [plan.status for plan in plans] == ["optimal", "optimal"]
        assert plans[0].objective == plans[1].objective == plans[0].bound
        assert plans[0].classes() == plans[1].classes() or not strict
        assert solve(problem, "greedy").objective < plans[0].objective or strict
        assert bound_of(problem) >= plans[0].objective
