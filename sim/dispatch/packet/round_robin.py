"""Every switch deals its packets over the candidate ports in turn: one pointer a switch.

Source: "simple round robin" of McClure et al., "Load Balancing for AI Training Workloads", arXiv 2507.21372v2, where
queues grow in proportion to the message (Theta(m)). ``start``: pointers begin at random, or all at port 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import Field, PolicyParams, packet_policy

uses_queues = False


class Params(PolicyParams):
    start: Literal["random", "zero"] = Field(default="random", description="Where the pointers begin.")


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """[nodes] pointers."""
    if params.start == "zero":
        return np.zeros(topology.nodes, dtype=np.int64)
    return np.random.Generator(np.random.PCG64(key)).integers(0, 2**31, topology.nodes)


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    turn = state[node]
    state[node] = turn + 1
    return turn % n
