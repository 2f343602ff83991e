"""What comes back to the sending end of flows under a congestion control: ACKs, NACKs, credit, and timers.

Every packet has a retransmission timer of its own: it runs out a fixed time after the packet was sent last, and only
that packet counts as lost (go-back-N: all that are outstanding).
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from models.jit import njit
from sim.engine.balance import feed_back, heard
from sim.engine.credit import end_speculation, leave_list, send_rts, take_pull
from sim.engine.layout import BOUNCED, NACK, Flow, Packet, Sender, World, address_as_pointer, flow_at, sender_at
from sim.engine.nic import leave_turn, wake
from sim.engine.ports import close, finish, release
from sim.engine.recovery import had_these, lose_one, payload, sending_at, take_back
from sim.engine.sender import next_controlled, note, set_call, tell_control
from sim.engine.timers import push_timer
from sim.engine.transport import tell
from sim.engine.words import CUT, GOOD, LOST, MARKED, ON_ACK, ON_NACK, ON_TIMEOUT, ON_TIMER, TIMER

_LONG = types.int64
_VOID = types.void
LAST_HOP = 2  # of `marked`: it was cut at the port that leads to its destination


@njit(_VOID(World, Flow, Sender, _LONG), internal=True)
def _learn_total(w, flow, s, total):  # type: ignore[no-untyped-def]
    newly = max(total - s.known, 0)
    s.known += newly
    flow.in_flight -= newly


@njit(_VOID(World, Flow, Sender, _LONG, _LONG), internal=True)
def _find_gaps(w, flow, s, slot, now):  # type: ignore[no-untyped-def]
    """Packets that too many later ones were acknowledged behind are lost. Each counts once, as it was sent first."""
    s.scanned = max(s.scanned, flow.una)
    while s.scanned < s.highest - w.reorder:
        sequence = s.scanned
        s.scanned += 1
        sending = sending_at(flow.marks, sequence)
        if sending.sent >= 0 and sending.times == 1:
            size = lose_one(w, flow, s, sequence)
            tell_control(w, flow, s, slot, ON_NACK, now, -1, 0, 0, size, sequence, 0, 0)


@njit(_VOID(World, _LONG, _LONG, _LONG), internal=True)
def _done_with(w, slot, index, now):  # type: ignore[no-untyped-def]
    """The control packet is gone; the flow may send on, or hand back its slot."""
    flow = flow_at(w.flows, slot)
    release(w, index)
    if flow.over:
        close(w, flow, slot, now)
    else:
        wake(w, slot, now)


@njit(_VOID(World, _LONG, Packet, _LONG), internal=True)
def hear_ack(w, index, packet, now):  # type: ignore[no-untyped-def]
    """An ACK at the sender."""
    slot = packet.flow
    flow = flow_at(w.flows, slot)
    w.acks_arrived += 1
    flow.in_network -= 1
    if flow.over <= 0:
        s = sender_at(w.senders, slot)
        end_speculation(w, s, now)
        before = s.known
        _learn_total(w, flow, s, note(w, index, 0))
        sequence = packet.sequence
        sending = sending_at(flow.marks, sequence)
        rtt = -1
        if sending.sent >= 0 and sending.times - 1 == packet.transmission:
            rtt = now - sending.sent
            s.rtt = min(s.rtt, rtt)
        had_these(w, flow, s, packet.cumulative, note(w, index, 1), note(w, index, 2))
        if w.reorder > 0:
            _find_gaps(w, flow, s, slot, now)
        marked = packet.marked & 1
        if packet.path < -1:
            feed_back(w, flow, slot, index, packet, now)
        hops = note(w, index, 3) if w.telemetry else 0
        tell_control(w, flow, s, slot, ON_ACK, now, rtt, marked, s.known - before, 0, sequence, index, hops)
        if flow.acked == flow.packets:
            finish(w, flow, slot, now)
            leave_list(w, flow, s, slot)
            if flow.is_ready:  # a needless retransmission
                leave_turn(w, flow, slot)
            if flow.notify & 2:
                tell(w, flow, slot, 2)
    _done_with(w, slot, index, now)


@njit(_VOID(World, Flow, Sender, _LONG, _LONG, Packet, _LONG), internal=True)
def _go_back(w, flow, s, slot, index, packet, now):  # type: ignore[no-untyped-def]
    """Go-back-N: the receiver has thrown away what came after the packet that it waits for."""
    sequence = packet.sequence
    _learn_total(w, flow, s, note(w, index, 0))
    had_these(w, flow, s, sequence, sequence, 0)
    sending = sending_at(flow.marks, sequence)
    if flow.una == sequence and sending.sent >= 0:
        rtt = now - sending.sent
        take_back(w, flow, s, sequence)
        size = payload(w, flow, sequence) + w.header
        tell_control(w, flow, s, slot, ON_NACK, now, rtt, packet.marked, 0, size, sequence, 0, 0)


@njit(_VOID(World, _LONG, Packet, _LONG), internal=True)
def hear_nack(w, index, packet, now):  # type: ignore[no-untyped-def]
    """A NACK at the sender, or a header that found no room and came back: one packet did not arrive."""
    slot = packet.flow
    flow = flow_at(w.flows, slot)
    if packet.kind == BOUNCED:
        w.data_arrived += 1
    else:
        w.acks_arrived += 1
    flow.in_network -= 1
    if flow.over <= 0:
        s = sender_at(w.senders, slot)
        end_speculation(w, s, now)
        sequence, marked = packet.sequence, packet.marked
        sending = sending_at(flow.marks, sequence)
        if w.go_back_n and packet.kind == NACK:
            _go_back(w, flow, s, slot, index, packet, now)
        elif w.go_back_n == 0 and sending.sent >= 0 and sending.times - 1 == packet.transmission:
            rtt = now - sending.sent
            size = lose_one(w, flow, s, sequence)
            tell_control(w, flow, s, slot, ON_NACK, now, rtt, marked, 0, size, sequence, 0, 0)
            if w.hear and packet.path < -1 and (packet.kind == BOUNCED or note(w, index, 1)):
                at_last_hop = MARKED if marked & 1 else GOOD
                heard(w, flow, slot, at_last_hop if marked & LAST_HOP else CUT, -2 - packet.path, now)
    _done_with(w, slot, index, now)


@njit(_VOID(World, _LONG, Packet, _LONG), internal=True)
def hear_pull(w, index, packet, now):  # type: ignore[no-untyped-def]
    """Credit at the sender."""
    slot = packet.flow
    flow = flow_at(w.flows, slot)
    w.acks_arrived += 1
    flow.in_network -= 1
    s = sender_at(w.senders, slot)
    end_speculation(w, s, now)
    take_pull(w, s, index)
    _done_with(w, slot, index, now)


@njit(_LONG(World, Sender), inline=True)
def _silence_ends(w, s):  # type: ignore[no-untyped-def]
    """ps at which a sender that has nothing outstanding asks for credit (again)."""
    return max(s.heard, s.rts) + (w.rto << s.tries)


@njit(_VOID(World, Flow, Sender, _LONG, _LONG), internal=True)
def _set_timer(w, flow, s, slot, now):  # type: ignore[no-untyped-def]
    """Files the timer of the packet sent earliest. Where credit is granted, one runs even if none is outstanding."""
    if s.oldest >= 0:
        due = sending_at(flow.marks, s.oldest).sent + w.rto
    elif w.credit:
        due = _silence_ends(w, s)
        if due <= now:  # it may send, and will
            due = now + w.rto
    else:
        return
    flow.timer = 1
    push_timer(w, due, flow.id, slot)


@njit(_VOID(World, _LONG, _LONG, _LONG), internal=True)
def packet_ran_out(w, ident, slot, now):  # type: ignore[no-untyped-def]
    """A retransmission timer entry is due: it is stale, or the packet sent earliest is lost.

    A flow that asks for its path is held up, unless the packet went before it got the one that it has. Without credit
    the sender asks its receiver: what was granted may be lost, too.
    """
    flow = flow_at(w.flows, slot)
    if flow.id != ident or flow.over:
        return
    flow.timer = 0
    s = sender_at(w.senders, slot)
    sequence = s.oldest
    if sequence < 0:
        if w.credit and _silence_ends(w, s) <= now and flow.blocked == 0 and next_controlled(w, flow, slot) < 0:
            send_rts(w, flow, s, slot, now)
        _set_timer(w, flow, s, slot, now)
        return
    sent = sending_at(flow.marks, sequence).sent
    if sent + w.rto > now:
        _set_timer(w, flow, s, slot, now)
        return
    w.timeouts += 1
    if w.go_back_n:
        size = payload(w, flow, sequence) + w.header
        take_back(w, flow, s, flow.una)
    else:
        size = lose_one(w, flow, s, sequence)
    if w.hear and flow.path < 0:
        heard(w, flow, slot, LOST, -1, now)
    tell_control(w, flow, s, slot, ON_TIMEOUT, now, -1, 0, 0, size, sequence, 0, 0)
    _set_timer(w, flow, s, slot, now)
    if flow.ask and sent >= s.since:
        if flow.blocked == 0:
            flow.blocked = 1
            tell(w, flow, slot, 1)
        return
    if w.credit and flow.blocked == 0 and next_controlled(w, flow, slot) < 0:
        send_rts(w, flow, s, slot, now)
    wake(w, slot, now)


@njit(_VOID(World, _LONG, _LONG, _LONG), internal=True)
def control_ran_out(w, ident, slot, now):  # type: ignore[no-untyped-def]
    """A congestion control's own timer is due, if the entry is not stale and the timer was not put off."""
    flow = flow_at(w.flows, slot)
    if flow.id != ident or flow.over:
        return
    s = sender_at(w.senders, slot)
    if s.call != now:
        return
    s.call = 0
    own = numba.carray(address_as_pointer(w.owns + 8 * slot * w.own_words), w.own_words, np.float64)
    if own[TIMER] > now:
        set_call(w, flow, s, slot, now)
    elif own[TIMER] > 0.0:
        own[TIMER] = 0.0
        sequence = min(flow.next_new, flow.packets - 1)
        tell_control(w, flow, s, slot, ON_TIMER, now, -1, 0, 0, 0, sequence, 0, 0)
        wake(w, slot, now)
