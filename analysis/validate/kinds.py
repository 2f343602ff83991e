"""What may be measured: the kinds of rows, their fields, units and which results they are set beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from models.errors import nearest
from models.units import parse

Dimension = Literal["time", "size", "bandwidth", "number", "count", "text", "flag"]
# what a field of the dimension is read in; results use the first of each (us, B, GB/s)
UNITS: dict[str, tuple[str, ...]] = {
    "time": ("us", "ps", "ns", "ms", "s"),
    "size": ("B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"),
    "bandwidth": ("GB/s", "B/s", "KB/s", "MB/s", "MiB/s", "GiB/s", "Mbps", "Gbps", "Tbps", "Mb/s", "Gb/s", "Tb/s"),
}
_PARSED = {"time": "time", "size": "size", "bandwidth": "rate"}  # the words of models.units
HELD_OUT = "held_out"


@dataclass(frozen=True)
class Field:
    """A field of a measured row: its name in a map line, and the column of our results that it is."""

    name: str
    column: str
    dimension: Dimension


@dataclass(frozen=True)
class Kind:
    """A kind of rows. ``keys``: columns that make a measured and a simulated row one; ``metrics``: what is compared.

    ``keyed``: the keys must be given, so that each row has its counterpart; else rows are compared as distributions,
    and one by one where the keys are given. ``group``: rows of different values are told apart.
    """

    name: str
    table: str
    fields: tuple[Field, ...]
    keys: tuple[str, ...]
    metrics: tuple[str, ...]
    keyed: bool
    group: str | None = None
    start: str | None = None
    size: str = "bytes"

    def field(self, name: str) -> Field:
        return next(one for one in self.fields if one.name == name)


_HELD = Field(HELD_OUT, HELD_OUT, "flag")
COLLECTIVES = Kind(
    "collectives",
    "collectives",
    (
        Field("op", "op", "text"),
        Field("ranks", "ranks", "count"),
        Field("size", "bytes", "size"),
        Field("time", "time_us", "time"),
        Field("algbw", "algbw_gbytes", "bandwidth"),
        Field("busbw", "busbw_gbytes", "bandwidth"),
        _HELD,
    ),
    keys=("op", "ranks", "bytes"),
    metrics=("time_us", "algbw_gbytes", "busbw_gbytes"),
    keyed=True,
    group="op",
)
FLOWS = Kind(
    "flows",
    "flows",
    (
        Field("id", "id", "count"),
        Field("size", "bytes", "size"),
        Field("start", "start_us", "time"),
        Field("fct", "fct_us", "time"),
        Field("slowdown", "slowdown", "number"),
        _HELD,
    ),
    keys=("id",),
    metrics=("fct_us", "slowdown"),
    keyed=False,
    start="start_us",
)
KINDS = {kind.name: kind for kind in (COLLECTIVES, FLOWS)}
LATER = ("requests",)


def kind_named(name: str) -> Kind:
    """The kind of this name; ValueError with the reason where there is none."""
    if name in LATER:
        raise ValueError(f"measured {name} are not in this version; there are {' and '.join(KINDS)}")
    if name not in KINDS:
        raise ValueError(f"unknown kind '{name}'{nearest(name, KINDS)}")
    return KINDS[name]


def factor(unit: str, dimension: str) -> float:
    """What a number in ``unit`` is multiplied with to be in us, B or GB/s; ValueError with the reason."""
    valid = UNITS.get(dimension)
    if valid is None:
        raise ValueError(f"a {dimension} has no unit, so [{unit}] is wrong here")
    if unit not in valid:
        other = next((name for name, units in UNITS.items() if unit in units), None)
        if other is not None:
            raise ValueError(f"'{unit}' is the unit of a {other}, but a {dimension} is due; valid: {', '.join(valid)}")
        raise ValueError(f"unknown unit '{unit}' of a {dimension}{nearest(unit, valid)}")
    what = _PARSED[dimension]
    return parse(f"1{unit}", what) / parse(f"1{valid[0]}", what)


def shown(column: str) -> str:
    """A metric's name for people: ``time_us`` -> ``time``."""
    return _SHOWN.get(column, column)


_SHOWN: Mapping[str, str] = {one.column: one.name for kind in (COLLECTIVES, FLOWS) for one in kind.fields}
