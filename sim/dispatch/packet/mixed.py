"""Hosts use again the paths that came back without a mark, in their order; while they hold none, those of ``bitmap``.

Source: `UecMpMixed` of uet-htsim: the queue of its older REPS (every unmarked ACK's entropy, used once), then the
bitmap (``_walk.py``), which hears of everything. The queue there is unlimited; here it holds two windows of packets, at
least 64, and forgets the oldest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import GOOD, entropy_feedback, entropy_policy
from sim.dispatch.packet._walk import PenaltyParams, next_without_penalty, penalty_words, punish

pick = None
uses_queues = False
# own: where the queue begins, values in it, its places, then these and the words of the bitmap
_FIRST, _COUNT, _PLACES, _QUEUE = range(4)


class Params(PenaltyParams):
    pass


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """No memory at the switches."""
    return np.zeros(0, dtype=np.int64)


def memory(topology: Topology, params: Params, window_packets: int, key: int) -> NDArray[np.int64]:
    """An empty queue, the walk, and no penalties."""
    places = max(64, 2 * window_packets)
    queue = np.zeros(_QUEUE + places, dtype=np.int64)
    queue[_PLACES] = places
    return np.concatenate([queue, penalty_words(params)])


@entropy_policy
def spread(own, now, flow, packet, window, key):  # type: ignore[no-untyped-def]
    places = own[_PLACES]
    if own[_COUNT] == 0:
        return next_without_penalty(own[_QUEUE + places :], key)
    first = own[_FIRST]
    own[_FIRST] = (first + 1) % places
    own[_COUNT] -= 1
    return own[_QUEUE + first]


@entropy_feedback
def hear(own, now, kind, entropy, key):  # type: ignore[no-untyped-def]
    places = own[_PLACES]
    punish(own[_QUEUE + places :], kind, entropy)
    if kind == GOOD:
        if own[_COUNT] == places:
            own[_FIRST] = (own[_FIRST] + 1) % places
            own[_COUNT] -= 1
        own[_QUEUE + (own[_FIRST] + own[_COUNT]) % places] = entropy
        own[_COUNT] += 1
