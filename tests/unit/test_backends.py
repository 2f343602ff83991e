"""The solvers of linear and integer programs: one small program, every way to solve it."""

from __future__ import annotations

import math
import os
import signal
import threading
import time

import numpy as np
import pytest
from scipy.sparse import csr_array

from solvers.backends import LP_SOLVERS, SOLVERS, solve_linear, solve_whole
from solvers.programs import Effort, Point, Program

INF = np.inf


def program(*, whole: bool = True) -> Program:
    """A knapsack: 5 of 5, 4 of 4, 4 of 4 in 8, at least one of the last two, the first two not both."""
    return Program(
        cost=np.array([5.0, 4.0, 4.0]),
        matrix=csr_array(np.array([[5.0, 4.0, 4.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])),
        row_low=np.array([-INF, 1.0, -INF]),
        row_high=np.array([8.0, INF, 1.0]),
        low=np.zeros(3),
        high=np.ones(3),
        whole=whole,
    )


def impossible() -> Program:
    base = program()
    return Program(base.cost, base.matrix, np.array([-INF, 3.0, -INF]), base.row_high, base.low, base.high)


@pytest.mark.parametrize("solver", SOLVERS)
def test_whole_programs(solver: str):
    if solver == "cpsat":
        pytest.importorskip("ortools")
    answer = solve_whole(program(), solver, Effort(seconds=20.0))
    assert answer.x is not None
    assert np.rint(answer.x).tolist() == [0, 1, 1]
    assert 8 <= answer.bound < 9
    assert any(name in answer.solver for name in ("HiGHS 1.", "CBC", "CP-SAT"))
    started = solve_whole(program(), solver, Effort(seed=5, nodes=100, start=np.array([0.0, 1.0, 1.0])))
    assert started.x is not None
    assert np.rint(started.x).tolist() == [0, 1, 1]
    nothing = solve_whole(impossible(), solver, Effort())
    assert nothing.infeasible
    assert nothing.x is None


@pytest.mark.parametrize("solver", LP_SOLVERS)
def test_linear_programs_and_their_prices(solver: str):
    answer = solve_linear(program(whole=False), solver, Effort(seconds=20.0))
    assert answer.x is not None
    assert answer.bound == pytest.approx(8)
    assert answer.row_price is not None
    assert answer.row_price @ np.array([8.0, 0.0, 0.0]) == pytest.approx(8)  # what 8 units of room are worth
    base = impossible()
    relaxed = Program(base.cost, base.matrix, base.row_low, base.row_high, base.low, base.high, whole=False)
    assert solve_linear(relaxed, solver, Effort()).bound == -math.inf


def large(seed: int = 1, items: int = 50, rows: int = 15) -> Program:
    """Knapsacks in many dimensions: no solver is done with it in a minute."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(100, 1000, (rows, items)).astype(float)
    return Program(
        rng.integers(100, 1000, items).astype(float),
        csr_array(weights),
        np.full(rows, -INF),
        np.floor(weights.sum(axis=1) / 2),
        np.zeros(items),
        np.ones(items),
    )


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_a_limit_of_seconds_leaves_a_solution_and_a_bound(solver: str):
    began = time.perf_counter()
    task = large(items=150, rows=40)
    answer = solve_whole(task, solver, Effort(seconds=1.0))
    assert time.perf_counter() - began < 5
    assert answer.x is not None
    assert (task.matrix @ np.rint(answer.x) <= task.row_high).all()
    assert task.cost @ np.rint(answer.x) < answer.bound < task.cost.sum()


def test_a_limit_of_nodes_gives_the_same_bytes_twice():
    answers = [solve_whole(large(), "highs", Effort(nodes=5, seed=7)) for _ in range(2)]
    assert answers[0].x is not None
    assert answers[1].x is not None
    assert answers[0].x.tobytes() == answers[1].x.tobytes()
    assert (answers[0].nodes, answers[0].bound) == (answers[1].nodes, answers[1].bound)
    assert answers[0].nodes > 0


def test_the_anytime_curve_rises_and_its_bound_falls():
    heard: list[Point] = []
    answer = solve_whole(large(), "highs", Effort(nodes=5, watch=heard.append))
    assert len(heard) > 2
    assert tuple(heard) == answer.steps[:-1]
    objectives, bounds = [p.objective for p in answer.steps], [p.bound for p in answer.steps]
    assert objectives == sorted(objectives)
    assert bounds == sorted(bounds, reverse=True)


def test_ctrl_c_stops_the_solver_and_keeps_its_solution():
    def press() -> None:
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    began = time.perf_counter()
    answer = solve_whole(large(), "highs", Effort(seconds=60.0))
    thread.join()
    assert answer.interrupted
    assert answer.x is not None
    assert time.perf_counter() - began < 20


def test_a_feasible_program_that_presolve_calls_infeasible():
    """What HiGHS 1.15.1 does with these coefficients; nobody admitted is a solution."""
    sizes = [[0, 1000, 500.0000005, 0, 500.0000005, 500.0000005]] * 2
    task = Program(
        np.array([2.0, 2.0, 1.0, 3.0, 3.0, 3.0]),
        csr_array(np.array([[1.0, 1.0, 0, 0, 0, 0], *sizes])),
        np.full(3, -INF),
        np.array([1.0, 1500.0, 2000.0]),
        np.zeros(6),
        np.ones(6),
    )
    answer = solve_whole(task, "highs", Effort())
    assert not answer.infeasible
    assert answer.x is not None
    assert answer.bound >= 8 - 1e-6


def test_cpsat_takes_whole_numbers_only():
    pytest.importorskip("ortools")
    task = program()
    half = Program(task.cost + 0.5, task.matrix, task.row_low, task.row_high, task.low, task.high)
    with pytest.raises(RuntimeError, match="CP-SAT takes whole numbers only"):
        solve_whole(half, "cpsat", Effort())
