"""SNDlib's XML format: <network> with a <networkStructure> of nodes and links, and <demands>."""

from __future__ import annotations

from models import xml_tree
from models.builders.sndlib_network import Demand, Link, Network, look_like_degrees, number
from models.builders.wide_area import Position
from models.errors import Problems
from models.xml_tree import Element


def read_xml(content: bytes, problems: Problems) -> Network:
    """What the file holds; with problems, what of it could be read."""
    network = Network()
    root = xml_tree.parse(content, problems)
    if root is None:
        return network
    structure = root.first("networkStructure") if root.tag == "network" else None
    if structure is None:
        problems.add(root.line, "holds no <network> with a <networkStructure>; is it SNDlib's XML?", root.column)
        return network
    reader = _Reader(problems)
    for node in _listed(structure, "nodes", "node"):
        name = reader.name(node)
        if name in network.nodes:
            problems.add(node.line, f"the node '{name}' is there twice", node.column)
        network.nodes[name] = reader.position(node)
    network.links = [reader.link(link) for link in _listed(structure, "links", "link")]
    network.demands = [reader.demand(demand) for demand in _listed(root, "demands", "demand")]
    nodes = structure.first("nodes")
    kind = nodes.attributes.get("coordinatesType") if nodes else None
    network.degrees = kind == "geographical" if kind else look_like_degrees(network)
    if nodes and network.degrees and not look_like_degrees(network) and any(network.nodes.values()):
        problems.add(
            nodes.line, "coordinates are geographical, but not all are degrees of a place on earth", nodes.column
        )
    return network


def _listed(above: Element, group: str, tag: str) -> list[Element]:
    """The elements of a tag in the groups of another: nodes/node."""
    return [element for part in above.named(group) for element in part.named(tag)]


class _Reader:
    """Reads elements, and notes what is missing or wrong in them."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def name(self, element: Element) -> str:
        name = element.attributes.get("id", "").strip()
        if not name:
            self._problems.add(element.line, f"a <{element.tag}> without an id", element.column)
        return name

    def position(self, node: Element) -> Position | None:
        place = node.first("coordinates")
        if place is None:
            return None
        return self._number(place, "x", negative=True), self._number(place, "y", negative=True)

    def link(self, link: Element) -> Link:
        installed = link.first("preInstalledModule")
        modules = [self._number(m, "capacity") for m in _listed(link, "additionalModules", "addModule")]
        return Link(
            self.name(link),
            self._text(link, "source"),
            self._text(link, "target"),
            0.0 if installed is None else self._number(installed, "capacity"),
            tuple(modules),
            link.line,
            link.column,
        )

    def demand(self, demand: Element) -> Demand:
        unit = 1.0 if demand.first("routingUnit") is None else self._number(demand, "routingUnit")
        return Demand(
            self.name(demand),
            self._text(demand, "source"),
            self._text(demand, "target"),
            unit * self._number(demand, "demandValue"),
            demand.line,
            demand.column,
        )

    def _text(self, above: Element, tag: str) -> str:
        element = above.first(tag)
        if element is None or not element.text.strip():
            self._problems.add(above.line, f"<{above.tag}> lacks a <{tag}>", above.column)
            return ""
        return element.text.strip()

    def _number(self, above: Element, tag: str, *, negative: bool = False) -> float:
        text = self._text(above, tag)
        element = above.first(tag)
        if text and element is not None:
            try:
                return number(text, f"<{tag}>", negative=negative)
            except ValueError as error:
                self._problems.add(element.line, str(error), element.column)
        return 1.0
