"""Hosts walk through all their paths, and leave out those with penalties: a mark 1, a cut 4, a timeout 15.

Source: `UecMpBitmap` of uet-htsim (``_walk.py``). A packet whose turn falls on an entropy with penalties takes one off
that one, and goes to the next that has none, a whole round at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import entropy_feedback, entropy_policy
from sim.dispatch.packet._walk import PenaltyParams, next_without_penalty, penalty_words, punish

pick = None
uses_queues = False


class Params(PenaltyParams):
    pass


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """No memory at the switches."""
    return np.zeros(0, dtype=np.int64)


def memory(topology: Topology, params: Params, window_packets: int, key: int) -> NDArray[np.int64]:
    """The walk, and no penalties."""
    return penalty_words(params)


@entropy_policy
def spread(own, now, flow, packet, window, key):  # type: ignore[no-untyped-def]
    return next_without_penalty(own, key)


@entropy_feedback
def hear(own, now, kind, entropy, key):  # type: ignore[no-untyped-def]
    punish(own, kind, entropy)
