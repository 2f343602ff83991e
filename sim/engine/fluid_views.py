"""What can be asked of the fluid engine: where its streams are, what was sent, and whether its rates are fair."""

from __future__ import annotations

import numpy as np
from numba import types

from models.jit import njit
from sim.engine.fluid_state import LONGS, NONE, REALS, STATE_RECORD, entry_at, link_at, state_at, stream_at

SECOND = 1e12  # ps
BYTE = 8.0  # bits
i8, void = types.int64, types.void


@njit(i8(STATE_RECORD, i8, i8), internal=True)
def missing(s, slot, now):
    """Bytes of a stream that are not wholly drained."""
    stream = stream_at(s.streams, slot)
    left = stream.left - stream.rate * (now - stream.since) / SECOND
    return max(np.int64(np.ceil(left / BYTE - 1e-6)), 0)


@njit(void(i8, LONGS, LONGS))
def find(base, ids, slots):
    """The slots of some streams, by id; NONE of those that are not draining. ``ids`` ascend."""
    s = state_at(base, 0)
    slots[:] = NONE
    for slot in range(s.slot_count):
        stream = stream_at(s.streams, slot)
        if stream.used != 0:
            at = np.searchsorted(ids, stream.id)
            if at < ids.size and ids[at] == stream.id:
                slots[at] = slot


@njit(i8(i8, i8, i8))
def undelivered(base, slot, now):
    """Bytes of a stream that are not wholly drained."""
    return missing(state_at(base, 0), slot, now)


@njit(void(i8, REALS, i8))
def sent_bits(base, sent, now):
    """[links] bits sent up to ``now``."""
    s = state_at(base, 0)
    for index in range(s.link_count):
        sent[index] = link_at(s.links, index).sent
    for slot in range(s.slot_count):
        stream = stream_at(s.streams, slot)
        if stream.used == 0:
            continue
        left = max(stream.left - stream.rate * (now - stream.since) / SECOND, 0.0)
        for at in range(stream.first, stream.first + stream.count):
            sent[entry_at(s.entries, at).link] += entry_at(s.entries, at).share * (stream.base - left)


@njit(void(i8, REALS, REALS, LONGS))
def audit(base, load, top, wrong):
    """Whether the rates are max-min fair. ``load`` and ``top`` [links]: load and highest level, counted afresh.

    ``wrong`` [2]: overloaded links, and streams without a bottleneck (a full link on which nobody is higher, or the
    cap), to a relative 1e-9.
    """
    s = state_at(base, 0)
    load[:] = 0.0
    top[:] = 0.0
    wrong[:] = 0
    for slot in range(s.slot_count):
        stream = stream_at(s.streams, slot)
        if stream.used != 0:
            for at in range(stream.first, stream.first + stream.count):
                index = entry_at(s.entries, at).link
                load[index] += entry_at(s.entries, at).share * stream.rate
                top[index] = max(top[index], stream.level)
    for index in range(s.link_count):
        if load[index] > link_at(s.links, index).capacity * (1.0 + 1e-9):
            wrong[0] += 1
    for slot in range(s.slot_count):
        stream = stream_at(s.streams, slot)
        if stream.used == 0 or stream.count == 0 or stream.rate >= stream.cap * (1.0 - 1e-9):
            continue
        fair = False
        for at in range(stream.first, stream.first + stream.count):
            index = entry_at(s.entries, at).link
            full = load[index] >= link_at(s.links, index).capacity * (1.0 - 1e-9)
            if full and stream.level >= top[index] * (1.0 - 1e-9):
                fair = True
        if not fair:
            wrong[1] += 1
