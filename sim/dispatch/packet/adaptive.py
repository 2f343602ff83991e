"""Every switch sends a packet to one of the ports whose queues are shortest, told apart in few steps only.

Source: adaptive routing of csg-htsim, with the steps of McClure et al., arXiv 2507.21372v2: a queue counts as one of
four kinds, up to 5, 10 and 20 % of the port's buffer and beyond; among the ports of the least kind the choice is
random. Where buffers have no limit, shares are of 1 MB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import Field, PolicyParams, packet_policy

uses_queues = True
uses_buffer = True
_UNLIMITED = 1_000_000  # bytes


class Params(PolicyParams):
    quanta: tuple[float, ...] = Field(
        default=(0.05, 0.1, 0.2),
        strict=False,
        description="Rising shares of the buffer: steps of a queue.",
    )


def state(topology: Topology, params: Params, key: int, buffer: int) -> NDArray[np.int64]:
    """[quanta] bytes."""
    room = buffer if buffer < 2**40 else _UNLIMITED
    return np.array([round(share * room) for share in sorted(params.quanta)], dtype=np.int64)


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    least, equal = len(state) + 1, 0
    for i in range(n):
        kind = 0
        while kind < len(state) and queues[i] > state[kind]:
            kind += 1
        if kind < least:
            least, equal = kind, 0
        equal += kind == least
    wanted = key % equal
    for i in range(n):
        kind = 0
        while kind < len(state) and queues[i] > state[kind]:
            kind += 1
        if kind == least:
            if wanted == 0:
                return i
            wanted -= 1
    return 0
