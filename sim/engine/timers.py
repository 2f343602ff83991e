"""The packet engine's timers: a binary heap of (time, identity, slot), one live entry a flow and kind at most.

The identity is a kind above KIND_BITS, and below it a number: the flow's of a retransmission timer (kind 0), of a
paced flow that waits until it may send again, and of a congestion control's own timer; the receiving host's where
credit is granted; twice the link's, plus 1 where a pause begins, of a pause on its way. A timer that was put off stays
where it is; whoever takes it out puts it in again at its new time.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import World, load_long, store_long

KIND_BITS = 60  # above all flows
PACE, CONTROL, CREDIT, PAUSE, TICK = (kind << KIND_BITS for kind in range(1, 6))

SPARE = 64  # that one event may add


@njit(types.void(World, types.int64, types.int64, types.int64), internal=True)
def push_timer(w, time, ident, slot):  # type: ignore[no-untyped-def]
    """A timer of the flow in ``slot``; rows (time, ident, slot)."""
    rows, place = w.timers, w.timer_size
    w.timer_size = place + 1
    while place > 0:
        parent = (place - 1) >> 1
        above, above_id = load_long(rows, 3 * parent), load_long(rows, 3 * parent + 1)
        if (above < time) | ((above == time) & (above_id < ident)):
            break
        for column in range(3):
            store_long(rows, 3 * place + column, load_long(rows, 3 * parent + column))
        place = parent
    store_long(rows, 3 * place, time)
    store_long(rows, 3 * place + 1, ident)
    store_long(rows, 3 * place + 2, slot)


@njit(types.int64(World), internal=True)
def pop_timer(w):  # type: ignore[no-untyped-def]
    """Removes the earliest timer and returns its slot."""
    rows = w.timers
    slot = load_long(rows, 2)
    size = w.timer_size - 1
    w.timer_size = size
    time, ident, last_slot = load_long(rows, 3 * size), load_long(rows, 3 * size + 1), load_long(rows, 3 * size + 2)
    hole, child = 0, 1
    while child < size:
        if child + 1 < size:
            a, b = load_long(rows, 3 * child), load_long(rows, 3 * child + 3)
            if b < a or (b == a and load_long(rows, 3 * child + 4) < load_long(rows, 3 * child + 1)):
                child += 1
        best, best_id = load_long(rows, 3 * child), load_long(rows, 3 * child + 1)
        if best > time or (best == time and best_id > ident):
            break
        for column in range(3):
            store_long(rows, 3 * hole + column, load_long(rows, 3 * child + column))
        hole = child
        child = 2 * hole + 1
    if size > 0:
        store_long(rows, 3 * hole, time)
        store_long(rows, 3 * hole + 1, ident)
        store_long(rows, 3 * hole + 2, last_slot)
    return slot
