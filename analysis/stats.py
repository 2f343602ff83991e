"""Means and percentiles with an interval; where a warm-up ends.

Batch means: A. M. Law, Simulation Modeling and Analysis, section 9.5.3. MSER-5: K. P. White, M. J. Cobb, S. C. Spratt,
"A comparison of five steady-state truncation heuristics for simulation", Winter Simulation Conference 2000.
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


def in_batches(values: NDArray[Any], batches: int) -> NDArray[np.float64]:
    """Means of ``batches`` equal batches; what does not fill one is left out at the start. ValueError: an empty one."""
    series = np.asarray(values, dtype=np.float64)
    size = len(series) // batches
    if batches < 2 or size < 1:
        raise ValueError(f"{len(series)} values are too few for {batches} batches")
    return series[len(series) - size * batches :].reshape(batches, size).mean(axis=1)


def batch_means(values: NDArray[Any], *, batches: int = 30, confidence: float = 0.99, warm_up: float = 0.1) -> Interval:
    """Mean of a correlated stationary series with a t interval over the means of ``batches`` equal batches.

    The first ``warm_up`` share and what does not fill a batch (also at the start) are left out. ValueError where a
    batch would be empty.
    """
    kept = len(values) - int(len(values) * (1 - warm_up))
    means = in_batches(np.asarray(values)[kept:], batches)
    from scipy.special import stdtrit

    half = float(stdtrit(batches - 1, 0.5 + confidence / 2) * means.std(ddof=1) / np.sqrt(batches))
    value = float(means.mean())
    return Interval(value, value - half, value + half, batches)


def warm_up(series: NDArray[Any], *, batch: int = 5) -> int:
    """Values to cut from the start of ``series``, by MSER-5: at most half of it.

    The cut that makes the mean of the rest most certain, as if its batches of five were independent.
    """
    values = np.asarray(series, dtype=np.float64)
    number = len(values) // batch
    if number < 4:
        return 0
    means = values[: number * batch].reshape(number, batch).mean(axis=1)[::-1]
    means = means - means.mean()
    kept = np.arange(1, number + 1)
    total, squares = np.cumsum(means), np.cumsum(means**2)
    error = (squares - total**2 / kept) / kept.astype(np.float64) ** 2  # of the mean of the last ``kept`` batches
    candidates = error[(number - 1) // 2 :][::-1]  # cut 0, 1, ... batches; at least half stays
    return int(np.argmin(candidates)) * batch


def mean_interval(values: NDArray[Any], *, confidence: float = 0.95) -> Interval:
    """Mean of independent values with its t interval; of one value, that value alone. ValueError without any."""
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        raise ValueError("a mean needs at least one value")
    value, half = float(numbers.mean()), 0.0
    if len(numbers) > 1:
        from scipy.special import stdtrit

        quantile = float(stdtrit(len(numbers) - 1, 0.5 + confidence / 2))
        half = quantile * float(numbers.std(ddof=1)) / float(np.sqrt(len(numbers)))
    return Interval(value, value - half, value + half, len(numbers))


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
