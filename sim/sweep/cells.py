"""The plan of a sweep: points (a variant at values of the axes) and cells (a point on a seed), named by what they are.

A cell's name is a digest of the effective scenario with its seed, of the contents of every file that it reads and of
the code's version: the same cell has the same name in every sweep, and a changed one another name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sim.scenario.load import Loaded, Text, load
from sim.scenario.show import text_of
from sim.sweep.code import code_version

_DIGITS = 20  # of a name: no two of 10^9 cells share it


@dataclass(frozen=True)
class Source:
    """What is given to ``load`` for every point: absolute paths, since a worker may run in another folder."""

    scenario: str | Text
    sets: tuple[str, ...]
    plugins: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One variant at one value of every axis. ``values``: as YAML, by key. ``label`` is short, for people."""

    variant: str | None
    values: dict[str, str]
    numbers: dict[str, float | None]  # the values in base units, None where they are no numbers
    label: str


@dataclass(frozen=True)
class Cell:
    """One run of a sweep. Small and picklable: a worker loads the scenario itself."""

    digest: str
    name: str  # of the scenario
    point: Point
    seed: int
    source: Source

    @property
    def label(self) -> str:
        return f"{self.point.label or self.name}, seed {self.seed}"


def load_cell(cell: Cell) -> Loaded:
    """The checked scenario of a cell. InputError where it can't be loaded."""
    point = cell.point
    return with_seed(_load_point(cell.source, tuple(point.values.items()), point.variant), cell.seed)


@lru_cache(maxsize=4)
def _load_point(source: Source, varied: tuple[tuple[str, str], ...], variant: str | None) -> Loaded:
    """Seeds of a point come one after the other and share what was loaded, its topology included."""
    return load(source.scenario, source.sets, None, source.plugins, varied, variant)[0]


def with_seed(loaded: Loaded, seed: int) -> Loaded:
    """The same on another seed. It has no variant any more: a cell is the same whatever it is called."""
    scenario = loaded.scenario.model_copy(update={"seed": seed})
    return replace(loaded, variant=None, scenario=scenario, effective={**loaded.effective, "seed": seed})


def digest_of(loaded: Loaded) -> str:
    """The name of the cell that runs ``loaded``."""
    read = [file for file in loaded.inputs if file != loaded.file]
    return _digest(text_of(loaded.effective), *(f"{file.name} {_content(file)}" for file in read))


def digest_of_unloadable(source: Source, point: Point, seed: int) -> str:
    """A name for a cell whose scenario can't be loaded: by what was asked for."""
    asked: tuple[Any, ...] = (source.sets, tuple(point.values.items()), point.variant, seed)
    written = source.scenario
    text = written.text if isinstance(written, Text) else Path(written).read_text(encoding="utf-8")
    return _digest(text, repr(asked))


def _digest(*parts: str) -> str:
    digest = hashlib.sha256(code_version().encode())
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:_DIGITS]


def _content(file: Path) -> str:
    facts = file.stat()
    return _content_at(file, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=1024)
def _content_at(file: Path, changed: int, size: int) -> str:
    """Large inputs are read once a change, not once a cell."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def absolute(path: str | Path) -> str:
    return str(Path(path).absolute())
