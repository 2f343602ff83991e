"""Distributions of numbers of tokens (or of turns): whole numbers from 1 to 2^24."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.csv_table import columns_of, read_text
from models.errors import Problems
from models.request_cells import wholes

Ints = NDArray[np.int64]
MOST_TOKENS = 2**24
_FOLDER = Path(__file__).parent / "lengths"


class Lengths(Protocol):
    def sample(self, rng: np.random.Generator, number: int) -> Ints: ...

    def mean(self) -> float: ...


def _whole(drawn: NDArray[np.float64]) -> Ints:
    return np.clip(drawn, 1.0, float(MOST_TOKENS)).astype(np.int64)


@dataclass(frozen=True)
class Constant:
    tokens: int

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        return np.full(number, self.tokens, dtype=np.int64)

    def mean(self) -> float:
        return float(self.tokens)


@dataclass(frozen=True)
class Uniform:
    """Any whole number from ``low`` to ``high``."""

    low: int
    high: int

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        return rng.integers(self.low, self.high, size=number, endpoint=True)

    def mean(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class Exponential:
    """Rounded up."""

    scale: float

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        return _whole(np.ceil(rng.standard_exponential(number) * self.scale))

    def mean(self) -> float:
        """Of the rounded ones, which are geometric."""
        return -1.0 / math.expm1(-1.0 / self.scale)


@dataclass(frozen=True)
class Geometric:
    scale: float

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        return np.minimum(rng.geometric(1.0 / self.scale, number), MOST_TOKENS)

    def mean(self) -> float:
        return self.scale


@dataclass(frozen=True)
class LogNormal:
    """Rounded; ``cv`` is standard deviation over mean."""

    scale: float
    cv: float

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        variance = math.log1p(self.cv**2)
        drawn = np.exp(math.log(self.scale) - variance / 2 + math.sqrt(variance) * rng.standard_normal(number))
        return _whole(np.rint(drawn))

    def mean(self) -> float:
        return self.scale


@dataclass(frozen=True, eq=False)
class Listed:
    """One of some values, equally likely. Values of one ``table`` stand in rows that belong together."""

    values: Ints
    table: str

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        return self.values[rng.integers(len(self.values), size=number)]

    def mean(self) -> float:
        return float(self.values.mean())


def sample_pair(
    rngs: tuple[np.random.Generator, np.random.Generator], prompt: Lengths, output: Lengths, number: int
) -> tuple[Ints, Ints]:
    """Lengths of prompts and answers: rows of one table where both are of the same, else each from its generator."""
    if isinstance(prompt, Listed) and isinstance(output, Listed) and prompt.table == output.table:
        rows = rngs[0].integers(len(prompt.values), size=number)
        return prompt.values[rows], output.values[rows]
    return prompt.sample(rngs[0], number), output.sample(rngs[1], number)


@cache
def shipped(name: str, column: str) -> Listed:
    """``prompt`` or ``output`` of a shipped table (azure_conv, azure_code); lengths/NOTICE.md says from where."""
    return read(_FOLDER / f"{name}.csv.gz", column)


def read(path: Path, column: str) -> Listed:
    """A column of a CSV file. InputError: no such column, no rows, no whole numbers from 1 on."""
    problems = Problems(str(path))
    text = read_text(path, problems)
    table = None if text is None else columns_of(text, (column,), (), problems, others=True)
    if table is None and not problems.found:
        problems.add(0, "holds no lengths")
    values = np.zeros(0, dtype=np.int64) if table is None else wholes(table, column, problems, 1, MOST_TOKENS)
    problems.raise_if_any()
    return Listed(values, str(path))
