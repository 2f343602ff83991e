"""Folded-Clos fat-trees of two or three tiers, with fewer uplinks where they are oversubscribed.

Three tiers: the k-ary fat-tree (Al-Fares, Loukissas, Vahdat, SIGCOMM 2008): k pods of k/2 edge switches with k/2 hosts
each. Two tiers: k edge switches with k/2 hosts each. Oversubscription o (host rate over uplink rate at the edge) keeps
the hosts and shrinks what is above: an edge switch has u uplinks with (k/2 x host rate) / (u x fabric rate) = o. Two
tiers: u cores, one cable from each edge to each. Three tiers: u aggregation switches a pod with k/2 uplinks each, and
u x k/2 cores; aggregation switch j of every pod is wired to cores j x k/2 .. (j+1) x k/2 - 1.
"""

from __future__ import annotations

from fractions import Fraction

from models.topology import Topology, TopologyBuilder


def hosts_of(k: int, tiers: int) -> int:
    """Hosts of a fat-tree of k-port switches: k^3/4 with three tiers, k^2/2 with two."""
    return k**3 // 4 if tiers == 3 else k**2 // 2


DEFAULT_K = 8


def build(
    host_link: tuple[int, int],
    fabric_link: tuple[int, int],
    k: int | None = None,
    hosts: int | None = None,
    tiers: int = 3,
    oversubscription: float | Fraction | str | None = 1,
) -> Topology:
    """Either ``k`` or ``hosts``; links are (bit/s, ps). ValueError, with the nearest possible, for other shapes.

    ``oversubscription`` None: k/2 uplinks an edge switch, whatever ratio the two rates make of them.
    """
    if tiers not in (2, 3):
        raise ValueError(f"tiers is {tiers}; a fat_tree has 2 or 3")
    if k is not None and hosts is not None:
        raise ValueError("a fat_tree takes either k or hosts")
    if k is None:
        k = DEFAULT_K if hosts is None else _k_for(hosts, tiers)
    if k < 2 or k % 2:
        near = max(2, k - k % 2)
        raise ValueError(f"k is {k}; it must be even and at least 2 (nearest: {near} or {near + 2})")
    half = k // 2
    uplinks = half if oversubscription is None else _uplinks(half, host_link[0], fabric_link[0], oversubscription)
    builder = TopologyBuilder("fat_tree")
    for host in range(hosts_of(k, tiers)):
        builder.add_node(f"host{host}", host=True, tier=0)
    edges = k * half if tiers == 3 else k
    for edge in range(edges):
        builder.add_node(f"edge{edge}", host=False, tier=1)
    if tiers == 2:
        return _two_tiers(builder, half, edges, uplinks, host_link, fabric_link)
    for agg in range(k * uplinks):
        builder.add_node(f"agg{agg}", host=False, tier=2)
    for core in range(uplinks * half):
        builder.add_node(f"core{core}", host=False, tier=3)
    _host_cables(builder, edges, half, host_link)
    for edge in range(edges):
        for j in range(uplinks):
            builder.add_cable(f"edge{edge}", f"agg{edge // half * uplinks + j}", *fabric_link)
    for agg in range(k * uplinks):
        for i in range(half):
            builder.add_cable(f"agg{agg}", f"core{agg % uplinks * half + i}", *fabric_link)
    return builder.freeze({0: "host", 1: "edge", 2: "agg", 3: "core"})


def _two_tiers(
    builder: TopologyBuilder,
    half: int,
    edges: int,
    uplinks: int,
    host_link: tuple[int, int],
    fabric_link: tuple[int, int],
) -> Topology:
    for core in range(uplinks):
        builder.add_node(f"core{core}", host=False, tier=2)
    _host_cables(builder, edges, half, host_link)
    for edge in range(edges):
        for core in range(uplinks):
            builder.add_cable(f"edge{edge}", f"core{core}", *fabric_link)
    return builder.freeze({0: "host", 1: "edge", 2: "core"})


def _host_cables(builder: TopologyBuilder, edges: int, per_edge: int, host_link: tuple[int, int]) -> None:
    for host in range(edges * per_edge):
        builder.add_cable(f"host{host}", f"edge{host // per_edge}", *host_link)


def _k_for(hosts: int, tiers: int) -> int:
    """The even k with exactly ``hosts`` hosts."""
    if hosts < 1:
        raise ValueError(f"hosts is {hosts}; at least {hosts_of(2, tiers)} is due")
    k = 2
    while hosts_of(k, tiers) < hosts:
        k += 2
    if hosts_of(k, tiers) != hosts:
        near = [f"{hosts_of(other, tiers)} (k={other})" for other in (k - 2, k) if other >= 2]
        raise ValueError(f"hosts: no fat_tree of {tiers} tiers has {hosts} hosts; nearest: {' or '.join(near)}")
    return k


def _uplinks(half: int, host_rate: int, fabric_rate: int, oversubscription: float | Fraction | str) -> int:
    """Uplinks of an edge switch with ``half`` hosts: a whole number from 1, or ValueError with what comes close."""
    try:
        ratio = Fraction(str(oversubscription))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"oversubscription is {oversubscription}; a number of at least 1 is due") from None
    if ratio < 1:
        raise ValueError(f"oversubscription is {oversubscription}; a number of at least 1 is due")
    exact = Fraction(half * host_rate) / (fabric_rate * ratio)
    # a decimal such as 2.667 stands for 8/3: accept what rounds to it
    uplinks = max(1, round(exact))
    if uplinks > half or abs(exact - uplinks) > Fraction(1, 1000) * uplinks:
        below = min(max(1, int(exact)), half)
        near = {count: Fraction(half * host_rate, fabric_rate * count) for count in {below, min(below + 1, half)}}
        text = " or ".join(f"{float(value):.6g} ({count} uplinks)" for count, value in near.items() if value >= 1)
        raise ValueError(
            f"oversubscription {oversubscription} would need {float(exact):.6g} of {half} uplinks for {half} hosts"
            + (f"; nearest possible: {text}" if text else "")
        )
    return uplinks
