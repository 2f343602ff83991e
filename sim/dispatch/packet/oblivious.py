"""Hosts walk through all their paths in an order of their own, whatever becomes of the packets.

Source: `UecMpOblivious` of uet-htsim (``_walk.py``). Default: 64 paths; the suite's permutations have 128.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import Field, PolicyParams, entropy_policy
from sim.dispatch.packet._walk import next_of_walk, walk_words

pick = None
uses_queues = False


class Params(PolicyParams):
    paths: int = Field(default=64, ge=2, le=65536, description="Entropies of a flow, rounded up to a power of 2.")


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """No memory at the switches."""
    return np.zeros(0, dtype=np.int64)


def memory(topology: Topology, params: Params, window_packets: int, key: int) -> NDArray[np.int64]:
    """The walk."""
    return np.array(walk_words(params.paths), dtype=np.int64)


@entropy_policy
def spread(own, now, flow, packet, window, key):  # type: ignore[no-untyped-def]
    return next_of_walk(own, key)
