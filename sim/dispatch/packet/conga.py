"""Edge switches send each flowlet to the uplink that is least loaded, here and further on towards its destination.

Source: CONGA, Alizadeh et al., SIGCOMM 2014, with the parameters of ConWeave's public code: flowlets after 100 us,
loads by estimators of 50 us and alpha 0.2, told in 3 bits, forgotten after 500 us. An uplink counts as the larger of
its own load and the largest on the way that packets over it last met, which the sender's edge switch hears with the ACK
(in CONGA: with any packet of the way back). Of equal uplinks the flow's last one, else a random one. Other switches, of
which CONGA has none with a choice, go by their own loads. Without ACKs nothing is heard.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import Field, Time, packet_policy, switch_feedback
from sim.dispatch.packet._flowlets import (
    FLOWLETS,
    FlowletParams,
    edges_of,
    goes_on,
    place_of_flow,
    uplinks_of,
    with_flowlets,
)

uses_queues = False
uses_loads = True
stamps = "loads"
_TOP = 7  # of 3 bits
# own words: age, nodes, links, edge switches, uplinks of one; then [nodes] edge's number, [links] uplink's number,
# [edge, far edge, uplink] the time of the news + 1 and the load
_AGE, _NODES, _LINKS, _EDGES, _UPLINKS, _MAPS = range(FLOWLETS, FLOWLETS + 6)


class Params(FlowletParams):
    period: Time = Field(default=50_000_000, ge=1, description="Period of the load estimators.")
    alpha: float = Field(default=0.2, ge=0.01, le=0.99, description="Share that an estimator loses in a period.")
    age: Time = Field(default=500_000_000, description="Time after which a remote load is forgotten.")


def load_period(params: Params) -> int:
    return params.period


def load_alpha(params: Params) -> float:
    return params.alpha


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """The parameters, where things are, the remote loads, and the flow tables."""
    edges, uplinks = edges_of(topology), uplinks_of(topology)
    count, width = int(edges.max(initial=-1)) + 1, int(uplinks.max(initial=-1)) + 1
    head = np.array([params.age, topology.nodes, topology.links, count, width], dtype=np.int64)
    remote = np.zeros(2 * count * count * width, dtype=np.int64)
    return with_flowlets(topology, params, np.concatenate([head, edges, uplinks, remote]))


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    place = place_of_flow(state, node, flow)
    fresh = state[place] > 0
    if goes_on(state, place, n, now):
        return state[place + 1]
    here, far = state[_MAPS + node], state[_MAPS + edge]
    remote = _MAPS + state[_NODES] + state[_LINKS]
    last = state[place + 1] if fresh else -1
    best, least, equal = 0, 1 << 40, 0
    for i in range(n):
        cost = min(queues[n + i] >> 7, _TOP)
        uplink = state[_MAPS + state[_NODES] + queues[2 * n + i]]
        if here >= 0 and far >= 0 and uplink >= 0:
            at = remote + 2 * ((here * state[_EDGES] + far) * state[_UPLINKS] + uplink)
            if state[at] > 0 and now + 1 - state[at] <= state[_AGE]:
                cost = max(cost, state[at + 1])
        if cost < least:
            best, least, equal = i, cost, 1
        elif cost == least:
            equal += 1
            if best != last and (i == last or key % equal == 0):
                best = i
    state[place + 1] = best
    return best


@switch_feedback
def learn(state, now, edge, far, link, metric, key):  # type: ignore[no-untyped-def]
    uplink = state[_MAPS + state[_NODES] + link]
    here, there = state[_MAPS + edge], state[_MAPS + far]
    if here < 0 or there < 0 or uplink < 0:  # a host's other home is no edge switch
        return
    row = here * state[_EDGES] + there
    at = _MAPS + state[_NODES] + state[_LINKS] + 2 * (row * state[_UPLINKS] + uplink)
    state[at] = now + 1
    state[at + 1] = min(metric >> 7, _TOP)
