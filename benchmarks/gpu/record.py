"""What a measurement leaves behind: tables on disk, statistics of repeats, and the time it may take. No GPU needed."""

from __future__ import annotations

import csv
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

REPEATS = (5, 25)  # at least and at most, of one point


class Timing(NamedTuple):
    """Time of one call. ``spread`` is the distance of the quartiles of its repeats, over their median."""

    us: float
    spread: float
    repeats: int


def summary(samples: Sequence[float], calls: int = 1) -> Timing:
    """Median and spread of samples (us) that each hold ``calls`` calls. ValueError for a median that is not above 0."""
    middle = statistics.median(samples)
    if not middle > 0:
        raise ValueError("time at or below the resolution of the clock")
    low, _, high = statistics.quantiles(samples, n=4) if len(samples) > 1 else (middle, middle, middle)
    return Timing(middle / calls, (high - low) / middle, len(samples))


def repeats(estimate_us: float, total_us: float, limits: tuple[int, int] = REPEATS) -> int:
    """How often to repeat what takes ``estimate_us``, so that all repeats together take about ``total_us``."""
    return max(limits[0], min(limits[1], int(total_us / max(estimate_us, 1e-3))))


def inner_calls(estimate_us: float, copies: int, wanted_us: float = 2000.0, most: int = 256) -> int:
    """Calls in one sample: enough to make the start of a graph and the clock's steps small, and a multiple of the
    ``copies`` of the operands that take turns."""
    calls = max(1, min(most, math.ceil(wanted_us / max(estimate_us, 1e-3))))
    return -(-calls // copies) * copies


def significant(value: object) -> str:
    """A value for the table; floats with 5 significant digits and no exponent."""
    if not isinstance(value, float):
        return str(value)
    if value == 0 or not math.isfinite(value):
        raise ValueError(f"{value} is no measurement")
    digits = max(0, 4 - math.floor(math.log10(abs(value))))
    text = f"{float(f'{value:.4e}'):.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Table:
    """A CSV whose rows are on disk as soon as they are added, and in order once it is closed.

    ``keys`` are the columns that order the rows; a row's values go by column name.
    """

    def __init__(self, path: Path, columns: Sequence[str], keys: Sequence[str]) -> None:
        self.path, self.columns, self.keys = path, tuple(columns), tuple(keys)
        self.rows: list[dict[str, Any]] = []
        self._file = path.open("w", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(self.columns)

    def add(self, **row: object) -> None:
        if set(row) != set(self.columns):
            raise KeyError(f"{self.path.name}: columns {sorted(set(row) ^ set(self.columns))}")
        cells = [significant(row[name]) for name in self.columns]
        self.rows.append(row)
        self._writer.writerow(cells)
        self._file.flush()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self.rows.sort(key=lambda row: tuple(row[key] for key in self.keys))
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows([significant(row[name]) for name in self.columns] for row in self.rows)
        partial.replace(self.path)


class Budget:
    """Shares ``seconds`` among parts by weight. What a part leaves goes to those after it; None is no limit."""

    def __init__(
        self, seconds: float | None, weights: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._weights, self._clock = dict(weights), clock
        self._end = math.inf if seconds is None else clock() + seconds

    def start(self, part: str) -> float:
        """When the part has to stop, on the clock. Parts start in any order, each once."""
        everything = sum(self._weights.values())
        weight = self._weights.pop(part)
        if self._end == math.inf:
            return math.inf
        now = self._clock()
        return now + max(0.0, self._end - now) * weight / everything

    def left(self, deadline: float) -> float | None:
        """Seconds to the deadline, for a budget of its own; None without a limit."""
        return None if deadline == math.inf else max(0.0, deadline - self._clock())

    def over(self, deadline: float) -> bool:
        return self._clock() >= deadline


class Outcome:
    """What became of one part: how many points it planned and measured, and why others failed."""

    def __init__(self, planned: int) -> None:
        self.planned = planned
        self.measured = 0
        self.stopped = False
        self.seconds = 0.0
        self.spreads: list[float] = []
        self.reasons: dict[str, int] = {}
        self.notes: dict[str, object] = {}

    def measure(self, timing: Timing) -> None:
        self.measured += 1
        self.spreads.append(timing.spread)

    def fail(self, reason: str, points: int = 1) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + points

    def as_json(self) -> dict[str, object]:
        found: dict[str, object] = {
            "planned": self.planned,
            "measured": self.measured,
            "state": "stopped at the time limit" if self.stopped else "complete",
            "seconds": round(self.seconds, 1),
        }
        if self.spreads:
            found["spread_median"] = round(statistics.median(self.spreads), 4)
            found["spread_p90"] = round(sorted(self.spreads)[math.ceil(0.9 * len(self.spreads)) - 1], 4)
        if self.reasons:
            found["not_measured"] = self.reasons
        return found | self.notes


def first_line(error: BaseException) -> str:
    """An error in one line, for the list of what could not be measured."""
    lines: Iterable[str] = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {next(iter(lines))}"[:200]
