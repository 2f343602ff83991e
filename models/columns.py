"""What a result table is made of: columns with type, unit and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "float", "text"]


@dataclass(frozen=True)
class Column:
    """One column. ``null``: may be absent in a row. ``statistics``: worth a mean and percentiles in summary.json.

    ``steady``: a mean that only a run in steady state may claim, so it is null in a saturated run.
    """

    name: str
    type: Kind
    unit: str
    meaning: str
    null: bool = False
    statistics: bool = True
    steady: bool = False
    values: tuple[str, ...] = ()  # the only legal texts, where there are such


@dataclass(frozen=True)
class Table:
    """One result table: what a row is, why there may be none, and the column that is null in an unfinished row."""

    name: str
    row: str
    columns: tuple[Column, ...]
    empty: str
    unfinished: str | None = None

    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)


def key(name: str, meaning: str) -> Column:
    return Column(name, "int", "", meaning, statistics=False)


def text(name: str, meaning: str, *, null: bool = False, values: tuple[str, ...] = ()) -> Column:
    return Column(name, "text", "", meaning, null=null, statistics=False, values=values)


def count(name: str, meaning: str, unit: str = "", *, statistics: bool = True) -> Column:
    return Column(name, "int", unit, meaning, statistics=statistics)
