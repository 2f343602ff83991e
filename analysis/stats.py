"""Means and percentiles with an interval.

Batch means: A. M. Law, Simulation Modeling and Analysis, section 9.5.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.summary import percentiles


class Interval(NamedTuple):
    """An estimate and its confidence interval. ``half_width`` is the larger of the two sides."""

    value: float
    low: float
    high: float
    n: int  # samples, or batches

    @property
    def half_width(self) -> float:
        return max(self.high - self.value, self.value - self.low)

    @property
    def relative(self) -> float:
        """Half-width over the estimate."""
        return self.half_width / abs(self.value) if self.value else float("inf")

    def __contains__(self, number: object) -> bool:
        return isinstance(number, (int, float)) and self.low <= number <= self.high


def without_null(values: NDArray[Any]) -> NDArray[Any]:
    numbers = np.asarray(values)
    return numbers[~np.isnan(numbers)] if numbers.dtype.kind == "f" else numbers


def percentile(values: NDArray[Any], quantile: float) -> float | None:
    """Linear quantile; nulls are skipped; None without values, for p95 below 20 and for p99 below 100 of them."""
    return percentiles(without_null(values), [quantile])[0]


def batch_means(values: NDArray[Any], *, batches: int = 30, confidence: float = 0.99, warm_up: float = 0.1) -> Interval:
    """Mean of a correlated stationary series with a t interval over the means of ``batches`` equal batches.

    The first ``warm_up`` share and what does not fill a batch (also at the start) are left out. ValueError where a
    batch would be empty.
    """
    series = np.asarray(values, dtype=np.float64)
    size = int(len(series) * (1 - warm_up)) // batches
    if batches < 2 or size < 1:
        raise ValueError(f"{len(series)} values are too few for {batches} batches")
    means = series[len(series) - size * batches :].reshape(batches, size).mean(axis=1)
    from scipy.special import stdtrit

    half = float(stdtrit(batches - 1, 0.5 + confidence / 2) * means.std(ddof=1) / np.sqrt(batches))
    value = float(means.mean())
    return Interval(value, value - half, value + half, batches)


def bootstrap(
    values: NDArray[Any],
    statistic: Callable[[NDArray[Any]], float],
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of ``statistic`` over independent samples. ValueError below two samples."""
    samples = without_null(values)
    if len(samples) < 2:
        raise ValueError("a bootstrap needs at least two samples")
    drawn = [statistic(samples[rng.integers(0, len(samples), len(samples))]) for _ in range(resamples)]
    low, high = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2]).tolist()
    return Interval(float(statistic(samples)), low, high, len(samples))
