"""Networks and demands of SNDlib (Orlowski, Wessäly, Pióro, Tomaszewski, Networks 55(3), 2010), native or XML.

Every node becomes a switch with hosts of its own, every link a cable with its capacity in both directions. Capacities
and demands are bare numbers in these files, ``unit`` bit/s each; a demand asks for its value times its routing unit, in
its one direction. Costs, hop limits and admissible paths are read past: what a demand may use are its candidate paths.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.builders.sndlib_native import read_native
from models.builders.sndlib_network import Demand, Network
from models.builders.sndlib_xml import read_xml
from models.builders.wide_area import distance_delay, names_of, start
from models.demands import MOST_RATE, Demands
from models.errors import Problems, nearest
from models.topology import Topology


def build(
    path: Path,
    host_link: tuple[int, int],
    unit: int = 10**6,
    modules: int = 1,
    delay: int = 10**9,
    hosts_per_node: int = 1,
) -> Topology:
    """A link has its preinstalled capacity, or where that is 0, ``modules`` of its first module.

    Where the nodes' coordinates are degrees, delays are those of great circles in fibre, else ``delay`` (ps).
    InputError with the faults of the file, ValueError for other arguments.
    """
    if modules < 1:
        raise ValueError(f"modules is {modules}; at least 1 is due")
    problems = Problems(str(path))
    network = _read(path, problems)
    names = names_of({name: name for name in network.nodes})
    nodes = [(names[name], position) for name, position in network.nodes.items()]
    builder = start("sndlib", nodes, host_link, hosts_per_node)
    for link in network.links:
        capacity = link.installed or modules * (link.modules[0] if link.modules else 0.0)
        rate = round(capacity * unit) if capacity * unit < 2**62 else -1
        if rate < 1:
            what = "no capacity" if rate == 0 else "an impossible capacity"
            message = f"link '{link.name}' has {what}: {capacity:g} of {unit} bit/s"
            rest = ", neither installed nor as a module" if rate == 0 else ""
            problems.add(link.line, message + rest, link.column)
            continue
        ends = [network.nodes[end] if network.degrees else None for end in (link.src, link.dst)]
        builder.add_cable(names[link.src], names[link.dst], rate, distance_delay(ends[0], ends[1], delay))
    problems.raise_if_any()
    return builder.freeze({0: "host", 1: "node"})


def demands(path: Path, topology: Topology, unit: int = 10**6, priority: int = 1) -> Demands:
    """The demands of a file between the nodes of ``topology``, all of one priority; those of 0 are left out."""
    problems = Problems(str(path))
    network = _read(path, problems)
    names = names_of({name: name for name in network.nodes})
    asked = [demand for demand in network.demands if demand.value > 0]
    if not asked:
        problems.add(0, "holds no demands")
    for demand in asked:
        if demand.value * unit > MOST_RATE:
            message = f"demand '{demand.name}' asks for {demand.value:g} of {unit} bit/s; at most {MOST_RATE} bit/s go"
            problems.add(demand.line, message, demand.column)
    ends = [[_node(demand, names[end], topology, problems) for end in (demand.src, demand.dst)] for demand in asked]
    problems.raise_if_any()
    table = np.array(ends, dtype=np.int64).reshape(-1, 2)
    none = np.full(len(asked), -1, dtype=np.int64)
    return Demands(
        [demand.name for demand in asked],
        table[:, 0].copy(),
        table[:, 1].copy(),
        np.array([max(1, round(demand.value * unit)) for demand in asked], dtype=np.int64),
        np.full(len(asked), priority, dtype=np.int64),
        none,
        np.zeros(len(asked), dtype=np.int64),
        none.copy(),
        str(path),
        [demand.line for demand in asked],
        [dict.fromkeys(("id", "src", "dst", "bandwidth"), demand.column) for demand in asked],
    )


def _read(path: Path, problems: Problems) -> Network:
    """The network, sound in itself; InputError with all its faults."""
    network = Network()
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        xml = content.lstrip().startswith(b"<")
        network = read_xml(content, problems) if xml else read_native(content.decode("utf-8"), problems)
    except UnicodeDecodeError as error:
        problems.add(0, f"is not UTF-8 text (byte {error.start})")
    except OSError as error:
        problems.add(0, f"can't be read: {error.strerror or error}")
    if not problems.found:
        _check(network, problems)
    problems.raise_if_any()
    return network


def _check(network: Network, problems: Problems) -> None:
    if not network.nodes:
        problems.add(0, "holds no nodes")
    for kind, items in (("link", network.links), ("demand", network.demands)):
        seen: set[str] = set()
        for item in items:
            if item.name in seen:
                problems.add(item.line, f"the {kind} '{item.name}' is there twice", item.column)
            seen.add(item.name)
            for end in (item.src, item.dst):
                if end not in network.nodes:
                    message = f"{kind} '{item.name}': no node '{end}'{nearest(end, network.nodes)}"
                    problems.add(item.line, message, item.column)
            if item.src == item.dst:
                problems.add(item.line, f"{kind} '{item.name}' leads from '{item.src}' to itself", item.column)


def _node(demand: Demand, name: str, topology: Topology, problems: Problems) -> int:
    found = topology.node_index.get(name)
    if found is None:
        message = f"demand '{demand.name}': the topology has no node '{name}'{nearest(name, topology.node_index)}"
        problems.add(demand.line, message, demand.column)
        return -1
    return found
