"""When each data packet was offered to the links of its way, and the record of the one that completed its stream.

Everything else of "where the time went" follows from that, packet sizes and rates (``sim/flow_times.py``). The times
lie beside the packets, a power of two of words each, so that packets stay one cache line. Address 0: nothing is kept.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.choice import trail_link
from sim.engine.layout import Flow, Packet, World, load_int, load_long, store_long

# the words of a record, before the times [offer_room] and the links [offer_room]
RECORD = ("stream", "delivered", "sequence", "transmission", "size", "hops")
HEAD = len(RECORD)

_LONG = types.int64
_VOID = types.void


@njit(_VOID(World, _LONG, _LONG, _LONG), inline=True)
def note_offer(w, index, hop, now):  # type: ignore[no-untyped-def]
    """A packet comes to the queue of link number ``hop`` of its way; at its own NIC: it is sent."""
    if w.offers:
        store_long(w.offers, (index << w.offer_bits) + hop, now)


@njit(_VOID(World, Flow, Packet, _LONG, _LONG), internal=True)
def keep_last(w, flow, packet, index, now):  # type: ignore[no-untyped-def]
    """The record of the packet whose arrival completed its stream, for Python to collect."""
    room, hops = 1 << w.offer_bits, packet.hop
    row = w.records + 8 * w.record_count * (HEAD + 2 * room)
    w.record_count += 1
    store_long(row, 0, flow.id)
    store_long(row, 1, now)
    store_long(row, 2, packet.sequence)
    store_long(row, 3, packet.transmission)
    store_long(row, 4, packet.size)
    store_long(row, 5, hops)
    for hop in range(hops):
        store_long(row, HEAD + hop, load_long(w.offers, (index << w.offer_bits) + hop))
        link = load_int(w.paths, packet.path - hops + hop) if packet.path >= 0 else trail_link(w, index, hop)
        store_long(row, HEAD + room + hop, link)
