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
    """A field of a measured row: its name in a map line, and the column of our results that it is.

    ``scale``: what a number in the dimension's own unit is multiplied with to be in the column's.
    """

    name: str
    column: str
    dimension: Dimension
    scale: float = 1.0


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
    lasts: str | None = None  # the time from a row's start to its end
    size: str = "bytes"
    size_unit: str = "B"
    single: str = "flow"  # what a row is
    ordered: bool = False  # without keys, rows of the same sizes in the same order are each other's counterparts

    def field(self, name: str) -> Field:
        return next(one for one in self.fields if one.name == name)

    def scale(self, column: str) -> float:
        """What a time in us is multiplied with to be in the column's unit."""
        return next(one.scale for one in self.fields if one.column == column)


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
    lasts="fct_us",
)
REQUESTS = Kind(
    "requests",
    "requests",
    (
        Field("id", "id", "count"),
        Field("prompt", "prompt_tokens", "count"),
        Field("output", "output_tokens", "count"),
        Field("arrival", "arrival_s", "time", 1e-6),
        Field("ttft", "ttft_ms", "time", 1e-3),
        Field("tpot", "tpot_ms", "time", 1e-3),
        Field("e2e", "e2e_ms", "time", 1e-3),
        _HELD,
    ),
    keys=("id",),
    metrics=("ttft_ms", "tpot_ms", "e2e_ms"),
    keyed=False,
    start="arrival_s",
    lasts="e2e_ms",
    size="prompt_tokens",
    size_unit="",
    single="request",
    ordered=True,
)
KINDS = {kind.name: kind for kind in (COLLECTIVES, FLOWS, REQUESTS)}


def kind_named(name: str) -> Kind:
    """The kind of this name; ValueError with the reason where there is none."""
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


_SHOWN: Mapping[str, str] = {one.column: one.name for kind in KINDS.values() for one in kind.fields}
