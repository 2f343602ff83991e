"""NICs of the packet engine: whose packet goes next, and what becomes of it when a link goes down.

Control packets go first, then the ready flows, one packet each in turn. A flow is ready while its transport lets it
send: what is to be sent again first, then new packets, at most a window of payload in flight. A paced flow is not ready
before its next packet is due: one packet's time at its pace after the last was due, or at once if that is over.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.balance import entropy_of, plan_entropy
from sim.engine.choice import choose, leave_trail
from sim.engine.events import push
from sim.engine.layout import (
    ACKED,
    DATA,
    OUTSTANDING,
    Flow,
    Packet,
    World,
    flow_at,
    link_at,
    load_byte,
    load_int,
    nic_at,
    packet_at,
    port_at,
    rare_at,
    store_byte,
)
from sim.engine.offers import note_offer
from sim.engine.ports import BYTE_PS, drop, lose, queue_bytes, transmit, waiting_bytes
from sim.engine.recovery import payload, sending_at
from sim.engine.sender import book_sent, next_controlled
from sim.engine.telemetry import note_hop
from sim.engine.timers import PACE, push_timer

_LONG = types.int64
_VOID = types.void


@njit(_LONG(World, Flow, _LONG), internal=True)
def next_sequence(w, flow, slot):  # type: ignore[no-untyped-def]
    """The packet that the flow would send now, or -1: what is to be sent again first, then new ones."""
    if w.controlled:
        return next_controlled(w, flow, slot)
    if flow.blocked or flow.over:
        return -1
    sequence = -1
    while flow.resend < flow.resend_end:
        if load_byte(flow.marks, flow.resend) & (ACKED | OUTSTANDING) == 0:
            sequence = flow.resend
            break
        flow.resend += 1
    if sequence < 0:
        if flow.next_new == flow.packets:
            return -1
        sequence = flow.next_new
    if w.acks and flow.in_flight > 0 and flow.in_flight + payload(w, flow, sequence) > flow.window:
        return -1
    return sequence


@njit(_LONG(World, Flow, _LONG, _LONG, _LONG, _LONG), internal=True)
def _make_packet(w, flow, slot, sequence, link, now):  # type: ignore[no-untyped-def]
    """Takes a packet from the pool and books it as sent."""
    index = w.free
    packet = packet_at(w.packets, index)
    w.free = packet.next
    w.free_count -= 1
    packet.flow = slot
    packet.sequence = sequence
    size = payload(w, flow, sequence)
    packet.size = size + w.header
    packet.kind = DATA
    packet.marked = 0
    packet.transmission = flow.epoch
    packet.dst = flow.dst
    packet.group = flow.group
    packet.hop = 0
    if flow.path < 0:
        packet.path = -2 - entropy_of(w, flow, slot, sequence, now) if w.spread else -1
        leave_trail(w, index, packet, link)
    else:
        packet.path = flow.path + 1
        packet.hop = 1
    note_offer(w, index, 0, now)
    flow.in_network += 1
    w.data_sent += 1
    if w.controlled:
        book_sent(w, flow, slot, index, packet, now)
        return index
    if flow.cap > 0:
        flow.due = max(flow.due + max((packet.size * BYTE_PS + flow.cap - 1) // flow.cap, 1), now)
    if w.acks:
        flow.in_flight += size
        if w.go_back_n == 0:
            store_byte(flow.marks, sequence, load_byte(flow.marks, sequence) | OUTSTANDING)
        flow.deadline = now + w.rto
        if flow.timer == 0:
            flow.timer = 1
            push_timer(w, flow.deadline, flow.id, slot)
    if sequence < flow.sent_high:
        flow.retransmitted += 1
    else:
        flow.sent_high = sequence + 1
    if sequence == flow.next_new:
        flow.next_new += 1
    else:
        flow.resend = sequence + 1
    return index


@njit(_VOID(World, Flow, _LONG, _LONG, _LONG), internal=True)
def _queue_flow(w, flow, slot, sequence, now):  # type: ignore[no-untyped-def]
    """Puts a flow that can send at the end of a NIC's turn. Of a host's several links the packet's is chosen here.

    A paced flow that isn't due gets a timer instead.
    """
    if flow.due > now:
        if flow.paced == 0:
            flow.paced = 1
            push_timer(w, flow.due, PACE + flow.id, slot)
        return
    if flow.path >= 0:
        number = load_int(w.paths, flow.path)
    elif flow.homes == 1:
        number = flow.first_link
    else:
        index = w.free  # a packet not sent yet, to ask the policy with
        packet = packet_at(w.packets, index)
        packet.flow = slot
        packet.kind = DATA
        packet.sequence = sequence
        packet.transmission = sending_at(flow.marks, sequence).times if w.controlled else flow.epoch
        packet.hop = 0
        packet.path = -2 - plan_entropy(w, flow, slot, sequence, now) if w.spread else -1
        packet.dst = flow.dst
        packet.group = flow.group
        number = choose(w, packet, flow.src, now)
        if number < 0:  # tables know no way: the first link, and the packets are lost behind it
            number = flow.first_link
    flow.nic = link_at(w.links, number).nic
    nic = nic_at(w.nics, flow.nic)
    flow.is_ready = 1
    nic.ready += 1
    flow.next_ready = -1
    if nic.ready_tail >= 0:
        flow_at(w.flows, nic.ready_tail).next_ready = slot
    else:
        nic.ready_head = slot
    nic.ready_tail = slot


@njit(_VOID(World, Flow, _LONG))
def leave_turn(w, flow, slot):  # type: ignore[no-untyped-def]
    """Takes a flow that waits at a NIC out of the turn. Rare: it ended early, or goes to another NIC."""
    nic = nic_at(w.nics, flow.nic)
    before = -1
    here = nic.ready_head
    while here != slot:
        before = here
        here = flow_at(w.flows, here).next_ready
    if before < 0:
        nic.ready_head = flow.next_ready
    else:
        flow_at(w.flows, before).next_ready = flow.next_ready
    if flow.next_ready < 0:
        nic.ready_tail = before
    flow.is_ready = 0
    nic.ready -= 1


@njit(_LONG(World, _LONG, _LONG))
def _turn(w, number, now):  # type: ignore[no-untyped-def]
    """Starts the NIC's next packet if its link is free, and asks to be called again if more is waiting.

    Returns another NIC of the host if the flow's next packet queued up there, else -1.
    """
    nic = nic_at(w.nics, number)
    link = link_at(w.links, nic.link)
    other = -1
    if link.up == 0:
        return other
    if link.busy_until <= now:
        index = -1
        slot = -1
        paused = w.pause and port_at(w.holds, nic.link).paused
        if nic.control_head >= 0 and (w.split or not paused):
            index = nic.control_head
            packet = packet_at(w.packets, index)
            nic.control_head = packet.next
            if packet.next < 0:
                nic.control_tail = -1
            nic.control_bytes -= packet.size
        while index < 0 and nic.ready_head >= 0 and not paused:
            slot = nic.ready_head
            flow = flow_at(w.flows, slot)
            nic.ready_head = flow.next_ready
            if flow.next_ready < 0:
                nic.ready_tail = -1
            flow.is_ready = 0
            nic.ready -= 1
            sequence = next_sequence(w, flow, slot)
            if sequence >= 0:
                index = _make_packet(w, flow, slot, sequence, nic.link, now)
        if index >= 0:
            packet = packet_at(w.packets, index)
            queue = queue_bytes(w, link, now) + packet.size
            link.queue_max = max(link.queue_max, queue)
            transmit(w, link, nic.link, index, packet, now, now)
            if w.telemetry and packet.kind == DATA:
                note_hop(w, link, nic.link, index, packet, 0, packet.end)
            if slot >= 0:
                flow = flow_at(w.flows, slot)
                sequence = next_sequence(w, flow, slot)
                if sequence >= 0:
                    _queue_flow(w, flow, slot, sequence, now)
                    if flow.nic != number:
                        other = flow.nic
    if (nic.control_head >= 0 or nic.ready_head >= 0) and nic.armed == 0 and link.busy_until > now:
        nic.armed = 1
        push(w, link.busy_until, number)
    return other


@njit(_VOID(World, _LONG, _LONG, _LONG), internal=True)
def nic_turn(w, number, now, phase):  # type: ignore[no-untyped-def]
    """A NIC's turn, then that of the NIC where the flow queued up next, and so on.

    ``phase``: among this instant's ends of serialisation, the NIC whose turn it is; after them, the number of NICs.
    """
    other = _turn(w, number, now)
    while other >= 0:
        nic = nic_at(w.nics, other)
        link = link_at(w.links, nic.link)
        if other > phase and link.up and link.busy_until == now:  # its own end of serialisation is still to come
            if nic.armed == 0:
                nic.armed = 1
                push(w, now, other)
            return
        other = _turn(w, other, now)


@njit(_VOID(World, _LONG, _LONG), internal=True)
def wake(w, slot, now):  # type: ignore[no-untyped-def]
    """A flow may be able to send again."""
    flow = flow_at(w.flows, slot)
    if flow.is_ready == 0:
        sequence = next_sequence(w, flow, slot)
        if sequence >= 0:
            _queue_flow(w, flow, slot, sequence, now)
            if flow.is_ready:
                nic_turn(w, flow.nic, now, w.nic_count)


@njit(_VOID(World, _LONG, _LONG, _LONG), internal=True)
def pace_ran_out(w, ident, slot, now):  # type: ignore[no-untyped-def]
    """A paced flow is due, if the timer is not stale."""
    flow = flow_at(w.flows, slot)
    if flow.id == ident:
        flow.paced = 0
        wake(w, slot, now)


@njit(_VOID(World, _LONG, _LONG, Packet, _LONG), internal=True)
def send_control(w, number, index, packet, now):  # type: ignore[no-untyped-def]
    """A packet that goes before the NIC's own data: an ACK, or another host's packet in a switchless fabric."""
    link = link_at(w.links, number)
    if link.up == 0:
        w.lost_down += 1
        drop(w, link, number, index, packet, now)
        return
    nic = nic_at(w.nics, link.nic)
    packet.next = -1
    if nic.control_tail >= 0:
        packet_at(w.packets, nic.control_tail).next = index
    else:
        nic.control_head = index
    nic.control_tail = index
    nic.control_bytes += packet.size
    link.queue_max = max(link.queue_max, queue_bytes(w, link, now))
    nic_turn(w, link.nic, now, w.nic_count)


@njit(_VOID(World, _LONG, _LONG), internal=True)
def empty_link(w, number, now):  # type: ignore[no-untyped-def]
    """A link went down: what is queued and in flight on it is lost."""
    link = link_at(w.links, number)
    rare = rare_at(w.rare, number)
    rare.sent_lost -= queue_bytes(w, link, now) - waiting_bytes(w, link)
    rare.old_until = 0
    index = link.head
    link.head = -1
    link.tail = -1
    link.wire = -1
    link.queued = 0
    link.busy_until = now
    while index >= 0:
        packet = packet_at(w.packets, index)
        following = packet.next
        link.dropped += 1
        w.lost_down += 1
        link.accepted -= packet.size
        rare.sent_lost += packet.size
        link.accepted_packets -= 1
        lose(w, index, packet, now)
        index = following
    if link.nic >= 0:
        nic = nic_at(w.nics, link.nic)
        index = nic.control_head
        nic.control_head = -1
        nic.control_tail = -1
        nic.control_bytes = 0
        while index >= 0:
            packet = packet_at(w.packets, index)
            following = packet.next
            link.dropped += 1
            w.lost_down += 1
            lose(w, index, packet, now)
            index = following
