"""Distributions of flow sizes: whole bytes, at least 1, with the exact mean and second moment of what is drawn."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problems, nearest

_FOLDER = Path(__file__).resolve().parent / "cdfs"
_HEADER = "flow_size_bytes,cdf_percent"
_LARGEST = 2**50  # bytes; far above any flow, far below where float arithmetic loses whole bytes


class SizeDistribution(Protocol):
    """Sizes in bytes."""

    def sample(self, rng: np.random.Generator, number: int) -> NDArray[np.int64]:
        """[number] independent sizes."""
        ...

    def mean(self) -> float:
        """E[size] in bytes."""
        ...

    def second_moment(self) -> float:
        """E[size^2] in bytes^2."""
        ...


class Constant:
    """Always the same size."""

    def __init__(self, size: int) -> None:
        if not 1 <= size <= _LARGEST:
            raise ValueError(f"a size of {size} bytes is outside 1 .. 2^50")
        self.size = size

    def sample(self, rng: np.random.Generator, number: int) -> NDArray[np.int64]:
        return np.full(number, self.size, dtype=np.int64)

    def mean(self) -> float:
        return float(self.size)

    def second_moment(self) -> float:
        return float(self.size) ** 2


class Exponential:
    """An exponential variable rounded up to whole bytes, with exactly the given mean after rounding.

    The rounded variable is geometric: P(size > i) = (1 - 1/mean)^i. The continuous one that is drawn therefore has the
    slightly smaller mean -1 / ln(1 - 1/mean), which is mean - 1/2 for large means.
    """

    def __init__(self, mean: int) -> None:
        if not 1 <= mean <= 2**44:
            raise ValueError(f"a mean of {mean} bytes is outside 1 .. 2^44")
        self._mean = mean
        self._scale = -1.0 / math.log1p(-1.0 / mean) if mean > 1 else 0.0

    def sample(self, rng: np.random.Generator, number: int) -> NDArray[np.int64]:
        drawn = rng.standard_exponential(number) * self._scale
        return np.maximum(np.ceil(drawn), 1.0).astype(np.int64)

    def mean(self) -> float:
        return float(self._mean)

    def second_moment(self) -> float:
        return float(self._mean) * (2.0 * self._mean - 1.0)


class Empirical:
    """Points of a distribution function, linear between them, drawn values rounded up to whole bytes.

    Between points a < b a size is one of a+1 .. b, each equally likely; a first point with a share above 0, and a
    step (two points of one size), are sizes with that probability.
    """

    def __init__(self, sizes: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
        """``sizes`` [points] bytes, not falling; ``shares`` [points] 0..1, not falling, the last 1."""
        below = np.concatenate([[0.0], shares[:-1]])
        lower = np.concatenate([sizes[:1], sizes[:-1]])
        used = shares > below
        self._upper = sizes[used]
        self._lower = lower[used]
        self._cdf = shares[used]
        self._below = below[used]

    def sample(self, rng: np.random.Generator, number: int) -> NDArray[np.int64]:
        drawn = rng.random(number)
        part = np.searchsorted(self._cdf, drawn, side="right")
        lower, upper, below = self._lower[part], self._upper[part], self._below[part]
        depth = (drawn - below) / (self._cdf[part] - below)
        sizes: NDArray[np.int64] = np.ceil(lower + depth * (upper - lower)).astype(np.int64)
        # rounding may cross a point by one
        inside: NDArray[np.int64] = np.maximum(np.minimum(sizes, upper), np.minimum(lower + 1, upper))
        return inside

    def mean(self) -> float:
        return float(((self._cdf - self._below) * (self._first() + self._upper) / 2.0).sum())

    def second_moment(self) -> float:
        first, last = self._first().astype(np.float64), self._upper.astype(np.float64)
        number = last - first + 1.0
        middle = (first + last) / 2.0
        return float(((self._cdf - self._below) * (middle**2 + (number**2 - 1.0) / 12.0)).sum())

    def _first(self) -> NDArray[np.int64]:
        """Smallest size of each part."""
        first: NDArray[np.int64] = np.minimum(self._lower + 1, self._upper)
        return first


def names() -> list[str]:
    """The distributions that are shipped."""
    return sorted(path.stem for path in _FOLDER.glob("*.csv"))


@cache
def named(name: str) -> Empirical:
    """A shipped distribution; ValueError with the nearest name for an unknown one."""
    if name not in names():
        raise ValueError(f"unknown size distribution '{name}'{nearest(name, names())}")
    return read_cdf(_FOLDER / f"{name}.csv")


def read_cdf(path: Path, shown: str | None = None) -> Empirical:
    """A CSV file ``flow_size_bytes,cdf_percent``, called ``shown`` in errors. InputError with every fault."""
    problems = Problems(shown or str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problems.add(0, f"the file can't be read: {error.strerror}")
        raise InputError(problems.found) from None
    except UnicodeDecodeError:
        problems.add(0, "the file is not UTF-8 text")
        raise InputError(problems.found) from None
    bare = [line.split("#", maxsplit=1)[0] for line in text.splitlines()]
    lines = [(number, line) for number, line in enumerate(bare, 1) if line.strip()]
    if not lines or [cell.strip() for cell in lines[0][1].split(",")] != _HEADER.split(","):
        problems.add(lines[0][0] if lines else 1, f"the header '{_HEADER}' is due")
        raise InputError(problems.found)
    points = [point for number, line in lines[1:] if (point := _point(line, number, problems)) is not None]
    if not problems.found:
        _check(points, lines[0][0], problems)
    problems.raise_if_any()
    return Empirical(
        np.array([size for _, size, _ in points], dtype=np.int64), np.array([share for _, _, share in points]) / 100.0
    )


def _point(line: str, number: int, problems: Problems) -> tuple[int, int, float] | None:
    """(line number, bytes, per cent), or None with a problem noted."""
    cells = line.split(",")
    if len(cells) != 2:
        problems.add(number, f"2 columns are due ({_HEADER}), not {len(cells)}")
        return None
    size = share = None
    try:
        size = int(cells[0])
    except ValueError:
        problems.add(number, f"'{cells[0].strip()}' is not a whole number of bytes")
    try:
        share = float(cells[1])
    except ValueError:
        problems.add(number, f"'{cells[1].strip()}' is not a number of per cent", len(cells[0]) + 2)
    if size is not None and not 0 <= size <= _LARGEST:
        problems.add(number, f"{size} bytes is outside 0 .. 2^50")
        return None
    if share is not None and not 0.0 <= share <= 100.0:
        problems.add(number, f"{cells[1].strip()} per cent is outside 0 .. 100", len(cells[0]) + 2)
        return None
    return None if size is None or share is None else (number, size, share)


def _check(points: list[tuple[int, int, float]], header: int, problems: Problems) -> None:
    """A distribution function: not falling, no empty flows, ends at 100."""
    if not points:
        problems.add(header, "no points follow the header")
        return
    for (_, size, share), (number, next_size, next_share) in pairwise(points):
        if next_size < size:
            problems.add(number, f"sizes must not fall: {next_size} after {size}")
        if next_share < share:
            problems.add(number, f"shares must not fall: {next_share:g} after {share:g}")
    for number, size, share in points:
        if size == 0 and share > 0.0:
            problems.add(number, f"{share:g} per cent of the flows would have 0 bytes")
    number, _, share = points[-1]
    if share != 100.0:
        problems.add(number, f"the last share must be 100 per cent, not {share:g}")
