"""Hosts use again the paths that came back without a mark, each once; a mark or timeout forgets the oldest of them.

Source: the REPS of the code of Ethereal's authors (a queue of unique values), not that of EuroSys 2026, which is
``reps``: 256 values; the first window of packets takes them in order; an ACK without a mark queues its value up, unless
it is there already; one with a mark, or a timeout, removes the oldest value held, whichever that is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import GOOD, Field, PolicyParams, entropy_feedback, entropy_policy

pick = None
uses_queues = False
# own: values, where the queue begins, values in it; then [paths] the queue, and [paths] whether a value is in it
_PATHS, _FIRST, _COUNT, _QUEUE = range(4)


class Params(PolicyParams):
    paths: int = Field(default=256, ge=2, le=65536, description="Entropies.")


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """No memory at the switches."""
    return np.zeros(0, dtype=np.int64)


def memory(topology: Topology, params: Params, window_packets: int, key: int) -> NDArray[np.int64]:
    """An empty queue."""
    own = np.zeros(_QUEUE + 2 * params.paths, dtype=np.int64)
    own[_PATHS] = params.paths
    return own


@entropy_policy
def spread(own, now, flow, packet, window, key):  # type: ignore[no-untyped-def]
    paths = own[_PATHS]
    if packet < window:
        return packet % paths
    if own[_COUNT] == 0:
        return key % paths
    entropy = own[_QUEUE + own[_FIRST]]
    own[_FIRST] = (own[_FIRST] + 1) % paths
    own[_COUNT] -= 1
    own[_QUEUE + paths + entropy] = 0
    return entropy


@entropy_feedback
def hear(own, now, kind, entropy, key):  # type: ignore[no-untyped-def]
    paths = own[_PATHS]
    if kind == GOOD:
        if own[_QUEUE + paths + entropy] == 0:
            own[_QUEUE + paths + entropy] = 1
            own[_QUEUE + (own[_FIRST] + own[_COUNT]) % paths] = entropy
            own[_COUNT] += 1
    elif own[_COUNT] > 0:
        own[_QUEUE + paths + own[_QUEUE + own[_FIRST]]] = 0
        own[_FIRST] = (own[_FIRST] + 1) % paths
        own[_COUNT] -= 1
