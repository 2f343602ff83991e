"""Files of whole numbers under a header, plain or gzip: read at C speed, and faults found at their line and column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.csv_table import cells, read_text
from models.errors import Problems, nearest


@dataclass(frozen=True)
class Table:
    """``columns`` of a file by name; ``value`` [rows, columns]; ``line`` [rows] counts from 1."""

    columns: list[str]
    value: NDArray[np.int64]
    line: NDArray[np.int64]
    texts: list[str]  # all lines of the file
    header_line: int

    def column(self, name: str) -> NDArray[np.int64]:
        """[rows] values of a column."""
        return self.value[:, self.columns.index(name)]

    def fault(self, problems: Problems, row: int, column: str, message: str) -> None:
        """A problem with one cell."""
        line = int(self.line[row])
        place = cells(self.texts[line - 1])[self.columns.index(column)][1]
        problems.add(line, f"{column}: {message}", place)


def integer_table(path: Path, required: list[str], prefix: str, problems: Problems) -> Table | None:
    """A table with the ``required`` columns and prefix0, prefix1, ... in this order; None where there are problems.

    Blank lines and lines that start with ``#`` are skipped. Cells are whole numbers.
    """
    text = read_text(path, problems)
    if text is None:
        return None
    texts = text.splitlines()
    body = [
        (number, line) for number, line in enumerate(texts, 1) if line.strip() and not line.lstrip().startswith("#")
    ]
    if not body:
        problems.add(0, f"is empty; a header is due: {','.join(required)},{prefix}0,{prefix}1,...")
        return None
    header_line, header = body[0]
    columns = [name for name, _ in cells(header)]
    wide = max(len(columns) - len(required), 1)
    valid = [*required, *(f"{prefix}{index}" for index in range(wide))]
    if columns != valid:
        for (name, place), due in zip(cells(header), valid, strict=False):
            if name != due:
                problems.add(header_line, f"column '{due}' is due here, not '{name}'{nearest(name, valid)}", place)
                return None
        problems.add(header_line, f"the header lacks {valid[-1]}")
        return None
    if len(body) == 1:
        problems.add(header_line, "no rows under the header")
        return None
    numbers = np.array([number for number, _ in body[1:]], dtype=np.int64)
    try:
        value = np.loadtxt([line for _, line in body[1:]], delimiter=",", dtype=np.int64, ndmin=2, comments=None)
        if value.shape[1] == len(columns):
            return Table(columns, value, numbers, texts, header_line)
    except ValueError:
        pass
    _name_faults(body[1:], columns, problems)
    return None


def _name_faults(body: list[tuple[int, str]], columns: list[str], problems: Problems) -> None:
    """Which rows have the wrong number of cells, and which cells are no whole numbers."""
    for number, text in body:
        found = cells(text)
        if len(found) != len(columns):
            problems.add(number, f"{len(found)} cells, but the header has {len(columns)}")
            continue
        for name, (cell, place) in zip(columns, found, strict=True):
            digits = cell[1:] if cell[:1] in "+-" else cell
            if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
                problems.add(number, f"{name}: '{cell}' is not a whole number", place)
