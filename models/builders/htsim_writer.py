"""Writer of htsim's ``.topo`` files: fat-trees of two or three tiers, each tier of one kind of switch and link.

Whether a topology is one is settled by reading back what would be written: the fabric must come out as it was, but for
the names of the switches and the order of the core switches. htsim takes whole Gbit/s, ns and oversubscriptions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models import units
from models.builders import htsim
from models.errors import InputError, Problems
from models.topology import Topology

_TIERS = ({0, 1, 2}, {0, 1, 2, 3})
_WIRING = "a .topo file numbers hosts edge by edge, edges pod by pod, and joins all of a pod; this fabric doesn't"


def written(topology: Topology, buffer: int | None = None, comments: Sequence[str] = ()) -> str:
    """The text of a ``.topo`` file; ValueError says what its format can't.

    ``buffer``: bytes of each switch queue, if limited. ``comments``: lines for its head.
    """
    found = {int(tier) for tier in topology.tier}
    if topology.clustered or found not in _TIERS:
        raise ValueError(
            f"{topology.kind} is no fat-tree of two or three tiers of switches, and a .topo file holds no other"
        )
    tiers = max(found)
    low, high = topology.tier[topology.link_src[::2]], topology.tier[topology.link_dst[::2]]
    if (np.abs(low - high) != 1).any():
        cable = int(np.argmax(np.abs(low - high) != 1))
        raise ValueError(
            f"the cable {topology.cable_name[cable]} doesn't lead from one tier to the next, as in a .topo file"
        )
    lines = [*(f"# {comment}" for comment in comments), *_head(topology, tiers)]
    delay = 0  # ps in a switch of the tier below
    for tier in range(tiers):
        block, delay = _tier(topology, tier, tiers, delay, buffer)
        lines += block
    text = "\n".join(lines) + "\n"
    _check(topology, text)
    return text


def _nodes(topology: Topology, tier: int) -> int:
    return int((topology.tier == tier).sum())


def _neighbours(topology: Topology, node: int, tier: int) -> list[int]:
    """Nodes of ``tier`` that ``node`` has cables to, each once."""
    links = topology.out_link[topology.out_start[node] : topology.out_start[node + 1]]
    ends = topology.link_dst[links]
    return sorted(set(ends[topology.tier[ends] == tier].tolist()))


def _first(topology: Topology, tier: int) -> int:
    """The first node of a tier."""
    return int(np.argmax(topology.tier == tier))


def _head(topology: Topology, tiers: int) -> list[str]:
    pod = topology.hosts
    if tiers == 3:  # the hosts below the edges of one aggregation switch
        edges = len(_neighbours(topology, _first(topology, 2), 1))
        pod = edges * topology.hosts // _nodes(topology, 1)
    return [f"Nodes {topology.hosts}", f"Tiers {tiers}", f"Podsize {pod}"]


def _tier(topology: Topology, tier: int, tiers: int, below: int, buffer: int | None) -> tuple[list[str], int]:
    """The lines of one tier, and the latency of its switches. ``below``: that of the tier under it. ps."""
    down_rate, down_delay = _uniform(topology, tier + 1, tier)
    up_rate, up_delay = _uniform(topology, tier, tier + 1)
    if up_rate != down_rate:
        raise ValueError(
            f"links of tier {tier} have {_rate(up_rate)} up and {_rate(down_rate)} down; a .topo file has one rate"
        )
    latency = up_delay - (down_delay - below)
    if down_delay <= below or latency < 0:
        raise ValueError(
            f"the delays of the links of tier {tier}, up and down, are not a cable's and a switch's, as in a .topo file"
        )
    switch, node = _first(topology, tier + 1), _first(topology, tier)
    down, peers = _degree(topology, switch, tier), _neighbours(topology, node, tier + 1)
    lines = ["", f"Tier {tier}", f"Downlink_speed_Gbps {_whole(down_rate, 10**9, 'Gbps', 'rate')}"]
    lines += [f"Radix_Down {down}"]
    if tier < tiers - 1:
        up = _degree(topology, switch, tier + 2)
        above, _ = _uniform(topology, tier + 2, tier + 1)
        ratio = Fraction(down * down_rate, max(up * above, 1))
        if ratio.denominator != 1:
            raise ValueError(f"the oversubscription of tier {tier} is {float(ratio):g}; a .topo file has whole numbers")
        lines += [f"Radix_Up {up}", f"Oversubscribed {ratio}"]
    bundle = _degree(topology, node, tier + 1) // max(len(peers), 1)
    lines += [f"Bundle {bundle}"] if bundle > 1 else []
    lines += [f"Downlink_Latency_ns {_whole(down_delay - below, 10**3, 'ns', 'time')}"]
    lines += [f"Switch_Latency_ns {_whole(latency, 10**3, 'ns', 'time')}"]
    if buffer is not None:
        lines += [f"Queue_Down {buffer}"] + ([f"Queue_Up {buffer}"] if tier < tiers - 1 else [])
    return lines, latency


def _degree(topology: Topology, node: int, tier: int) -> int:
    """Cables of ``node`` to ``tier``."""
    links = topology.out_link[topology.out_start[node] : topology.out_start[node + 1]]
    return int((topology.tier[topology.link_dst[links]] == tier).sum())


def _uniform(topology: Topology, src: int, dst: int) -> tuple[int, int]:
    """(bit/s, ps) of all links from tier ``src`` to tier ``dst``."""
    links = np.flatnonzero((topology.tier[topology.link_src] == src) & (topology.tier[topology.link_dst] == dst))
    return _one(topology, links, topology.link_rate, "rate"), _one(topology, links, topology.link_delay, "time")


def _one(topology: Topology, links: NDArray[np.int64], values: NDArray[np.int64], what: str) -> int:
    found, counts = np.unique(values[links], return_counts=True)
    common = int(found[np.argmax(counts)])
    other = links[values[links] != common]
    if len(other):
        odd = units.show(int(values[other[0]]), what)
        raise ValueError(
            f"the link {topology.link_name[other[0]]} has {odd}, others of its tier {units.show(common, what)};"
            " a .topo file has one value a tier"
        )
    return common


def _rate(value: int) -> str:
    return units.show(value, "rate")


def _whole(value: int, unit: int, name: str, what: str) -> int:
    if value % unit:
        raise ValueError(f"{units.show(value, what)} is no whole number of {name}, as a .topo file has")
    return value // unit


def _check(topology: Topology, text: str) -> None:
    """ValueError unless the text reads back as the same fabric."""
    try:
        back = htsim.of_text(text, Problems("topo"))
    except InputError as error:
        raise ValueError(f"{_WIRING} ({error.problems[0].message})") from None
    if back.nodes != topology.nodes or _cables(back) != _cables(topology):
        raise ValueError(_WIRING)


def _cables(topology: Topology) -> Counter[tuple[int, ...]]:
    """Each cable as (end below, end above, rates and delays both ways); switches of the top tier by what they join.

    Other nodes are numbered within their tier.
    """
    number = np.zeros(topology.nodes, dtype=np.int64)
    for tier in range(int(topology.tier.max()) + 1):
        members = np.flatnonzero(topology.tier == tier)
        number[members] = np.arange(len(members))
    top = int(topology.tier.max())
    joins = [
        (tuple(number[_neighbours(topology, int(core), top - 1)]), int(core))
        for core in np.flatnonzero(topology.tier == top)
    ]
    for place, (_, core) in enumerate(sorted(joins)):
        number[core] = place
    cables: Counter[tuple[int, ...]] = Counter()
    for up in np.flatnonzero(topology.tier[topology.link_dst] > topology.tier[topology.link_src]).tolist():
        src, dst = int(topology.link_src[up]), int(topology.link_dst[up])
        speeds = [int(values[link]) for values in (topology.link_rate, topology.link_delay) for link in (up, up ^ 1)]
        cables[(int(topology.tier[src]), int(number[src]), int(number[dst]), *speeds)] += 1
    return cables
