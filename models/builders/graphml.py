"""Wide-area graphs from GraphML files, such as those of the Internet Topology Zoo (Knight et al., IEEE JSAC 2011).

Every node becomes a switch with hosts of its own. ``LinkSpeedRaw`` (bit/s) of an edge is its rate; where both ends have
``Latitude`` and ``Longitude`` the delay is their great-circle distance at the speed of light in fibre.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from models.errors import Problems, nearest
from models.topology import Topology, TopologyBuilder

_EARTH_KM = 6371.0
_FIBRE_KM_PER_S = 200_000.0


@dataclass
class _Item:
    """A node or an edge of the file, with its data by attribute name."""

    line: int
    column: int
    attributes: dict[str, str]
    data: dict[str, str] = field(default_factory=dict)


def build(
    path: Path,
    host_link: tuple[int, int],
    rate: int = 10 * 10**9,
    delay: int = 10**9,
    hosts_per_node: int = 1,
) -> Topology:
    """``rate`` (bit/s) and ``delay`` (ps) hold where the file says nothing. InputError with all faults of the file.

    Switches are named by their label where it is unique (blanks and > , # become _), else by their id. Parallel edges
    are kept; loops at one node carry nothing and are left out. In a directed file the two directions of a pair make one
    cable, and an edge without its opposite stands for both.
    """
    if hosts_per_node < 1:
        raise ValueError(f"hosts_per_node is {hosts_per_node}; at least 1 is due")
    problems = Problems(str(path))
    nodes, edges, directed = _parse(path, problems)
    problems.raise_if_any()
    names = _names(nodes)
    place = {item: _position(nodes[item], problems) for item in nodes}
    builder = TopologyBuilder("graphml")
    for host in range(len(nodes) * hosts_per_node):
        builder.add_node(f"host{host}", host=True, tier=0)
    for item in nodes:
        builder.add_node(names[item], host=False, tier=1)
    for number, item in enumerate(nodes):
        for host in range(number * hosts_per_node, (number + 1) * hosts_per_node):
            builder.add_cable(f"host{host}", names[item], *host_link)
    for one, other in _cables(edges, directed):
        a, b = one.attributes["source"], one.attributes["target"]
        far = _distance_delay(place[a], place[b], delay)
        forward = _rate(one, rate, problems)
        back = forward if other is None else _rate(other, rate, problems)
        builder.add_cable(names[a], names[b], forward, far, back=(back, far))
    problems.raise_if_any()
    return builder.freeze({0: "host", 1: "node"})


def _parse(path: Path, problems: Problems) -> tuple[dict[str, _Item], list[_Item], bool]:
    """Nodes by id and edges, in the order of the file, and whether edges are directed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.add(0, f"can't be read: {error.strerror or error}")
        return {}, [], False
    reader = _Reader()
    try:
        reader.parser.Parse(content, True)
    except expat.ExpatError as error:
        problems.add(error.lineno, f"broken XML: {expat.errors.messages[error.code]}", error.offset + 1)
        return {}, [], False
    if not reader.graphs:
        problems.add(0, "holds no <graph>; is it GraphML?")
        return {}, [], False
    nodes: dict[str, _Item] = {}
    for item in reader.nodes:
        name = item.attributes.get("id", "")
        if not name:
            problems.add(item.line, "a node without an id", item.column)
        elif name in nodes:
            problems.add(item.line, f"the node id '{name}' is used twice", item.column)
        nodes[name] = item
    if not nodes:
        problems.add(0, "holds no nodes")
    edges = []
    for item in reader.edges:
        for end in ("source", "target"):
            name = item.attributes.get(end, "")
            if name not in nodes:
                problems.add(item.line, f"{end}: no node '{name}'{nearest(name, nodes)}", item.column)
        if item.attributes.get("source") != item.attributes.get("target"):
            edges.append(item)
    return nodes, edges, reader.directed


class _Reader:
    """Collects nodes and edges, with their places, from the events of the XML parser."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.graphs = 0
        self.directed = False
        self.nodes: list[_Item] = []
        self.edges: list[_Item] = []
        self._names: dict[str, str] = {}
        self._open: list[_Item] = []
        self._key: str | None = None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        item = _Item(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1, attributes)
        if tag == "key":
            self._names[attributes.get("id", "")] = attributes.get("attr.name", "")
        elif tag == "graph":
            self.graphs += 1
            self.directed = attributes.get("edgedefault") == "directed"
        elif tag in ("node", "edge"):
            (self.nodes if tag == "node" else self.edges).append(item)
            self._open.append(item)
        elif tag == "data" and self._open:
            self._key = self._names.get(attributes.get("key", ""), attributes.get("key", ""))
            self._open[-1].data[self._key] = ""

    def _end(self, tag: str) -> None:
        tag = tag.rpartition(":")[2]
        if tag in ("node", "edge"):
            self._open.pop()
        elif tag == "data":
            self._key = None

    def _text(self, text: str) -> None:
        if self._key is not None and self._open:
            self._open[-1].data[self._key] += text


def _names(nodes: dict[str, _Item]) -> dict[str, str]:
    """A usable name for every node id: its label, its id, or its number."""
    label = {item: _clean(nodes[item].data.get("label", "")) for item in nodes}
    uses = Counter(label.values())
    names: dict[str, str] = {}
    taken: set[str] = set()
    for number, item in enumerate(nodes):
        wanted = [label[item]] if uses[label[item]] == 1 else []
        wanted += [_clean(item), f"node{number}", f"node_{item}_{number}"]
        fits = (name for name in wanted if name and not re.fullmatch(r"host\d+", name) and name not in taken)
        names[item] = next(fits, f"node{number}_{number}")
        taken.add(names[item])
    return names


def _clean(text: str) -> str:
    return re.sub(r"[\s,>#]+", "_", text.strip())


def _number(item: _Item, name: str, problems: Problems) -> float | None:
    text = item.data.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        problems.add(item.line, f"{name}: '{text}' is not a number", item.column)
        return None
    return value


def _position(item: _Item, problems: Problems) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees."""
    latitude, longitude = _number(item, "Latitude", problems), _number(item, "Longitude", problems)
    return None if latitude is None or longitude is None else (latitude, longitude)


def _rate(item: _Item, default: int, problems: Problems) -> int:
    value = _number(item, "LinkSpeedRaw", problems)
    if value is None:
        return default
    if not 1 <= value < 2**62:
        problems.add(item.line, f"LinkSpeedRaw: {value:g} bit/s is not a possible rate", item.column)
        return default
    return round(value)


def _distance_delay(a: Any, b: Any, default: int) -> int:
    """Picoseconds along the great circle (haversine), at least 1; ``default`` where a position is missing."""
    if a is None or b is None:
        return default
    lat_a, lon_a, lat_b, lon_b = (math.radians(value) for value in (*a, *b))
    chord = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    kilometres = 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(chord)))
    return max(1, round(kilometres / _FIBRE_KM_PER_S * 1e12))


def _cables(edges: list[_Item], directed: bool) -> list[tuple[_Item, _Item | None]]:
    """(edge, its opposite or None) for every cable."""
    if not directed:
        return [(edge, None) for edge in edges]
    waiting: dict[tuple[str, str], list[int]] = {}
    cables: list[tuple[_Item, _Item | None]] = []
    for edge in edges:
        a, b = edge.attributes["source"], edge.attributes["target"]
        if waiting.get((b, a)):
            position = waiting[b, a].pop(0)
            cables[position] = (cables[position][0], edge)
        else:
            waiting.setdefault((a, b), []).append(len(cables))
            cables.append((edge, None))
    return cables
