"""Every switch deals its packets over its next hops in turn, in an order that is shuffled after five rounds.

Source: round robin of the switches of uet-htsim and csg-htsim. A switch has one turn for all
destinations; where their numbers of next hops differ, it shuffles at every change. Headers of cut packets and other
control packets draw a random port and are not counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.mix import mix
from models.topology import Topology
from sim.dispatch.api import Field, PolicyParams, packet_policy

uses_queues = False
_HEAD = 2  # words of the state before the rows: most ports, rounds


class Params(PolicyParams):
    rounds: int = Field(default=5, ge=1, description="Rounds after which the order is shuffled.")


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """Most ports of a node and rounds; then [nodes] rows of the turn and the order."""
    widest = int(np.bincount(topology.link_src, minlength=1).max(initial=1))
    rows = np.zeros((topology.nodes, 2 + widest), dtype=np.int64)
    return np.concatenate([np.array([widest, params.rounds], dtype=np.int64), rows.ravel()])


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    row = _HEAD + node * (2 + state[0])
    order = row + 2
    if state[row] == 0 or state[row] >= state[1] * n or state[row + 1] != n:
        word = np.uint64(key)
        for i in range(n):
            state[order + i] = i
        for i in range(n - 1, 0, -1):
            word = mix(word + np.uint64(0x9E3779B97F4A7C15))
            other = order + np.int64(word >> np.uint64(1)) % (i + 1)
            state[order + i], state[other] = state[other], state[order + i]
        state[row], state[row + 1] = 0, n
    turn = state[row]
    state[row] = turn + 1
    return state[order + turn % n]
