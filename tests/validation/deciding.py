"""The stopping rule on queues whose answer is known: how often its interval covers, and how often it finds.

A run is Poisson arrivals to two equal servers, each flow sent to one of them at random: a path policy that hashes.
Split at random, each server is an M/D/1 or M/M/1 queue of its own, so the mean time in the system is that of
Pollaczek and Khinchine, E[S] + load E[S^2] / (2 E[S] (1 - load)). Arms share the arrivals of a seed (common random
numbers); the split, and service times that are drawn, are the arm's own. A run begins empty, is cut by MSER-5 and
gives one mean, as flows of a steady state do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.compare.paired import Difference
from analysis.compare.rule import Rule
from analysis.stats import warm_up
from models.jit import njit

Values = NDArray[np.float64]


class Arm(NamedTuple):
    """Servers of one policy: mean service time, arrivals come every half unit of time; spread 0 (D) or 1 (M)."""

    service: float
    exponential: bool = False

    @property
    def mean(self) -> float:
        """Time in the system."""
        second = 2.0 if self.exponential else 1.0
        return self.service + second * self.service**2 / (2 * (1 - self.service))


class Case(NamedTuple):
    """Two arms and the rule; ``flows`` of a run; ``common``: both arms draw from one policy stream.

    ``tail``: the 99th percentile is compared instead of the mean. Of M/M/1 its ratio is that of the means, as the time
    in the system is exponential.
    """

    name: str
    arms: tuple[Arm, Arm]
    rule: Rule
    flows: int = 2000
    common: bool = False
    tail: bool = False

    def figure(self, times: Values) -> float:
        return float(np.quantile(times, 0.99) if self.tail else times.mean())

    @property
    def truth(self) -> float:
        return self.arms[1].mean / self.arms[0].mean - 1


def slower(arm: Arm, share: float) -> Arm:
    """An arm whose mean time is longer by this share."""
    low, high = arm.service, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if Arm(middle, arm.exponential).mean < (1 + share) * arm.mean else (low, middle)
    return Arm(low, arm.exponential)


@njit("float64[::1](float64[::1], float64[::1], int64[::1])")
def times_of(gap: Any, service: Any, server: Any) -> Any:
    """Time in the system of each flow: what is left to do at its server, and its own service."""
    left = np.zeros(2)
    times = np.empty(len(gap))
    for flow in range(len(gap)):
        for one in range(2):
            left[one] = max(0.0, left[one] - gap[flow])
        left[server[flow]] += service[flow]
        times[flow] = left[server[flow]]
    return times


def runs(case: Case, repetition: int, seeds: Sequence[int]) -> list[list[Values]]:
    """[arms][seeds] times of all flows."""
    found: list[list[Values]] = [[], []]
    for seed in seeds:
        arrivals = np.random.default_rng((repetition, seed, 0)).exponential(0.5, case.flows)
        for number, arm in enumerate(case.arms):
            rng = np.random.default_rng((repetition, seed, 1 if case.common else 1 + number))
            server = rng.integers(0, 2, case.flows)
            own = rng.exponential(1.0, case.flows) if arm.exponential else np.ones(case.flows)
            found[number].append(times_of(arrivals, own * arm.service, server))
    return found


def decide(case: Case, repetition: int) -> Difference:
    """The rule's two looks."""
    first = runs(case, repetition, range(case.rule.first))
    cut = warm_up(np.mean([one / one.mean() for arm in first for one in arm], axis=0))
    pilot = [np.array([case.figure(one[cut:]) for one in arm]) for arm in first]
    needed = case.rule.needed(pilot[0], pilot[1])
    more = runs(case, repetition, range(case.rule.first, needed))
    pairs = [np.array([*seen, *(case.figure(one[cut:]) for one in arm)]) for seen, arm in zip(pilot, more, strict=True)]
    return case.rule.difference(pairs[0], pairs[1])


class Score(NamedTuple):
    """Shares of the repetitions."""

    covered: float
    told_apart: float
    seeds: float  # mean
    capped: float


def score(case: Case, repetitions: int) -> Score:
    found = list(_all(case, repetitions))
    seeds = np.array([one.absolute.n for one in found])
    covered = [one.ratio is not None and one.ratio.low <= case.truth <= one.ratio.high for one in found]
    capped = float((seeds >= case.rule.most).mean())
    return Score(float(np.mean(covered)), float(np.mean([one.decided for one in found])), float(seeds.mean()), capped)


def _all(case: Case, repetitions: int) -> Iterator[Difference]:
    for repetition in range(repetitions):
        yield decide(case, repetition)


MD1, MM1 = Arm(0.5), Arm(0.5, exponential=True)
CASES = (
    Case("M/D/1, the same policy twice", (MD1, MD1), Rule(precision=0.02)),
    Case("M/M/1, the same policy twice", (MM1, MM1), Rule(precision=0.04)),
    Case("M/D/1, one 2 % slower", (MD1, slower(MD1, 0.02)), Rule(precision=0.02)),
    Case("M/D/1, one 10 % slower", (MD1, slower(MD1, 0.1)), Rule(precision=0.02)),
    Case("M/D/1 and M/M/1", (MD1, MM1), Rule(precision=0.03)),
    Case("M/M/1, one 5 % slower, one policy stream", (MM1, slower(MM1, 0.05)), Rule(precision=0.01), 8000, True),
    Case("M/M/1 p99, the same policy twice", (MM1, MM1), Rule(precision=0.1), tail=True),
    Case("M/M/1 p99, the same, bootstrap", (MM1, MM1), Rule(precision=0.1, method="bootstrap"), tail=True),
    Case("M/M/1 p99, one 10 % slower", (MM1, slower(MM1, 0.1)), Rule(precision=0.1), tail=True),
)
