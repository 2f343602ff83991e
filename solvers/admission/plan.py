"""What an admission solver answers: a status first, then the plan and how far from the best it can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from solvers.admission.problem import Ints, Problem

Status = Literal["optimal", "feasible", "time_limit", "infeasible"]


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
    proof; ``time_limit`` the same, where a limit of seconds or nodes stopped an exact solver; ``infeasible`` proven
    that the required demands do not fit together (then ``way`` is all -1). ``bound``: no plan of this problem is worth
    more; for ``infeasible`` it is 0. ``problem`` differs from the one that was asked only where the solver made its own
    ways (the arc form). ``seconds`` is the wall-clock time of the whole call, ``notes`` what a reader must know, such
    as that another solver took over.
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
