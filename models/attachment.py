"""What hosts hang on: the destination groups of routing, and the hosts that have a single link."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology


class Groups(NamedTuple):
    """Destination groups. Group g hangs on seed_node[seed_start[g] : seed_start[g + 1]]."""

    group_of_host: NDArray[np.int32]
    seed_start: NDArray[np.int64]  # [groups + 1]
    seed_node: NDArray[np.int32]
    seed_rate: NDArray[np.int64]  # bit/s; 0 for a lone link
    last_start: NDArray[np.int64]  # [hosts + 1]
    last_link: NDArray[np.int32]  # the links into each host that are up


def find_groups(topology: Topology, up: NDArray[np.bool_]) -> Groups:
    """Groups by attachment: a lone link by its switch, several by their (switch, rate), with multiplicity."""
    into = np.flatnonzero((topology.link_dst < topology.hosts) & up).astype(np.int32)
    into = into[np.argsort(topology.link_dst[into], kind="stable")]
    number = np.bincount(topology.link_dst[into], minlength=topology.hosts)
    last_start = np.concatenate([[0], np.cumsum(number)]).astype(np.int64)
    node = topology.link_src[into].tolist()
    rate = topology.link_rate[into].tolist()
    starts = last_start.tolist()
    index: dict[tuple[Any, ...], int] = {}
    group_of_host = np.empty(topology.hosts, dtype=np.int32)
    for host in range(topology.hosts):
        first, end = starts[host], starts[host + 1]
        if end == first + 1:
            key: tuple[Any, ...] = ((node[first], 0),)
        else:
            key = tuple(sorted(zip(node[first:end], rate[first:end], strict=True)))
        group_of_host[host] = index.setdefault(key, len(index))
    seed_start = np.concatenate([[0], np.cumsum([len(key) for key in index])]).astype(np.int64)
    seed_node = np.array([seed for key in index for seed, _ in key], dtype=np.int32)
    seed_rate = np.array([value for key in index for _, value in key], dtype=np.int64)
    return Groups(group_of_host, seed_start, seed_node, seed_rate, last_start, into)


def domain_groups(topology: Topology, up: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[hosts] of a cluster: the same number where scale-up links come from the same switches, and where NICs do.

    What hosts of one number are sent, from one source and over that kind of link, has the same choice of paths.
    """
    src, dst, rate = topology.link_src.tolist(), topology.link_dst.tolist(), topology.link_rate.tolist()
    fabric = topology.nic_uplink[np.arange(topology.links) ^ 1]
    own: dict[int, list[int]] = {}  # node -> the links into it from the fabric, or from what hosts have of their own
    scale_up: dict[int, list[tuple[int, int]]] = {}
    for link in np.flatnonzero(up).tolist():
        if topology.scale_up[link]:
            # straight from a neighbour, or from a switch
            scale_up.setdefault(dst[link], []).append((max(src[link], topology.hosts - 1), rate[link]))
        elif fabric[link] or topology.tier[src[link]] > topology.tier[dst[link]] >= 0:
            own.setdefault(dst[link], []).append(link)

    def behind(node: int) -> list[tuple[int, int]]:
        """(switch, rate) of the fabric's links towards a host or what it has of its own."""
        found: list[tuple[int, int]] = []
        for link in own.get(node, ()):
            found += [(src[link], rate[link])] if fabric[link] else behind(src[link])
        return found

    kinds: tuple[dict[Any, int], dict[Any, int]] = ({}, {})
    numbers = np.empty((2, topology.hosts), dtype=np.int64)
    for host in range(topology.hosts):
        for row, key in enumerate((sorted(scale_up.get(host, ())), sorted(behind(host)))):
            numbers[row, host] = kinds[row].setdefault(tuple(key), len(kinds[row]))
    return numbers[0], numbers[1]


def lone_links(topology: Topology, up: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """[hosts] the only link of a host to a switch, and the only one from it; -1 where there is none or several."""

    def only(near: NDArray[np.int32], far: NDArray[np.int32]) -> list[int]:
        link = np.flatnonzero((near < topology.hosts) & up)
        lone = np.bincount(near[link], minlength=topology.hosts) == 1
        found = np.full(topology.hosts, -1, dtype=np.int64)
        link = link[lone[near[link]] & (far[link] >= topology.hosts)]
        found[near[link]] = link
        return [int(number) for number in found.tolist()]

    return only(topology.link_src, topology.link_dst), only(topology.link_dst, topology.link_src)
