"""What builders of wide-area networks share: names of nodes, delays from positions, switches with hosts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from models.topology import TopologyBuilder

_EARTH_KM = 6371.0
_FIBRE_KM_PER_S = 200_000.0

Position = tuple[float, float]  # longitude and latitude in degrees, or x and y


def names_of(label: Mapping[str, str]) -> dict[str, str]:
    """A usable name for every node id: its label where that is unique, its id, or its number.

    Blanks and > , # become _, and no name looks like a host's.
    """
    wished = {item: _clean(text) for item, text in label.items()}
    uses = Counter(wished.values())
    names: dict[str, str] = {}
    taken: set[str] = set()
    for number, item in enumerate(label):
        wanted = [wished[item]] if uses[wished[item]] == 1 else []
        wanted += [_clean(item), f"node{number}", f"node_{item}_{number}"]
        fits = (name for name in wanted if name and not re.fullmatch(r"host\d+", name) and name not in taken)
        names[item] = next(fits, f"node{number}_{number}")
        taken.add(names[item])
    return names


def _clean(text: str) -> str:
    return re.sub(r"[\s,>#]+", "_", text.strip())


def start(
    kind: str,
    nodes: Sequence[tuple[str, Position | None]],
    host_link: tuple[int, int],
    hosts_per_node: int,
) -> TopologyBuilder:
    """A builder with a switch for each (name, position) and its hosts, in this order; 0 hosts: the bare graph."""
    if hosts_per_node < 0:
        raise ValueError(f"hosts_per_node is {hosts_per_node}; it can't be negative")
    builder = TopologyBuilder(kind)
    for host in range(len(nodes) * hosts_per_node):
        builder.add_node(f"host{host}", host=True, tier=0)
    for name, position in nodes:
        builder.add_node(name, host=False, tier=1, place=position)
    for host in range(len(nodes) * hosts_per_node):
        builder.add_cable(f"host{host}", nodes[host // hosts_per_node][0], *host_link)
    return builder


def distance_delay(a: Position | None, b: Position | None, default: int) -> int:
    """Picoseconds along the great circle (haversine) at the speed of light in fibre, at least 1.

    ``default`` where a position, in degrees, is missing.
    """
    if a is None or b is None:
        return default
    lon_a, lat_a, lon_b, lat_b = (math.radians(value) for value in (*a, *b))
    chord = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    kilometres = 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(chord)))
    return max(1, round(kilometres / _FIBRE_KM_PER_S * 1e12))
