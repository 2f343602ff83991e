"""Offered load of a network: what demands ask of the links between switches, as a share of what these carry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from models.topology import Topology


def _first_forwarding(topology: Topology) -> int:
    """Hosts forward only where there are no switches."""
    return topology.hosts if topology.nodes > topology.hosts else 0


def fabric_links(topology: Topology) -> NDArray[np.bool_]:
    """[links] whether a link joins two nodes that forward."""
    first = _first_forwarding(topology)
    inner: NDArray[np.bool_] = (topology.link_src >= first) & (topology.link_dst >= first)
    return inner


def fabric_rate(topology: Topology) -> int:
    """bit/s of all links between forwarding nodes together, each direction counted."""
    return int(topology.link_rate[fabric_links(topology)].sum())


def masses(topology: Topology) -> NDArray[np.float64]:
    """[hosts] bit/s that a host's switch sends to other switches, shared by its hosts; without switches its own."""
    rates = np.where(fabric_links(topology), topology.link_rate, 0).astype(np.float64)
    onward = np.bincount(topology.link_src, weights=rates, minlength=topology.nodes).astype(np.float64)
    if _first_forwarding(topology) == 0:
        return onward[: topology.hosts]
    edge = topology.edge_of_host
    shared: NDArray[np.float64] = onward[edge] / np.bincount(edge, minlength=topology.nodes)[edge]
    return shared


def mean_hops(topology: Topology, row: Callable[[int], NDArray[np.float64]]) -> float:
    """Links between forwarding nodes on a shortest path, mean over pairs of hosts.

    ``row(src)`` [hosts] are the probabilities of the pairs from one source; all rows together sum to 1. Infinite where
    a pair has no path.
    """
    first = _first_forwarding(topology)
    inner = fabric_links(topology)
    ends = (topology.link_src[inner] - first, topology.link_dst[inner] - first)
    size = topology.nodes - first
    graph = coo_array((np.ones(len(ends[0])), ends), shape=(size, size)).tocsr()
    distance = shortest_path(graph, unweighted=True)
    if first == 0:
        return float(sum(_weighted(distance[src], row(src)) for src in range(topology.hosts)))
    total = 0.0
    outer = (topology.link_src < first) & (topology.link_dst >= first)
    host, behind = topology.link_src[outer], topology.link_dst[outer] - first
    order = np.argsort(host, kind="stable")
    host, behind = host[order], behind[order]
    begin = np.searchsorted(host, np.arange(topology.hosts + 1))
    for src in range(topology.hosts):
        near = distance[behind[begin[src] : begin[src + 1]]].min(axis=0, initial=np.inf)
        hops = np.full(topology.hosts, np.inf)
        np.minimum.at(hops, host, near[behind])
        for link in topology.out_link[topology.out_start[src] : topology.out_start[src + 1]].tolist():
            if topology.link_dst[link] < first:  # a cable between two hosts
                hops[topology.link_dst[link]] = 0.0
        total += _weighted(hops, row(src))
    return total


def _weighted(hops: NDArray[np.float64], probability: NDArray[np.float64]) -> float:
    used = probability > 0
    return float((hops[used] * probability[used]).sum())


def arrivals_per_second(load: float, bandwidth: float, hold: float, hops: float, capacity: int) -> float:
    """The rate at which demands of mean ``bandwidth`` bit/s and mean ``hold`` seconds offer ``load``."""
    return load * capacity / (bandwidth * hold * hops)
