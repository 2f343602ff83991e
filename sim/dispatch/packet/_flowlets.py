"""Flow tables of switches, and the places of edge switches, for policies that decide once for a flowlet.

A switch remembers for each of its ``entries`` when a packet of that entry last came, and where it went. A flow's entry
is a hash of its id: flows that share one share their flowlets, as in hardware.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from models.mix import mix
from models.topology import Topology
from sim.dispatch.api import Field, PolicyParams, Time

OFFSET, ENTRIES, GAP, TABLE, FLOWLETS = range(5)  # the words with which the state begins: node of row 1; the table
_LONG = types.int64
_LONGS = types.int64[::1]


class FlowletParams(PolicyParams):
    gap: Time = Field(default=100_000_000, ge=1, description="Silence of a flow after which the next flowlet begins.")
    entries: int = Field(default=4096, ge=1, description="Flows that a switch tells apart; beyond it they collide.")


def with_flowlets(topology: Topology, params: FlowletParams, words: NDArray[np.int64]) -> NDArray[np.int64]:
    """A state: the flow tables' words, the policy's own words, then the tables, one for all hosts and one a switch."""
    offset = topology.hosts if topology.nodes > topology.hosts else 0
    head = np.array([offset, params.entries, params.gap or -1, FLOWLETS + len(words)], dtype=np.int64)
    tables = np.zeros(2 * params.entries * (topology.nodes - offset + 1), dtype=np.int64)
    return np.concatenate([head, words, tables])


@njit(_LONG(_LONGS, _LONG, _LONG), internal=True)
def place_of_flow(state, node, flow):  # type: ignore[no-untyped-def]
    """Where a flow's entry is at a switch: the time of its last packet + 1 (0: none), and the port."""
    row = max(node - state[OFFSET], -1) + 1
    entry = np.int64(mix(np.uint64(flow + 1) ^ np.uint64(row << 40)) >> np.uint64(1)) % state[ENTRIES]
    return state[TABLE] + 2 * (row * state[ENTRIES] + entry)


@njit(_LONG(_LONGS, _LONG, _LONG, _LONG), internal=True)
def goes_on(state, place, n, now):  # type: ignore[no-untyped-def]
    """Whether the entry's flowlet goes on, on a port that is still there. The packet is noted."""
    last = state[place]
    state[place] = now + 1
    return last > 0 and now + 1 - last <= state[GAP] and state[place + 1] < n


def edges_of(topology: Topology) -> NDArray[np.int64]:
    """[nodes] the number of each edge switch among them, -1 for other nodes."""
    number = np.full(topology.nodes, -1, dtype=np.int64)
    edges = np.unique(topology.edge_of_host)
    number[edges] = np.arange(len(edges))
    return number


def uplinks_of(topology: Topology) -> NDArray[np.int64]:
    """[links] the number of each link from an edge switch to a switch among those of its switch, -1 for other links."""
    number = np.full(topology.links, -1, dtype=np.int64)
    edge = edges_of(topology)[topology.link_src] >= 0
    fabric = (topology.link_src >= topology.hosts) & (topology.link_dst >= topology.hosts)
    links = np.flatnonzero(edge & fabric)
    links = links[np.argsort(topology.link_src[links], kind="stable")]
    source = topology.link_src[links]
    first = np.searchsorted(source, source)
    number[links] = np.arange(len(links)) - first
    return number
