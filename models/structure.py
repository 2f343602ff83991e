"""What a fabric amounts to: counts, equal-cost paths, longest way, bisection, oversubscription. For ``check``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, maximum_flow

from models.paths import Routes
from models.topology import Topology
from models.units import serialisation_ps

_ALL_GROUPS = 512  # fabrics with more edge switches are sampled
_SAMPLED_GROUPS = 64  # and in clusters, where every host is a group of its own


@dataclass(frozen=True)
class Structure:
    """Pairs are ordered pairs of hosts.

    Path counts are over pairs on different edge switches, in clusters in different nodes (0, 0, 0 if none).
    """

    hosts: int
    switches: dict[str, int]  # by tier, lowest first
    cables: int
    links: int
    paths_min: int
    paths_median: int
    paths_max: int
    paths_exact: bool  # False: from a sample of destinations
    hops_max: int
    rtt_max: int  # ps: a full packet there and its ACK back the same way, all queues empty
    bisection: int  # bit/s from the first half of the hosts to the second
    oversubscription_min: float | None  # host rate over uplink rate of an edge switch; None: no uplinks
    oversubscription_max: float | None
    oversubscription_whole: float | None  # rate of half of the hosts over the bisection
    disconnected_pairs: int


def describe(topology: Topology, wire_mtu: int = 4160, ack: int = 64, routes: Routes | None = None) -> Structure:
    """All counts; ``wire_mtu`` and ``ack`` are bytes on the wire."""
    routes = routes or Routes(topology)
    fewest, median, most, hops, exact = _paths(routes)
    bisection, half_rate = _bisection(topology)
    low, high = _oversubscription(topology)
    return Structure(
        hosts=topology.hosts,
        switches=_switches(topology),
        cables=topology.links // 2,
        links=topology.links,
        paths_min=fewest,
        paths_median=median,
        paths_max=most,
        paths_exact=exact,
        hops_max=hops,
        rtt_max=longest_rtt(routes, wire_mtu, ack),
        bisection=bisection,
        oversubscription_min=low,
        oversubscription_max=high,
        oversubscription_whole=half_rate / bisection if bisection else None,
        disconnected_pairs=_disconnected(topology),
    )


def longest_rtt(routes: Routes, wire_mtu: int, ack: int) -> int:
    """Picoseconds of the longest pair's dearest equal-cost path: ``wire_mtu`` bytes out, ``ack`` back the same way.

    Every hop stores and forwards. Exact for hosts with one link, an upper bound for others. Fabrics of more than 512
    edge switches are sampled (64 destinations, all sources), which is exact where the fabric is regular.
    """
    topology = routes.topology
    cost = hop_cost(topology, wire_mtu, ack)
    leaving = np.zeros(topology.hosts, dtype=np.int64)
    arriving = np.zeros(topology.hosts, dtype=np.int64)
    # GPUs of different nodes never use scale-up links
    out = np.flatnonzero((topology.link_src < topology.hosts) & ~topology.scale_up)
    into = np.flatnonzero((topology.link_dst < topology.hosts) & ~topology.scale_up)
    np.maximum.at(leaving, topology.link_src[out], cost[out])
    np.maximum.at(arriving, topology.link_dst[into], cost[into])
    group = routes.group_of_host
    arrive = np.zeros(routes.groups, dtype=np.int64)
    np.maximum.at(arrive, group, arriving)
    straight = (topology.link_src < topology.hosts) & (topology.link_dst < topology.hosts) & routes.up
    best = max(scale_up_rtt(topology, wire_mtu, ack), int(cost[straight].max(initial=0)))
    for target in _targets(routes)[0]:
        hops, nodes = _from_hosts(routes, int(target))
        middle = routes.longest(int(target), cost)[nodes]
        # where hosts forward, their row already holds their first link
        first = leaving if routes.first_forwarding else np.zeros_like(leaving)
        reached = (hops > 1) & _apart(routes, int(target))
        if reached.any():
            best = max(best, int((first + middle)[reached].max()) + int(arrive[target]))
    return best


def longest_hops(routes: Routes) -> int:
    """Links of the longest pair's way; in clusters of hosts of different nodes. Sampled as ``longest_rtt`` is."""
    longest = 1
    for target in _targets(routes)[0].tolist():
        hops, _ = _from_hosts(routes, target)
        apart = _apart(routes, target) & (routes.group_of_host != target)
        inside = routes.group_of_host == target
        longest = max(longest, int(hops[apart].max(initial=0)), int(hops[inside].max()) if inside.sum() > 1 else 0)
    return longest


def scale_up_rtt(topology: Topology, wire_mtu: int, ack: int) -> int:
    """The same inside a scale-up domain, over a switch or straight; 0 where there are no scale-up links."""
    if not topology.scale_up.any():
        return 0
    cost = hop_cost(topology, wire_mtu, ack)
    leaves = topology.scale_up & (topology.link_src < topology.hosts)
    arrives = topology.scale_up & (topology.link_dst < topology.hosts)
    if np.array_equal(leaves, arrives):
        return int(cost[leaves].max())
    return int(cost[leaves].max()) + int(cost[arrives].max())


def hop_cost(topology: Topology, wire_mtu: int, ack: int) -> NDArray[np.int64]:
    """[links] ps that a link adds to an unloaded RTT: a packet over it, an ACK over its reverse."""
    rates = np.unique(topology.link_rate)
    place = np.searchsorted(rates, topology.link_rate)
    data = np.array([serialisation_ps(wire_mtu, int(rate)) for rate in rates], dtype=np.int64)[place]
    back = np.array([serialisation_ps(ack, int(rate)) for rate in rates], dtype=np.int64)[place]
    other = np.arange(topology.links) ^ 1
    total: NDArray[np.int64] = data + topology.link_delay + back[other] + topology.link_delay[other]
    return total


def _targets(routes: Routes) -> tuple[NDArray[np.int64], bool]:
    """Destination groups to look at, and whether these are all."""
    if routes.groups <= (_SAMPLED_GROUPS if routes.topology.clustered else _ALL_GROUPS):
        return np.arange(routes.groups, dtype=np.int64), True
    return np.unique(np.linspace(0, routes.groups - 1, _SAMPLED_GROUPS).astype(np.int64)), False


def _from_hosts(routes: Routes, group: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every host: hops to a host of ``group`` (-1: none), and its place in the group's rows."""
    topology, row = routes.topology, routes.rows(group)[0]
    offset = routes.first_forwarding
    if offset == 0:
        return np.where(row >= 0, row + 1, -1).astype(np.int64), np.arange(topology.hosts)
    # the nearest of the switches a host hangs on
    hops = np.full(topology.hosts, 2**40, dtype=np.int64)
    nodes = np.zeros(topology.hosts, dtype=np.int64)
    out = np.flatnonzero((topology.link_src < offset) & (topology.link_dst >= offset) & routes.up)
    place = topology.link_dst[out].astype(np.int64) - offset
    far = np.where(row[place] >= 0, row[place].astype(np.int64) + 2, 2**40)
    np.minimum.at(hops, topology.link_src[out], far)
    chosen = far == hops[topology.link_src[out]]
    nodes[topology.link_src[out][chosen]] = place[chosen]
    straight = np.flatnonzero((topology.link_src < offset) & (topology.link_dst < offset) & routes.up)
    into = routes.group_of_host[topology.link_dst[straight]] == group
    hops[topology.link_src[straight[into]]] = 1
    return np.where(hops < 2**40, hops, -1), nodes


def _apart(routes: Routes, group: int) -> NDArray[np.bool_]:
    """[hosts] which hosts send into the fabric to reach a host of ``group``: in clusters those of other domains."""
    domain = routes.topology.domain
    if not routes.topology.clustered:
        return np.ones(len(domain), dtype=np.bool_)
    apart: NDArray[np.bool_] = domain != domain[np.argmax(routes.group_of_host == group)]
    return apart


def _paths(routes: Routes) -> tuple[int, int, int, int, bool]:
    """Fewest, median and most equal-cost paths between edge switches, most hops of any pair, whether exact."""
    targets, exact = _targets(routes)
    group = routes.group_of_host
    size = np.bincount(group, minlength=routes.groups)
    sample = np.unique(group, return_index=True)[1]
    several = np.bincount(routes.topology.link_src, minlength=routes.topology.hosts)
    one_node = bool(np.all(routes.topology.domain == routes.topology.domain[0]))
    tally: Counter[float] = Counter()
    pair_of: dict[float, tuple[int, int]] = {}
    longest = 0
    for target in targets.tolist():
        hops, nodes = _from_hosts(routes, target)
        counts = routes.rows(target)[1][nodes]
        apart = np.ones(len(group), dtype=np.bool_) if one_node else _apart(routes, target)
        longest = max(longest, int(hops[~apart & (group != target)].max(initial=0)))
        inside = group == target
        if inside.sum() > 1:
            longest = max(longest, int(hops[inside].max()))
        for source, host in enumerate(sample.tolist()):
            if source == target or hops[host] < 0 or not apart[host]:
                continue
            longest = max(longest, int(hops[host]))
            # hosts with several links add the paths of all of their switches
            wide = routes.first_forwarding > 0 and (several[host] > 1 or hops[host] == 1)
            number = float(routes.count(host, int(sample[target]))) if wide else float(counts[host])
            tally[number] += int(size[source] * size[target])
            pair_of[number] = (host, int(sample[target]))
    if not tally:
        return 0, 0, 0, longest, exact
    values = sorted(tally)
    middle = (sum(tally.values()) + 1) // 2
    seen, median = 0, values[-1]
    for value in values:
        seen += tally[value]
        if seen >= middle:
            median = value
            break
    fewest, half, most = (routes.count(*pair_of[value]) for value in (values[0], median, values[-1]))
    return fewest, half, most, longest, exact


def _switches(topology: Topology) -> dict[str, int]:
    """Switches by the name of their tier."""
    tiers, counts = np.unique(topology.tier[topology.hosts :], return_counts=True)
    names = [topology.tier_name.get(int(tier), f"tier {tier}" if tier >= 0 else "switch") for tier in tiers]
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def _bisection(topology: Topology) -> tuple[int, int]:
    """(bit/s from the first half of the hosts to the second by a maximum flow, bit/s of the smaller half's links)."""
    half = topology.hosts // 2
    if half == 0:
        return 0, 0
    # the halves become one source and one sink
    node = np.arange(topology.nodes, dtype=np.int64) - topology.hosts + 2
    node[:half], node[half : topology.hosts] = 0, 1
    tails, heads = node[topology.link_src], node[topology.link_dst]
    used = (tails != heads) & (heads != 0) & (tails != 1)
    tails, heads, rates = tails[used], heads[used], topology.link_rate[used]
    # a half that ends inside a node sends over its scale-up links too
    between_nodes = topology.domain[half - 1] != topology.domain[half]
    nic = topology.nic_rate if between_nodes else topology.host_rate
    half_rate = int(min(nic[:half].sum(), nic[half:].sum()))
    if not len(rates):
        return 0, half_rate
    unit = int(np.gcd.reduce(rates))
    scaled = rates // unit
    if int(scaled[tails == 0].sum()) < 2**31 and int(scaled.max()) < 2**31:  # SciPy counts in int32
        pairs, place = np.unique(tails * (topology.nodes + 2) + heads, return_inverse=True)
        total = np.zeros(len(pairs), dtype=np.int64)
        np.add.at(total, place, scaled)
        total = np.minimum(total, 2**31 - 1).astype(np.int32)
        size = topology.nodes + 2
        graph = coo_array((total, (pairs // size, pairs % size)), shape=(size, size)).tocsr()
        return int(maximum_flow(graph, 0, 1).flow_value) * unit, half_rate
    import networkx  # slow to import, and hardly ever needed

    network = networkx.DiGraph()
    network.add_nodes_from([0, 1])
    for tail, head, rate in zip(tails.tolist(), heads.tolist(), scaled.tolist(), strict=True):
        before = network.get_edge_data(tail, head, {"capacity": 0})["capacity"]
        network.add_edge(tail, head, capacity=before + rate)
    return int(networkx.maximum_flow_value(network, 0, 1)) * unit, half_rate


def _oversubscription(topology: Topology) -> tuple[float | None, float | None]:
    """Least and most host (in clusters NIC) rate over uplink rate of the switches that have both."""
    src, dst, rate = topology.link_src, topology.link_dst, topology.link_rate.astype(np.float64)
    first = topology.hosts if not topology.clustered else int(topology.nics.max()) + 1
    down = (src >= first) & (dst < first)
    across = (src >= first) & (dst >= first)
    to_hosts = np.bincount(src[down], weights=rate[down], minlength=topology.nodes)
    to_switches = np.bincount(src[across], weights=rate[across], minlength=topology.nodes)
    both = (to_hosts > 0) & (to_switches > 0)
    if not both.any():
        return None, None
    ratio = to_hosts[both] / to_switches[both]
    return float(ratio.min()), float(ratio.max())


def _disconnected(topology: Topology) -> int:
    """Ordered pairs of hosts without a path."""
    offset = topology.hosts if topology.nodes > topology.hosts else 0
    src, dst = topology.link_src.astype(np.int64) - offset, topology.link_dst.astype(np.int64) - offset
    inner = (src >= 0) & (dst >= 0)
    size = topology.nodes - offset
    graph = coo_array((np.ones(int(inner.sum()), dtype=np.int8), (src[inner], dst[inner])), shape=(size, size))
    label = connected_components(graph.tocsr(), directed=False)[1]
    parts: list[set[int]] = [set() for _ in range(topology.hosts)]
    if offset == 0:
        parts = [{int(one)} for one in label]
    else:
        leaving = np.flatnonzero((src < 0) & (dst >= 0))
        for host, part in zip(topology.link_src[leaving].tolist(), label[dst[leaving]].tolist(), strict=True):
            parts[host].add(part)
    kinds = Counter(frozenset(one) for one in parts)
    joined = sum(
        count * (other_count - (kind == other))
        for kind, count in kinds.items()
        for other, other_count in kinds.items()
        if kind & other
    )
    # a cable between two hosts joins just these
    straight = np.flatnonzero((topology.link_src < offset) & (topology.link_dst < offset))
    direct = {
        (a, b)
        for a, b in zip(topology.link_src[straight].tolist(), topology.link_dst[straight].tolist(), strict=True)
        if not parts[a] & parts[b]
    }
    return topology.hosts * (topology.hosts - 1) - joined - len(direct)
