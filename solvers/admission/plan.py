"""What an admission solver answers: a status first, then the plan and how far from the best it can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from solvers.admission.problem import Ints, Problem

Status = Literal["optimal", "feasible", "time_limit", "infeasible", "not_found"]


class PlanError(RuntimeError):
    """A plan breaks a rule of its problem: a fault of the solver, never of the input."""


class NoPlanError(RuntimeError):
    """A heuristic found no room for a demand that is required; that there is none is not proven by it."""


class Step(NamedTuple):
    """A point of the anytime curve: what was known after so many seconds."""

    seconds: float
    objective: int
    bound: float


class ClassShare(NamedTuple):
    """What became of the demands of one priority."""

    priority: int
    demands: int
    admitted: int


@dataclass(frozen=True)
class Plan:
    """``way`` [demands] is the number of the chosen way in ``problem``, -1 rejected.

    Statuses: ``optimal`` proven by the bound (of a strict plan: every level is); ``feasible`` a plan without that
    proof; ``time_limit`` the same, where a limit of seconds or nodes, or Ctrl-C, stopped an exact solver. Two say that
    there is no plan, and ``way`` is all -1: ``infeasible`` where it is proven that the required demands do not fit
    together (only exact solvers and the LP can), ``not_found`` where the method found no room for them all and proves
    nothing.

    ``bound``: no plan of this problem is worth more; 0 for ``infeasible``. Of an optimal strict plan it is the
    objective, of other strict plans that of the sum of the weights. ``problem`` differs from the one that was asked
    only where the solver made its own ways (the arc form). ``seconds`` is the wall-clock time of the whole call,
    ``notes`` what a reader must know, such as that another solver took over.
    """

    status: Status
    problem: Problem
    way: Ints
    bound: float
    method: str  # ilp, ga, greedy, lp_rounding
    solver: str  # what did the work, with its version: "HiGHS 1.15.1"
    seconds: float
    nodes: int = 0
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = field(default=(), repr=False)
    interrupted: bool = False  # by Ctrl-C: the best plan until then

    @property
    def found(self) -> bool:
        """Whether there is a plan. It may admit nobody."""
        return self.status not in ("infeasible", "not_found")

    @property
    def admitted(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return self.way >= 0

    @property
    def objective(self) -> int:
        return int(self.problem.weight[self.way >= 0].sum())

    @property
    def gap(self) -> float:
        """(bound - objective) / bound, 0 where there is nothing to win."""
        return max(0.0, self.bound - self.objective) / self.bound if self.bound > 0 else 0.0

    def classes(self) -> list[ClassShare]:
        """By falling priority."""
        weight, admitted = self.problem.weight, self.way >= 0
        return [
            ClassShare(int(p), int((weight == p).sum()), int(admitted[weight == p].sum()))
            for p in np.unique(weight)[::-1].tolist()
        ]
