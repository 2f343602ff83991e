"""Reads the index of a sweep: ``read_index(folder)``, one row a cell. What is missing or damaged is an InputError."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from models.errors import InputError, Problem, nearest
from models.records import PROGRAM, SCHEMA, SWEEP


@dataclass(frozen=True)
class Axis:
    """A key that was varied. ``unit`` of its numbers: ps, B, bit/s, 1/s or ''; ``numeric``: it has numbers."""

    key: str
    unit: str
    numeric: bool

    @property
    def short(self) -> str:
        """The last step of the key."""
        return self.key.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class Index:
    """A sweep's cells: a column for each axis, and the figures ``table.column.statistic``."""

    folder: Path
    name: str  # of the scenario
    frame: pd.DataFrame
    axes: list[Axis]

    def axis(self, key: str) -> Axis:
        """The axis of a key, or of its last step. InputError with the nearest one."""
        for one in self.axes:
            if key in (one.key, one.short):
                return one
        message = f"no key '{key}' was varied{nearest(key, [one.key for one in self.axes])}"
        raise InputError([Problem("--x", 0, 0, message)])

    def figure(self, name: str) -> str:
        """A figure's name, checked. InputError with the nearest one."""
        figures = self.figures()
        if name in figures:
            return name
        raise InputError([Problem("--y", 0, 0, f"the index has no figure '{name}'{nearest(name, figures)}")])

    def figures(self) -> list[str]:
        """Every column that can be drawn over an axis."""
        keys = {axis.key for axis in self.axes}
        numbers = self.frame.select_dtypes("number").columns
        return [str(name) for name in numbers if name not in keys and name != "seed"]


def is_sweep(folder: Path) -> bool:
    """Whether ``folder`` is that of a sweep."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("program") == PROGRAM and manifest.get("kind") == SWEEP


def read_index(folder: Path | str) -> Index:
    """The index of the sweep in ``folder``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    path = folder / "index.parquet"
    if not is_sweep(folder):
        raise InputError([Problem(str(folder), 0, 0, "is not the folder of a sweep")])
    try:
        table = pq.read_table(path, use_threads=False)
        marks = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        if marks.get("schema") != str(SCHEMA):
            message = f"has schema {marks.get('schema')!r}; this version reads {SCHEMA}: run the sweep again"
            raise InputError([Problem(str(path), 0, 0, message)])
        axes = [_axis(table.schema.field(key)) for key in json.loads(marks["axes"])]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else "can't be read"
        message = f"{reason}; run the sweep again: finished cells are kept, and the index is made from them"
        raise InputError([Problem(str(path), 0, 0, message)]) from None
    return Index(folder, marks.get("name", ""), table.to_pandas(), axes)


def _axis(field: object) -> Axis:
    import pyarrow as pa

    assert isinstance(field, pa.Field)
    unit = (field.metadata or {}).get(b"unit", b"").decode()
    return Axis(field.name, unit, pa.types.is_floating(field.type))
