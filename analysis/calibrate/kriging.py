"""Kriging of log residuals: the best linear guess between measured points, and a return to 0 far from them.

The residual of a law is taken as a sum of Gaussian fields, each with its own size and length per coordinate; a field
may be shared by all rows or belong to the rows that agree in some categories (one kernel, one GPU). The guess at a new
point is the conditional mean. A field of finite length forgets: away from the data the law stands alone. Points that
lie far off their neighbours count less (their noise is raised; two rounds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

_OUTLIER = 2.5  # residuals beyond so many noise units weigh less
_CHUNK = 2000


@dataclass(frozen=True)
class Field:
    """A Matern field: ``size`` in log units, ``lengths`` by coordinate, ``rough`` 1/2 instead of 3/2.

    ``within``: categories that two rows must share for the field to tie them.
    """

    size: float
    lengths: tuple[float, ...]
    within: tuple[int, ...] = ()
    rough: bool = False

    def covariance(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Between points [n, d] and [m, d] that share the field."""
        scaled_a, scaled_b = a / np.array(self.lengths), b / np.array(self.lengths)
        square = (scaled_a**2).sum(1)[:, None] + (scaled_b**2).sum(1)[None] - 2 * scaled_a @ scaled_b.T
        distance = np.sqrt(np.maximum(square, 0.0))
        if self.rough:
            return np.asarray(self.size**2 * np.exp(-distance))
        distance *= np.sqrt(3)
        return np.asarray(self.size**2 * (1 + distance) * np.exp(-distance))

    def shares(self, categories: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Rows by the part of the field that they lie on."""
        if not self.within:
            return [np.arange(len(categories))]
        _, part = np.unique(categories[:, list(self.within)], axis=0, return_inverse=True)
        return [np.flatnonzero(part.ravel() == number) for number in range(int(part.max()) + 1)]


@dataclass(frozen=True)
class Guess:
    """A fitted residual: ``at`` gives its mean at new points."""

    fields: Sequence[Field]
    points: NDArray[np.float64]
    categories: NDArray[np.int64]
    weights: NDArray[np.float64]

    def at(self, points: NDArray[np.float64], categories: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        if categories is None:
            categories = np.zeros((len(points), 1), np.int64)
        out = np.zeros(len(points))
        for field in self.fields:
            kind = list(field.within)
            for rows in field.shares(categories):
                known = (self.categories[:, kind] == categories[rows[0], kind]).all(1)
                for part in np.array_split(rows, -(-len(rows) // _CHUNK)):
                    out[part] += field.covariance(points[part], self.points[known]) @ self.weights[known]
        return out


def krige(
    fields: Sequence[Field],
    points: NDArray[np.float64],
    residual: NDArray[np.float64],
    noise: NDArray[np.float64] | float,
    categories: NDArray[np.int64] | None = None,
    rounds: int = 2,
) -> Guess:
    """Fit: ``points`` [n, d], ``residual`` [n] in log units, ``noise`` its spread; ``categories`` [n, c]."""
    if categories is None:
        categories = np.zeros((len(points), 1), np.int64)
    tied = np.zeros((len(points), len(points)))
    for field in fields:
        for rows in field.shares(categories):
            tied[np.ix_(rows, rows)] += field.covariance(points[rows], points[rows])
    spread = np.broadcast_to(np.asarray(noise, np.float64), residual.shape).copy()
    weights = np.zeros(len(points))
    for last in range(rounds):
        system = tied.copy()
        system[np.diag_indices(len(points))] += spread**2
        weights = cho_solve(cho_factor(system, lower=True, overwrite_a=True, check_finite=False), residual)
        off = np.abs(spread**2 * weights) / (_OUTLIER * spread)
        if last < rounds - 1:
            spread *= np.sqrt(np.maximum(1.0, off))
    return Guess(fields, points, categories, weights)
