"""The packet engine's event queue: the next event of each NIC (end of serialisation) and link (arrival).

Events are ordered by (time, id); ids of NICs are below those of links, so that events of one instant come in the
canonical order. Each id has at most one event. Time and id share one word, the time counted from a base that is moved
along, in a binary heap: nearly every new event is later than those that wait, so the way down is well predicted.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import PACKET, World, link_at, load_long, prefetch, store_long

NEVER = 2**63 - 1
WORD = 62  # bits of a key: ids below, then the time

PACKET_BYTES = PACKET.itemsize
_LONG = types.int64
_VOID = types.void


@njit(_VOID(World, _LONG), inline=True)
def _sift_down(w, key):  # type: ignore[no-untyped-def]
    """Puts a key in at the root, which is free. The word behind the last key is NEVER: no bounds check."""
    heap, size = w.heap, w.heap_size
    hole, child = 0, 1
    while child < size:
        left, right = load_long(heap, child), load_long(heap, child + 1)
        child += right < left
        best = min(left, right)
        if best > key:
            break
        store_long(heap, hole, best)
        hole = child
        child = 2 * hole + 1
    store_long(heap, hole, key)


@njit(_VOID(World, _LONG, _LONG), inline=True)
def push(w, time, ident):  # type: ignore[no-untyped-def]
    """Adds an event of an id that has none. The first one after a `pop` takes the place that it left at the root."""
    key = ((time - w.base) << w.id_bits) | ident
    if w.hole:
        w.hole = 0
        _sift_down(w, key)
        return
    heap, place = w.heap, w.heap_size
    w.heap_size = place + 1
    store_long(heap, place + 1, NEVER)
    while place > 0:
        parent = (place - 1) >> 1
        above = load_long(heap, parent)
        if above < key:
            break
        store_long(heap, place, above)
        place = parent
    store_long(heap, place, key)


@njit(_LONG(World), inline=True)
def peek(w):  # type: ignore[no-untyped-def]
    """ps of the first event, NEVER if there is none."""
    if w.hole:
        w.hole = 0
        last = w.heap_size - 1
        w.heap_size = last
        key = load_long(w.heap, last)
        store_long(w.heap, last, NEVER)
        if last > 0:
            _sift_down(w, key)
    if w.heap_size == 0:
        return NEVER
    return w.base + (load_long(w.heap, 0) >> w.id_bits)


@njit(_LONG(World), inline=True)
def pop(w):  # type: ignore[no-untyped-def]
    """Takes out the event that `peek` saw and returns its id. Asks for what the next one will touch."""
    w.hole = 1
    if w.heap_size > 2:
        following = (min(load_long(w.heap, 1), load_long(w.heap, 2)) & ((1 << w.id_bits) - 1)) - w.arrivals
        if following >= 0:
            prefetch(w.packets + link_at(w.links, following).head * PACKET_BYTES)
    return load_long(w.heap, 0) & ((1 << w.id_bits) - 1)


@njit(_VOID(World, _LONG), internal=True)
def move_base(w, now):  # type: ignore[no-untyped-def]
    """Counts time from ``now`` on once half of a key's range is used; no event lies before now."""
    if (now - w.base) >> (WORD - 1 - w.id_bits) == 0:
        return
    moved = (now - w.base) << w.id_bits
    for place in range(w.heap_size):
        store_long(w.heap, place, load_long(w.heap, place) - moved)
    w.base = now


@njit(_VOID(World, _LONG), internal=True)
def remove(w, ident):  # type: ignore[no-untyped-def]
    """Takes an id's event out, wherever it is. Rare (a link went down), so simply: the heap is built without it."""
    heap = w.heap
    peek(w)
    size = w.heap_size
    place = 0
    while place < size and load_long(heap, place) & ((1 << w.id_bits) - 1) != ident:
        place += 1
    if place == size:
        return
    w.heap_size = place
    store_long(heap, place, NEVER)
    for row in range(place + 1, size):
        key = load_long(heap, row)
        push(w, w.base + (key >> w.id_bits), key & ((1 << w.id_bits) - 1))
