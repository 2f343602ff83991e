"""In-band telemetry: what a data packet notes of each link of its way, for the congestion control that asked for it.

It lies beside the packets, a power of two of hops each, so that packets stay one cache line. Address 0: nothing is
kept. A packet that becomes its own ACK brings it back to its sender.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from models.jit import njit
from sim.engine.layout import Link, Packet, World, address_as_pointer, rare_at
from sim.engine.words import HOP_WORDS, QUEUE, SENT, SPEED, TIME

_LONG = types.int64
_WORD = 8  # bytes


@njit(types.void(World, Link, _LONG, _LONG, Packet, _LONG, _LONG), internal=True)
def note_hop(w, link, number, index, packet, queue, now):  # type: ignore[no-untyped-def]
    """A packet has left a link's sender wholly, and ``queue`` bytes of data wait behind it."""
    place = (index << w.telemetry_bits) + packet.hop - 1
    hop = numba.carray(address_as_pointer(w.telemetry + _WORD * HOP_WORDS * place), HOP_WORDS, np.float64)
    hop[QUEUE] = queue
    hop[SENT] = link.accepted + rare_at(w.rare, number).sent_lost
    hop[TIME] = now
    hop[SPEED] = link.rate
