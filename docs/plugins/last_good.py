"""Hosts stay on the path that last came back without a mark; until one has, and after a loss, paths are random.

Source: own; REPS (arXiv 2407.21625) with a memory of one path instead of a ring of eight.
"""

import numpy as np

from sim.dispatch.api import CUT, GOOD, LOST, Field, PolicyParams, entropy_feedback, entropy_policy

LEVEL = "packet"
pick = None  # nothing to choose at switches: they hash the entropy, one equal-cost path for each
uses_queues = False

PATHS, HELD = range(2)  # words of a flow's own memory


class Params(PolicyParams):
    paths: int = Field(default=256, ge=2, le=65536, description="Entropies that are drawn from.")


def state(topology, params, key):
    """No memory at the switches."""
    return np.zeros(0, dtype=np.int64)


def memory(topology, params, window_packets, key):
    """What a flow begins with: no path that is known to be good."""
    return np.array([params.paths, -1], dtype=np.int64)


@entropy_policy  # compiled; called for every new packet: its entropy
def spread(own, now, flow, packet, window, key):
    return own[HELD] if own[HELD] >= 0 else key % own[PATHS]  # `key`: a random number of this packet


@entropy_feedback  # compiled; called for every ACK, cut packet and timeout of the flow
def hear(own, now, kind, entropy, key):
    if kind == GOOD:
        own[HELD] = entropy
    elif entropy == own[HELD] or kind in (CUT, LOST):
        own[HELD] = -1
