"""The sending end of flows under a congestion control: what may go next, its booking, and calls of the control."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from models.jit import njit
from sim.engine.layout import (
    NOTE,
    Flow,
    Packet,
    Sender,
    World,
    address_as_pointer,
    load_long,
    nic_at,
    sender_at,
    store_long,
)
from sim.engine.ports import BYTE_PS, draw
from sim.engine.recovery import append, lowest_waiting, no_longer_waits, payload, sending_at
from sim.engine.signatures import call_react
from sim.engine.timers import CONTROL, push_timer
from sim.engine.words import ON_SENT, RATE, TIMER, WINDOW

QUANTUM = 256  # bytes of credit
ASKS = 1  # a data packet's `cumulative`: it wants an ACK
_CONTROL = 1 << 24  # the hop number of the control's draws; the event is added
_LONG = types.int64
_VOID = types.void


@njit(_VOID(World, Flow, Sender, _LONG, _LONG), internal=True)
def set_call(w, flow, s, slot, now):  # type: ignore[no-untyped-def]
    """Files the control's own timer if none is filed that comes early enough."""
    wanted = w.owns + 8 * slot * w.own_words
    when = numba.carray(address_as_pointer(wanted), w.own_words, np.float64)[TIMER]
    if when > 0.0:
        due = max(np.int64(when), now + 1)
        if s.call == 0 or due < s.call:
            s.call = due
            push_timer(w, due, CONTROL + flow.id, slot)


@njit(_VOID(World, Flow, Sender, _LONG, _LONG, _LONG, _LONG, _LONG, _LONG, _LONG, _LONG, _LONG, _LONG), internal=True)
def tell_control(  # type: ignore[no-untyped-def]
    w, flow, s, slot, event, now, rtt, marked, acked, lost, sequence, index, hops
):
    """Calls the control and takes over what it decides. Telemetry is that of packet ``index``, of ``hops`` links."""
    own = numba.carray(address_as_pointer(w.owns + 8 * slot * w.own_words), w.own_words, np.float64)
    at = w.telemetry + 32 * (index << w.telemetry_bits) if hops else w.owns
    path = numba.carray(address_as_pointer(at), 4 * hops, np.float64)
    key = draw(w.key, flow.id, sequence, sending_at(flow.marks, sequence).times, _CONTROL + event)
    call_react(
        w.react, own, path, hops, event, now, rtt, marked, acked, lost, flow.in_flight, sequence, flow.next_new, key
    )
    flow.window = np.int64(min(own[WINDOW], 4e18))
    s.rate = np.int64(own[RATE])
    set_call(w, flow, s, slot, now)


@njit(_LONG(World, Flow, _LONG), internal=True)
def next_controlled(w, flow, slot):  # type: ignore[no-untyped-def]
    """The packet that the flow would send now, or -1: what is to be sent again first, then new ones."""
    s = sender_at(w.senders, slot)
    if flow.blocked or flow.over or (w.credit and s.credit <= 0):
        return -1
    if s.waiting > 0:
        sequence = lowest_waiting(flow, s)
    elif flow.next_new < flow.packets:
        sequence = flow.next_new
    else:
        return -1
    if flow.in_flight > 0 and flow.in_flight + payload(w, flow, sequence) + w.header > flow.window:
        return -1
    return sequence


@njit(_LONG(World, Flow, Sender), internal=True)
def pull_target(w, flow, s):  # type: ignore[no-untyped-def]
    """Quanta that the sender wants to have been granted in all: what it could send, less what it may already."""
    full = w.mtu + w.header
    backlog = 0
    if flow.next_new < flow.packets:
        backlog = (flow.packets - 1 - flow.next_new) * full + flow.last_bytes + w.header
    wanted = min(backlog + s.waiting_bytes, flow.window + full, s.most) - s.credit
    if s.speculating and backlog > 0:
        wanted = max(wanted, full)
    active = nic_at(w.nics, flow.nic).ready + 1
    wanted //= active
    return s.granted - (-wanted // QUANTUM)


@njit(_VOID(World, Flow, _LONG, _LONG, Packet, _LONG), internal=True)
def book_sent(w, flow, slot, index, packet, now):  # type: ignore[no-untyped-def]
    """A data packet leaves its sender."""
    s = sender_at(w.senders, slot)
    sequence, size = packet.sequence, packet.size
    again = sending_at(flow.marks, sequence).times
    packet.transmission = again
    if s.waiting > 0:
        no_longer_waits(w, flow, s, sequence)
    else:
        flow.next_new += 1
    append(flow, s, sequence, now)
    flow.in_flight += size
    if w.credit:
        s.credit -= size
        store_long(w.notes, NOTE * index, pull_target(w, flow, s))
    asks = again > 0 or flow.next_new == flow.packets or flow.in_flight + size >= flow.window
    packet.cumulative = ASKS if asks or (w.credit and s.credit <= 0) else 0
    pace = min(flow.cap, s.rate) if flow.cap > 0 and s.rate > 0 else max(flow.cap, s.rate)
    if pace > 0:
        gap = max((size * BYTE_PS + pace - 1) // pace, 1)
        flow.due = max(flow.due + gap, now)
        w.slowest_gap = max(w.slowest_gap, gap)
    if flow.timer == 0:
        flow.timer = 1
        push_timer(w, now + w.rto, flow.id, slot)
    if sequence < flow.sent_high:
        flow.retransmitted += 1
    else:
        flow.sent_high = sequence + 1
    if w.uses_sent:
        tell_control(w, flow, s, slot, ON_SENT, now, -1, 0, size, 0, sequence, 0, 0)


@njit(_LONG(World, _LONG, _LONG), inline=True)
def note(w, index, word):  # type: ignore[no-untyped-def]
    """What a packet carries beyond its record."""
    return load_long(w.notes, NOTE * index + word)
