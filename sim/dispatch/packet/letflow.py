"""Every switch sends each flowlet, a burst of a flow's packets, to a random port.

Source: LetFlow, Vanini et al., NSDI 2017. Gap 100 us, as in the public code of ConWeave (the paper's testbed: 500 us).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import packet_policy
from sim.dispatch.packet._flowlets import FlowletParams, goes_on, place_of_flow, with_flowlets

uses_queues = False


class Params(FlowletParams):
    pass


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """The flow tables."""
    return with_flowlets(topology, params, np.zeros(0, dtype=np.int64))


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    place = place_of_flow(state, node, flow)
    if not goes_on(state, place, n, now):
        state[place + 1] = key % n
    return state[place + 1]
