"""Hosts use again the paths that came back without a mark: a ring of 8, and random ones while it is empty.

Source: REPS, arXiv 2407.21625 (EuroSys 2026), as in `uec_mp.cpp` and `buffer_reps.cpp` of uet-htsim. An ACK without a
mark puts its entropy into the ring; a packet takes the oldest one not used yet. After a timeout the ring is frozen for
10 ms: its values are used in turn, used before or not; then it is emptied, and 16 packets explore. That code freezes
only where switches trim (it stops otherwise); here it freezes without trimming as well, as the paper has it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import GOOD, LOST, Field, PolicyParams, Time, entropy_feedback, entropy_policy

pick = None
uses_queues = False
_EXPLORED = 16  # packets with random entropies after a freeze
# own: parameters; where the next value goes, values held (used or not), and how many of them are fresh; the next in
# turn while frozen; the end of the freeze (0: not frozen); packets still to explore; then [slots] values, and [slots]
# whether each is fresh
_PATHS, _SLOTS, _FREEZE, _HEAD, _COUNT, _FRESH, _TURN, _THAW, _EXPLORE, _RING = range(10)


class Params(PolicyParams):
    paths: int = Field(default=64, ge=2, le=65536, description="Entropies that a random one is drawn from.")
    slots: int = Field(default=8, ge=1, le=1024, description="Places of the ring.")
    freeze: Time = Field(default=10_000_000_000, description="Time for which a timeout freezes the ring.")


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """No memory at the switches."""
    return np.zeros(0, dtype=np.int64)


def memory(topology: Topology, params: Params, window_packets: int, key: int) -> NDArray[np.int64]:
    """An empty ring."""
    own = np.zeros(_RING + 2 * params.slots, dtype=np.int64)
    own[: _FREEZE + 1] = params.paths, params.slots, params.freeze
    return own


@entropy_policy
def spread(own, now, flow, packet, window, key):  # type: ignore[no-untyped-def]
    slots = own[_SLOTS]
    if own[_EXPLORE] > 0:
        own[_EXPLORE] -= 1
        return key % own[_PATHS]
    if own[_THAW] > 0:
        if own[_COUNT] == 0:
            return key % own[_PATHS]
        place = own[_TURN]
        own[_TURN] = (place + 1) % own[_COUNT]
    else:
        if own[_FRESH] == 0:
            return key % own[_PATHS]
        place = (own[_HEAD] - own[_FRESH]) % slots
    if own[_RING + slots + place]:
        own[_RING + slots + place] = 0
        own[_FRESH] -= 1
    return own[_RING + place]


@entropy_feedback
def hear(own, now, kind, entropy, key):  # type: ignore[no-untyped-def]
    slots = own[_SLOTS]
    if kind == LOST and own[_THAW] == 0 and own[_EXPLORE] == 0:
        own[_THAW] = now + own[_FREEZE]
    if own[_THAW] > 0 and now > own[_THAW]:
        own[_HEAD : _THAW + 1] = 0
        own[_RING : _RING + 2 * slots] = 0
        own[_EXPLORE] = _EXPLORED
    if kind == GOOD:
        place = own[_HEAD]
        own[_HEAD] = (place + 1) % slots
        own[_COUNT] = min(own[_COUNT] + 1, slots)
        if own[_RING + slots + place] == 0:
            own[_RING + slots + place] = 1
            own[_FRESH] += 1
        own[_RING + place] = entropy
