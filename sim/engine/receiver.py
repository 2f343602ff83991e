"""The receiving end of flows under a congestion control, and the way of each kind of packet at its end.

Selective acknowledgement: an ACK says what was expected next, and which of 64 packets from a base on have arrived. One
is due for the first packet, a marked one, one that asks, and after so many bytes. A packet that was cut, or for which
there is no room, is answered with a NACK.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.credit import hear_target, wants_credit
from sim.engine.feedback import hear_ack, hear_nack, hear_pull
from sim.engine.layout import (
    ACK,
    DATA,
    NACK,
    NOTE,
    PULL,
    RTS,
    TRIMMED,
    Flow,
    Packet,
    Sender,
    World,
    flow_at,
    sender_at,
    store_long,
)
from sim.engine.nic import send_control
from sim.engine.ports import close, release
from sim.engine.recovery import RECEIVED, bits_from, is_set, payload, set_bit
from sim.engine.sender import ASKS, note
from sim.engine.transport import arrived_new, tell

_LONG = types.int64
_VOID = types.void


@njit(_VOID(World, Flow, Sender, _LONG, Packet, _LONG, _LONG, _LONG), internal=True)
def _answer(w, flow, s, index, packet, kind, link, now):  # type: ignore[no-untyped-def]
    """The packet turns into its ACK or NACK, which goes back over the links by which it came."""
    at = NOTE * index
    store_long(w.notes, at, s.total)
    if kind == ACK:
        sequence = packet.sequence
        base = sequence
        if packet.marked & 1 == 0 and packet.cumulative & ASKS == 0:
            base = max(sequence - 63, flow.expected + 1)
        store_long(w.notes, at + 1, base)
        store_long(w.notes, at + 2, bits_from(flow, RECEIVED, base))
        store_long(w.notes, at + 3, packet.hop)
        s.accepted = 0
    else:
        store_long(w.notes, at + 1, packet.kind == TRIMMED)
        w.nacks += 1
    packet.kind = kind
    packet.size = w.ack
    packet.cumulative = flow.expected
    packet.dst = flow.src
    if packet.path >= 0:
        packet.path -= 1
    packet.hop -= 1
    w.acks_sent += 1
    send_control(w, link ^ 1, index, packet, now)


@njit(_VOID(World, Flow, _LONG, _LONG, _LONG), internal=True)
def _keep_quiet(w, flow, slot, index, now):  # type: ignore[no-untyped-def]
    """A packet ends here without an answer."""
    flow.in_network -= 1
    close(w, flow, slot, now)
    release(w, index)


@njit(_LONG(World, Flow, Sender, _LONG), internal=True)
def _in_order(w, flow, s, sequence):  # type: ignore[no-untyped-def]
    """Keeps account of what waits for earlier packets; whether the arrival has closed the last gap."""
    if sequence != flow.expected:
        s.gaps += 1
        s.waits += payload(w, flow, sequence)
        s.held = max(s.held, s.waits)
        return 0
    following = sequence + 1
    while s.gaps > 0 and is_set(flow, RECEIVED, following):
        s.gaps -= 1
        s.waits -= payload(w, flow, following)
        following += 1
    flow.expected = following
    s.nacked = 0
    return s.gaps == 0


@njit(_VOID(World, Flow, Sender, _LONG, _LONG, Packet, _LONG, _LONG), internal=True)
def _answer_gap(w, flow, s, slot, index, packet, link, now):  # type: ignore[no-untyped-def]
    """Go-back-N: one NACK for the packet that is missing, until it comes."""
    w.discarded += 1
    if s.nacked:
        _keep_quiet(w, flow, slot, index, now)
        return
    s.nacked = 1
    packet.sequence = flow.expected
    _answer(w, flow, s, index, packet, NACK, link, now)


@njit(_VOID(World, _LONG, Packet, _LONG, _LONG), internal=True)
def _take_data(w, index, packet, link, now):  # type: ignore[no-untyped-def]
    slot = packet.flow
    flow, s = flow_at(w.flows, slot), sender_at(w.senders, slot)
    w.data_arrived += 1
    sequence, asks = packet.sequence, packet.cumulative & ASKS
    if w.credit:
        hear_target(w, flow, s, slot, note(w, index, 0), now)
    if sequence < flow.expected or is_set(flow, RECEIVED, sequence):
        w.duplicates += 1
        _answer(w, flow, s, index, packet, ACK, link, now)
        return
    flow.highest = max(flow.highest, sequence)
    if w.go_back_n and sequence != flow.expected:
        _answer_gap(w, flow, s, slot, index, packet, link, now)
        return
    if (sequence - flow.expected) * w.mtu >= w.reorder_buffer:
        w.discarded += 1
        _answer(w, flow, s, index, packet, NACK, link, now)
        return
    set_bit(flow, RECEIVED, sequence)
    arrived_new(w, flow, packet, index, now)
    s.total += packet.size
    s.accepted += packet.size
    due = asks | packet.marked | (flow.received == 1) | (s.accepted >= w.ack_every) | (w.ack_every == 1)
    s.asked |= asks
    if _in_order(w, flow, s, sequence) and s.asked:
        due = 1
        s.asked = 0
    if flow.received == flow.packets and flow.notify & 1:
        tell(w, flow, slot, 0)
    if due:
        _answer(w, flow, s, index, packet, ACK, link, now)
    else:
        _keep_quiet(w, flow, slot, index, now)


@njit(_VOID(World, _LONG, Packet, _LONG, _LONG), internal=True)
def _take_header(w, index, packet, link, now):  # type: ignore[no-untyped-def]
    """A packet that was cut on its way."""
    slot = packet.flow
    flow, s = flow_at(w.flows, slot), sender_at(w.senders, slot)
    w.data_arrived += 1
    sequence = packet.sequence
    if w.credit:
        hear_target(w, flow, s, slot, note(w, index, 0), now)
    if sequence < flow.expected or is_set(flow, RECEIVED, sequence):
        w.duplicates += 1
        _answer(w, flow, s, index, packet, ACK, link, now)
        return
    if w.credit:
        wants_credit(w, flow, s, slot, now)
    if w.go_back_n and sequence != flow.expected:
        _answer_gap(w, flow, s, slot, index, packet, link, now)
    else:
        s.nacked = 1
        _answer(w, flow, s, index, packet, NACK, link, now)


@njit(_VOID(World, _LONG, Packet, _LONG, _LONG), internal=True)
def _take_rts(w, index, packet, link, now):  # type: ignore[no-untyped-def]
    """A sender has no credit. It is told what has arrived: what it takes for lost may be that."""
    slot = packet.flow
    flow, s = flow_at(w.flows, slot), sender_at(w.senders, slot)
    w.acks_arrived += 1
    hear_target(w, flow, s, slot, note(w, index, 0), now)
    wants_credit(w, flow, s, slot, now)
    _answer(w, flow, s, index, packet, ACK, link, now)


@njit(_VOID(World, _LONG, Packet, _LONG, _LONG), internal=True)
def arrived(w, index, packet, link, now):  # type: ignore[no-untyped-def]
    """A packet at its end. ``link`` is the one it came over."""
    kind = packet.kind
    if kind == DATA:
        _take_data(w, index, packet, link, now)
    elif kind == ACK:
        hear_ack(w, index, packet, now)
    elif kind == TRIMMED:
        _take_header(w, index, packet, link, now)
    elif kind == RTS:
        _take_rts(w, index, packet, link, now)
    elif kind == PULL:
        hear_pull(w, index, packet, now)
    else:
        hear_nack(w, index, packet, now)
