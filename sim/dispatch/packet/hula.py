"""Every switch sends flowlets over the best next hop to their edge switch, which it learns anew every 200 us.

Source: HULA, Katta et al., SOSR 2016. Its probes bring each switch, for each edge switch, the least of the largest link
loads of all shortest ways, and the next hop of that way. Here no probes are sent: at the end of every period the same
is computed from all links' loads over the shortest ways, as if probes took no time. Among equally good next hops one is
drawn for the period. Flowlets after 100 us.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from models.mix import mix
from models.topology import Topology
from sim.dispatch.api import DOWN, Field, Time, packet_policy, periodic
from sim.dispatch.packet._flowlets import FLOWLETS, FlowletParams, edges_of, goes_on, place_of_flow, with_flowlets

uses_queues = False
uses_loads = True
# own words: nodes, edge switches, longest way, fabric links; then [nodes] edge's number, [fabric links] link, source
# and target, [edge, nodes] distance, [edge, nodes] the best next link (-1: not known), [edge, nodes] its cost
_NODES, _EDGES, _LONGEST, _FABRIC, _MAPS = range(FLOWLETS, FLOWLETS + 5)


class Params(FlowletParams):
    probes: Time = Field(default=200_000_000, ge=1, description="Period in which switches learn the best next hops.")


def period(params: Params) -> int:
    return params.probes


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """The fabric, distances, nothing known yet, and the flow tables."""
    src, dst, nodes = topology.link_src, topology.link_dst, topology.nodes
    fabric = np.flatnonzero((src >= topology.hosts) & (dst >= topology.hosts))
    edges = edges_of(topology)
    back = csr_array((np.ones(len(fabric)), (dst[fabric], src[fabric])), shape=(nodes, nodes))
    far = dijkstra(back, unweighted=True, indices=np.flatnonzero(edges >= 0)).reshape(-1, nodes)
    distance = np.where(np.isfinite(far), far, -1).astype(np.int64)
    head = np.array([nodes, len(distance), distance.max(initial=0), len(fabric)], dtype=np.int64)
    links = np.stack([fabric, src[fabric], dst[fabric]], axis=1).astype(np.int64)
    words = [head, edges, links.ravel(), distance.ravel(), np.full(distance.size, -1), np.zeros(distance.size)]
    return with_flowlets(topology, params, np.concatenate(words).astype(np.int64))


@periodic
def tick(state, loads, now):  # type: ignore[no-untyped-def]
    nodes, edges, count = state[_NODES], state[_EDGES], state[_FABRIC]
    links = _MAPS + nodes
    for edge in range(edges):
        distance = links + 3 * count + edge * nodes
        best = distance + edges * nodes
        cost = best + edges * nodes  # the load, and a lot that decides among equal ones
        for node in range(nodes):
            state[best + node] = -1
            state[cost + node] = DOWN << 31 if state[distance + node] else 0
        for hops in range(1, state[_LONGEST] + 1):
            for i in range(count):
                link, source, target = state[links + 3 * i], state[links + 3 * i + 1], state[links + 3 * i + 2]
                if state[distance + source] != hops or state[distance + target] != hops - 1:
                    continue
                lot = np.int64(mix(np.uint64(now) ^ np.uint64(link * nodes + edge)) >> np.uint64(33))
                here = max(loads[link], state[cost + target] >> 31) << 31 | lot
                if here < state[cost + source]:
                    state[best + source], state[cost + source] = link, here


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    place = place_of_flow(state, node, flow)
    if goes_on(state, place, n, now):
        return state[place + 1]
    index, far = key % n, state[_MAPS + edge]  # where nothing is known: a random port
    if far >= 0:
        nodes = state[_NODES]
        best = state[_MAPS + nodes + 3 * state[_FABRIC] + (state[_EDGES] + far) * nodes + node]
        for i in range(n):
            if best >= 0 and queues[2 * n + i] == best:
                index = i
    state[place + 1] = index
    return index
