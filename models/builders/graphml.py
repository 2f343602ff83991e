"""Wide-area graphs from GraphML files, such as those of the Internet Topology Zoo (Knight et al., IEEE JSAC 2011).

Every node becomes a switch with hosts of its own. ``LinkSpeedRaw`` (bit/s) of an edge is its rate; where both ends have
``Latitude`` and ``Longitude`` the delay is their great-circle distance at the speed of light in fibre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from models import xml_tree
from models.builders.wide_area import Position, distance_delay, names_of, start
from models.errors import Problems, nearest
from models.topology import Topology
from models.xml_tree import Element


@dataclass
class _Item:
    """A node or an edge of the file, with its data by attribute name."""

    element: Element
    data: dict[str, Element]

    def attribute(self, name: str) -> str:
        return self.element.attributes.get(name, "")


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
    problems = Problems(str(path))
    nodes, edges, directed = _parse(path, problems)
    problems.raise_if_any()
    names = names_of({item: _text(nodes[item], "label") for item in nodes})
    place = {item: _position(nodes[item], problems) for item in nodes}
    builder = start("graphml", [(names[item], place[item]) for item in nodes], host_link, hosts_per_node)
    for one, other in _cables(edges, directed):
        a, b = one.attribute("source"), one.attribute("target")
        far = distance_delay(place[a], place[b], delay)
        forward = _rate(one, rate, problems)
        back = forward if other is None else _rate(other, rate, problems)
        builder.add_cable(names[a], names[b], forward, far, back=(back, far))
    problems.raise_if_any()
    return builder.freeze({0: "host", 1: "node"})


def _parse(path: Path, problems: Problems) -> tuple[dict[str, _Item], list[_Item], bool]:
    """Nodes by id and edges, in the order of the file, and whether edges are directed."""
    root = xml_tree.read(path, problems)
    if root is None:
        return {}, [], False
    elements = list(root.all())
    graphs = [element for element in elements if element.tag == "graph"]
    if not graphs:
        problems.add(0, "holds no <graph>; is it GraphML?")
        return {}, [], False
    keys = [element for element in elements if element.tag == "key"]
    nodes: dict[str, _Item] = {}
    for item in _items(elements, "node", keys):
        name = item.attribute("id")
        if not name:
            problems.add(item.element.line, "a node without an id", item.element.column)
        elif name in nodes:
            problems.add(item.element.line, f"the node id '{name}' is used twice", item.element.column)
        nodes[name] = item
    if not nodes:
        problems.add(0, "holds no nodes")
    edges = []
    for item in _items(elements, "edge", keys):
        for end in ("source", "target"):
            name = item.attribute(end)
            if name not in nodes:
                problems.add(item.element.line, f"{end}: no node '{name}'{nearest(name, nodes)}", item.element.column)
        if item.attribute("source") != item.attribute("target"):
            edges.append(item)
    return nodes, edges, graphs[-1].attributes.get("edgedefault") == "directed"


def _items(elements: list[Element], tag: str, keys: list[Element]) -> list[_Item]:
    """The nodes or edges, with the data that they have or that their keys give as default."""
    names = {key.attributes.get("id", ""): key.attributes.get("attr.name", "") for key in keys}
    defaults = {
        names[key.attributes.get("id", "")]: default
        for key in keys
        if key.attributes.get("for", "all") in (tag, "all")
        for default in key.named("default")
    }
    found = []
    for element in elements:
        if element.tag == tag:
            own = {
                names.get(key, key): data for data in element.named("data") for key in [data.attributes.get("key", "")]
            }
            found.append(_Item(element, defaults | own))
    return found


def _text(item: _Item, name: str) -> str:
    return item.data[name].text.strip() if name in item.data else ""


def _number(item: _Item, name: str, problems: Problems) -> float | None:
    text = _text(item, name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        problems.add(item.data[name].line, f"{name}: '{text}' is not a number", item.data[name].column)
        return None
    return value


def _position(item: _Item, problems: Problems) -> Position | None:
    """(longitude, latitude) in degrees."""
    values = []
    for name, most in (("Longitude", 360.0), ("Latitude", 90.0)):
        value = _number(item, name, problems)
        if value is not None and abs(value) > most:
            place = item.data[name]
            problems.add(place.line, f"{name}: {value:g} degrees is not on earth", place.column)
        values.append(value)
    longitude, latitude = values
    return None if latitude is None or longitude is None else (longitude, latitude)


def _rate(item: _Item, default: int, problems: Problems) -> int:
    value = _number(item, "LinkSpeedRaw", problems)
    if value is None:
        return default
    if not 1 <= value < 2**62:
        place = item.data["LinkSpeedRaw"]
        problems.add(place.line, f"LinkSpeedRaw: {value:g} bit/s is not a possible rate", place.column)
        return default
    return round(value)


def _cables(edges: list[_Item], directed: bool) -> list[tuple[_Item, _Item | None]]:
    """(edge, its opposite or None) for every cable."""
    if not directed:
        return [(edge, None) for edge in edges]
    waiting: dict[tuple[str, str], list[int]] = {}
    cables: list[tuple[_Item, _Item | None]] = []
    for edge in edges:
        a, b = edge.attribute("source"), edge.attribute("target")
        if waiting.get((b, a)):
            position = waiting[b, a].pop(0)
            cables[position] = (cables[position][0], edge)
        else:
            waiting.setdefault((a, b), []).append(len(cables))
            cables.append((edge, None))
    return cables
