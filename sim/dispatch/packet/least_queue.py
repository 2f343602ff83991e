"""Every switch sends a packet to the shortest of some candidate queues: DRILL(d, m), or of all.

Source: Ghorbani et al., "DRILL: Micro Load Balancing for Low-latency Data Center Networks", SIGCOMM 2017: compare d
random ports and the m best of last time. ``samples: all`` with ``ties: first`` is the join-shortest-queue of McClure et
al., arXiv 2507.21372v2. The memory is kept per switch and destination edge switch, as in the public ns-3 code.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from models.mix import mix
from models.topology import Topology
from sim.dispatch.api import Field, PolicyParams, packet_policy

uses_queues = True

# state: samples (0: all), memory, ties (1: first), first forwarding node, their number + 1 (row 0: hosts with several
# links); then [node, destination edge, memory] ports, -1 where none
_HEAD = 5


class Params(PolicyParams):
    samples: Literal["all"] | Annotated[int, Field(ge=1)] = Field(
        default=2, description="Ports compared a packet: a number, or all."
    )
    memory: int = Field(default=1, ge=0, le=8, description="Best ports remembered; no effect with samples: all.")
    ties: Literal["random", "first"] = Field(
        default="random", description="Among equal queues: random, or lowest port."
    )


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """The parameters, then the remembered ports."""
    samples = 0 if params.samples == "all" else int(params.samples)
    memory = params.memory if samples else 0
    offset = topology.hosts if topology.nodes > topology.hosts else 0
    width = topology.nodes - offset + 1
    head = np.array([samples, memory, params.ties == "first", offset, width], dtype=np.int64)
    return np.concatenate([head, np.full(width**2 * memory, -1, dtype=np.int64)])


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    samples, memory, first = state[0], state[1], state[2]
    word = np.uint64(key)
    best, shortest, equal = -1, 0, 0
    everything = samples == 0 or samples >= n
    tries = n if everything else samples + memory
    row, column = max(node - state[3], -1) + 1, max(edge - state[3], -1) + 1
    place = _HEAD + (row * state[4] + column) * memory
    for i in range(tries):
        if everything:
            port = i
        elif i < samples:
            word = mix(word + np.uint64(0x9E3779B97F4A7C15))
            port = np.int64(word >> np.uint64(1)) % n
        else:
            port = state[place + i - samples]
            if port < 0 or port >= n:
                continue
        if best < 0 or queues[port] < shortest or (first and queues[port] == shortest and port < best):
            best, shortest, equal = port, queues[port], 1
        elif queues[port] == shortest and port != best and not first:
            equal += 1
            word = mix(word + np.uint64(0x9E3779B97F4A7C15))
            if np.int64(word >> np.uint64(1)) % equal == 0:
                best = port
    if memory and not everything:
        known = -1
        for i in range(memory):
            if state[place + i] == best:
                known = i
        last = known if known >= 0 else memory - 1
        for i in range(last, 0, -1):
            state[place + i] = state[place + i - 1]
        state[place] = best
    return best
