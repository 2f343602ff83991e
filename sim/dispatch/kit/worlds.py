"""Small fabrics that policies are tried on."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.builders import fat_tree, leaf_spine, star
from models.topology import Topology, TopologyBuilder

_LINK = (100 * 10**9, 500_000)  # 100 Gbit/s, 500 ns


class World(NamedTuple):
    """A fabric; ``down``: the links that tables believe to be down; ``later``: those that go down on the way."""

    name: str
    topology: Topology
    down: tuple[int, ...] = ()
    later: tuple[int, ...] = ()

    def up(self, *, late: bool) -> NDArray[np.bool_]:
        """[links] what tables believe, before or after the later links went down."""
        state = np.ones(self.topology.links, dtype=np.bool_)
        state[list(self.down + (self.later if late else ()))] = False
        return state


def plain_leaf_spine(leaves: int = 3, spines: int = 4, hosts_per_leaf: int = 4) -> Topology:
    return leaf_spine.build(leaves, spines, hosts_per_leaf, _LINK, _LINK)


def path_worlds() -> list[World]:
    """Fabrics with many paths, few, one, unequal ones, and with broken links."""
    clos = plain_leaf_spine()
    rates = clos.link_rate.copy()
    rates[list(clos.find_links("leaf0-spine1"))] = 10 * 10**9
    rates[list(clos.find_links("leaf2-spine3"))] = 400 * 10**9
    tree = fat_tree.build(k=4, tiers=3, oversubscription=1, host_link=_LINK, fabric_link=_LINK)
    return [
        World("leaf-spine", clos, later=clos.find_links("leaf1-spine0")),
        World("fat-tree", tree, later=tree.find_links("edge0-agg0")),
        World("leaf-spine with a link down", clos, down=clos.find_links("leaf0-spine2")),
        World("leaf-spine of unequal rates", replace(clos, link_rate=rates)),
        World("one path (star)", star.build(hosts=6, host_link=_LINK)),
        World("one spine", plain_leaf_spine(3, 1, 2)),
        World("hosts with two links", _two_links_a_host()),
        World("an unreachable host", clos, down=clos.find_links("host5-leaf1")),
    ]


def _two_links_a_host() -> Topology:
    builder = TopologyBuilder("edges")
    for host in range(4):
        builder.add_node(f"host{host}", host=True, tier=0)
    for leaf in range(2):
        builder.add_node(f"leaf{leaf}", host=False, tier=1)
    builder.add_node("spine0", host=False, tier=2)
    for leaf in range(2):
        for host in range(4):
            builder.add_cable(f"host{host}", f"leaf{leaf}", *_LINK)
        builder.add_cable(f"leaf{leaf}", "spine0", *_LINK)
    return builder.freeze()
