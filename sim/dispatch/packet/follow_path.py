"""No choice at the switches: a packet follows its flow's path; one of a sprayed flow draws a random path of its own.

The random path is drawn hop by hop with probabilities in proportion to the number of shortest paths behind each port,
so every equal-cost path is equally likely. Built into the engine: there is nothing to call.

Source: source routing of every packet, for sprayed flows with a uniform choice among the shortest paths; own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import PolicyParams

pick = None
uses_queues = False


class Params(PolicyParams):
    pass


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """No memory."""
    return np.zeros(0, dtype=np.int64)
