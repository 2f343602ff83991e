"""Cells of request traces as numbers: whole ones, seconds, moments, names, lists. Faults at their line and column."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from models.csv_table import Columns
from models.errors import Problems
from models.units import CLOCK_END, PS_PER_SECOND

Ints = NDArray[np.int64]
MOST_LISTED = 20  # faults of one kind that are listed one by one
_SECONDS = re.compile(r"(\d{1,18}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?\Z", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?(\+00:00|Z)?\Z", re.ASCII)
_MOST_DIGITS = 19
_WHOLE = re.compile(r"\d{1,18}\Z", re.ASCII)


def _faults(table: Columns, name: str, rows: Iterable[int], due: str, problems: Problems) -> None:
    """``due`` is what each of the cells should be."""
    rows = list(rows)
    for row in rows[:MOST_LISTED]:
        cell = table.cells[name][row]
        text = f"{name} is empty: {due} is due" if not cell else f"{name}: '{cell:.40}' is not {due}"
        problems.add(table.line[row], text, table.column(row, name))
    if len(rows) > MOST_LISTED:
        problems.add(table.line[rows[MOST_LISTED]], f"{name}: so it goes on, {len(rows) - MOST_LISTED:,} faults more")


def wholes(table: Columns, name: str, problems: Problems, least: int, most: int) -> Ints:
    """Whole numbers from ``least`` to ``most``; -1 with a problem."""
    found = [
        min(int(cell), most + 1) if len(cell) <= _MOST_DIGITS and cell.isdigit() and cell.isascii() else -1
        for cell in table.cells[name]
    ]
    values = np.array(found, dtype=np.int64)
    wrong = (values < least) | (values > most)
    if wrong.any():
        _faults(table, name, np.flatnonzero(wrong).tolist(), f"a whole number from {least} to {most}", problems)
        values[wrong] = -1
    return values


def seconds(table: Columns, name: str, problems: Problems) -> Ints:
    """Decimal seconds as ps, to the nearest; -1 with a problem."""
    scale = Decimal(PS_PER_SECOND)
    found = [min(round(Decimal(cell) * scale), CLOCK_END) if _SECONDS.match(cell) else -1 for cell in table.cells[name]]
    values = np.array(found, dtype=np.int64)
    wrong = np.flatnonzero((values < 0) | (values == CLOCK_END)).tolist()
    values[wrong] = -1
    _faults(table, name, wrong, "a number of seconds from 0 to 9,223,372 (106 days)", problems)
    return values


def moments(table: Columns, name: str, problems: Problems) -> Ints:
    """Dates with times of day (UTC, up to 9 decimals) as ps since the earliest one; -1 with a problem."""
    cells = table.cells[name]
    fit = [_MOMENT.match(cell) is not None for cell in cells]
    plain = [
        cell.removesuffix("+00:00").removesuffix("Z") if good else "1970-01-01"
        for cell, good in zip(cells, fit, strict=True)
    ]
    try:
        values = np.array(plain, dtype="datetime64[ns]").astype(np.int64)
    except ValueError:  # a 13th month, a 61st minute
        fit = [good and _is_moment(text) for text, good in zip(plain, fit, strict=True)]
        plain = [text if good else "1970-01-01" for text, good in zip(plain, fit, strict=True)]
        values = np.array(plain, dtype="datetime64[ns]").astype(np.int64)
    right = np.array(fit)
    _faults(table, name, np.flatnonzero(~right).tolist(), "a moment such as 2023-11-16 18:15:46.6805900", problems)
    since = values - values[right].min(initial=values.max())
    if int(since.max()) > CLOCK_END // 1000:
        problems.add(0, f"{name} spans more than 106 days, where the clock ends")
        return np.where(right, 0, -1)
    return np.where(right, since * 1000, -1)


def _is_moment(text: str) -> bool:
    try:
        np.datetime64(text, "ns")
    except ValueError:
        return False
    return True


def codes(table: Columns, name: str, problems: Problems) -> Ints:
    """Whole numbers as they are; other names numbered in order of first appearance. -1: an empty cell."""
    cells = table.cells[name]
    if all(not cell or _WHOLE.match(cell) for cell in cells):
        values = np.array([int(cell) if cell else -1 for cell in cells], dtype=np.int64)
        wrong = np.flatnonzero(values >= 2**31).tolist()
        _faults(table, name, wrong, "a name, or a whole number below 2^31", problems)
        return values
    known: dict[str, int] = {}
    return np.array([known.setdefault(cell, len(known)) if cell else -1 for cell in cells], dtype=np.int64)


def hash_lists(table: Columns, name: str, problems: Problems) -> list[list[int]]:
    """Whole numbers joined by ``|``; an empty cell has none."""
    lists: list[list[int]] = []
    wrong = []
    for row, cell in enumerate(table.cells[name]):
        parts = [part.strip() for part in cell.split("|")] if cell else []
        if all(_WHOLE.match(part) for part in parts):
            lists.append([int(part) for part in parts])
        else:
            wrong.append(row)
            lists.append([])
    _faults(table, name, wrong, "whole numbers joined by |", problems)
    return lists
