"""The two transports of the packet engine: packets and ACKs at their ends, and retransmission timers.

``line_rate``: the NIC paces, credit is infinite, there are no ACKs and nothing is sent again. ``window``: at most so
many payload bytes in flight (one packet always may go), an ACK a packet on the reverse path, go-back-N or selective
repeat, one retransmission timer a flow that every packet sent and every ACK restarts.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.balance import feed_back, heard
from sim.engine.layout import (
    ACK,
    ACKED,
    OUTSTANDING,
    RECEIVED,
    Flow,
    Packet,
    World,
    flow_at,
    load_byte,
    load_long,
    store_byte,
    store_int,
    store_long,
)
from sim.engine.nic import leave_turn, send_control, wake
from sim.engine.offers import keep_last
from sim.engine.ports import close, finish, release
from sim.engine.recovery import payload
from sim.engine.timers import push_timer
from sim.engine.words import LOST

_LONG = types.int64
_VOID = types.void


@njit(_VOID(World, Flow, _LONG, _LONG), internal=True)
def tell(w, flow, slot, kind):  # type: ignore[no-untyped-def]
    store_int(w.tells, 2 * w.tell_count, kind)
    store_int(w.tells, 2 * w.tell_count + 1, slot)
    w.tell_count += 1


@njit(_VOID(World, Flow, Packet, _LONG, _LONG), internal=True)
def arrived_new(w, flow, packet, index, now):  # type: ignore[no-untyped-def]
    """Books a packet that arrived for the first time, and by how far it was overtaken."""
    flow.received += 1
    size = payload(w, flow, packet.sequence)
    flow.left -= size
    w.delivered_bytes += size
    if packet.transmission == 0:
        distance = min(max(flow.highest - packet.sequence, 0), w.distance_bins - 1)
        flow.reordered += distance > 0
        store_long(w.distances, distance, load_long(w.distances, distance) + 1)
    if flow.received == flow.packets:
        flow.delivered = now
        if w.offers:
            keep_last(w, flow, packet, index, now)


@njit(_VOID(World, _LONG, Packet, _LONG, _LONG), internal=True)
def receive(w, index, packet, link, now):  # type: ignore[no-untyped-def]
    """Data at its destination. ``link`` is the one it came over; the ACK goes back over its reverse."""
    slot = packet.flow
    flow = flow_at(w.flows, slot)
    w.data_arrived += 1
    before = flow.received
    sequence = packet.sequence
    if w.acks == 0:
        arrived_new(w, flow, packet, index, now)
    elif w.go_back_n:
        if sequence == flow.expected:
            flow.expected += 1
            arrived_new(w, flow, packet, index, now)
        elif sequence < flow.expected:
            w.duplicates += 1
        else:
            w.discarded += 1
    else:
        marks = load_byte(flow.marks, sequence)
        if marks & RECEIVED:
            w.duplicates += 1
        else:
            store_byte(flow.marks, sequence, marks | RECEIVED)
            arrived_new(w, flow, packet, index, now)
    flow.highest = max(flow.highest, sequence)
    if flow.received == flow.packets and before < flow.received and flow.notify & 1:
        tell(w, flow, slot, 0)
    if w.acks == 0:
        flow.in_network -= 1
        if flow.received + flow.lost == flow.packets:
            finish(w, flow, slot, now)
        close(w, flow, slot, now)
        release(w, index)
        return
    packet.kind = ACK
    packet.size = w.ack
    packet.cumulative = flow.expected
    packet.dst = flow.src
    if packet.path >= 0:
        packet.path -= 1
    packet.hop -= 1
    w.acks_sent += 1
    send_control(w, link ^ 1, index, packet, now)


@njit(_VOID(World, Flow, _LONG), internal=True)
def _acknowledge_up_to(w, flow, cumulative):  # type: ignore[no-untyped-def]
    """Go-back-N: everything below ``cumulative`` has arrived."""
    if cumulative <= flow.una:
        return
    flow.una = cumulative
    flow.acked = cumulative
    flow.next_new = max(flow.next_new, cumulative)
    flow.in_flight = (flow.next_new - cumulative) * w.mtu
    if flow.next_new == flow.packets and cumulative < flow.packets:
        flow.in_flight += flow.last_bytes - w.mtu


@njit(_VOID(World, _LONG, Packet, _LONG), internal=True)
def acknowledge(w, index, packet, now):  # type: ignore[no-untyped-def]
    """An ACK at the sender."""
    slot = packet.flow
    flow = flow_at(w.flows, slot)
    w.acks_arrived += 1
    flow.in_network -= 1
    if flow.over <= 0:
        flow.deadline = now + w.rto
        if packet.path < -1:
            feed_back(w, flow, slot, index, packet, now)
        if w.go_back_n:
            _acknowledge_up_to(w, flow, packet.cumulative)
        else:
            sequence = packet.sequence
            marks = load_byte(flow.marks, sequence)
            if marks & ACKED == 0:
                if marks & OUTSTANDING:
                    flow.in_flight -= payload(w, flow, sequence)
                store_byte(flow.marks, sequence, (marks | ACKED) & ~OUTSTANDING)
                flow.acked += 1
        if flow.acked == flow.packets:
            finish(w, flow, slot, now)
            if flow.is_ready:  # a needless retransmission
                leave_turn(w, flow, slot)
            if flow.notify & 2:
                tell(w, flow, slot, 2)
    release(w, index)
    if flow.over:
        close(w, flow, slot, now)
    else:
        wake(w, slot, now)


@njit(_VOID(World, _LONG, _LONG, _LONG), internal=True)
def timer_ran_out(w, ident, slot, now):  # type: ignore[no-untyped-def]
    """A timer entry is due: it is stale (the flow ended, was halted, or went on since), or all in flight is lost."""
    flow = flow_at(w.flows, slot)
    if flow.id != ident or flow.over:
        return
    flow.timer = 0
    if flow.in_flight == 0:
        return
    if flow.deadline > now:
        flow.timer = 1
        push_timer(w, flow.deadline, flow.id, slot)
        return
    w.timeouts += 1
    flow.epoch += 1
    flow.in_flight = 0
    if w.go_back_n:
        flow.next_new = flow.una
    else:
        for sequence in range(flow.una, flow.next_new):
            marks = load_byte(flow.marks, sequence)
            store_byte(flow.marks, sequence, marks & ~OUTSTANDING)
        while flow.una < flow.next_new and load_byte(flow.marks, flow.una) & ACKED:
            flow.una += 1
        flow.resend = flow.una
        flow.resend_end = flow.next_new
    if w.hear and flow.path < 0:
        heard(w, flow, slot, LOST, -1, now)
    if flow.ask:
        flow.blocked = 1
        tell(w, flow, slot, 1)
    else:
        wake(w, slot, now)
