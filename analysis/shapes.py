"""CSV tables of shapes and of measurements: read with every fault at its place, written with columns added."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Column
from models.csv_table import cells
from models.errors import Problems, nearest

Table = dict[str, NDArray[Any]]
_TYPES: dict[str, Any] = {"text": object, "integer": np.int64, "number": np.float64}
_MOST = 50  # problems of cells that are shown


class Shapes(NamedTuple):
    """A read table: its header and cells as written, its line numbers, and the known columns as arrays."""

    header: list[str]
    cells: list[list[str]]
    line: list[int]
    table: Table

    def place(self, row: int, column: str, path: Path) -> tuple[int, int]:
        """Line and column (from 1) of a cell."""
        text = _text(path).splitlines()[self.line[row] - 1]
        return self.line[row], cells(text)[self.header.index(column)][1]


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")


def read_shapes(path: Path, columns: Sequence[Column], problems: Problems) -> Shapes | None:
    """Read a CSV (or .csv.gz); extra columns are kept as text. Faults go to ``problems``.

    None if it is not a table at all; a column with bad cells is missing in ``table``.
    """
    try:
        text = _text(path)
    except UnicodeDecodeError as error:
        problems.add(0, f"is not UTF-8 text (byte {error.start})")
        return None
    except (OSError, EOFError) as error:
        problems.add(0, f"can't be read: {getattr(error, 'strerror', None) or error}")
        return None
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found = [cell.strip() for cell in line.split(",")] if '"' not in line else [c for c, _ in cells(line)]
        except ValueError as error:
            problems.add(number, str(error), line.index('"') + 1)
            continue
        if not header:
            header = found
            _check_header(header, line, number, columns, problems)
            if problems.found:
                return None
        elif len(found) != len(header):
            problems.add(number, f"{len(found)} cells, but the header has {len(header)}")
        else:
            rows.append(found)
            lines.append(number)
    if not header:
        problems.add(0, f"is empty; a header is due: {','.join(c.name for c in columns if not c.optional)}")
    elif not rows and not problems.found:
        problems.add(0, "has a header but no rows")
    if problems.found:
        return None
    shapes = Shapes(header, rows, lines, {})
    for column in columns:
        if column.name in header:
            values = _convert(shapes, column, path, problems)
            if len(values):
                shapes.table[column.name] = values
    return shapes


def _check_header(header: list[str], line: str, number: int, columns: Sequence[Column], problems: Problems) -> None:
    known = [column.name for column in columns]
    missing = [column.name for column in columns if not column.optional and column.name not in header]
    if len(missing) == len([column for column in columns if not column.optional]):
        problems.add(number, f"no header; the first line must name the columns: {','.join(missing)}")
        return
    places = [column for _, column in cells(line)]
    for index, name in enumerate(header):
        if name in header[:index]:
            problems.add(number, f"column '{name}' twice", places[index])
        elif name not in known:
            hint = nearest(name, missing)
            if hint.startswith("; did"):
                problems.add(number, f"unknown column '{name}'{hint}", places[index])
    if missing and not problems.found:
        problems.add(number, f"the header lacks {', '.join(missing)}")


def _convert(shapes: Shapes, column: Column, path: Path, problems: Problems) -> NDArray[Any]:
    """One column as an array; each bad cell is a problem at its place, up to a limit."""
    read: dict[str, Callable[[str], Any]] = {"text": _word, "integer": _integer, "number": _number}
    at = shapes.header.index(column.name)
    values: list[Any] = []
    bad = 0
    for row, line in enumerate(shapes.cells):
        try:
            value = read[column.kind](line[at])
            if column.kind != "text" and not column.low <= value <= column.high:
                raise ValueError(f"{line[at]} is not in {column.low:g} .. {column.high:g}")
            values.append(value)
        except ValueError as error:
            bad += 1
            if bad <= _MOST:
                number, place = shapes.place(row, column.name, path)
                problems.add(number, f"{column.name}: {error}", place)
    if bad > _MOST:
        problems.add(0, f"{bad - _MOST} more bad cells in column {column.name}")
    return np.array([] if bad else values, dtype=_TYPES[column.kind])


def _word(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"'{text}' is not finite")
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        value = _number(text)
        if value != int(value):
            raise ValueError(f"'{text}' is not a whole number") from None
        return int(value)


def check_names(shapes: Shapes, names: dict[str, Sequence[str]], path: Path, problems: Problems) -> None:
    """Each text cell must be one of its column's names; the nearest is offered."""
    for column, valid in names.items():
        if column not in shapes.table:
            continue
        found = shapes.table[column]
        for name in sorted(set(found) - set(valid)):
            rows = np.flatnonzero(found == name)
            number, place = shapes.place(int(rows[0]), column, path)
            more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
            problems.add(number, f"unknown {column} '{name}'{nearest(name, valid)}{more}", place)


def written(shapes: Shapes, added: dict[str, Sequence[str]]) -> str:
    """The table as CSV text with columns added, or replaced where the name is there already."""
    keep = [index for index, name in enumerate(shapes.header) if name not in added]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([shapes.header[index] for index in keep] + list(added))
    columns = list(added.values())
    for row, line in enumerate(shapes.cells):
        writer.writerow([line[index] for index in keep] + [column[row] for column in columns])
    return out.getvalue()
