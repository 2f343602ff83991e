"""The difference of two arms from pairs: the same seed under both, so that what they share cancels.

The relative difference is the ratio of the two means less one. Its t interval is E. C. Fieller's ("Some problems in
interval estimation", J. R. Stat. Soc. B 16, 1954): all ratios r for which a paired t test of ``other - r x baseline``
does not see a difference from 0. So it excludes 0 exactly where the paired t test of the difference does. The other
kind, for those who doubt that figures over seeds are near enough to normal, is the studentised bootstrap of the
logarithm of the ratio (B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from analysis.stats import Interval

Method = Literal["t", "bootstrap"]
Pairs = NDArray[np.float64]

_RESAMPLES = 4000
_BLOCK = 2**20  # drawn numbers at once
_SEED = 20_211  # the bootstrap's own: the same pairs give the same interval


@dataclass(frozen=True)
class Difference:
    """``other`` against ``baseline``, both means over the pairs.

    ``ratio``: other over baseline less one, None where a mean is not positive. ``absolute``: other less baseline.
    ``spread``: standard deviation of a pair's relative difference, over the first ``pilot`` pairs. ``decided``: the
    interval excludes 0.
    """

    baseline: float
    other: float
    absolute: Interval
    ratio: Interval | None
    spread: float | None
    pilot: int
    method: Method

    @property
    def decided(self) -> bool:
        interval = self.absolute if self.ratio is None else self.ratio
        return not interval.low <= 0 <= interval.high


def spread(baseline: Pairs, other: Pairs) -> float | None:
    """Standard deviation of a pair's relative difference; None where a mean is not positive. The same both ways."""
    means = float(baseline.mean()), float(other.mean())
    if min(means) <= 0:
        return None
    return float((other / means[1] - baseline / means[0]).std(ddof=1))


def difference(
    baseline: Pairs, other: Pairs, confidence: float, *, pilot: int | None = None, method: Method = "t"
) -> Difference:
    """Of at least two pairs, with an interval of this confidence.

    ``pilot``: the spread of the first so many pairs decided how many there are. Then the t interval takes its spread
    and degrees of freedom from them alone (C. Stein, "A two-sample test for a linear hypothesis whose power is
    independent of the variance", Ann. Math. Stat. 16, 1945), and so covers as often as it says.
    """
    first = len(baseline) if pilot is None else pilot
    sides = np.cov(baseline[:first], other[:first])
    quantile = float(stdtrit(first - 1, 0.5 + confidence / 2))
    means = float(baseline.mean()), float(other.mean())
    gap = means[1] - means[0]
    # of the difference itself, not from ``sides``: equal arms must give exactly 0
    half = quantile * float((other - baseline)[:first].std(ddof=1)) / math.sqrt(len(baseline))
    absolute = Interval(gap, gap - half, gap + half, len(baseline))
    ratio = None
    if min(means) > 0:
        if method == "bootstrap":
            ratio = _bootstrap(baseline, other, confidence)
        else:
            ratio = _fieller(means, sides, quantile**2 / len(baseline), len(baseline))
    return Difference(*means, absolute, ratio, spread(baseline[:first], other[:first]), first, method)


def turned(interval: Interval) -> Interval:
    """The relative difference with the other arm as the baseline: of b over a less one, a over b less one."""
    ends = [1 / (1 + end) - 1 if end > -1 else math.inf for end in (interval.high, interval.low)]
    return Interval(1 / (1 + interval.value) - 1, ends[0], ends[1], interval.n)


def _fieller(means: tuple[float, float], sides: NDArray[Any], scale: float, pairs: int) -> Interval:
    """Ratios less one between the roots of (other - r baseline)^2 = scale x variance of (other - r baseline).

    Of figures that are never negative no ratio is: the interval ends at -1, and covers as often.
    """
    x, y = means
    value = y / x - 1
    a = x * x - scale * float(sides[0, 0])
    b = x * y - scale * float(sides[0, 1])
    c = y * y - scale * float(sides[1, 1])
    if a <= 0:  # the baseline itself can't be told from 0: any ratio is possible
        return Interval(value, -1.0, math.inf, pairs)
    half = math.sqrt(max(b * b - a * c, 0.0)) / a
    # rounding must not push the estimate out of a very narrow interval
    return Interval(value, max(min(b / a - half - 1, value), -1.0), max(b / a + half - 1, value), pairs)


def _bootstrap(baseline: Pairs, other: Pairs, confidence: float) -> Interval:
    """Studentised bootstrap over the pairs, of the logarithm of the ratio."""
    pairs = len(baseline)
    log, error = _log_ratio(baseline[None, :], other[None, :])
    value = math.expm1(log[0])
    if error[0] == 0:
        return Interval(value, value, value, pairs)
    rng = np.random.default_rng(_SEED)
    # enough that a few resamples lie beyond each quantile
    wanted = max(_RESAMPLES, math.ceil(40 / (1 - confidence)))
    found = []
    for start in range(0, wanted, step := max(1, _BLOCK // pairs)):
        drawn = rng.integers(0, pairs, (min(step, wanted - start), pairs))
        logs, errors = _log_ratio(baseline[drawn], other[drawn])
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((logs - log[0]) / errors)
    # a resample of one pair alone has no spread: as far out as can be, on its side
    scores = np.nan_to_num(np.concatenate(found), nan=0.0)
    low, high = np.quantile(scores, [0.5 - confidence / 2, 0.5 + confidence / 2], method="inverted_cdf")
    return Interval(value, math.expm1(log[0] - high * error[0]), math.expm1(log[0] - low * error[0]), pairs)


def _log_ratio(baseline: Pairs, other: Pairs) -> tuple[Pairs, Pairs]:
    """[samples] log of the ratio of means, and its standard error; the arguments are [samples, pairs]."""
    x, y = baseline.mean(axis=1), other.mean(axis=1)
    error = (other / y[:, None] - baseline / x[:, None]).std(axis=1, ddof=1) / math.sqrt(baseline.shape[1])
    return np.log(y / x), error
