"""Reads a result directory: ``load(folder)``. What is missing, foreign or damaged is an InputError that says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import InputError, Problem, nearest
from models.records import MANIFEST, PROGRAM, SCHEMA, STATUSES, SWEEP, TABLES


@dataclass(frozen=True)
class Results:
    """One result directory. ``summary`` is empty where the directory only holds variants; tables are read on demand."""

    folder: Path
    manifest: dict[str, Any]
    summary: dict[str, Any]

    @property
    def status(self) -> str:
        return str(self.summary.get("status", "")) if self.summary else worst([v["status"] for v in self._listed()])

    def _listed(self) -> list[dict[str, Any]]:
        return list(self.manifest.get("variants", []))

    @cached_property
    def variants(self) -> dict[str, Results]:
        """Name -> results, in the scenario's order; empty without variants."""
        return {entry["name"]: load(self.folder / entry["name"]) for entry in self._listed()}

    def runs(self) -> dict[str, Results]:
        """The runs to compare: the variants, or this one under its scenario's name."""
        return self.variants or {str(self.manifest.get("name", self.folder.name)): self}

    def choose(self, variant: str | None) -> Results:
        """The run itself, or its variant of that name. InputError where none or a wrong one is named."""
        found = self.variants
        if variant is None:
            if found:
                raise _wrong(self.folder, f"holds variants; name one with --variant: {', '.join(found)}")
            return self
        if not found:
            raise _wrong(self.folder, f"is one run without variants, so there is no '{variant}'")
        if variant not in found:
            raise _wrong(self.folder, f"has no variant '{variant}'{nearest(variant, found)}")
        return found[variant]

    def rows(self, name: str) -> int:
        return int(self.summary.get(name, {}).get("count", 0))

    def number(self, table: str, column: str, statistic: str) -> float | None:
        """A figure of summary.json, or None where there is none."""
        value = self.summary.get(table, {}).get(column, {}).get(statistic)
        return None if value is None else float(value)

    def frame(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Table ``name`` (only ``columns``); without rows an empty frame with the described columns."""
        if name not in TABLES:
            raise KeyError(f"no table '{name}'{nearest(name, TABLES)}")
        wanted = list(columns) if columns is not None else TABLES[name].names()
        if self.rows(name) == 0:
            return pd.DataFrame(columns=wanted)
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / f"{name}.parquet"
        if not path.exists():
            raise _wrong(path, "is missing")
        try:
            read = pq.read_table(path, columns=wanted, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise _wrong(path, f"can't be read as table '{name}': {str(error).splitlines()[0]}") from None
        missing = [column for column in wanted if column not in read.column_names]
        if missing or len(read) != self.rows(name):
            what = f"lacks {', '.join(missing)}" if missing else f"has {len(read)} rows, the summary {self.rows(name)}"
            raise _wrong(path, f"table '{name}' {what}")
        return read.to_pandas()

    def host_name(self, gpu: int) -> str:
        """The host that a GPU's rank stands for."""
        names = self.manifest.get("fabric", {}).get("host_names")
        return str(names[gpu]) if names else f"host{gpu}"

    @cached_property
    def tier_of(self) -> dict[str, str]:
        """Switch -> its tier's name. A node that is not in it is a host."""
        tiers = self.manifest.get("fabric", {}).get("tiers", {})
        return {node: tier for tier, nodes in tiers.items() for node in nodes}


def worst(statuses: Sequence[str]) -> str:
    """The status that a group of runs has: that of its worst member."""
    return max(statuses, key=STATUSES.index) if statuses else ""


def load(folder: Path | str) -> Results:
    """The results below ``folder``. InputError where it holds none of this version."""
    folder = Path(folder)
    if not folder.is_dir():
        raise _wrong(folder, "is not a directory with results")
    manifest = _read(folder / "manifest.json")
    if manifest.get("program") != PROGRAM:
        raise _wrong(folder / "manifest.json", "is not a Spillway manifest")
    _check_schema(folder / "manifest.json", manifest)
    listed = manifest.get("variants", [])
    if not isinstance(listed, list) or any(
        not isinstance(v, dict) or v.get("status") not in STATUSES or not _plain_name(v.get("name")) for v in listed
    ):
        raise _wrong(folder / "manifest.json", f"is damaged: 'variants' should hold {MANIFEST['variants'].lower()}")
    if listed:
        return Results(folder, manifest, {})
    if manifest.get("kind") == SWEEP:
        raise _wrong(folder, "holds many runs (a sweep or a comparison); name one of them, in its folder cells")
    summary = _read(folder / "summary.json")
    _check_schema(folder / "summary.json", summary)
    if summary.get("status") not in STATUSES or any(not isinstance(summary.get(t, {}), dict) for t in TABLES):
        raise _wrong(folder / "summary.json", "is damaged: no status of a run, or a table that is no object")
    return Results(folder, manifest, summary)


def find_runs(folder: Path, depth: int = 3) -> list[Results]:
    """Every single run at or below ``folder``, in order of name, variants in the scenario's order."""
    if (folder / "manifest.json").is_file():
        results = load(folder)
        return list(results.runs().values())
    if depth == 0 or not folder.is_dir():
        return []
    # half written, or set aside as damaged
    odd = {".partial", ".corrupt"}
    below = sorted(child for child in folder.iterdir() if child.is_dir() and odd.isdisjoint(child.suffixes))
    return [run for child in below for run in find_runs(child, depth - 1)]


def _plain_name(name: object) -> bool:
    return isinstance(name, str) and bool(name) and Path(name).name == name


def _check_schema(path: Path, content: dict[str, Any]) -> None:
    if content.get("schema") != SCHEMA:
        raise _wrong(path, f"has schema {content.get('schema')!r}; this version reads {SCHEMA}: run the scenario again")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _wrong(path, "is missing, so this is not a directory with results") from None
    except (OSError, ValueError) as error:
        raise _wrong(path, f"can't be read: {error}") from None
    if not isinstance(content, dict):
        raise _wrong(path, "is damaged: not a JSON object")
    return content


def _wrong(path: Path, message: str) -> InputError:
    return InputError([Problem(str(path), 0, 0, message)])
