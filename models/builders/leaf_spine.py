"""Two-tier leaf-spine (folded Clos): every leaf has one cable to every spine."""

from __future__ import annotations

from models.topology import Topology, TopologyBuilder


def build(
    leaves: int, spines: int, hosts_per_leaf: int, host_link: tuple[int, int], fabric_link: tuple[int, int]
) -> Topology:
    """``host_link`` and ``fabric_link`` are (bit/s, ps). Hosts are numbered leaf by leaf."""
    for name, value in (("leaves", leaves), ("spines", spines), ("hosts_per_leaf", hosts_per_leaf)):
        if value < 1:
            raise ValueError(f"{name} is {value}; at least 1 is due")
    builder = TopologyBuilder("leaf_spine")
    for host in range(leaves * hosts_per_leaf):
        builder.add_node(f"host{host}", host=True, tier=0)
    for leaf in range(leaves):
        builder.add_node(f"leaf{leaf}", host=False, tier=1)
    for spine in range(spines):
        builder.add_node(f"spine{spine}", host=False, tier=2)
    for host in range(leaves * hosts_per_leaf):
        builder.add_cable(f"host{host}", f"leaf{host // hosts_per_leaf}", *host_link)
    for leaf in range(leaves):
        for spine in range(spines):
            builder.add_cable(f"leaf{leaf}", f"spine{spine}", *fabric_link)
    return builder.freeze({0: "host", 1: "leaf", 2: "spine"})
