"""Where nodes and links of a fabric are drawn: switches in tiers above their hosts, or else where springs put them."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST = 2000  # links that are drawn one by one
_PARALLEL = 4  # cables between the same two nodes that are drawn one by one
_EXACT = 120  # switches up to which the slower, better layout is worth its time
_TO = " to "  # between the first and the last of several hosts
Point = tuple[float, float]


@dataclass
class Drawing:
    """What is drawn. Nodes have a label, a class (host, or the tier) and a place in 0..1, y upwards.

    An edge is one direction: from node, to node, which of several parallel ones, and the links that it stands for.
    """

    tiered: bool
    labels: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    places: list[Point] = field(default_factory=list)
    edges: list[tuple[int, int, int, list[int]]] = field(default_factory=list)
    rows: list[tuple[str, float]] = field(default_factory=list)  # name of a tier, its y
    note: str = ""


def draw(ends: Sequence[tuple[str, str]], tier_of: Mapping[str, str], busy: Sequence[float]) -> Drawing:
    """The fabric of links ``ends``; ``busy``: of links that are too many, the busiest are drawn."""
    notes = []
    group = {node: node for pair in ends for node in pair}
    if len(ends) > MOST:
        group = _hosts_together(ends, tier_of)
        notes.append(f"{len(ends):,} links are too many to draw: hosts of a switch and parallel cables are one each")
    merged = _edges(ends, group, len(ends) > MOST)
    nodes = sorted({node for edge in merged for node in edge[:2]}, key=natural)
    classes = {node: tier_of.get(node, "host") for node in nodes}
    near: dict[str, list[str]] = defaultdict(list)
    for a, b, _, _ in merged:
        near[a].append(b)
    levels = _levels(nodes, near, classes)
    if len(merged) > MOST:
        notes.append(f"of {len(merged):,} connections the {MOST:,} busiest are drawn")
        merged = sorted(merged, key=lambda edge: -max(busy[link] for link in edge[3]))[:MOST]
    drawing = Drawing(levels is not None, note="; ".join(notes))
    places = _tiers(nodes, levels) if levels is not None else _springs(nodes, near, classes)
    if levels is not None:
        drawing.rows = _row_names(nodes, levels, classes, places)
    number = {node: index for index, node in enumerate(nodes)}
    drawing.labels = nodes
    drawing.classes = [classes[node] for node in nodes]
    drawing.places = [(round(places[node][0], 4), round(places[node][1], 4)) for node in nodes]
    drawing.edges = [(number[a], number[b], nth, links) for a, b, nth, links in merged]
    return drawing


def natural(name: str) -> tuple[str, int, str]:
    """Sorts spine2 before spine10; several hosts together where the first of them would be."""
    first = name.partition(_TO)[0]
    stem = first.rstrip("0123456789")
    return stem, int(first[len(stem) :] or 0), name


def _hosts_together(ends: Sequence[tuple[str, str]], tier_of: Mapping[str, str]) -> dict[str, str]:
    """Node -> what it is drawn as: hosts with the same neighbours become one."""
    near: dict[str, set[str]] = defaultdict(set)
    for a, b in ends:
        near[a].add(b)
        near[b].add(a)
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    group = {}
    for node in sorted(near, key=natural):
        group[node] = node
        if node not in tier_of:
            alike[tuple(sorted(near[node]))].append(node)
    for hosts in alike.values():
        if len(hosts) > 1:
            group |= dict.fromkeys(hosts, f"{hosts[0]}{_TO}{hosts[-1]}")
    return group


def _edges(
    ends: Sequence[tuple[str, str]], group: Mapping[str, str], together: bool
) -> list[tuple[str, str, int, list[int]]]:
    """Links by their two ends; parallel ones are numbered, or one where they are many or ``together``."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for link, (a, b) in enumerate(ends):
        if group[a] != group[b]:
            found[group[a], group[b]].append(link)
    edges = []
    for (a, b), links in found.items():
        if together or len(links) > _PARALLEL:
            edges.append((a, b, 0, links))
        else:
            edges += [(a, b, nth, [link]) for nth, link in enumerate(links)]
    return edges


def _levels(
    nodes: Sequence[str], near: Mapping[str, Sequence[str]], classes: Mapping[str, str]
) -> dict[str, int] | None:
    """Hops to the nearest host; -1 for switches that join hosts only, beside others that lead on.

    None where switches of one level are joined: those are no tiers.
    """
    level = {node: 0 for node in nodes if classes[node] == "host"}
    queue = deque(level)
    while queue:
        node = queue.popleft()
        for other in near[node]:
            if other not in level:
                level[other] = level[node] + 1
                queue.append(other)
    if len(level) < len(nodes) or not any(level.values()):
        return None
    first = [node for node in nodes if level[node] == 1]
    ends = [node for node in first if all(level[other] == 0 for other in near[node])]
    if len(ends) < len(first):
        level |= dict.fromkeys(ends, -1)
    if any(level[a] == level[b] != 0 for a in nodes for b in near[a]):
        return None
    return level


def _tiers(nodes: Sequence[str], levels: Mapping[str, int]) -> dict[str, Point]:
    low, high = min(levels.values()), max(levels.values())
    places = {}
    for level in range(low, high + 1):
        row = [node for node in nodes if levels[node] == level]
        for index, node in enumerate(row):
            places[node] = ((index + 0.5) / len(row), (level - low) / max(high - low, 1))
    return places


def _row_names(
    nodes: Sequence[str], levels: Mapping[str, int], classes: Mapping[str, str], places: Mapping[str, Point]
) -> list[tuple[str, float]]:
    names: dict[float, dict[str, None]] = defaultdict(dict)
    for node in sorted(nodes, key=lambda node: levels[node]):
        names[round(places[node][1], 4)][classes[node]] = None
    return [(", ".join(found), y) for y, found in names.items()]


def _springs(nodes: Sequence[str], near: Mapping[str, Sequence[str]], classes: Mapping[str, str]) -> dict[str, Point]:
    """Switches by a force layout; the hosts of a switch on an arc around it, away from the middle."""
    import networkx as nx

    core = [node for node in nodes if classes[node] != "host"] or list(nodes)
    inside = set(core)
    graph: Any = nx.Graph()
    graph.add_nodes_from(core)
    graph.add_edges_from((a, b) for a in core for b in near[a] if b in inside)
    if len(core) <= _EXACT:
        found = nx.kamada_kawai_layout(graph)
    else:
        found = nx.spring_layout(graph, seed=1, iterations=100)
    places = {node: (float(x), float(y)) for node, (x, y) in found.items()}
    leaves: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if node not in inside:
            leaves[next((other for other in near[node] if other in inside), core[0])].append(node)
    reach = 0.9 / math.sqrt(len(core) + 1)
    for switch, hosts in leaves.items():
        x, y = places[switch]
        outwards = math.atan2(y, x)
        for index, host in enumerate(hosts):
            angle = outwards + (index - (len(hosts) - 1) / 2) * min(0.5, 2 * math.pi / len(hosts))
            places[host] = (x + reach * math.cos(angle), y + reach * math.sin(angle))
    low = [min(place[axis] for place in places.values()) for axis in (0, 1)]
    span = [max(place[axis] for place in places.values()) - low[axis] or 1 for axis in (0, 1)]
    return {node: ((x - low[0]) / span[0], (y - low[1]) / span[1]) for node, (x, y) in places.items()}
