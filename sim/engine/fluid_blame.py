"""Which link held a stream back: a vote over its time, weighted by what it lost in it.

While a stream goes at less than its source's own links give it, its bottleneck costs it (1 - rate / full) of the time.
The link with more than half of the lost time is found with one suspect and its lead (Boyer and Moore 1991); if there
is none, the suspect is one that cost much.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.fluid_state import NONE, STATE_RECORD, drain_at, link_at, stream_at

LEAST = 1e-9  # of the full rate: less is rounding
i8, f8, void = types.int64, types.float64, types.void


@njit(void(STATE_RECORD, i8), internal=True)
def blame(s, slot):
    """Book the time up to now on the stream's bottleneck, before its rate or bottleneck changes."""
    stream = stream_at(s.streams, slot)
    lost = (1.0 - stream.rate / stream.full) * (s.now - stream.blamed)
    stream.blamed = s.now
    if stream.bottleneck == NONE or stream.rate >= stream.full * (1.0 - LEAST):
        return
    if stream.suspect == stream.bottleneck:
        stream.lost += lost
    elif lost > stream.lost:
        stream.suspect = stream.bottleneck
        stream.lost = lost - stream.lost
    else:
        stream.lost -= lost


@njit(f8(STATE_RECORD, i8, i8, f8, f8), internal=True)
def full_rate(s, index, source, share, full):
    """The least of ``full`` and what a stream from node ``source`` gets on this link if it is the source's own."""
    link = link_at(s.links, index)
    return min(full, link.nominal / share) if link.src == source else full


@njit(void(STATE_RECORD, i8), internal=True)
def keep_drain(s, slot):
    """The record of a stream that drains now."""
    stream, row = stream_at(s.streams, slot), drain_at(s.drains, s.drain_count)
    s.drain_count += 1
    row.id = stream.id
    row.delivered = s.now + stream.latency
    row.latency = stream.latency
    row.link = stream.suspect
