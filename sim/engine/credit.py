"""Receivers that grant credit to their senders, paced below the rate of their link.

After uet-htsim's `UecPullPacer` (EQDS, RCCC): credit is counted from the flow's start in quanta of 256 bytes, by the
sender as what it wants to have been granted (its pull target), by the receiver as what it has granted (a PULL).
"""

from __future__ import annotations

import numpy as np
from numba import types

from models.jit import njit
from sim.engine.choice import choose, leave_trail
from sim.engine.layout import (
    NOTE,
    PACER,
    PULL,
    RTS,
    Flow,
    Packet,
    Sender,
    World,
    flow_at,
    load_int,
    pacer_at,
    packet_at,
    sender_at,
    store_int,
    store_long,
)
from sim.engine.nic import send_control
from sim.engine.ports import lose
from sim.engine.sender import QUANTUM, note, pull_target
from sim.engine.timers import CREDIT, push_timer

MOST_TRIES = 6  # an RTS is repeated after twice the time of the last one, so often
ACTIVE, IDLE = 1, 2  # the lists of a pacer
_FIRST, _LAST = -1, 1  # added to a list: its word in PACER
_IDLE_TURN = 1024 // QUANTUM  # quanta whose time passes after a grant of nothing
PACER_BYTES = PACER.itemsize
_PULLS, _ASKS = 1 << 20, 1 << 21  # their transmission numbers, apart from those of data packets
_LONG = types.int64
_VOID = types.void


@njit(_LONG(World, Flow, Sender), inline=True)
def _pacer_of(w, flow, s):  # type: ignore[no-untyped-def]
    return 2 * flow.dst + s.inside


@njit(_VOID(World, Flow, Sender, _LONG), internal=True)
def leave_list(w, flow, s, slot):  # type: ignore[no-untyped-def]
    """Takes a flow out of its receiver's lists."""
    if s.listed == 0:
        return
    pacer = w.grants + PACER_BYTES * _pacer_of(w, flow, s)
    if s.before >= 0:
        sender_at(w.senders, s.before).after = s.after
    else:
        store_int(pacer, s.listed + _FIRST, s.after)
    if s.after >= 0:
        sender_at(w.senders, s.after).before = s.before
    else:
        store_int(pacer, s.listed + _LAST, s.before)
    s.listed = 0


@njit(_VOID(World, Flow, Sender, _LONG, _LONG), internal=True)
def _list(w, flow, s, slot, kind):  # type: ignore[no-untyped-def]
    """Puts a flow at the end of one of its receiver's lists."""
    pacer = w.grants + PACER_BYTES * _pacer_of(w, flow, s)
    s.listed = kind
    s.after = -1
    s.before = load_int(pacer, kind + _LAST)
    if s.before >= 0:
        sender_at(w.senders, s.before).after = slot
    else:
        store_int(pacer, kind + _FIRST, slot)
    store_int(pacer, kind + _LAST, slot)


@njit(_VOID(World, Flow, Sender, _LONG, _LONG), internal=True)
def wants_credit(w, flow, s, slot, now):  # type: ignore[no-untyped-def]
    """The flow is to be granted credit in its turn."""
    if flow.over or s.listed == ACTIVE:
        return
    leave_list(w, flow, s, slot)
    _list(w, flow, s, slot, ACTIVE)
    number = _pacer_of(w, flow, s)
    pacer = pacer_at(w.grants, number)
    if pacer.armed == 0:
        pacer.armed = 1
        push_timer(w, now, CREDIT + number, number)


@njit(_VOID(World, Flow, Sender, _LONG, _LONG, _LONG), internal=True)
def hear_target(w, flow, s, slot, target, now):  # type: ignore[no-untyped-def]
    """A packet with a pull target reaches the receiver."""
    if target > s.target:
        s.target = target
        wants_credit(w, flow, s, slot, now)


@njit(_LONG(World, Flow, _LONG, _LONG), internal=True)
def _new_packet(w, flow, slot, kind):  # type: ignore[no-untyped-def]
    """Takes a control packet from the pool."""
    index = w.free
    packet = packet_at(w.packets, index)
    w.free = packet.next
    w.free_count -= 1
    packet.flow = slot
    packet.kind = kind
    packet.size = w.ack
    packet.marked = 0
    packet.hop = 0
    packet.path = -1
    packet.cumulative = 0
    flow.in_network += 1
    w.acks_sent += 1
    return index


@njit(_VOID(World, Flow, _LONG, Packet, _LONG, _LONG), internal=True)
def _by_tables(w, flow, index, packet, node, now):  # type: ignore[no-untyped-def]
    number = choose(w, packet, node, now)
    if number < 0:
        w.lost_unreachable += 1
        lose(w, index, packet, now)
        return
    leave_trail(w, index, packet, number)
    send_control(w, number, index, packet, now)


@njit(_VOID(World, Flow, Sender, _LONG, _LONG), internal=True)
def _send_pull(w, flow, s, slot, now):  # type: ignore[no-untyped-def]
    """Credit for a sender, back along the flow's path, else wherever tables lead."""
    index = _new_packet(w, flow, slot, PULL)
    packet = packet_at(w.packets, index)
    packet.sequence = s.pulls
    s.pulls += 1
    packet.transmission = _PULLS
    packet.dst = flow.src
    packet.group = s.group
    store_long(w.notes, NOTE * index, s.pulled)
    w.grants_sent += 1
    if flow.path >= 0:
        packet.path = flow.path + flow.length - 1
        packet.hop = flow.length - 1
        send_control(w, load_int(w.paths, packet.path) ^ 1, index, packet, now)
    else:
        _by_tables(w, flow, index, packet, flow.dst, now)


@njit(_VOID(World, Flow, Sender, _LONG, _LONG), internal=True)
def send_rts(w, flow, s, slot, now):  # type: ignore[no-untyped-def]
    """The sender asks for credit, at most once a round trip."""
    if s.rts > 0 and now - s.rts < s.rtt:
        return
    s.rts = now
    s.tries = min(s.tries + 1, MOST_TRIES)
    index = _new_packet(w, flow, slot, RTS)
    packet = packet_at(w.packets, index)
    packet.sequence = min(flow.next_new, flow.packets - 1)
    packet.transmission = _ASKS + w.asked
    packet.dst = flow.dst
    packet.group = flow.group
    store_long(w.notes, NOTE * index, pull_target(w, flow, s))
    w.asked += 1
    if flow.path >= 0:
        packet.path = flow.path + 1
        packet.hop = 1
        send_control(w, load_int(w.paths, flow.path), index, packet, now)
    else:
        _by_tables(w, flow, index, packet, flow.src, now)


@njit(_VOID(World, _LONG, _LONG), internal=True)
def credit_due(w, number, now):  # type: ignore[no-untyped-def]
    """A receiving host may grant the next credit: to the first that wants some, else ahead to one that has enough."""
    pacer = pacer_at(w.grants, number)
    pacer.armed = 0
    full = -(-w.credit_packets * w.mtu // QUANTUM)
    slot = pacer.active_first
    if slot >= 0:
        flow, s = flow_at(w.flows, slot), sender_at(w.senders, slot)
        grant = min(full, max(s.target - s.pulled, 0))
        leave_list(w, flow, s, slot)
        _list(w, flow, s, slot, ACTIVE if s.target > s.pulled + grant else IDLE)
    else:
        slot = pacer.idle_first
        if slot < 0:
            return
        flow, s = flow_at(w.flows, slot), sender_at(w.senders, slot)
        grant = full
        leave_list(w, flow, s, slot)
        if s.pulled + grant - s.target < s.most // QUANTUM:
            _list(w, flow, s, slot, IDLE)
    s.pulled += grant
    pacer.armed = 1
    pause = np.int64((grant if grant > 0 else _IDLE_TURN) * pacer.quantum)
    push_timer(w, now + max(pause, 1), CREDIT + number, number)
    _send_pull(w, flow, s, slot, now)


@njit(_VOID(World, Sender, _LONG), inline=True)
def end_speculation(w, s, now):  # type: ignore[no-untyped-def]
    """The sender hears from its receiver: what it was lent at the start is over."""
    if w.credit:
        s.heard = now
        s.tries = 0
        if s.speculating:
            s.speculating = 0
            s.credit = min(s.credit, 0)


@njit(_VOID(World, Sender, _LONG), internal=True)
def take_pull(w, s, index):  # type: ignore[no-untyped-def]
    """A PULL at the sender."""
    number = note(w, index, 0)
    if number > s.granted:
        s.credit = min(s.credit + (number - s.granted) * QUANTUM, s.most)
        s.granted = number
