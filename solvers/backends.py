"""The solvers of linear and integer programs: the only file that knows HiGHS and PuLP, and who can start CP-SAT.

Every way is deterministic where no seconds are given: one thread, a fixed seed, a limit of nodes if any. No status word
is passed on: an ``Answer`` holds the best x and the best bound, and whoever asked draws the conclusion. What a solver
raises comes through; one that aborts the process (a fault in its C++) can't be caught here.
"""

from __future__ import annotations

import math
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import vstack

from models.errors import InputError, Problem
from solvers.programs import Answer, Effort, Floats, Point, Program, Watch

SOLVERS = ("highs", "pulp", "cbc", "cpsat")  # of integer programs
LP_SOLVERS = ("highs", "linprog")
_PRESOLVE = 1e-7  # s: HiGHS may presolve so long without a look at the clock, times the longest row squared (1.15.1)


def solve_whole(program: Program, solver: str, effort: Effort) -> Answer:
    """An integer program, by one of ``SOLVERS``. InputError where the solver is not installed."""
    return {"highs": _highs, "pulp": _pulp, "cbc": _cbc, "cpsat": _cpsat}[solver](program, effort)


def solve_linear(program: Program, solver: str, effort: Effort) -> Answer:
    """A linear program, by one of ``LP_SOLVERS``. At a limit of seconds there is neither x nor a bound.

    KeyboardInterrupt comes out when it is solved: no half of it is of use.
    """
    answer = {"highs": _highs, "linprog": _linprog}[solver](program, effort)
    if answer.interrupted:
        raise KeyboardInterrupt
    return answer


def missing(package: str, need: str) -> InputError:
    """For a solver that is not installed: what to type."""
    return InputError([Problem("--solver", 0, 0, f"{package} is not installed; pip install {need}")])


# HiGHS, arrays in


def _highs(program: Program, effort: Effort) -> Answer:
    try:
        import highspy
    except ImportError:
        raise missing("highspy", "'highspy>=1.9,<2'") from None
    began = time.perf_counter()
    highs = _configured(highspy.Highs(), program, effort)
    matrix = program.matrix
    status = highs.passModel(
        program.columns,
        program.rows,
        matrix.nnz,
        2,  # the matrix comes by row
        -1,  # maximise
        0.0,
        program.cost,
        program.low,
        program.high,
        program.row_low,
        program.row_high,
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32),
        matrix.data,
        np.full(program.columns, 1 if program.whole else 0, dtype=np.int32),
    )
    if status == highspy.HighsStatus.kError:
        raise RuntimeError("HiGHS refuses the model")
    if effort.start is not None and program.whole:
        highs.setSolution(program.columns, np.arange(program.columns, dtype=np.int32), effort.start)
    curve = _Curve(effort.watch, began)
    if program.whole:
        highs.cbMipInterrupt.subscribe(curve.sample)
        highs.cbMipImprovingSolution.subscribe(curve.improved)
    interrupted = _run(highs.run, curve)
    if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        # presolve has called a feasible program infeasible (1.15.1, coefficients of 500.0000005): asked again without
        highs.clearSolver()
        highs.setOptionValue("presolve", "off")
        interrupted = _run(highs.run, curve)
    return _read(highspy, highs, program, curve, interrupted)


def _configured(highs: Any, program: Program, effort: Effort) -> Any:
    options: dict[str, Any] = {
        "output_flag": False,
        "threads": 1,
        "parallel": "off",
        "random_seed": effort.seed % 2**31,
    }
    if program.whole:
        # two values differ by at least the unit, so a gap that is smaller than that is a proof already
        options |= {"mip_rel_gap": 0.0, "mip_abs_gap": 0.999 * program.unit}
        if effort.nodes is not None:
            options["mip_max_nodes"] = effort.nodes
    if effort.seconds is not None:
        options["time_limit"] = max(0.0, effort.seconds)
        longest = int(np.diff(program.matrix.indptr).max(initial=0))
        if program.whole and effort.seconds < _PRESOLVE * longest**2:
            options["presolve"] = "off"
    for name, value in options.items():
        highs.setOptionValue(name, value)
    return highs


class _Curve:
    """Collects the anytime curve of HiGHS, which calls back some hundred times a second, and stops it on Ctrl-C."""

    def __init__(self, watch: Watch | None, began: float) -> None:
        self.points: list[Point] = []
        self.began = began
        self.best: Floats | None = None
        self.stop = False
        self.failed: BaseException | None = None
        self._watch = watch

    def sample(self, event: Any) -> None:
        self.note(event.data_out.mip_primal_bound, event.data_out.mip_dual_bound)
        if self.stop:
            event.interrupt()

    def improved(self, event: Any) -> None:
        self.best = np.array(event.data_out.mip_solution)
        self.note(event.data_out.objective_function_value, event.data_out.mip_dual_bound)

    def note(self, objective: float, bound: float) -> None:
        objective = objective if abs(objective) < 1e300 else -math.inf
        bound = bound if abs(bound) < 1e300 else math.inf
        if self.points and self.points[-1][1:] == (objective, bound):
            return
        self.points.append(Point(time.perf_counter() - self.began, objective, bound))
        if self._watch is not None:
            self._watch(self.points[-1])


def _run(call: Callable[[], Any], curve: _Curve) -> bool:
    """Runs a solver so that Ctrl-C stops it and leaves what it has; whether that happened.

    Only the main thread is told of Ctrl-C, and not while it is in C++: there the solver runs in a thread of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        call()
        return False

    def work() -> None:
        watched.wait()
        try:
            call()
        except BaseException as error:
            curve.failed = error
        finally:
            ended.set()

    # not Thread.join: a join that Ctrl-C ends takes the thread for dead, whether it is or not
    ended = threading.Event()
    watched = threading.Event()  # the solver waits until Ctrl-C would be caught
    threading.Thread(target=work, daemon=True).start()
    while not ended.is_set():
        try:
            watched.set()
            ended.wait()
        except KeyboardInterrupt:
            curve.stop = True
    if curve.failed is not None:
        raise curve.failed
    return curve.stop


def _read(
    highspy: Any, highs: Any, program: Program, curve: _Curve, interrupted: bool, order: NDArray[np.int32] | None = None
) -> Answer:
    """What HiGHS found. ``order``: which of our columns each of its columns is, where they are not the same."""
    status, info = highs.getModelStatus(), highs.getInfo()
    states = highspy.HighsModelStatus
    # feasible, as HiGHS believes; after Ctrl-C it forgets what it had told before
    x = np.array(highs.getSolution().col_value) if info.primal_solution_status == 2 else curve.best
    if x is not None and order is not None:
        found, x = x, np.zeros(program.columns)
        x[order] = found
    bound = math.inf
    prices = None
    if status == states.kInfeasible:
        x, bound = None, -math.inf
    elif program.whole and interrupted:
        bound = curve.points[-1].bound if curve.points else math.inf
    elif program.whole:
        bound = info.mip_dual_bound if abs(info.mip_dual_bound) < 1e300 else math.inf
    elif status == states.kOptimal:
        bound = info.objective_function_value
        prices = np.array(highs.getSolution().row_dual)
    else:
        x = None  # a linear program that was stopped: what it has is neither feasible nor a bound
    seconds = time.perf_counter() - curve.began
    objective = -math.inf if x is None else float(program.cost @ x)
    steps = (*curve.points, Point(seconds, objective, bound)) if bound > -math.inf else ()
    if status == states.kOptimal and not math.isfinite(bound):
        raise RuntimeError("HiGHS calls its solution optimal without a bound")
    nodes = max(0, int(info.mip_node_count)) if program.whole else 0
    return Answer(x, bound, f"HiGHS {highs.version()}", seconds, nodes, steps, prices, interrupted)


def _linprog(program: Program, effort: Effort) -> Answer:
    """SciPy's own HiGHS: the second way to the same simplex, for where highspy fails."""
    import scipy.optimize

    linprog: Any = scipy.optimize.linprog
    began = time.perf_counter()
    below, above = np.isfinite(program.row_high), np.isfinite(program.row_low)
    found = linprog(
        -program.cost,
        A_ub=vstack([program.matrix[below], -program.matrix[above]]),
        b_ub=np.concatenate([program.row_high[below], -program.row_low[above]]),
        bounds=np.column_stack([program.low, program.high]),
        method="highs",
        options={} if effort.seconds is None else {"time_limit": max(0.01, effort.seconds)},
    )
    seconds, solver = time.perf_counter() - began, f"SciPy {version('scipy')}"
    if found.status == 2:
        return Answer(None, -math.inf, solver, seconds)
    if found.status != 0:
        return Answer(None, math.inf, solver, seconds)
    prices, split = np.zeros(program.rows), int(below.sum())
    prices[below] = -found.ineqlin.marginals[:split]
    prices[above] += found.ineqlin.marginals[split:]
    return Answer(np.asarray(found.x), -float(found.fun), solver, seconds, row_price=prices)


# PuLP: objects, then HiGHS or CBC


def _imported() -> Any:
    try:
        import pulp
    except ImportError:
        raise missing("PuLP", "'pulp>=3.3,<4'") from None
    return pulp


def _model(program: Program) -> tuple[Any, list[Any]]:
    pulp = _imported()
    model = pulp.LpProblem("admission", pulp.LpMaximize)
    kind = pulp.LpInteger if program.whole else pulp.LpContinuous
    bounds = zip(program.low.tolist(), program.high.tolist(), strict=True)
    x = [model.add_variable(f"x{c}", low, high, kind) for c, (low, high) in enumerate(bounds)]
    model += pulp.LpAffineExpression(zip(x, program.cost.tolist(), strict=True))
    indices, data, starts = (
        program.matrix.indices.tolist(),
        program.matrix.data.tolist(),
        program.matrix.indptr.tolist(),
    )
    for row, (low, high) in enumerate(zip(program.row_low.tolist(), program.row_high.tolist(), strict=True)):
        cells = range(starts[row], starts[row + 1])
        left = pulp.LpAffineExpression([(x[indices[i]], data[i]) for i in cells])
        if low == high:
            model += left == low
            continue
        if low > -math.inf:
            model += left >= low
        if high < math.inf:
            model += left <= high
    return model, x


def _pulp(program: Program, effort: Effort) -> Answer:
    """PuLP's objects, handed to HiGHS by PuLP."""
    pulp = _imported()
    began = time.perf_counter()
    way = pulp.HiGHS(msg=False)
    if not way.available():
        raise missing("highspy", "'highspy>=1.9,<2'")
    import highspy

    model, _ = _model(program)
    way.createAndConfigureSolver(model)
    way.buildSolverModel(model)
    highs = model.solverModel
    left = None if effort.seconds is None else effort.seconds - (time.perf_counter() - began)
    _configured(highs, program, Effort(left, effort.nodes, effort.seed))
    # PuLP minimises the negative; HiGHS is told what was meant, so that its bounds have our sign
    order = np.array([int(variable.name[1:]) for variable in model.variables()], dtype=np.int32)
    every = np.arange(len(order), dtype=np.int32)
    highs.changeObjectiveSense(highspy.ObjSense.kMaximize)
    highs.changeColsCost(len(order), every, program.cost[order])
    if effort.start is not None:
        highs.setSolution(len(order), every, effort.start[order])
    curve = _Curve(effort.watch, began)
    highs.cbMipInterrupt.subscribe(curve.sample)
    highs.cbMipImprovingSolution.subscribe(curve.improved)
    interrupted = _run(lambda: way.callSolver(model), curve)
    answer = _read(highspy, highs, program, curve, interrupted, order)
    return replace(answer, solver=f"{answer.solver}, PuLP {pulp.__version__}")


def _cbc(program: Program, effort: Effort) -> Answer:
    """CBC as PuLP ships it: a program of its own, so that even its crash is only a failure here."""
    pulp = _imported()
    began = time.perf_counter()
    model, x = _model(program)
    if effort.start is not None:
        for variable, value in zip(x, effort.start.tolist(), strict=True):
            variable.setInitialValue(value)
    built = time.perf_counter() - began
    # the model goes there and back through files, and CBC ends a little late
    left = None if effort.seconds is None else 0.9 * effort.seconds - 4 * built
    solver = f"CBC, PuLP {pulp.__version__}"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        way = pulp.COIN_CMD(
            path=pulp.PULP_CBC_CMD.pulp_cbc_path,
            msg=False,
            threads=1,
            gapRel=0.0,
            gapAbs=0.999 * program.unit,
            timeLimit=None if left is None else max(0.1, left),
            maxNodes=effort.nodes,
            warmStart=effort.start is not None,
            options=[f"randomSeed {effort.seed % 2**31}", f"randomCbcSeed {effort.seed % 2**31}"],
            logPath=str(log),
        )
        way.tmpDir = folder
        asked = time.perf_counter()
        try:
            model.solve(way)
        except KeyboardInterrupt:
            return Answer(None, math.inf, solver, time.perf_counter() - began, interrupted=True)
        # out of time in its preprocessing it says "infeasible" too, of what is not
        in_time = left is None or time.perf_counter() - asked < 0.5 * left
        said = log.read_text(errors="replace") if log.exists() else ""
    seconds = time.perf_counter() - began
    ended = "Result - Optimal" in said or "Result - Stopped" in said or model.sol_status == pulp.LpSolutionOptimal
    if in_time and "infeasible" in said and not ended:
        return Answer(None, -math.inf, solver, seconds)
    values: Floats | None = np.array([variable.varValue or 0.0 for variable in x])
    if model.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        values = None
    bound = math.inf
    if (stated := re.search(r"^(?:Upper|Lower) bound:\s+(\S+)", said, re.MULTILINE)) is not None:
        bound = abs(float(stated[1]))
    elif values is not None and "Result - Optimal" in said:
        bound = float(program.cost @ values)
    if values is not None and "within gap tolerance" in said:
        bound = max(bound, float(program.cost @ values) + 0.999 * program.unit)
    counted = re.search(r"^Enumerated nodes:\s+(\d+)", said, re.MULTILINE)
    return Answer(values, bound, solver, seconds, int(counted[1]) if counted else 0)


# CP-SAT, in a process of its own


def _cpsat(program: Program, effort: Effort) -> Answer:
    """CP-SAT by ``cpsat.py``: OR-tools brings a HiGHS of its own, and the two can't be loaded into one process."""
    if find_spec("ortools") is None:
        raise missing("OR-tools", "'ortools>=9.11' (the extra `exact`)")
    began = time.perf_counter()
    ends = None if effort.seconds is None else time.time() + 0.95 * effort.seconds  # it ends a little late
    task = pickle.dumps((program, replace(effort, watch=None, seconds=None), ends))
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "solvers.cpsat"]
    interrupted = False
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root
    ) as process:
        while True:
            try:
                left = None if effort.seconds is None else effort.seconds + 10 - (time.perf_counter() - began)
                out, said = process.communicate(None if interrupted else task, timeout=left)
                break
            except KeyboardInterrupt:  # the other process has heard it too, and answers with the best that it has
                interrupted = True
            except subprocess.TimeoutExpired:
                process.kill()
                raise RuntimeError("CP-SAT did not end in time") from None
    if process.returncode != 0:
        raise RuntimeError(f"CP-SAT ended with {process.returncode}: {said.decode(errors='replace')[-500:]}")
    answer: Answer = pickle.loads(out)
    if effort.watch is not None:
        for point in answer.steps:
            effort.watch(point)
    return replace(answer, seconds=time.perf_counter() - began, interrupted=interrupted)
