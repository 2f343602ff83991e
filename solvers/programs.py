"""Linear and integer programs, what a solver is told and what it answers: the form that all of ``backends`` share.

maximise cost . x   subject to   row_low <= matrix x <= row_high,  low <= x <= high,  x whole where ``whole``
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Program:
    """See the module. ``unit``: costs are multiples of it on whole variables, so two values differ by at least that."""

    cost: Floats  # [columns]
    matrix: csr_array  # [rows, columns]
    row_low: Floats  # [rows] -inf: none
    row_high: Floats  # [rows] inf: none
    low: Floats  # [columns]
    high: Floats  # [columns]
    whole: bool = True  # all variables, or none
    unit: float = 1.0

    @property
    def columns(self) -> int:
        return len(self.cost)

    @property
    def rows(self) -> int:
        return len(self.row_high)


class Point(NamedTuple):
    """What was known after so many seconds; without a solution yet ``objective`` is -inf."""

    seconds: float
    objective: float
    bound: float


Watch = Callable[[Point], None]


@dataclass(frozen=True)
class Effort:
    """When a solver stops, and what it is told. ``watch`` is called with each new point of the anytime curve."""

    seconds: float | None = None
    nodes: int | None = None
    seed: int = 1
    start: Floats | None = None  # [columns] a solution to begin with
    watch: Watch | None = None


@dataclass(frozen=True)
class Answer:
    """``x`` None: no solution came. ``bound`` is inf if there is none, -inf if it is proven that nothing is feasible.

    ``row_price`` of a linear program: what one more unit of each row's limit is worth.
    """

    x: Floats | None
    bound: float
    solver: str  # with its version
    seconds: float
    nodes: int = 0
    steps: tuple[Point, ...] = ()
    row_price: Floats | None = None
    interrupted: bool = False

    @property
    def infeasible(self) -> bool:
        return self.bound == -math.inf
