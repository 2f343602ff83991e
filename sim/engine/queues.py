"""Scheduled switch ports: a queue of control packets that goes first, one of data, and what is done when it is full.

Where neither trimming nor priority is on, all packets are in the queue of data. Data that does not fit is dropped, or
cut to its header, which goes with the control packets; a fair coin decides between the packet that comes and the last
one that waits (NDP, Handley et al., SIGCOMM 2017). Who goes next is decided in `settle` (``sim/engine/ports.py``).
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.choice import trail_link
from sim.engine.events import push, remove
from sim.engine.layout import (
    BOUNCED,
    DATA,
    TRIMMED,
    Link,
    Packet,
    Port,
    World,
    flow_at,
    link_at,
    load_int,
    load_long,
    packet_at,
    port_at,
    rare_at,
    store_int,
)
from sim.engine.pause import charge, discharge, has_headroom
from sim.engine.ports import draw, drop, lose, mark, sent_of, settle, transmit

_LONG = types.int64
_VOID = types.void
_BOOL = types.boolean
_COIN = 1 << 21  # the hop number of coins is set apart from those of other draws


@njit(_BOOL(World, Packet), inline=True)
def _with_data(w, packet):  # type: ignore[no-untyped-def]
    """Whether a packet is one of the queue of data."""
    return packet.kind == DATA or w.split == 0


@njit(_LONG(World, Link, _BOOL, _LONG), internal=True)
def _on_wire(w, link, data, now):  # type: ignore[no-untyped-def]
    """The rest of the packet on the wire if it is of the queue of data, or of the other one."""
    if link.wire < 0:
        return 0
    packet = packet_at(w.packets, link.wire)
    if _with_data(w, packet) != data:
        return 0
    return packet.size - sent_of(w, link, packet, now)


@njit(_VOID(World, Link, Port, _LONG, _LONG), internal=True)
def _note_longest(w, link, port, size, now):  # type: ignore[no-untyped-def]
    """The longest queue of all packets, for one more of ``size`` bytes."""
    waiting = port.control_bytes + port.data_bytes + size
    if waiting + link.queued > link.queue_max:  # a bound from whole packets comes first
        rest = link.queued - sent_of(w, link, packet_at(w.packets, link.wire), now) if link.wire >= 0 else 0
        link.queue_max = max(link.queue_max, waiting + rest)


@njit(_VOID(World, Link, Port, _LONG, _LONG, Packet, _LONG), internal=True)
def _append(w, link, port, number, index, packet, now):  # type: ignore[no-untyped-def]
    """An accepted packet starts at once, or joins its queue. Its ``end`` is when it was offered."""
    _note_longest(w, link, port, packet.size, now)
    data = _with_data(w, packet)
    if link.wire < 0 and not (data and port.paused):
        transmit(w, link, number, index, packet, now, packet.end)
        if w.eager:
            push(w, packet.end, w.nic_count + number)
        return
    packet.next = -1
    if data:
        last = port.data_tail
        if w.before:
            store_int(w.before, index, last)
        if last < 0:
            port.data_head = index
        port.data_tail = index
        port.data_bytes += packet.size
    else:
        last = port.control_tail
        if last < 0:
            port.control_head = index
        port.control_tail = index
        port.control_bytes += packet.size
    if last >= 0:
        packet_at(w.packets, last).next = index


@njit(_BOOL(World, Link, Port, _LONG, _LONG, Packet, _LONG), internal=True)
def _join_control(w, link, port, number, index, packet, now):  # type: ignore[no-untyped-def]
    """Appends a control packet if there is room for it."""
    queue = port.control_bytes + packet.size
    bounded = queue + link.queued > w.control_room and port.lossless == 0  # else whole packets are enough to know
    if bounded and queue + _on_wire(w, link, False, now) > w.control_room:
        return False
    _append(w, link, port, number, index, packet, now)
    return True


@njit(_VOID(World, _LONG, _LONG, Packet, _LONG), internal=True)
def _offer_control(w, number, index, packet, now):  # type: ignore[no-untyped-def]
    link = link_at(w.links, number)
    if link.up == 0:
        w.lost_down += 1
        drop(w, link, number, index, packet, now)
        return
    settle(w, link, number, now)
    packet.end = now
    if not _join_control(w, link, port_at(w.holds, number), number, index, packet, now):
        w.lost_header += 1
        drop(w, link, number, index, packet, now)


@njit(_VOID(World, _LONG, Packet, _LONG), internal=True)
def _send_back(w, index, packet, now):  # type: ignore[no-untyped-def]
    """A header goes back to its sender, first over the link by which it came."""
    packet.kind = BOUNCED
    packet.dst = flow_at(w.flows, packet.flow).src
    packet.hop -= 2  # before the link that it did not take, and before the one that it took
    w.bounced += 1
    if packet.path >= 0:
        packet.path -= 2
        back = load_int(w.paths, packet.path) ^ 1
    else:
        back = trail_link(w, index, packet.hop) ^ 1
    _offer_control(w, back, index, packet, now)


@njit(_VOID(World, Link, Port, _LONG, _LONG, Packet, _LONG), internal=True)
def _cut(w, link, port, number, index, packet, now):  # type: ignore[no-untyped-def]
    """A data packet becomes its header, and joins the control packets. 2 in ``marked``: cut at the last hop."""
    packet.kind = TRIMMED
    packet.size = w.ack
    if link.dst == packet.dst:
        packet.marked |= 2
    rare_at(w.rare, number).trimmed += 1
    w.trimmed += 1
    if _join_control(w, link, port, number, index, packet, now):
        return
    if w.bounce:
        _send_back(w, index, packet, now)
        return
    w.lost_header += 1
    drop(w, link, number, index, packet, now)


@njit(_BOOL(World, Link, _LONG, _LONG, _LONG), internal=True)
def _has_room(w, link, queue, size, freed):  # type: ignore[no-untyped-def]
    """Whether a packet fits behind ``queue`` bytes, once ``freed`` bytes of the shared memory are."""
    if queue + size > link.buffer:
        return False
    if w.shared == 0:
        return True
    used = load_long(w.shares, link.src) - freed
    return queue + size <= w.alpha * (w.shared - used) and used + size <= w.shared


@njit(_VOID(World, Link, Port, _LONG, _LONG, Packet, _LONG, _LONG, _LONG), internal=True)
def _accept(w, link, port, number, index, packet, queue, came, now):  # type: ignore[no-untyped-def]
    if queue >= link.kmin and w.late_marks == 0 and packet.kind == DATA:
        mark(w, link, number, packet, queue)
    if w.shared or w.pause:
        charge(w, link, index, packet, came, now)
    _append(w, link, port, number, index, packet, now)


@njit(_VOID(World, Link, Port, _LONG, _LONG, Packet, _LONG, _LONG, _LONG), internal=True)
def _cut_one(w, link, port, number, index, packet, queue, came, now):  # type: ignore[no-untyped-def]
    """Data does not fit: a coin says whether it is cut, or the last that waits if that makes enough room."""
    last = port.data_tail
    number63 = draw(w.key, flow_at(w.flows, packet.flow).id, packet.sequence, packet.transmission, _COIN + packet.hop)
    if number63 & 1 == 0 and last >= 0:
        victim = packet_at(w.packets, last)
        if _has_room(w, link, queue - victim.size, packet.size, victim.size):
            if w.shared:
                discharge(w, link, last, now)
            port.data_bytes -= victim.size
            queue -= victim.size
            if port.data_head == last:
                port.data_head = -1
                port.data_tail = -1
            else:
                port.data_tail = load_int(w.before, last)
                packet_at(w.packets, port.data_tail).next = -1
            _cut(w, link, port, number, last, victim, now)
            _accept(w, link, port, number, index, packet, queue, came, now)
            return
    _cut(w, link, port, number, index, packet, now)


@njit(_VOID(World, _LONG, _LONG, Packet, _LONG, _LONG), internal=True)
def offer(w, number, index, packet, came, now):  # type: ignore[no-untyped-def]
    """A packet that came over link ``came`` is offered to a scheduled port."""
    if not _with_data(w, packet):
        _offer_control(w, number, index, packet, now)
        return
    link = link_at(w.links, number)
    if link.up == 0:
        w.lost_down += 1
        drop(w, link, number, index, packet, now)
        return
    settle(w, link, number, now)
    packet.end = now
    port = port_at(w.holds, number)
    queue = port.data_bytes + link.queued
    if w.shared or queue + packet.size > link.buffer or queue >= link.kmin:  # else that bound is enough
        queue = port.data_bytes + _on_wire(w, link, True, now)
    if port.lossless:
        fits = True
    elif w.pause:
        fits = has_headroom(w, came, packet.size)
    else:
        fits = _has_room(w, link, queue, packet.size, 0)
    if fits:
        _accept(w, link, port, number, index, packet, queue, came, now)
    elif w.trim and w.pause == 0:
        _cut_one(w, link, port, number, index, packet, queue, came, now)
    else:
        w.lost_full += 1
        drop(w, link, number, index, packet, now)


@njit(_VOID(World, _LONG, _LONG), internal=True)
def port_ended(w, number, now):  # type: ignore[no-untyped-def]
    """The end of serialisation of a port's packet, where somebody must know of it."""
    link = link_at(w.links, number)
    if (w.shared or w.pause) and _with_data(w, packet_at(w.packets, link.wire)):
        discharge(w, link, link.wire, now)
    settle(w, link, number, now)


@njit(_VOID(World, Link, _LONG, _LONG), internal=True)
def stop_port(w, link, number, now):  # type: ignore[no-untyped-def]
    """A switch port's link goes down: the packet on the wire will not leave."""
    settle(w, link, number, now)
    if w.eager and link.wire >= 0:
        remove(w, w.nic_count + number)
        if (w.shared or w.pause) and _with_data(w, packet_at(w.packets, link.wire)):
            discharge(w, link, link.wire, now)


@njit(_VOID(World, Link, _LONG, _LONG), internal=True)
def empty_port(w, link, number, now):  # type: ignore[no-untyped-def]
    """A switch port's link went down: what waits there is lost."""
    port = port_at(w.holds, number)
    held = w.shared or w.pause
    for data in (False, True):
        index = port.data_head if data else port.control_head
        while index >= 0:
            packet = packet_at(w.packets, index)
            following = packet.next
            if data and held:
                discharge(w, link, index, now)
            link.dropped += 1
            w.lost_down += 1
            lose(w, index, packet, now)
            index = following
    port.data_head = port.data_tail = port.control_head = port.control_tail = -1
    port.data_bytes = port.control_bytes = 0
