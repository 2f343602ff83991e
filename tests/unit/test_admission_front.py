"""The function in front of all admission solvers: who takes over when one fails, and what it says about it."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.errors import InputError
from solvers import backends
from solvers.admission import METHODS, solve
from solvers.admission.check import broken
from solvers.admission.plan import Plan, PlanError
from solvers.admission.problem import Limits, Problem
from solvers.programs import Answer, Effort, Program
from tests.admission_worlds import best, graph_of, problem_of, random_problem

# greedy takes the heavy demand first and is not optimal: so a solver is really asked
LINE = graph_of([(0, 1), (1, 2)], 3)
HARD = problem_of(LINE, [10] * 4, [(0, 1, 10, 3), (0, 1, 5, 2), (0, 1, 5, 2)])
NO_ROOM = replace(HARD, required=np.array([True, True, True]))
WEIGHT = {"ilp": 4, "ga": 4, "lp_rounding": 4, "greedy": 3}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers_with_a_proven_plan(method: str):
    plan = solve(HARD, method, Limits(generations=20), bound=True)
    assert broken(HARD, plan) == []
    assert plan.objective == WEIGHT[method]
    assert plan.bound == 4
    assert plan.status == ("feasible" if method == "greedy" else "optimal")
    assert plan.method == method
    assert plan.notes == ()


@pytest.mark.parametrize("method", METHODS)
def test_nobody_admitted_is_a_plan_and_an_empty_problem_has_one(method: str):
    empty = problem_of(LINE, [10] * 4, [])
    plan = solve(empty, method, Limits(generations=2))
    assert (plan.status, plan.objective, plan.bound, plan.gap) == ("optimal", 0, 0, 0)
    too_large = problem_of(LINE, [10] * 4, [(0, 1, 11, 5)])
    plan = solve(too_large, method, Limits(generations=2))
    assert (plan.status, plan.objective, plan.bound) == ("optimal", 0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_where_everybody_fits_every_method_proves_it(method: str):
    easy = replace(HARD, capacity=np.full(4, 20))
    plan = solve(easy, method, Limits(generations=2))
    assert (plan.status, plan.objective, plan.bound) == ("optimal", 7, 7)


def test_required_demands_without_room_are_infeasible_only_where_it_is_proven():
    assert solve(NO_ROOM, "ilp").status == "infeasible"
    assert solve(NO_ROOM, "ilp").bound == 0
    found = solve(NO_ROOM, "greedy")
    assert (found.status, found.found, found.objective) == ("not_found", False, 0)
    assert found.bound == 7  # nothing is proven
    assert solve(NO_ROOM, "greedy", bound=True).status == "infeasible"  # by the relaxation
    assert solve(NO_ROOM, "ga", Limits(generations=2)).status == "not_found"


def failing(monkeypatch: pytest.MonkeyPatch, name: str, fault: Any) -> None:
    """One backend does something else instead of solving."""
    real = backends.solve_whole

    def instead(program: Program, solver: str, effort: Effort) -> Answer:
        return fault(program, effort) if solver == name else real(program, solver, effort)

    monkeypatch.setattr("solvers.admission.search.solve_whole", instead)


def crash(program: Program, effort: Effort) -> Answer:
    raise RuntimeError("segmentation of a kind")


def lost(program: Program, effort: Effort) -> Answer:
    raise backends.missing("highspy", "highspy")


def false_bound(program: Program, effort: Effort) -> Answer:
    return Answer(np.zeros(program.columns), 1.0, "liar 1.0", 0.0)


def false_infeasible(program: Program, effort: Effort) -> Answer:
    return Answer(None, -math.inf, "liar 1.0", 0.0)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (crash, "ilp by highs failed: segmentation of a kind"),
        (lost, "ilp by highs can't be used: --solver: highspy is not installed; pip install highspy"),
        (false_bound, "ilp by highs failed: liar 1.0 states a bound of 1, but a plan is worth 3"),
        (false_infeasible, "ilp by highs failed: liar 1.0 calls a problem infeasible that has a plan"),
    ],
)
def test_when_highs_fails_cbc_takes_over_and_says_so(monkeypatch: pytest.MonkeyPatch, fault: Any, said: str):
    failing(monkeypatch, "highs", fault)
    plan = solve(HARD, "ilp")
    assert plan.notes == (said, "ilp by cbc took over")
    assert (plan.status, plan.objective) == ("optimal", 4)
    assert plan.solver.startswith("CBC")
    assert broken(HARD, plan) == []


def test_an_overloaded_answer_is_cut_off_and_never_believed(monkeypatch: pytest.MonkeyPatch):
    everything = lambda program, effort: Answer(np.ones(program.columns), 7.0, "liar 1.0", 0.0)  # noqa: E731
    failing(monkeypatch, "highs", everything)
    plan = solve(HARD, "ilp", solver="highs")
    assert broken(HARD, plan) == []
    assert plan.objective in (3, 4)
    assert plan.status == "feasible"


def test_without_any_exact_solver_the_heuristics_take_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("solvers.admission.search.solve_whole", lambda program, solver, effort: crash(program, effort))
    plan = solve(HARD, "ilp", Limits(generations=5))
    assert plan.method == "ga"
    assert plan.notes[-1] == "ga took over"
    assert len(plan.notes) == 3
    monkeypatch.setattr("solvers.admission.ga.solve", lambda *args, **named: crash(None, None))  # type: ignore[arg-type]
    plan = solve(HARD, "ilp")
    assert (plan.method, plan.objective) == ("greedy", 3)
    monkeypatch.setattr("solvers.admission.lp_rounding.solve", lambda *args, **named: crash(None, None))  # type: ignore[arg-type]
    assert solve(HARD, "lp_rounding").notes == ("lp_rounding failed: segmentation of a kind", "greedy took over")


def test_a_plan_that_check_refutes_is_not_handed_out(monkeypatch: pytest.MonkeyPatch):
    def overbooked(problem: Problem, limits: Limits, **_: Any) -> Plan:
        return Plan("optimal", problem, problem.first[:-1].copy(), 7.0, "ga", "liar", 0.0)

    monkeypatch.setattr("solvers.admission.ga.solve", overbooked)
    plan = solve(HARD, "ga")
    assert plan.method == "greedy"
    assert "carries 20 bit/s of 10" in plan.notes[0]
    monkeypatch.setattr("solvers.admission.greedy.solve", overbooked)
    with pytest.raises(PlanError, match="carries 20 bit/s of 10"):
        solve(HARD, "greedy")


def test_the_limit_of_seconds_holds_for_the_whole_call(monkeypatch: pytest.MonkeyPatch):
    def slow(program: Program, effort: Effort) -> Answer:
        time.sleep(effort.seconds or 0)
        raise RuntimeError("nothing found")

    failing(monkeypatch, "highs", slow)
    began = time.perf_counter()
    plan = solve(HARD, "ilp", Limits(seconds=0.5))
    assert time.perf_counter() - began < 5
    assert plan.notes[-1] == "greedy took over"
    assert broken(HARD, plan) == []


def test_no_time_at_all_still_gives_a_plan():
    plan = solve(HARD, "ilp", Limits(seconds=0.0))
    assert (plan.status, plan.objective) == ("time_limit", 3)
    assert broken(HARD, plan) == []


def test_a_solver_that_was_named_and_is_not_there_is_wrong_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"OR-tools is not installed; pip install 'ortools>=9.11'"):
        solve(HARD, "ilp", solver="cpsat")
    monkeypatch.setitem(sys.modules, "pulp", None)
    for solver in ("pulp", "cbc"):
        with pytest.raises(InputError, match=r"PuLP is not installed; pip install 'pulp>=3.3,<4'"):
            solve(HARD, "ilp", solver=solver)


def test_what_the_arc_form_is_not_for_is_wrong_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("solvers.admission.arc.LARGEST", 11)
    with pytest.raises(InputError, match="3 demands x 4 links are more than the 11 variables"):
        solve(HARD, "ilp", form="arc")


def test_names_that_do_not_exist():
    for wrong in ({"method": "simplex"}, {"form": "tree"}, {"solver": "gurobi"}):
        with pytest.raises(ValueError, match="is none of"):
            solve(HARD, **{"method": "ilp", **wrong})  # type: ignore[arg-type]


def test_ctrl_c_leaves_the_best_plan(monkeypatch: pytest.MonkeyPatch):
    def stopped(program: Program, effort: Effort) -> Answer:
        return Answer(None, math.inf, "HiGHS", 0.0, interrupted=True)

    failing(monkeypatch, "highs", stopped)
    plan = solve(HARD, "ilp")
    assert plan.interrupted
    assert (plan.status, plan.objective) == ("time_limit", 3)


def test_steps_are_heard_while_it_works_and_kept():
    heard: list[Any] = []
    plan = solve(HARD, "ilp", watch=heard.append)
    assert tuple(heard) == plan.steps
    assert heard[-1].objective == plan.objective
    assert heard[-1].bound == plan.bound
    assert [step.seconds for step in heard] == sorted(step.seconds for step in heard)


def test_strict_bounds_are_claimed_only_where_proven():
    problem = replace(HARD, strict=True)
    assert solve(problem, "ilp").objective == 3
    greedy = solve(problem, "greedy", bound=True)
    assert (greedy.status, greedy.bound) == ("feasible", 4)


def test_same_seed_same_plan():
    for seed in range(5):
        problem = random_problem(seed, present=True)
        if best(problem) is None:
            continue
        for method in METHODS:
            plans = [solve(problem, method, Limits(generations=3, nodes=5, seed=9)) for _ in range(2)]
            assert plans[0].way.tobytes() == plans[1].way.tobytes()


def test_importing_the_front_loads_no_solver():
    heavy = "('numba', 'scipy', 'highspy', 'pulp')"
    code = f"import sys, solvers.admission; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def square(required: bool) -> Problem:
    """n0-n1-n3 is too thin for the first demand and its only candidate; n0-n2-n3 would carry it."""
    graph = graph_of([(0, 1), (1, 3), (0, 2), (2, 3)], 4)
    demands = [(0, 3, 8, 1), (0, 1, 2, 1)]
    problem = problem_of(graph, [5, 5, 5, 5, 10, 10, 10, 10], demands, ways=[[(0, 2)], [(0,)]])
    return replace(problem, required=np.array([required, False]))


def test_what_is_proven_of_candidates_is_not_claimed_of_all_paths(monkeypatch: pytest.MonkeyPatch):
    assert solve(square(True), "ilp", form="arc").objective == 2
    monkeypatch.setattr("solvers.admission.search.solve_whole", lambda *_: crash(None, None))  # type: ignore[arg-type]
    plan = solve(square(False), "ilp", form="arc", bound=True)
    assert (plan.method, plan.status, plan.objective, plan.bound) == ("ga", "feasible", 1, 2)
    assert {step.bound for step in plan.steps} == {2}
    plan = solve(square(True), "ilp", form="arc", bound=True)
    assert (plan.status, plan.bound) == ("not_found", 2)  # "infeasible" it is over its candidates only
    assert solve(square(True), "ilp", bound=True).status == "infeasible"


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_ctrl_c_while_a_bound_is_sought_keeps_the_plan(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("solvers.admission.search._SMALL", 0)
    monkeypatch.setattr("solvers.admission.relaxation.solve_linear", interrupted)
    for method in ("greedy", "ilp"):
        plan = solve(HARD, method, bound=True)
        assert (plan.interrupted, plan.objective, plan.found) == (True, 3, True)
        assert broken(HARD, plan) == []


def test_ctrl_c_without_a_plan_asks_no_other_solver(monkeypatch: pytest.MonkeyPatch):
    def stopped(program: Program, effort: Effort) -> Answer:
        return Answer(None, math.inf, "HiGHS", 0.0, interrupted=True)

    failing(monkeypatch, "highs", stopped)
    with pytest.raises(KeyboardInterrupt):
        solve(NO_ROOM, "ilp")
