"""What the runs of each case say, beside what was published."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.kept_rows import Row, read
from benchmarks.uet.cases import Case, cases

ROWS = Path(__file__).with_name("rows.jsonl")
REASONS = Path(__file__).with_name("reasons.csv")
BAND, MEDIAN, EXACT, NEAR = 0.15, 0.05, 0.01, 0.05  # of one row, of the median row, of one flow; worth a reason above
SEEDS, MANY = 5, 50  # of a case; of one whose range is asked for
RANGE = (5, 95)  # percentiles


@dataclass(frozen=True)
class Found:
    """A case and its runs, by seed."""

    case: Case
    runs: tuple[Row, ...]

    def each(self, key: str) -> np.ndarray:
        return np.array([run[key] for run in self.runs], dtype=float)

    @cached_property
    def tail(self) -> float:
        """Median over the seeds, us."""
        return float(np.median(self.each("tail")))

    @property
    def deviation(self) -> float:
        """Of our median, as a share of what was published."""
        return self.tail / self.case.tail - 1

    @property
    def range(self) -> tuple[float, float]:
        """5th and 95th percentile where that is what is asked for, else the least and the most."""
        ends = RANGE if self.case.kind == "range" else (0, 100)
        low, high = np.percentile(self.each("tail"), ends)
        return float(low), float(high)

    @property
    def holds(self) -> bool | None:
        """Whether the row keeps its own bound; None of one that has none."""
        if self.case.kind == "shown":
            return None
        if self.case.kind == "range":
            return self.range[0] <= self.case.tail <= self.range[1]
        bound = EXACT if self.case.matrix == "one" else BAND
        return abs(self.deviation) <= bound


def seeds(case: Case) -> range:
    """One flow has no randomness, but is run as often."""
    return range(1, 1 + (MANY if case.kind == "range" else SEEDS))


def key(case: Case, seed: int) -> str:
    """Name of a run among the kept rows."""
    return f"{case.slug}/{seed}"


def found(file: Path = ROWS) -> list[Found]:
    """Every case with the runs of its seeds that are kept."""
    rows = read(file)
    kept = [(case, tuple(rows[key(case, seed)] for seed in seeds(case) if key(case, seed) in rows)) for case in cases()]
    return [Found(case, runs) for case, runs in kept if runs]


def median_deviation(rows: Iterable[Found]) -> float:
    """Of the rows that are held to a band."""
    return float(np.median([abs(row.deviation) for row in rows if row.case.kind == "band"]))


def largest(rows: Iterable[Found]) -> Found:
    return max((row for row in rows if row.case.kind == "band"), key=lambda row: abs(row.deviation))


def orders(rows: Iterable[Found]) -> list[tuple[Found, Found, bool]]:
    """Pairs of balancers under equal settings whose published values differ by more than 5 %, better one first, and
    whether ours agree."""
    groups: dict[object, list[Found]] = {}
    for row in rows:
        case = row.case
        if case.matrix == "permutation" and case.paths > 1 and case.uplinks is None and case.slow != 1:
            groups.setdefault((case.control, case.sack, case.queue, case.slow), []).append(row)
    pairs = []
    for group in groups.values():
        for one, other in combinations(sorted(group, key=lambda row: row.case.tail), 2):
            if other.case.tail > 1.05 * one.case.tail:
                pairs.append((one, other, one.tail < other.tail))
    return pairs


def reasons() -> Mapping[str, str]:
    """Why a row is off, by the case's slug."""
    with REASONS.open(encoding="utf-8", newline="") as file:
        return {row["case"]: row["reason"] for row in csv.DictReader(file)}
