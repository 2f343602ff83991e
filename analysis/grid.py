"""Tables as text: cells, columns, rows a run; how numbers are written and columns aligned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from analysis.load import Results

Cell = float | int | str | None
# title, unit, what it shows of a run, how it is written
Column = tuple[str, str, Callable[[Results], Cell], str]
Shown = tuple[str, str, Sequence[Cell], str]  # the same with a cell a run


class Grid(NamedTuple):
    """A table as text: a heading or "", title and unit of each column, the rows; ``left``: so many columns of words."""

    heading: str
    titles: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]
    left: int

    def __str__(self) -> str:
        lines = align(self.titles, self.rows, self.left)
        return f"{self.heading}\n{lines}" if self.heading else lines


def lay_out(runs: Mapping[str, Results], columns: Sequence[Shown], left: int) -> Grid:
    """A row a run; columns in which every cell is null are left out."""
    shown = [column for column in columns if any(cell is not None for cell in column[2])]
    titles = [("variant" if len(runs) > 1 else "run", ""), *((title, unit) for title, unit, _, _ in shown)]
    rows = [[name, *(write(cells[i], form) for _, _, cells, form in shown)] for i, name in enumerate(runs)]
    return Grid("", titles, rows, left)


def over(value: float | None, best: float) -> float | None:
    return None if value is None or np.isnan(value) else value / best


def write(value: Cell, form: str = "") -> str:
    """A cell: four digits that matter, ``-`` for null; forms: a number of decimals, ``ratio``, ``share`` (per cent)."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if form == "ratio":
        return f"{value:.3f}x"
    if form == "share":
        return f"{value:.2%}" if value < 0.1 else f"{value:.1%}"
    if form:
        return f"{value:.{form}f}"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:#.4g}".rstrip(".")


def align(titles: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], left: int) -> str:
    """Columns side by side under two header lines; the first ``left`` columns hold text and stand to the left."""
    lines = [[title for title, _ in titles], [unit for _, unit in titles], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    written = []
    for line in lines:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        written.append("  ".join(cells).rstrip())
    return "\n".join(written)
