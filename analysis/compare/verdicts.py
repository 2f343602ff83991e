"""One pair of arms at one point on one metric: which is better, or why that can't be said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.compare.metrics import Metric
from analysis.compare.paired import Difference, Pairs, turned
from analysis.compare.readings import Reading, series
from analysis.compare.rule import Rule
from analysis.stats import in_batches

# decided: one arm is better; tie: can't be told apart; equal: the same figure in every seed; identical: the same tables
# in every seed; unfinished: an arm saturates, stops or stalls; undefined: the figure does not exist
Kind = Literal["decided", "tie", "equal", "identical", "unfinished", "undefined"]

RARE = 0.1  # share of seeds that may be left out because an arm saturates there
BATCHES = 30  # of the only run, where one seed must do


@dataclass(frozen=True)
class Verdict:
    """``difference`` has the first arm of the pair as its baseline; None where no figures were compared."""

    pair: tuple[str, str]
    point: int
    metric: Metric
    kind: Kind
    winner: str | None = None
    difference: Difference | None = None
    detectable: float | None = None  # the smallest relative difference that would have been found
    reason: str = ""

    @property
    def below(self) -> float | None:
        """No relative difference is larger than this, whichever arm is the baseline, with the interval's confidence."""
        ratio = self.difference.ratio if self.difference else None
        if ratio is None:
            return None
        return max(abs(end) for side in (ratio, turned(ratio)) for end in (side.low, side.high))


def judge(
    pair: tuple[str, str],
    point: int,
    metric: Metric,
    readings: tuple[Sequence[Reading], Sequence[Reading]],
    cut: int,
    rule: Rule,
    family: int,
) -> Verdict:
    """``readings``: of both arms, seed by seed; ``cut``: flows to leave out at their start."""
    found = _without_figures(pair, point, metric, readings, cut, rule.level(family))
    if found is not None:
        return found
    kept = usable(metric, readings)
    pairs = samples(metric, ([readings[0][seed] for seed in kept], [readings[1][seed] for seed in kept]), cut)
    if pairs is None:
        return Verdict(pair, point, metric, "undefined", reason="one seed shows no spread: take two or more")
    difference = rule.difference(*pairs, family, sum(seed < rule.first for seed in kept))
    detectable = rule.detectable(difference, family)
    if np.array_equal(*pairs):
        return Verdict(pair, point, metric, "equal", None, difference, detectable)
    if not difference.decided:
        return Verdict(pair, point, metric, "tie", None, difference, detectable)
    second = (difference.absolute.value > 0) == metric.larger_is_better
    return Verdict(pair, point, metric, "decided", pair[second], difference, detectable)


def samples(
    metric: Metric, readings: tuple[Sequence[Reading], Sequence[Reading]], cut: int
) -> tuple[Pairs, Pairs] | None:
    """A pair of figures a seed; of one seed in steady state a pair of means a batch; None where that can't be had."""
    if len(readings[0]) > 1:
        return figures(metric, readings[0], cut), figures(metric, readings[1], cut)
    only = [arm[0] for arm in readings]
    if metric.statistic != "mean" or not all(reading.steady(metric) for reading in only):
        return None
    flows = [series(reading.run, metric.described)[cut:] for reading in only]
    if len(flows[0]) != len(flows[1]):
        return None
    both = np.isfinite(flows[0]) & np.isfinite(flows[1])
    if both.sum() < 2 * BATCHES:
        return None
    return in_batches(flows[0][both], BATCHES), in_batches(flows[1][both], BATCHES)


def usable(metric: Metric, readings: Sequence[Sequence[Reading]]) -> list[int]:
    """Numbers of the seeds on which every arm may claim the figure."""
    return [seed for seed, arms in enumerate(zip(*readings, strict=True)) if all(one.claims(metric) for one in arms)]


def enough(metric: Metric, readings: Sequence[Sequence[Reading]]) -> bool:
    """Whether the other seeds may be left out: they are rare, and no arm fails in another way than by saturating."""
    seeds = len(readings[0])
    statuses = {reading.status for arm in readings for reading in arm}
    return statuses <= {"completed", "saturated"} and len(usable(metric, readings)) >= max((1 - RARE) * seeds, 2)


def figures(metric: Metric, arm: Sequence[Reading], cut: int) -> Pairs:
    """Seed by seed; NaN where a run has no such figure, or may not claim it."""
    found = [reading.figure(metric, cut) if reading.claims(metric) else None for reading in arm]
    return np.array(found, dtype=np.float64)


def _without_figures(
    pair: tuple[str, str],
    point: int,
    metric: Metric,
    readings: tuple[Sequence[Reading], Sequence[Reading]],
    cut: int,
    confidence: float,
) -> Verdict | None:
    """Where figures need not, or must not, be compared."""
    if all(a.digest == b.digest for a, b in zip(*readings, strict=True)):
        return Verdict(pair, point, metric, "identical")
    bad = [[not reading.claims(metric) for reading in arm] for arm in readings]
    survivor = _survivor(pair, bad, confidence)
    if any(map(any, bad)) and (survivor is not None or not enough(metric, readings)):
        told = [_unfinished(name, arm, flags) for name, arm, flags in zip(pair, readings, bad, strict=True)]
        return Verdict(pair, point, metric, "unfinished", survivor, reason=", ".join(told))
    for name, arm in zip(pair, readings, strict=True):
        missing = [reading for reading in arm if reading.claims(metric) and reading.figure(metric, cut) is None]
        if missing:
            where = f" in {len(missing)} of {len(arm)} seeds" if len(missing) < len(arm) else ""
            reason = f"{metric} of {name} is null{where}: {metric.why_null(missing[0].run, cut)}"
            return Verdict(pair, point, metric, "undefined", reason=reason)
    return None


def _unfinished(name: str, arm: Sequence[Reading], flags: Sequence[bool]) -> str:
    words = {"saturated": "saturates", "stopped": "is stopped", "stalled": "stalls", "completed": "completes"}
    statuses = [reading.status for reading, flag in zip(arm, flags, strict=True) if flag]
    if not statuses:
        return f"{name} does not"
    worst = max(set(statuses), key=statuses.count)
    return f"{name} {words[worst]} in {len(statuses)} of {len(arm)} seeds"


def _survivor(pair: tuple[str, str], bad: Sequence[Sequence[bool]], confidence: float) -> str | None:
    """The arm that ends well where the other does not, if a sign test over the seeds says so."""
    only = [sum(mine and not other for mine, other in zip(*order, strict=True)) for order in (bad, bad[::-1])]
    differ, fewer = sum(only), min(only)
    if not differ:
        return None
    chance = 2 * sum(math.comb(differ, k) for k in range(fewer + 1)) / 2**differ
    return pair[only[0] > only[1]] if chance <= 1 - confidence else None


def seeds_for_sign_test(confidence: float) -> int:
    """So many seeds, all on one side, decide."""
    return math.ceil(1 - math.log2(1 - confidence))
