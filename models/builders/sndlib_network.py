"""What a network file of SNDlib holds, in either of its formats."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from models.builders.wide_area import Position


class Link(NamedTuple):
    """``installed`` is the capacity that is there, ``modules`` those that can be bought; bare numbers."""

    name: str
    src: str
    dst: str
    installed: float
    modules: tuple[float, ...]
    line: int
    column: int


class Demand(NamedTuple):
    """``value`` is the demand times its routing unit: what it takes of a capacity."""

    name: str
    src: str
    dst: str
    value: float
    line: int
    column: int


@dataclass
class Network:
    """``degrees``: the positions are longitude and latitude, not places of a drawing."""

    nodes: dict[str, Position | None] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    degrees: bool = False


def look_like_degrees(network: Network) -> bool:
    """Where the file does not say: whether every position could be one on earth."""
    places = [place for place in network.nodes.values() if place is not None]
    return bool(places) and all(abs(x) <= 180 and abs(y) <= 90 for x, y in places)


def number(text: str, what: str, *, negative: bool = False) -> float:
    """ValueError with the reason where it is no finite number, or below 0 unless ``negative`` is allowed."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what}: '{text}' is not a number")
    if value < 0 and not negative:
        raise ValueError(f"{what} is {text}; it can't be negative")
    return value
