"""The fluid engine's memory: record arrays, reached by address, and the exact sums kept in them.

Kernels get the state's record alone and find everything else through the addresses in it: array arguments are counted
by Numba on every call, which took four fifths of the time.

Rates are bit/s and volumes bits, both f8; times are int64 ps. A slot is a stream's place in ``streams``; an entry is
one (stream, link) pair, the entries of a stream are a contiguous chunk and those of a link a doubly linked list.
"""

from __future__ import annotations

import numpy as np
from numba import from_dtype, types

from models.jit import njit
from sim.engine.layout import record_at

NEVER = np.int64(2**63 - 1)
OUT, OPEN, FROZEN = 0, 1, 2  # a stream during a recomputation: not in it, rising, at its new rate
NONE = -1  # no link, no slot, not in the heap

STREAM = np.dtype(
    [
        ("level", "f8"),  # rate / weight
        ("rate", "f8"),
        ("fresh", "f8"),  # the rate that the recomputation under way has found
        ("weight", "f8"),
        ("cap", "f8"),
        ("first", "i4"),  # entry chunk
        ("count", "i4"),
        ("bottleneck", "i4"),  # link, or NONE: its own cap
        ("state", "i4"),  # OUT, OPEN, FROZEN
        ("place", "i4"),  # in the finish heap
        ("item", "i4"),  # in the level heap
        ("left", "f8"),  # bits at ``since``
        ("base", "f8"),  # bits left when the present path was taken
        ("since", "i8"),
        ("latency", "i8"),
        ("id", "i8"),
        ("size", "i8"),  # bytes
        ("notify", "i4"),
        ("used", "i4"),
        # what held it back (sim/engine/fluid_blame.py)
        ("full", "f8"),  # bit/s that its source's own links give it
        ("lost", "f8"),  # ps by which the suspect leads over all other links
        ("blamed", "i8"),  # ps up to which blame is given
        ("suspect", "i4"),  # link, or NONE
    ],
    align=True,
)
ENTRY = np.dtype([("share", "f8"), ("link", "i4"), ("stream", "i4"), ("next", "i4"), ("previous", "i4")], align=True)
LINK = np.dtype(
    [
        ("capacity", "f8"),
        ("nominal", "f8"),  # capacity when it is up
        ("load", "f8"),  # sum of share x rate, the recomputation's open streams left out; with load_low exact
        ("load_low", "f8"),
        ("weight", "f8"),  # sum of share x weight of open streams
        ("weight_low", "f8"),
        ("level", "f8"),  # of the streams outside the recomputation that have their bottleneck here
        ("head", "i4"),  # first entry of the list
        ("open", "i4"),  # how many open streams
        ("held", "i4"),  # how many streams outside the recomputation have their bottleneck here
        ("item", "i4"),  # in the level heap
        ("visits", "i4"),  # how often its streams were searched in this recomputation
        ("members", "i4"),
        ("src", "i4"),
        ("dst", "i4"),
        ("delay", "i8"),
        ("sent", "f8"),  # bits of drained streams and left paths
    ],
    align=True,
)
FINISH = np.dtype([("time", "i8"), ("slot", "i8")], align=True)
LEVEL = np.dtype([("key", "f8"), ("item", "i8")], align=True)  # item: link, or links + slot for a cap
DELIVERY = np.dtype([("time", "i8"), ("id", "i8"), ("size", "i8"), ("notify", "i8")], align=True)
DONE = np.dtype([("id", "i8"), ("time", "i8"), ("undelivered", "i8")], align=True)  # bytes; above 0: it was stopped
DRAIN = np.dtype([("id", "i8"), ("delivered", "i8"), ("latency", "i8"), ("link", "i8")], align=True)
ORDER = np.dtype(  # a start (slot NONE), a change of path, or a stop (count NONE)
    [
        ("id", "i8"),
        ("size", "i8"),
        ("weight", "f8"),
        ("cap", "f8"),
        ("src", "i4"),
        ("dst", "i4"),
        ("count", "i4"),  # links
        ("slot", "i4"),
        ("notify", "i4"),
        ("split", "i4"),  # 1: over many paths, shares given
    ],
    align=True,
)
STATE = np.dtype(
    [
        # addresses; chosen, chunks i4, tells, reach i8
        *[(name, "i8") for name in ("streams", "entries", "links", "levels", "finishes", "deliveries", "done")],
        *[(name, "i8") for name in ("chosen", "chunks", "tells", "reach")],
        ("drains", "i8"),  # address of the records of drained streams; 0: not kept
        ("drain_count", "i8"),
        ("now", "i8"),  # ps of the instant that is being computed
        ("link_count", "i8"),
        ("finish_count", "i8"),
        ("level_count", "i8"),
        ("delivery_count", "i8"),
        ("chosen_count", "i8"),
        ("done_count", "i8"),
        ("tell_count", "i8"),
        ("slot_count", "i8"),  # ever used
        ("entry_count", "i8"),  # ever used
        ("open", "i8"),  # streams
        ("free_slot", "i8"),
        ("active", "i8"),  # streams with bytes left
        ("next", "i8"),  # ps of the next event
        ("solves", "i8"),  # recomputations
        ("touched", "i8"),  # streams in them, summed
        ("accepted", "i8"),  # bytes
        ("delivered", "i8"),  # bytes
        ("withdrawn", "i8"),  # bytes of stopped streams that never left
    ]
)

REAL = np.dtype([("x", "f8")])
STATE_RECORD = from_dtype(STATE)
REALS, LONGS = types.float64[::1], types.int64[::1]

state_at, stream_at, entry_at, link_at = record_at(STATE), record_at(STREAM), record_at(ENTRY), record_at(LINK)
finish_at, level_at, delivery_at = record_at(FINISH), record_at(LEVEL), record_at(DELIVERY)
done_at, order_at, real_at, drain_at = record_at(DONE), record_at(ORDER), record_at(REAL), record_at(DRAIN)


@njit("UniTuple(f8, 2)(f8, f8, f8)")
def plus(high, low, x):
    """(high, low) + x in double-double: what is added and later taken away leaves no trace."""
    total = high + x
    back = total - high
    low += (high - (total - back)) + (x - back)
    result = total + low
    return result, low - (result - total)
