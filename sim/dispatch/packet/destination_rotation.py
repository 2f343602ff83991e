"""Every switch deals the packets to each destination edge switch over its ports in turn: a pointer per destination.

Source: host destination rotation and Ofan of McClure et al., "Load Balancing for AI Training Workloads", arXiv
2507.21372v2: queues do not grow with the message (Theta(1)). Own reconstruction of the idea: pointers begin at random,
each (switch, destination edge) walks the ports in its own random cyclic order, and size classes are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.mix import mix
from models.topology import Topology
from sim.dispatch.api import PolicyParams, packet_policy

uses_queues = False


class Params(PolicyParams):
    pass


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """The first forwarding node, their number + 1 and a key; then a pointer per (forwarding node, destination edge).

    Row 0 is for hosts with several links.
    """
    offset = topology.hosts if topology.nodes > topology.hosts else 0
    width = topology.nodes - offset + 1
    start = np.random.Generator(np.random.PCG64(key)).integers(0, 2**31, width**2)
    return np.concatenate([np.array([offset, width, key], dtype=np.int64), start])


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    pair = (max(node - state[0], -1) + 1) * state[1] + max(edge - state[0], -1) + 1
    turn = state[3 + pair]
    state[3 + pair] = turn + 1
    # a random cyclic order: steps of a length that has no divisor in common with n
    step = np.int64(mix(np.uint64(state[2]) ^ np.uint64(pair)) >> np.uint64(1)) % n
    while True:
        a, b = step, n
        while b:
            a, b = b, a % b
        if a == 1:
            break
        step = (step + 1) % n
    return turn * step % n
