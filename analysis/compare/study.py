"""What is to be compared, and the runs that answer it: the only way from here to a simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple, Protocol

from analysis.compare.metrics import Metric
from analysis.compare.rule import Rule


class Cell(NamedTuple):
    """One run: an arm, the number of a point, a seed."""

    arm: str
    point: int
    seed: int


class Runs(Protocol):
    """Runs cells, or finds them done; their results folders, in the same order. ``purpose``: what they are for."""

    def __call__(self, cells: Sequence[Cell], purpose: str) -> Sequence[Path]: ...


class Point(NamedTuple):
    """One place of the swept range: key -> value, and a number to draw it at where all keys' values are numbers."""

    label: str
    values: Mapping[str, str]
    at: float | None = None


@dataclass(frozen=True)
class Study:
    """``arms`` are compared at each of ``points`` (one without a label: nothing is swept). ``seed`` is the first one.

    ``metrics``: the first decides, empty: by the workload. ``held``: what all arms share, by name, for the reader.
    """

    name: str
    arms: tuple[str, ...]
    points: tuple[Point, ...] = (Point("", {}),)
    metrics: tuple[Metric, ...] = ()
    rule: Rule = field(default_factory=Rule)
    seed: int = 1
    arms_by: str = "variant"  # what the arms differ in: a key, or the scenario's variants
    held: Mapping[str, str] = field(default_factory=dict)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(combinations(self.arms, 2))

    def seeds(self, number: int) -> range:
        return range(self.seed, self.seed + number)

    def family(self, metrics: int) -> int:
        """Intervals that must hold together."""
        return len(self.pairs) * len(self.points) * metrics
