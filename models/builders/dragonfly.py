"""Dragonfly (Kim, Dally, Scott, Abts, ISCA 2008): groups of fully connected routers, one all-to-all between groups.

Routers are numbered through, ``router0..``. Global cables use the absolute arrangement (Camarero, Vallejo, Beivide,
2014): global port j of a group (router j // h, counted within it) leads to the j-th other group, and meets that group's
port that leads back. With fewer groups than ports the ports go round the other groups again: parallel ways.
"""

from __future__ import annotations

from models.topology import Topology, TopologyBuilder


def build(
    host_link: tuple[int, int],
    fabric_link: tuple[int, int],
    groups: int | None = None,
    routers_per_group: int = 4,
    hosts_per_router: int | None = None,
    global_links_per_router: int | None = None,
    global_link: tuple[int, int] | None = None,
) -> Topology:
    """Canonical: routers_per_group = 2 hosts_per_router = 2 global_links_per_router (a = 2p = 2h); so are the defaults.

    ``groups`` defaults to a x h + 1 (one cable between any two groups). ``fabric_link`` is within a group,
    ``global_link`` between groups (default: the same); links are (bit/s, ps).
    """
    routers = routers_per_group
    half = max(1, routers // 2)
    hosts_per_router = half if hosts_per_router is None else hosts_per_router
    global_links = half if global_links_per_router is None else global_links_per_router
    ports = routers * global_links
    groups = ports + 1 if groups is None else groups
    for name, value in (("groups", groups), ("routers_per_group", routers), ("hosts_per_router", hosts_per_router)):
        if value < 1:
            raise ValueError(f"{name} is {value}; at least 1 is due")
    if global_links < 0 or (groups > 1 and global_links < 1):
        raise ValueError(f"global_links_per_router is {global_links}; at least 1 is due")
    rounds = _rounds(groups, ports)
    builder = TopologyBuilder("dragonfly")
    switches = groups * routers
    for host in range(switches * hosts_per_router):
        builder.add_node(f"host{host}", host=True, tier=0)
    for router in range(switches):
        builder.add_node(f"router{router}", host=False, tier=1)
    for host in range(switches * hosts_per_router):
        builder.add_cable(f"host{host}", f"router{host // hosts_per_router}", *host_link)
    for group in range(groups):
        for a in range(routers):
            for b in range(a + 1, routers):
                builder.add_cable(f"router{group * routers + a}", f"router{group * routers + b}", *fabric_link)
    for group in range(groups):
        for turn in range(rounds):
            for other in range(group + 1, groups):
                # group's j-th other group is j, or j + 1 from its own number on
                near = turn * (groups - 1) + other - 1
                far = turn * (groups - 1) + group
                a = group * routers + near // global_links
                b = other * routers + far // global_links
                builder.add_cable(f"router{a}", f"router{b}", *(global_link or fabric_link))
    return builder.freeze({0: "host", 1: "router"})


def _rounds(groups: int, ports: int) -> int:
    """Cables between each pair of groups: all global ports are used, evenly."""
    if groups == 1:
        return 0
    if groups > ports + 1:
        raise ValueError(
            f"groups: {groups} groups need {groups - 1} global links a group, but it has {ports}"
            f" (routers_per_group x global_links_per_router); at most {ports + 1} groups"
        )
    if ports % (groups - 1):
        near = [count for count in range(2, ports + 2) if ports % (count - 1) == 0]
        near.sort(key=lambda count: (abs(count - groups), count))
        raise ValueError(
            f"groups: {ports} global links a group don't spread evenly over {groups - 1} other groups;"
            f" nearest number of groups: {' or '.join(str(count) for count in sorted(near[:2]))}"
        )
    return ports // (groups - 1)
