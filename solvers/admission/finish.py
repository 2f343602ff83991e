"""From a choice of ways to a plan, in exact integers: solvers answer within tolerances, and what they leave is filled.

A demand whose way is overloaded gives way to more important ones, demands without a current way go to an earlier way of
theirs where that is free (candidates are in order of preference), and what still fits is admitted. None of it lowers
the value of a choice that fits, and a strict plan keeps its order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.admission.problem import Ints, Problem


def finish(problem: Problem, choice: Ints, only: NDArray[np.bool_] | None = None) -> Ints | None:
    """[demands] the ways of the plan; None if a required demand finds no room. ``only`` [demands]: not the others."""
    work = _Work(problem)
    order = work.order() if only is None else [demand for demand in work.order() if only[demand]]
    for demand in order:
        chosen = int(choice[demand])
        if chosen >= 0 and work.fits(demand, chosen) and work.allowed(demand, chosen):
            work.take(demand, chosen)
    for demand in order:
        if work.way[demand] > work.first[demand] and work.current[demand] < 0:
            work.leave(demand)
            work.admit(demand)  # at the latest on the way that it had
    for demand in order:
        if work.way[demand] < 0 and not work.admit(demand) and work.required[demand]:
            return None
    return np.array(work.way, dtype=np.int64)


class _Work:
    """A plan in the making: plain lists, since it is walked demand by demand."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.first: list[int] = problem.first.tolist()
        self.current: list[int] = problem.current.tolist()
        self.required: list[bool] = problem.required.tolist()
        self.way = [-1] * problem.demands
        self._bandwidth: list[int] = problem.bandwidth.tolist()
        self._free: list[int] = problem.capacity.tolist()
        self._start: list[int] = problem.start.tolist()
        self._link: list[int] = problem.link.tolist()
        self._moves = problem.moves

    def order(self) -> list[int]:
        """Required demands first, then by falling priority, of one priority those that have a way already."""
        weight: list[int] = self.problem.weight.tolist()
        required, current = self.required, self.current
        return sorted(range(len(weight)), key=lambda d: (not required[d], -weight[d], current[d] < 0, d))

    def _links(self, way: int) -> list[int]:
        return self._link[self._start[way] : self._start[way + 1]]

    def fits(self, demand: int, way: int) -> bool:
        size, free = self._bandwidth[demand], self._free
        return all(free[link] >= size for link in self._links(way))

    def allowed(self, demand: int, way: int) -> bool:
        return self._moves != 0 or self.current[demand] in (-1, way)

    def take(self, demand: int, way: int) -> None:
        for link in self._links(way):
            self._free[link] -= self._bandwidth[demand]
        self.way[demand] = way
        if self._moves > 0 and self.current[demand] not in (-1, way):
            self._moves -= 1

    def leave(self, demand: int) -> None:
        for link in self._links(self.way[demand]):
            self._free[link] += self._bandwidth[demand]
        self.way[demand] = -1

    def admit(self, demand: int) -> bool:
        """On the current way if there is one and it fits, else on the first that does."""
        current = self.current[demand]
        if current >= 0 and self.fits(demand, current):
            self.take(demand, current)
            return True
        for way in range(self.first[demand], self.first[demand + 1]):
            if self.allowed(demand, way) and self.fits(demand, way):
                self.take(demand, way)
                return True
        return False
