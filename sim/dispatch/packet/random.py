"""Every packet takes a random equal-cost port at every switch.

Source: random packet spraying, Dixit et al., "On the Impact of Packet Spraying in Data Center Networks", INFOCOM 2013.
"""

from __future__ import annotations

from typing import Any

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
def pick(
    state: Any,
    queues: Any,
    n: Any,
    now: Any,
    node: Any,
    source: Any,
    destination: Any,
    edge: Any,
    flow: Any,
    packet: Any,
    key: Any,
) -> Any:
    return key % n
