"""A learning automaton at each edge switch: uplinks by probabilities that the queues met on the way reward or punish.

Source: stochastic learning automata for path selection with in-band telemetry, arXiv 2508.13806 (Zerna Torres et al.);
its reward and rates are not public, so these are the textbook's (Narendra, Thathachar 1974). For each (edge switch,
edge switch of the destination) the reward of a path is R = 1 - the largest queue on it as a share of the buffer, told
with the ACK, after its real delay. ``reward_inaction``: p of the path += gain R (1 - p), the others p -= gain R p.
``reward_penalty`` also takes off: p -= loss (1 - R) p, the others p += loss (1 - R) (1 / (K - 1) - p). No p falls below
``floor``: without it reward_inaction ends on one path for good. A decision holds for a flowlet, or with ``gap`` 0 for a
packet. Switches that are not the sender's edge switch draw at random.
"""

from __future__ import annotations

from typing import Literal

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
uses_loads = True  # for the numbers of the links
stamps = "queues"
_ONE = 1 << 30  # a probability of 1
# own words: gain, loss and floor in 1/_ONE, nodes, links, edge switches, uplinks of one; then [nodes] edge's number,
# [links] uplink's number, [edge] its uplinks, [edge, far edge, uplink] probability
_GAIN, _LOSS, _FLOOR, _NODES, _LINKS, _EDGES, _UPLINKS, _MAPS = range(FLOWLETS, FLOWLETS + 8)


class Params(FlowletParams):
    rule: Literal["reward_inaction", "reward_penalty"] = Field(default="reward_penalty", description="How it learns.")
    gain: float = Field(default=0.05, gt=0, lt=1, description="Step of a reward.")
    loss: float = Field(default=0.05, gt=0, lt=1, description="Step of a penalty, with reward_penalty.")
    floor: float = Field(default=0.01, ge=0, lt=1, description="Least probability; at most half of an equal share.")
    gap: Time = Field(default=100_000_000, ge=0, description="Silence after which the next flowlet begins; 0: packets.")


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """The parameters, where things are, equal probabilities, and the flow tables."""
    edges, uplinks = edges_of(topology), uplinks_of(topology)
    count, width = int(edges.max(initial=-1)) + 1, int(uplinks.max(initial=-1)) + 1
    loss = params.loss if params.rule == "reward_penalty" else 0.0
    steps = [round(value * _ONE) for value in (params.gain, loss, params.floor)]
    number = np.bincount(edges[topology.link_src[uplinks >= 0]], minlength=count)
    share = np.zeros((count, count, width), dtype=np.int64)
    for edge, several in enumerate(number.tolist()):
        share[edge, :, :several] = _ONE // max(several, 1)
        share[edge, :, :1] += _ONE - several * (_ONE // max(several, 1))
    head = np.array([*steps, topology.nodes, topology.links, count, width], dtype=np.int64)
    return with_flowlets(topology, params, np.concatenate([head, edges, uplinks, number, share.ravel()]))


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    place = place_of_flow(state, node, flow)
    if goes_on(state, place, n, now):
        return state[place + 1]
    here, far = state[_MAPS + node], state[_MAPS + edge]
    index = key % n
    if here >= 0 and far >= 0:
        links = _MAPS + state[_NODES]
        row = links + state[_LINKS] + state[_EDGES] + (here * state[_EDGES] + far) * state[_UPLINKS]
        total = 0
        for i in range(n):
            uplink = state[links + queues[2 * n + i]]
            total += state[row + uplink] if uplink >= 0 else 0
        rest = (key >> 8) % max(total, 1)
        for i in range(n):
            uplink = state[links + queues[2 * n + i]]
            part = state[row + uplink] if uplink >= 0 else 0
            if 0 <= rest < part:
                index = i
            rest -= part
    state[place + 1] = index
    return index


@switch_feedback
def learn(state, now, edge, far, link, metric, key):  # type: ignore[no-untyped-def]
    links = _MAPS + state[_NODES]
    here, there, chosen = state[_MAPS + edge], state[_MAPS + far], state[links + link]
    if here < 0 or there < 0 or chosen < 0:  # a host's other home is no edge switch
        return
    count = state[links + state[_LINKS] + here]
    if count < 2:
        return
    row = links + state[_LINKS] + state[_EDGES] + (here * state[_EDGES] + there) * state[_UPLINKS]
    penalty = min(metric, 1024)
    up, down = state[_GAIN] * (1024 - penalty) >> 10, state[_LOSS] * penalty >> 10
    least = min(state[_FLOOR], _ONE // (2 * count))
    total, largest = 0, row
    for i in range(count):
        p = state[row + i]
        if i == chosen:
            p += (up * (_ONE - p) >> 30) - (down * p >> 30)
        else:
            p += (down * (_ONE // (count - 1) - p) >> 30) - (up * p >> 30)
        p = max(p, least)
        state[row + i] = p
        total += p
        if p > state[largest]:
            largest = row + i
    state[largest] += _ONE - total  # what rounding and the floor took
