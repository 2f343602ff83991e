"""Every packet takes a random equal-cost port at every switch.

Source: random packet spraying, Dixit et al., "On the Impact of Packet Spraying in Data Center Networks", INFOCOM 2013.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import PolicyParams, packet_policy

uses_queues = False


class Params(PolicyParams):
    pass


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """No memory."""
    return np.zeros(0, dtype=np.int64)


@packet_policy
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):  # type: ignore[no-untyped-def]
    return key % n
