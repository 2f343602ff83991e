"""Torus of any number of dimensions: every router has a cable to its two neighbours in each dimension, ends wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from models.topology import Topology, TopologyBuilder


def build(
    dims: Sequence[int], host_link: tuple[int, int], fabric_link: tuple[int, int], hosts_per_router: int = 1
) -> Topology:
    """``dims`` such as [4, 4]; links are (bit/s, ps). A dimension of 2 has one cable, of 1 none.

    Router numbers count through the last dimension first.
    """
    if not dims:
        raise ValueError("dims is empty; at least one dimension is due, such as [4, 4]")
    for size in dims:
        if size < 1:
            raise ValueError(f"dims holds {size}; every dimension is at least 1")
    if hosts_per_router < 1:
        raise ValueError(f"hosts_per_router is {hosts_per_router}; at least 1 is due")
    routers = prod(dims)
    builder = TopologyBuilder("torus")
    for host in range(routers * hosts_per_router):
        builder.add_node(f"host{host}", host=True, tier=0)
    for router in range(routers):
        builder.add_node(f"router{router}", host=False, tier=1)
    for host in range(routers * hosts_per_router):
        builder.add_cable(f"host{host}", f"router{host // hosts_per_router}", *host_link)
    stride = routers
    for size in dims:
        stride //= size
        for router in range(routers):
            place = router // stride % size
            if place + 1 < size:
                builder.add_cable(f"router{router}", f"router{router + stride}", *fabric_link)
            elif size > 2:
                builder.add_cable(f"router{router}", f"router{router - (size - 1) * stride}", *fabric_link)
    return builder.freeze({0: "host", 1: "router"})
