"""What a flow under a congestion control knows of each of its packets.

A packet is new, outstanding, waiting (to be sent again) or had (acknowledged). At ``flow.marks``: one SENDING a packet,
then three bit maps of the same size: had, waiting, and at the receiver received. The outstanding ones form a list in
order of sending, so that the earliest is always known.
"""

from __future__ import annotations

import numpy as np
from numba import types

from models.jit import njit
from sim.engine.layout import Flow, Sender, World, load_long, record_at, store_long

# `sent` ps, -1 if not outstanding
SENDING = np.dtype([("sent", "i8"), ("before", "i4"), ("after", "i4"), ("times", "i4"), ("spare", "i4")])
HAD, WAITING, RECEIVED = range(3)
_WIDTH = SENDING.itemsize

_LONG = types.int64
_VOID = types.void

sending_at = record_at(SENDING)


def words_of(packets: int) -> int:
    """Words of one bit map; 64 bits from any packet on, and from one behind the last, must lie in it."""
    return (packets >> 6) + 3


def room_of(packets: int) -> int:
    """Bytes that a flow needs at ``marks``; to be zeroed (`new_sendings`)."""
    return packets * _WIDTH + 3 * 8 * words_of(packets)


@njit(_LONG(World, Flow, _LONG), inline=True)
def payload(w, flow, sequence):  # type: ignore[no-untyped-def]
    """Bytes of one packet; only the last may be short."""
    return flow.last_bytes if sequence == flow.packets - 1 else w.mtu


@njit(_VOID(Flow), internal=True)
def new_sendings(flow):  # type: ignore[no-untyped-def]
    for sequence in range(flow.packets):
        sending_at(flow.marks, sequence).sent = -1


@njit(_LONG(Flow, _LONG), inline=True)
def _map(flow, which):  # type: ignore[no-untyped-def]
    return flow.marks + flow.packets * _WIDTH + 8 * which * ((flow.packets >> 6) + 3)


@njit(_LONG(Flow, _LONG, _LONG), inline=True)
def is_set(flow, which, sequence):  # type: ignore[no-untyped-def]
    return (load_long(_map(flow, which), sequence >> 6) >> (sequence & 63)) & 1


@njit(_VOID(Flow, _LONG, _LONG), inline=True)
def set_bit(flow, which, sequence):  # type: ignore[no-untyped-def]
    words = _map(flow, which)
    store_long(words, sequence >> 6, load_long(words, sequence >> 6) | (1 << (sequence & 63)))


@njit(_VOID(Flow, _LONG, _LONG), inline=True)
def clear_bit(flow, which, sequence):  # type: ignore[no-untyped-def]
    words = _map(flow, which)
    store_long(words, sequence >> 6, load_long(words, sequence >> 6) & ~(1 << (sequence & 63)))


@njit(_LONG(Flow, _LONG, _LONG), internal=True)
def bits_from(flow, which, sequence):  # type: ignore[no-untyped-def]
    """64 bits; bit i belongs to packet ``sequence`` + i."""
    words = _map(flow, which)
    shift = sequence & 63
    low = load_long(words, sequence >> 6)
    if shift == 0:
        return low
    low = np.int64(np.uint64(low) >> np.uint64(shift))
    return low | (load_long(words, (sequence >> 6) + 1) << (64 - shift))


@njit(_LONG(Flow, Sender), internal=True)
def lowest_waiting(flow, s):  # type: ignore[no-untyped-def]
    """The first packet to be sent again; there is one."""
    words, place = _map(flow, WAITING), s.lowest >> 6
    while load_long(words, place) == 0:
        place += 1
    sequence, word = place << 6, load_long(words, place)
    while word & 1 == 0:
        word >>= 1
        sequence += 1
    s.lowest = sequence
    return sequence


@njit(_VOID(Flow, Sender, _LONG, _LONG), internal=True)
def append(flow, s, sequence, now):  # type: ignore[no-untyped-def]
    """A packet is sent: the last of the outstanding ones."""
    sending = sending_at(flow.marks, sequence)
    sending.sent = now
    sending.times += 1
    sending.before = s.newest
    sending.after = -1
    if s.newest >= 0:
        sending_at(flow.marks, s.newest).after = sequence
    else:
        s.oldest = sequence
    s.newest = sequence


@njit(_VOID(Flow, Sender, _LONG), internal=True)
def _unlink(flow, s, sequence):  # type: ignore[no-untyped-def]
    sending = sending_at(flow.marks, sequence)
    sending.sent = -1
    if sending.before >= 0:
        sending_at(flow.marks, sending.before).after = sending.after
    else:
        s.oldest = sending.after
    if sending.after >= 0:
        sending_at(flow.marks, sending.after).before = sending.before
    else:
        s.newest = sending.before


@njit(_LONG(World, Flow, Sender, _LONG), internal=True)
def lose_one(w, flow, s, sequence):  # type: ignore[no-untyped-def]
    """An outstanding packet counts as lost and is to be sent again; returns its size on the wire."""
    size = payload(w, flow, sequence) + w.header
    _unlink(flow, s, sequence)
    set_bit(flow, WAITING, sequence)
    s.waiting += 1
    s.waiting_bytes += size
    s.lowest = min(s.lowest, sequence)
    flow.in_flight -= size
    return size


@njit(_VOID(World, Flow, Sender, _LONG), internal=True)
def no_longer_waits(w, flow, s, sequence):  # type: ignore[no-untyped-def]
    clear_bit(flow, WAITING, sequence)
    s.waiting -= 1
    s.waiting_bytes -= payload(w, flow, sequence) + w.header


@njit(_VOID(World, Flow, Sender, _LONG), internal=True)
def take_back(w, flow, s, first):  # type: ignore[no-untyped-def]
    """Go-back-N: all outstanding packets, ``first`` and later, become new again."""
    while s.oldest >= 0:
        _unlink(flow, s, s.oldest)
    flow.next_new = first
    flow.in_flight = 0


@njit(_VOID(World, Flow, Sender, _LONG), internal=True)
def had_one(w, flow, s, sequence):  # type: ignore[no-untyped-def]
    """A packet that was not acknowledged before is. If it had been given up, it was in flight all the same."""
    if sending_at(flow.marks, sequence).sent >= 0:
        _unlink(flow, s, sequence)
    else:
        flow.in_flight += payload(w, flow, sequence) + w.header
        if is_set(flow, WAITING, sequence):
            no_longer_waits(w, flow, s, sequence)
    set_bit(flow, HAD, sequence)
    flow.acked += 1
    s.highest = max(s.highest, sequence)


@njit(_VOID(World, Flow, Sender, _LONG, _LONG, _LONG), internal=True)
def had_these(w, flow, s, cumulative, base, bits):  # type: ignore[no-untyped-def]
    """An ACK: all below ``cumulative`` have arrived, and of the 64 from ``base`` on those of the bits."""
    while flow.una < cumulative:
        if is_set(flow, HAD, flow.una) == 0:
            had_one(w, flow, s, flow.una)
        flow.una += 1
    flow.next_new = max(flow.next_new, cumulative)
    fresh = np.uint64(bits)
    if fresh != np.uint64(0):
        fresh &= ~np.uint64(bits_from(flow, HAD, base))
    sequence = base
    while fresh != np.uint64(0):
        if fresh & np.uint64(1):
            had_one(w, flow, s, sequence)
        fresh >>= np.uint64(1)
        sequence += 1
