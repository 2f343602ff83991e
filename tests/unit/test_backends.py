"""The solvers of linear and integer programs: one small program, every way to solve it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pulp
import pytest
from scipy.sparse import csr_array

from solvers.backends import LP_SOLVERS, SOLVERS, _configured, solve_linear, solve_whole
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


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as at a terminal: a program that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_the_solver_and_keeps_its_solution():
    pressed: list[Point] = []

    def press(point: Point) -> None:
        if point.objective > -INF and not pressed:
            pressed.append(point)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.2)  # or it might be done before it hears

    began = time.perf_counter()
    answer = solve_whole(large(), "highs", Effort(seconds=60.0, watch=press))
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


@pytest.mark.parametrize(("waits", "bound"), [(0.0, -math.inf), (0.4, math.inf)])
def test_what_cbc_calls_infeasible_when_its_time_is_out_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, waits: float, bound: float
):
    """Its words of a problem with a solution, when its preprocessing was cut short (2.10.3)."""

    def solved(model: Any, way: Any) -> None:
        time.sleep(waits)
        Path(way.optionsDict["logPath"]).write_text("Pre-processing says infeasible or unbounded\n")

    monkeypatch.setattr(pulp.LpProblem, "solve", solved)
    answer = solve_whole(program(), "cbc", Effort(seconds=0.5))
    assert (answer.x, answer.bound) == (None, bound)


@pytest.mark.parametrize(("seconds", "presolve"), [(0.2, "off"), (5.0, "choose"), (None, "choose")])
def test_presolve_that_would_outlast_the_limit_is_left_out(seconds: float | None, presolve: str):
    """A row of 2,000 cells: HiGHS would presolve some tenths of a second and not look at the clock."""
    count = 2000
    row = csr_array(np.ones((1, count)))
    task = Program(np.ones(count), row, np.zeros(1), np.ones(1), np.zeros(count), np.ones(count))
    highs = _configured(highspy.Highs(), task, Effort(seconds))
    assert highs.getOptionValue("presolve")[1] == presolve
