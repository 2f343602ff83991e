"""``compare(study, runs)``: looks, runs more seeds, looks again; every pair's verdict and every arm's rank."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.compare.metrics import Metric, default
from analysis.compare.readings import Reading, warm_up_of
from analysis.compare.study import Cell, Runs, Study
from analysis.compare.verdicts import Verdict, enough, figures, judge, seeds_for_sign_test, usable
from analysis.compare.words import per_cent


@dataclass(frozen=True)
class Findings:
    """``seeds``: how many each point took. ``cuts``: flows cut as warm-up, by point and metric.

    ``seedless``: every seed of the first look gave the same bytes, so no more were run.
    """

    study: Study
    readings: dict[Cell, Reading]
    seeds: tuple[int, ...]
    cuts: dict[tuple[int, Metric], int]
    verdicts: tuple[Verdict, ...]
    seedless: bool

    @property
    def metric(self) -> Metric:
        """The one that decides."""
        return self.study.metrics[0]

    @property
    def family(self) -> int:
        return self.study.family(len(self.study.metrics))

    def arm(self, arm: str, point: int) -> list[Reading]:
        """Seed by seed."""
        return [self.readings[Cell(arm, point, seed)] for seed in self.study.seeds(self.seeds[point])]

    def mean(self, arm: str, point: int, metric: Metric) -> float | None:
        """Over the seeds on which it may be claimed; None where they are too few, or a run has no such figure."""
        readings = self.arm(arm, point)
        if len(readings) > 1 and not enough(metric, [readings]):
            return None
        kept = [readings[seed] for seed in usable(metric, [readings])]
        mean = float(figures(metric, kept, self.cuts[point, metric]).mean()) if kept else math.nan
        return None if math.isnan(mean) else mean

    @cached_property
    def _by_pair(self) -> dict[tuple[frozenset[str], int, Metric], Verdict]:
        return {(frozenset(verdict.pair), verdict.point, verdict.metric): verdict for verdict in self.verdicts}

    def verdict(self, one: str, other: str, point: int, metric: Metric) -> Verdict:
        return self._by_pair[frozenset((one, other)), point, metric]

    def rank(self, arm: str, point: int, metric: Metric) -> int:
        """1 more than the arms that are decidedly better: tied arms share a rank."""
        others = [other for other in self.study.arms if other != arm]
        return 1 + sum(self.verdict(arm, other, point, metric).winner == other for other in others)

    def ranked(self, point: int, metric: Metric) -> list[str]:
        """By rank, then by mean; arms without a mean at the end of their rank."""

        def order(arm: str) -> tuple[int, float]:
            mean = self.mean(arm, point, metric)
            signed = math.inf if mean is None else -mean if metric.larger_is_better else mean
            return self.rank(arm, point, metric), signed

        return sorted(self.study.arms, key=order)

    def best(self, point: int, metric: Metric) -> tuple[str, ...]:
        """Arms that no other is better than, the best mean first."""
        return tuple(arm for arm in self.ranked(point, metric) if self.rank(arm, point, metric) == 1)


def compare(study: Study, runs: Runs) -> Findings:
    """Runs as many seeds as the study's rule asks for, at each point for itself."""
    seen = _Seen(study, runs)
    rule, points = study.rule, range(len(study.points))
    numbers = [rule.first] * len(points)
    seen.look(numbers, f"{rule.first} seeds, to see how much they scatter" if rule.exactly is None else "all seeds")
    # of two seeds alone, a policy that chooses between two paths would often give the same by chance
    seedless = rule.first > 1 and seen.same_for_all_seeds(numbers)
    seen.cut(numbers)
    if not seedless and rule.exactly is None:
        numbers = [seen.needed(point) for point in points]
        seen.look(
            numbers, f"{max(numbers)} seeds: so many find a difference of {per_cent(rule.precision)} (--precision)"
        )
    study = seen.study
    family = study.family(len(study.metrics))
    verdicts = [
        judge(pair, point, metric, seen.both(pair, point, numbers[point]), seen.cuts[point, metric], rule, family)
        for metric in study.metrics
        for point in points
        for pair in study.pairs
    ]
    return Findings(study, seen.readings, tuple(numbers), seen.cuts, tuple(verdicts), seedless)


class _Seen:
    """What has been run so far."""

    def __init__(self, study: Study, runs: Runs) -> None:
        self.study = study
        self.readings: dict[Cell, Reading] = {}
        self.cuts: dict[tuple[int, Metric], int] = {}
        self._runs = runs

    def look(self, numbers: Sequence[int], purpose: str) -> None:
        """Up to so many seeds at each point."""
        cells = [
            Cell(arm, point, seed)
            for point, number in enumerate(numbers)
            for seed in self.study.seeds(number)
            for arm in self.study.arms
        ]
        new = [cell for cell in cells if cell not in self.readings]
        if new:
            for cell, folder in zip(new, self._runs(new, purpose), strict=True):
                self.readings[cell] = Reading(folder)
        if not self.study.metrics:
            metric = default(self.readings[cells[0]].run)
            self.study = dataclasses.replace(self.study, metrics=(metric,))

    def arm(self, arm: str, point: int, number: int) -> list[Reading]:
        return [self.readings[Cell(arm, point, seed)] for seed in self.study.seeds(number)]

    def both(self, pair: tuple[str, str], point: int, number: int) -> tuple[list[Reading], list[Reading]]:
        return self.arm(pair[0], point, number), self.arm(pair[1], point, number)

    def cut(self, numbers: Sequence[int]) -> None:
        """Where the warm-up ends, from the first look."""
        for point, number in enumerate(numbers):
            together = [reading for arm in self.study.arms for reading in self.arm(arm, point, number)]
            for metric in self.study.metrics:
                self.cuts[point, metric] = warm_up_of(together, metric)

    def same_for_all_seeds(self, numbers: Sequence[int]) -> bool:
        arms = [self.arm(arm, point, number) for arm in self.study.arms for point, number in enumerate(numbers)]
        return all(reading.digest == readings[0].digest for readings in arms for reading in readings)

    def needed(self, point: int) -> int:
        """Seeds: the most that any pair needs on any metric."""
        rule = self.study.rule
        family = self.study.family(len(self.study.metrics))
        needed = rule.first
        for pair in self.study.pairs:
            both = self.both(pair, point, rule.first)
            for metric in self.study.metrics:
                kept = usable(metric, both)
                if not enough(metric, both):
                    needed = max(needed, min(rule.most, seeds_for_sign_test(rule.level(family))))
                    continue
                first, second = (
                    figures(metric, [arm[seed] for seed in kept], self.cuts[point, metric]) for arm in both
                )
                if np.isfinite(first).all() and np.isfinite(second).all():
                    needed = max(needed, rule.needed(first, second, family))
        return needed
