"""All hosts on one switch."""

from __future__ import annotations

from models.topology import Topology, TopologyBuilder


def build(hosts: int, host_link: tuple[int, int]) -> Topology:
    """``host_link`` is (bit/s, ps). The switch is ``switch0``."""
    if hosts < 1:
        raise ValueError(f"hosts is {hosts}; at least 1 is due")
    builder = TopologyBuilder("star")
    for host in range(hosts):
        builder.add_node(f"host{host}", host=True, tier=0)
    builder.add_node("switch0", host=False, tier=1)
    for host in range(hosts):
        builder.add_cable(f"host{host}", "switch0", *host_link)
    return builder.freeze({0: "host", 1: "switch"})
