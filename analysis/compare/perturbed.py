"""What one changed key does to a run: which tables move, or that none does, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.compare.inert import reason
from analysis.grid import align
from analysis.load import Results, load
from models.records import TABLES


@dataclass(frozen=True)
class Perturbed:
    """``moved``: tables that differ. ``reason``: why none does, where that can be told, or why it was not tried."""

    key: str
    was: str
    tried: str
    moved: tuple[str, ...]
    reason: str = ""


def perturbed(key: str, was: str, tried: str, base: Path, changed: Path) -> Perturbed:
    """The run in ``changed`` differs from that in ``base`` in this key alone."""
    runs = load(base), load(changed)
    moved = tuple(name for name in TABLES if _bytes(runs[0], name) != _bytes(runs[1], name))
    return Perturbed(key, was, tried, moved, "" if moved else reason(key, runs))


def _bytes(run: Results, table: str) -> bytes:
    path = run.folder / f"{table}.parquet"
    return path.read_bytes() if path.exists() else b""


def text(rows: list[Perturbed]) -> str:
    """A row a key, the idle ones first."""
    ordered = sorted(rows, key=lambda row: (bool(row.moved), not row.tried))
    titles = [("key", ""), ("value", ""), ("tried", ""), ("effect", "")]
    cells = [[row.key, row.was, row.tried or "-", _effect(row)] for row in ordered]
    idle = sum(bool(row.tried) and not row.moved for row in rows)
    tried = sum(bool(row.tried) for row in rows)
    return f"{align(titles, cells, left=4)}\n\n{idle} of {tried} keys change nothing when they change alone."


def _effect(row: Perturbed) -> str:
    if not row.tried:
        return row.reason
    if row.moved:
        return f"moves {', '.join(row.moved)}"
    return f"inert: {row.reason}" if row.reason else "inert; the reason can't be told from the results"
