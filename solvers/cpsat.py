"""CP-SAT as a program of its own: an integer program on standard input, the answer on standard output (``backends``).

Whole numbers only. It has no branch-and-bound nodes: their limit is one of conflicts.
"""

from __future__ import annotations

import math
import pickle
import sys
import time
from importlib.metadata import version

import numpy as np
from ortools.sat.python import cp_model

from solvers.programs import Answer, Effort, Floats, Point, Program

_WHOLE_BELOW = 2**53  # above it float64 skips integers
_FAR = 2**62


class _Heard(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]
    """The anytime curve."""

    def __init__(self, unit: float, began: float) -> None:
        super().__init__()
        self.points: list[Point] = []
        self._unit, self._began = unit, began

    def on_solution_callback(self) -> None:
        value, bound = self.objective_value * self._unit, self.best_objective_bound * self._unit
        self.points.append(Point(time.perf_counter() - self._began, value, bound))


def solve(program: Program, effort: Effort, ends: float | None) -> Answer:
    """``ends``: when to stop, by the clock on the wall; None: as the effort says."""
    began = time.perf_counter()
    cost, data = _integers(program.cost / program.unit), _integers(program.matrix.data)
    model = cp_model.CpModel()
    bounds = zip(_integers(program.low), _integers(program.high), strict=True)
    x = [model.new_int_var(low, high, "") for low, high in bounds]
    indices, starts = program.matrix.indices.tolist(), program.matrix.indptr.tolist()
    for row, (low, high) in enumerate(zip(program.row_low.tolist(), program.row_high.tolist(), strict=True)):
        cells = slice(starts[row], starts[row + 1])
        left = cp_model.LinearExpr.weighted_sum([x[column] for column in indices[cells]], data[cells])
        least = -_FAR if low == -math.inf else math.ceil(low)
        model.add_linear_constraint(left, least, _FAR if high == math.inf else math.floor(high))
    model.maximize(cp_model.LinearExpr.weighted_sum(x, cost))
    if effort.start is not None:
        for variable, value in zip(x, effort.start.tolist(), strict=True):
            model.add_hint(variable, round(value))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = effort.seed % 2**31
    if effort.nodes is not None:
        solver.parameters.max_number_of_conflicts = effort.nodes
    if ends is not None:
        solver.parameters.max_time_in_seconds = max(0.01, ends - time.time())
    heard = _Heard(program.unit, began)
    status = solver.solve(model, heard)
    seconds, label = time.perf_counter() - began, f"CP-SAT {version('ortools')}"
    if status == cp_model.INFEASIBLE:
        return Answer(None, -math.inf, label, seconds)
    if status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"CP-SAT refuses the model: {model.validate()}")
    values: Floats | None = None
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        values = np.array([solver.value(variable) for variable in x], dtype=np.float64)
    # stopped early it states a bound that it has not
    bound = math.inf if values is None else solver.best_objective_bound * program.unit
    objective = -math.inf if values is None else float(program.cost @ values)
    steps = (*heard.points, Point(seconds, objective, bound))
    return Answer(values, bound, label, seconds, solver.num_conflicts, steps)


def _integers(values: Floats) -> list[int]:
    whole = np.rint(values)
    if not np.array_equal(whole, values) or np.abs(whole).max(initial=0.0) >= _WHOLE_BELOW:
        raise ValueError("CP-SAT takes whole numbers only, and these are none")
    found: list[int] = whole.astype(np.int64).tolist()
    return found


if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(solve(*pickle.loads(sys.stdin.buffer.read()))))
