"""CSV files with a required header: every cell with its line and column, all faults of a file at once."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from models.errors import Problems, nearest


class Row(NamedTuple):
    """One line of a table: the text of each named cell and the column (from 1) where it starts."""

    line: int
    text: dict[str, str]
    column: dict[str, int]


def read_text(path: Path, problems: Problems) -> str | None:
    """The text of a file, unpacked if its name ends in .gz, or None and a problem that says why not."""
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add(0, f"is not UTF-8 text (byte {error.start})")
    except (gzip.BadGzipFile, EOFError, zlib.error):
        problems.add(0, "is not a whole gzip file")
    except OSError as error:
        problems.add(0, f"can't be read: {error.strerror or error}")
    return None


def cells(line: str) -> list[tuple[str, int]]:
    """(text, column) of the cells of one line; double quotes protect commas, "" is a quote. ValueError: open quote."""
    if '"' not in line:
        found, place = [], 0
        for part in line.split(","):
            found.append((part.strip(), place + 1 + len(part) - len(part.lstrip())))
            place += len(part) + 1
        return found
    found, place = [], 0
    while place <= len(line):
        while place < len(line) and line[place] in " \t":
            place += 1
        begin, text = place, ""
        if place < len(line) and line[place] == '"':
            place += 1
            while True:
                end = line.find('"', place)
                if end < 0:
                    raise ValueError("a quote is not closed")
                text += line[place:end]
                place = end + 1
                if line[place : place + 1] != '"':
                    break
                text += '"'
                place += 1
        end = line.find(",", place)
        end = len(line) if end < 0 else end
        found.append(((text + line[place:end]).strip(), begin + 1))
        place = end + 1
    return found


def lines_of(text: str, problems: Problems) -> Iterator[tuple[int, list[tuple[str, int]]]]:
    """(line, cells) of every line but blank ones and those that start with ``#``; an open quote is a problem."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found = cells(line)
        except ValueError as error:
            problems.add(number, str(error), line.index('"') + 1)
            continue
        yield number, found


def read_table(path: Path, required: Sequence[str], optional: Sequence[str], problems: Problems) -> list[Row]:
    """The rows under a header that names all ``required`` columns, and of ``optional`` any, in any order.

    Blank lines and lines that start with ``#`` are skipped. Faults go to ``problems``; rows with faults are left out.
    """
    text = read_text(path, problems)
    if text is None:
        return []
    header: list[str] | None = None
    rows: list[Row] = []
    for number, found in lines_of(text, problems):
        if header is None:
            header = _header(found, number, required, optional, problems)
            if header is None:
                return []
        elif len(found) != len(header):
            problems.add(number, f"{len(found)} cells, but the header has {len(header)} ({','.join(header)})")
        else:
            texts = {name: cell for name, (cell, _) in zip(header, found, strict=True)}
            columns = {name: column for name, (_, column) in zip(header, found, strict=True)}
            rows.append(Row(number, texts, columns))
    if header is None:
        problems.add(0, f"is empty; a header is due: {','.join(required)}")
    return rows


class Columns(NamedTuple):
    """A table by column: the texts of the cells, and where they stand."""

    cells: dict[str, list[str]]
    line: list[int]  # of each row
    text: list[str]  # all lines of the file
    header: list[str]

    def column(self, row: int, name: str) -> int:
        """The column (from 1) where a cell starts."""
        return cells(self.text[self.line[row] - 1])[self.header.index(name)][1]


def columns_of(
    text: str, required: Sequence[str], optional: Sequence[str], problems: Problems, *, others: bool = False
) -> Columns | None:
    """As ``read_table`` for long files, from their text; ``others``: columns of other names are left out.

    None where the header has faults or there is no row.
    """
    lines = text.splitlines()
    header: list[str] | None = None
    rows: list[list[str]] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace() or line.lstrip().startswith("#"):
            continue
        if header is None:
            found = cells(line) if line.count('"') % 2 == 0 else []
            valid = [name for name, _ in found if others and name not in required]
            header = _header(found, number, required, [*optional, *valid], problems)
            if header is None:
                return None
            continue
        row = _texts(line, number, problems)
        if row is not None and len(row) != len(header):
            problems.add(number, f"{len(row)} cells, but the header has {len(header)} ({','.join(header)})")
        elif row is not None:
            rows.append(row)
            numbers.append(number)
    if header is None:
        problems.add(0, f"is empty; a header is due: {','.join(required)}")
    if header is None or not rows:
        return None
    wanted = {*required, *optional}
    kept = {name: [row[place] for row in rows] for place, name in enumerate(header) if name in wanted}
    return Columns(kept, numbers, lines, header)


def _texts(line: str, number: int, problems: Problems) -> list[str] | None:
    """The cells' texts; None with a problem. The quick way for lines without quotes."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(",")]
    try:
        return [cell for cell, _ in cells(line)]
    except ValueError as error:
        problems.add(number, str(error), line.index('"') + 1)
        return None


def _header(
    found: list[tuple[str, int]], line: int, required: Sequence[str], optional: Sequence[str], problems: Problems
) -> list[str] | None:
    """The names of the columns, or None with problems."""
    names = [name for name, _ in found]
    valid = [*required, *optional]
    before = len(problems.found)
    if not set(names) & set(valid):
        problems.add(line, f"no header; the first line must name the columns: {','.join(required)}")
        return None
    for position, (name, column) in enumerate(found):
        if name not in valid:
            problems.add(line, f"unknown column '{name}'{nearest(name, valid)}", column)
        elif name in names[:position]:
            problems.add(line, f"column '{name}' twice", column)
    missing = [name for name in required if name not in names]
    if missing:
        problems.add(line, f"the header lacks {', '.join(missing)}")
    return names if len(problems.found) == before else None
