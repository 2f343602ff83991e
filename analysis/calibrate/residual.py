"""Smooth residual tables: what is left of log(measured / law), as sums of piecewise linear curves.

A law with physics in it gives the shape; a table mends what the law can't know (tuner decisions, protocol switches).
The curves are fitted by penalised least squares: every knot is pulled to 0 and to its neighbours, so where there is
no data a curve flattens and fades instead of running off. Outliers count less (Huber weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

_NOISE = 0.02  # log units: spread of repeats of one measurement
_OUTLIER = 2.0  # residuals beyond so many noise units weigh less


@dataclass(frozen=True)
class Term:
    """One family of curves: row ``i`` lies on curve ``group[i]`` at ``x[i]``.

    ``spread`` is how far a curve may leave 0, ``step`` how much it may change from knot to knot (log units).
    """

    group: NDArray[np.int64]
    groups: int
    x: NDArray[np.float64]
    knots: NDArray[np.float64]
    spread: float
    step: float

    def design(self) -> sparse.csr_matrix:
        last = len(self.knots) - 1
        if last == 0:
            left, share = np.zeros(len(self.x), np.int64), np.zeros(len(self.x))
        else:
            left = np.clip(np.searchsorted(self.knots, self.x, side="right") - 1, 0, last - 1)
            share = np.clip((self.x - self.knots[left]) / (self.knots[left + 1] - self.knots[left]), 0.0, 1.0)
        rows = np.arange(len(self.x))
        at = self.group * (last + 1) + left
        columns = self.groups * (last + 1)
        lower = sparse.csr_matrix((1 - share, (rows, at)), (len(rows), columns))
        if last == 0:
            return lower
        return lower + sparse.csr_matrix((share, (rows, at + 1)), (len(rows), columns))

    def penalty(self) -> sparse.csr_matrix:
        knots = len(self.knots)
        one = sparse.identity(knots) / self.spread**2
        if knots > 1:
            change = sparse.diags([-np.ones(knots - 1), np.ones(knots - 1)], [0, 1], (knots - 1, knots))
            one = one + change.T @ change / self.step**2
        return sparse.kron(sparse.identity(self.groups), one).tocsr()


def fit(residual: NDArray[np.float64], terms: Sequence[Term], rounds: int = 4) -> list[NDArray[np.float64]]:
    """The curves of each term at its knots: arrays ``[groups, knots]`` whose sum follows ``residual``."""
    design = sparse.hstack([term.design() for term in terms]).tocsr()
    penalty = sparse.block_diag([term.penalty() for term in terms]).tocsr()
    weight = np.ones(len(residual))
    for _ in range(rounds):
        scaled = design.multiply(weight[:, None] / _NOISE**2).tocsr()
        value = spsolve((design.T @ scaled + penalty).tocsc(), scaled.T @ residual, permc_spec="MMD_AT_PLUS_A")
        off = np.abs(residual - design @ value) / (_OUTLIER * _NOISE)
        weight = 1 / np.maximum(1.0, off)
    tables, start = [], 0
    for term in terms:
        stop = start + term.groups * len(term.knots)
        tables.append(value[start:stop].reshape(term.groups, -1))
        start = stop
    return tables
