"""How many seeds a comparison takes, and what its interval claims: Stein's two stages.

A first look at ``start`` seeds estimates the spread of the paired difference, and from it follows how many seeds find
a true relative difference of ``precision`` with 80 % power. The second look is the last. How many seeds are run
depends on the spread alone, never on the difference seen: nothing is stopped because it looks decided, which would
decide too often. All intervals of a certificate hold together (C. E. Bonferroni): each has the confidence
``1 - (1 - confidence) / family`` where ``family`` is their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from analysis.compare.paired import Difference, Method, Pairs, difference, spread

POWER = 0.8


@dataclass(frozen=True)
class Rule:
    """``precision``: the true relative difference to be found with 80 % power. ``exactly``: so many seeds instead."""

    precision: float = 0.02
    confidence: float = 0.95
    start: int = 10
    most: int = 200
    exactly: int | None = None
    method: Method = "t"

    @property
    def first(self) -> int:
        """Seeds of the first look."""
        return self.exactly or min(self.start, self.most)

    def level(self, family: int) -> float:
        """Confidence of each of ``family`` intervals that hold together."""
        return 1 - (1 - self.confidence) / family

    def needed(self, baseline: Pairs, other: Pairs, family: int = 1) -> int:
        """Seeds in all, after the first look at these. Where no ratio exists, precision means nothing: no more."""
        deviation = spread(baseline, other)
        if self.exactly is not None or deviation is None:
            return len(baseline)
        wanted = (self._reach(len(baseline), family) * deviation / self.precision) ** 2
        return max(len(baseline), min(self.most, math.ceil(wanted)))

    def difference(self, baseline: Pairs, other: Pairs, family: int = 1, first: int | None = None) -> Difference:
        """After the last look; ``first``: how many of the pairs the first look had."""
        pilot = None if self.exactly is not None else min(first or self.first, len(baseline))
        return difference(baseline, other, self.level(family), pilot=pilot, method=self.method)

    def detectable(self, found: Difference, family: int = 1) -> float | None:
        """The smallest true relative difference that these seeds would have found with 80 % power."""
        if found.spread is None:
            return None
        return self._reach(found.pilot, family) * found.spread / math.sqrt(found.absolute.n)

    def _reach(self, pilot: int, family: int) -> float:
        """Standard errors at which a true difference is found with 80 % power."""
        quantiles = stdtrit(pilot - 1, np.array([0.5 + self.level(family) / 2, POWER]))
        return float(quantiles.sum())
