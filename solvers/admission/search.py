"""What one call of an exact solver has spent and learnt: the frame that the path form and the arc form share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, vstack

from solvers.admission import greedy, lp_rounding
from solvers.admission.covers import Reserved, covers, with_covers
from solvers.admission.finish import finish
from solvers.admission.plan import NoPlanError, Plan, Status, Step
from solvers.admission.problem import Ints, Limits, Problem
from solvers.admission.relaxation import whole_bound
from solvers.backends import solve_whole
from solvers.programs import Answer, Effort, Floats, Point, Program

Watch = Callable[[Step], None]
_ROUNDS = 100
_SMALL = 50  # demands up to which a solver is as quick as its preparation
_NO_SOLVER = "no solver needed"


class SolverError(RuntimeError):
    """A solver gave nothing that is of use: no plan in its time, or nonsense."""


class Search:
    """Limits hold for all programs of the call together; each gets its part of what is left."""

    def __init__(self, problem: Problem, limits: Limits, solver: str, watch: Watch | None) -> None:
        self.problem, self.limits, self.solver, self.watch = problem, limits, solver, watch
        self.began = time.perf_counter()
        self.label = _NO_SOLVER
        self.nodes = 0
        self.notes: list[str] = []
        self.steps: list[Step] = []
        self.interrupted = False
        self.kept = 0.0  # seconds that the programs leave for what comes after them

    def start(self, start: Ints | None) -> Ints | None:
        """A plan to begin with, in which nothing more fits; None if greedy finds no room for the required ones."""
        if start is not None:
            return finish(self.problem, start)
        try:
            return greedy.solve(self.problem, self.limits).way
        except NoPlanError:
            return None

    def rounded(self, way: Ints | None) -> tuple[Ints | None, float]:
        """The better of a plan and the rounded relaxation of a problem that is not strict, and a bound.

        The solver would solve the relaxation too, but in a limit of seconds it may come to no bound of use.
        """
        if self.problem.demands < _SMALL:
            return way, math.inf
        left = self.left(3)
        try:
            plan = lp_rounding.solve(self.problem, replace(self.limits, seconds=left))
        except KeyboardInterrupt:
            if way is None:
                raise
            self.interrupted = True
            return way, math.inf
        except Exception as error:
            self.notes.append(f"began without the linear relaxation: {error}")
            return way, math.inf
        if not plan.found or (way is not None and self.problem.weight[way >= 0].sum() > plan.objective):
            return way, plan.bound if plan.found else math.inf
        return plan.way, plan.bound

    def ask(
        self,
        program: Program,
        reserved: Reserved,
        start: Floats | None,
        parts: int = 1,
        curve: tuple[int, int] | None = None,
    ) -> Answer:
        """Solves the next of so many programs that are left, again with cuts while the solution overloads a link.

        ``curve``: the program's values are those of plans, the first is what we have, the second what none exceeds.
        """
        answer = self._once(program, start, parts, curve)
        for _ in range(_ROUNDS):
            found = [] if answer.x is None else covers(self.problem.capacity, reserved, answer.x)
            if not found:
                break
            program = with_covers(program, found)
            better = self._once(program, start, parts, curve)
            if better.x is None and not better.infeasible:
                break  # out of time: what overloads links can still be made a plan
            answer = replace(better, bound=min(better.bound, answer.bound))
        return answer

    def _once(self, program: Program, start: Floats | None, parts: int, curve: tuple[int, int] | None) -> Answer:
        seconds = self.left(parts)
        nodes = None if self.limits.nodes is None else (self.limits.nodes - self.nodes) // parts
        if self.interrupted or (nodes is not None and nodes < 1) or (seconds is not None and seconds <= 0):
            return Answer(None, math.inf, self.label, 0.0)
        before = self.spent()

        def heard(point: Point) -> None:
            if curve is not None:
                least, most = curve
                objective = least if point.objective == -math.inf else max(least, round(point.objective))
                self.note(Step(before + point.seconds, objective, min(float(most), point.bound)))

        answer = solve_whole(program, self.solver, Effort(seconds, nodes, self.limits.seed, start, heard))
        self.label = answer.solver
        self.nodes += answer.nodes
        self.interrupted |= answer.interrupted
        return answer

    def bound(self, answer: Answer, unit: float, value: int) -> float:
        """The answer's bound on what is a multiple of ``unit``. SolverError if a plan of this ``value`` refutes it."""
        bound = whole_bound(answer, unit)
        if bound < value:
            raise SolverError(f"{self.label} states a bound of {bound:g}, but a plan is worth {value}")
        return bound

    def infeasible(self, way: Ints | None, note: str | None = None) -> Plan:
        """A proof that there is no plan; SolverError if we have one."""
        if way is not None:
            raise SolverError(f"{self.label} calls a problem infeasible that has a plan")
        self.notes += [note] if note else []
        return self.plan("infeasible", np.full(self.problem.demands, -1, dtype=np.int64), 0.0)

    def no_plan(self) -> SolverError | KeyboardInterrupt:
        if self.interrupted:
            return KeyboardInterrupt()  # no other solver is asked then
        return SolverError("no plan was found within the limits")

    def unproven(self) -> Status:
        limited = self.limits.seconds is not None or self.limits.nodes is not None or self.interrupted
        return "time_limit" if limited else "feasible"

    def plan(self, status: Status, way: Ints, bound: float, problem: Problem | None = None) -> Plan:
        """``problem``: with other ways than the one that was asked."""
        self.note(Step(self.spent(), int(self.problem.weight[way >= 0].sum()), bound))
        return Plan(
            status,
            problem or self.problem,
            way,
            bound,
            "ilp",
            self.label,
            self.spent(),
            self.nodes,
            tuple(self.notes),
            tuple(self.steps),
            self.interrupted,
        )

    def note(self, step: Step) -> None:
        self.steps.append(step)
        if self.watch is not None:
            self.watch(step)

    def spent(self) -> float:
        return time.perf_counter() - self.began

    def left(self, parts: int = 1) -> float | None:
        """Seconds for the next of so many parts; some milliseconds are kept to finish the plan."""
        if self.limits.seconds is None:
            return None
        return (self.limits.seconds - self.spent() - self.kept - 2e-5 * self.problem.demands) / parts


def holding(program: Program, demand: Ints, fixed: list[tuple[Ints, int]]) -> Program:
    """The program with rows that admit at least so many of each group of demands.

    ``demand`` [columns] is whom a variable admits, -1: nobody.
    """
    if not fixed:
        return program
    group = np.full(int(demand.max(initial=0)) + 1, -1, dtype=np.int64)
    for number, (members, _) in enumerate(fixed):
        group[members[members < len(group)]] = number
    columns = np.flatnonzero((demand >= 0) & (group[demand] >= 0))
    cells = (np.ones(len(columns)), (group[demand[columns]], columns))
    rows = csr_array(cells, shape=(len(fixed), program.columns))
    return replace(
        program,
        matrix=csr_array(vstack([program.matrix, rows])),
        row_low=np.concatenate([program.row_low, np.array([float(count) for _, count in fixed])]),
        row_high=np.concatenate([program.row_high, np.full(len(fixed), np.inf)]),
    )
