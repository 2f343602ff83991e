"""Any graph from a list of cables: rows of a CSV file, or of the scenario."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.csv_table import Row, read_table
from models.errors import Problems, nearest
from models.topology import Topology, TopologyBuilder
from models.units import parse

_REQUIRED = ("src", "dst", "rate", "delay")
_OPTIONAL = ("parallel", "name")
_MOST_PARALLEL = 4096
_NUMBERED = re.compile(r"host(\d+)")


class Edge(NamedTuple):
    """``parallel`` cables src - dst, each at ``rate`` bit/s both ways; ``name`` None: named by its ends."""

    src: str
    dst: str
    rate: int
    delay: int  # ps
    parallel: int = 1
    name: str | None = None


def build(
    path: Path | None = None, links: Sequence[Mapping[str, Any]] | None = None, hosts: Sequence[str] | None = None
) -> Topology:
    """The CSV file ``path`` (InputError, all faults at once) or ``links``, mappings of Edge's fields (ValueError).

    ``hosts`` names the hosts, in order of rank. Without it, the nodes with exactly one cable are the hosts, in order of
    appearance (by number if all are called host0, host1, ...); if there are none, all nodes are hosts and forward.
    """
    if path is not None:
        return _from_file(path, hosts)
    edges = [Edge(**link) for link in links or ()]
    names: dict[str, int] = {}
    for position, edge in enumerate(edges):
        for _, message in _faults(edge, names):
            raise ValueError(f"links.{position}: {message}")
    if not edges:
        raise ValueError("no links; at least one is due")
    return _assemble(edges, hosts)


def _from_file(path: Path, hosts: Sequence[str] | None) -> Topology:
    problems = Problems(str(path))
    edges: list[Edge] = []
    names: dict[str, int] = {}
    rows = read_table(path, _REQUIRED, _OPTIONAL, problems)
    for row in rows:
        edge = _edge(row, problems)
        if edge is not None:
            faults = _faults(edge, names)
            for column, message in faults:
                problems.add(row.line, message, row.column[column])
            if not faults:
                edges.append(edge)
    if not rows and not problems.found:
        problems.add(0, "holds no cables")
    problems.raise_if_any()
    try:
        return _assemble(edges, hosts)
    except ValueError as error:
        problems.add(0, str(error))
        problems.raise_if_any()
        raise


def _edge(row: Row, problems: Problems) -> Edge | None:
    """The row's values; None and problems where a cell can't be read."""
    before = len(problems.found)
    amounts = {"rate": 0, "delay": 0}
    for column in amounts:
        try:
            amounts[column] = parse(row.text[column], "rate" if column == "rate" else "time")
        except ValueError as error:
            problems.add(row.line, f"{column}: {error}", row.column[column])
    parallel = 1
    text = row.text.get("parallel", "")
    if text:
        if re.fullmatch(r"\d{1,9}", text):
            parallel = int(text)
        else:
            problems.add(row.line, f"parallel: '{text}' is not a whole number", row.column["parallel"])
    if len(problems.found) > before:
        return None
    return Edge(
        row.text["src"], row.text["dst"], amounts["rate"], amounts["delay"], parallel, row.text.get("name") or None
    )


def _faults(edge: Edge, names: dict[str, int]) -> list[tuple[str, str]]:
    """(column, message) for all that is wrong with one edge; its own name is entered in ``names``."""
    found: list[tuple[str, str]] = []
    for column, value in (("src", edge.src), ("dst", edge.dst)):
        if not value:
            found.append((column, f"{column} is empty"))
        elif re.search(r"[\s,>#]", value):
            found.append((column, f"{column}: '{value}' holds a space, comma, > or #; names are without"))
    if edge.src and edge.src == edge.dst:
        found.append(("dst", f"a cable from '{edge.src}' to itself"))
    if edge.rate <= 0:
        found.append(("rate", "rate must be above 0"))
    if edge.delay < 0:
        found.append(("delay", "delay is negative"))
    if not 1 <= edge.parallel <= _MOST_PARALLEL:
        found.append(("parallel", f"parallel is {edge.parallel}; 1 to {_MOST_PARALLEL} are possible"))
    if edge.name is not None:
        if re.search(r"[\s,>#]", edge.name):
            found.append(("name", f"name: '{edge.name}' holds a space, comma, > or #; names are without"))
        elif edge.name in names:
            found.append(("name", f"the name '{edge.name}' is used twice"))
        names[edge.name] = 1
    return found


def _assemble(edges: Sequence[Edge], hosts: Sequence[str] | None) -> Topology:
    cables: Counter[str] = Counter()
    for edge in edges:
        cables[edge.src] += edge.parallel
        cables[edge.dst] += edge.parallel
    chosen = _hosts(cables, hosts)
    builder = TopologyBuilder("edges")
    for name in chosen:
        builder.add_node(name, host=True, tier=0)
    for name in cables:
        if name not in chosen:
            builder.add_node(name, host=False, tier=-1)
    for edge in edges:
        for number in range(edge.parallel):
            own = f"{edge.name}#{number}" if edge.name and edge.parallel > 1 else edge.name
            builder.add_cable(edge.src, edge.dst, edge.rate, edge.delay, name=own)
    topology = builder.freeze({0: "host", -1: "switch"})
    repeated = [name for name, count in Counter(topology.cable_name).items() if count > 1]
    if repeated:
        raise ValueError(f"several cables are called '{repeated[0]}'; give them a name of their own")
    return topology


def _hosts(cables: Mapping[str, int], hosts: Sequence[str] | None) -> dict[str, None]:
    """The names of the hosts, in order of rank."""
    if hosts is not None:
        if not hosts:
            raise ValueError("hosts is empty")
        for position, name in enumerate(hosts):
            if name not in cables:
                raise ValueError(f"hosts: no node '{name}'{nearest(name, cables)}")
            if name in hosts[:position]:
                raise ValueError(f"hosts: '{name}' twice")
        return dict.fromkeys(hosts)
    found = [name for name, count in cables.items() if count == 1] or list(cables)
    numbers = [_NUMBERED.fullmatch(name) for name in found]
    if all(numbers):
        found.sort(key=lambda name: (int(name[4:]), name))
    return dict.fromkeys(found)
