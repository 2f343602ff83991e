"""Links of the packet engine: acceptance, loss, marking and transmission of one packet.

A packet's departure is known the moment it is accepted (first in, first out), so the end of its serialisation needs no
event: queues forget what has left when somebody looks at them. Scheduled ports (``sim/engine/queues.py``) decide late
who goes next, but need no event either: whoever looks at one first makes up for what has happened there (`settle`).
"""

from __future__ import annotations

import numpy as np
from numba import types

from models.jit import njit
from models.mix import mix
from sim.engine.events import push
from sim.engine.layout import (
    ACK,
    DATA,
    HALTED,
    NACK,
    PULL,
    RTS,
    Flow,
    Link,
    Packet,
    Port,
    World,
    flow_at,
    link_at,
    nic_at,
    packet_at,
    port_at,
    rare_at,
    store_int,
    store_long,
)
from sim.engine.loads import note_sent
from sim.engine.telemetry import note_hop

BYTE_PS = 8 * 10**12
TWO_63 = 2.0**63
_MARK = 1 << 20  # the hop number of marking draws is set apart from that of path draws
_LONG = types.int64


@njit(_LONG(_LONG, _LONG, _LONG, _LONG, _LONG))
def draw(key, flow, packet, transmission, hop):  # type: ignore[no-untyped-def]
    """The 63-bit random number of one decision: a hash, so it does not depend on the order of events."""
    word = mix(np.uint64(key) ^ (np.uint64(flow) * np.uint64(0x9E3779B97F4A7C15)))
    word = mix(word ^ (np.uint64(packet) << np.uint64(32)) ^ (np.uint64(transmission) << np.uint64(8)) ^ np.uint64(hop))
    return np.int64(word >> np.uint64(1))


@njit(_LONG(World, Link, _LONG), inline=True)
def serialise(w, link, size):  # type: ignore[no-untyped-def]
    """ps that ``size`` bytes take: ceil(bits x 10^12 / rate), at least 1; the last size is remembered."""
    if size == w.ack:
        return link.ack_ser
    if size != link.last_size:
        link.last_size = size
        link.last_ser = max(1, (size * BYTE_PS + link.rate - 1) // link.rate)
    return link.last_ser


@njit(types.void(World, Link, _LONG), inline=True)
def forget_sent(w, link, now):  # type: ignore[no-untyped-def]
    """Takes the packets that have wholly left out of the queue's account."""
    while link.wire >= 0:
        packet = packet_at(w.packets, link.wire)
        if packet.end > now:
            break
        link.queued -= packet.size
        link.wire = packet.next
        if w.loads:
            note_sent(w, nic_at(w.nics, link.nic).link if link.nic >= 0 else -1 - link.nic, packet.size, packet.end)


@njit(_LONG(World, Link, Packet, _LONG), inline=True)
def sent_of(w, link, packet, now):  # type: ignore[no-untyped-def]
    """Bytes of the packet on the wire that have left."""
    rate, took = link.rate, serialise(w, link, packet.size)
    if w.rates_changed:
        rare = rare_at(w.rare, nic_at(w.nics, link.nic).link if link.nic >= 0 else -1 - link.nic)
        if packet.end <= rare.old_until:
            rate = rare.old_rate
            took = max(1, (packet.size * BYTE_PS + rate - 1) // rate)
    return (now - packet.end + took) * rate // BYTE_PS


@njit(types.void(World, Packet, _LONG, _LONG, _LONG, _LONG), internal=True)
def trace(w, packet, link, offered, start, end):  # type: ignore[no-untyped-def]
    """One row of the trace; ``start`` -1: lost here."""
    row = w.trace_size
    w.trace_size = row + 1
    base = w.trace + row * 72
    store_long(base, 0, flow_at(w.flows, packet.flow).id)
    store_long(base, 1, packet.sequence)
    store_long(base, 2, packet.transmission)
    store_long(base, 3, packet.kind)
    store_long(base, 4, link)
    store_long(base, 5, offered)
    store_long(base, 6, start)
    store_long(base, 7, end)
    store_long(base, 8, packet.marked & 1)


@njit(types.void(World, Link, _LONG, _LONG, Packet, _LONG, _LONG), inline=True)
def transmit(w, link, number, index, packet, now, offered):  # type: ignore[no-untyped-def]
    """Accepts a packet (``index`` in the pool) on a link that is up; its arrival becomes the link's last event."""
    size = packet.size
    start = max(now, link.busy_until)
    end = start + serialise(w, link, size)
    packet.end = end
    packet.next = -1
    link.busy_until = end
    link.queued += size
    link.accepted += size
    link.accepted_packets += 1
    if link.tail >= 0:
        packet_at(w.packets, link.tail).next = index
        if link.wire < 0:
            link.wire = index
    else:
        link.head = index
        link.wire = index
        push(w, end + link.delay, w.arrivals + number)
    link.tail = index
    if w.trace_room:
        trace(w, packet, number, offered, start, end)


@njit(types.void(World, Link, _LONG, Packet, _LONG), inline=True)
def mark(w, link, number, packet, queue):  # type: ignore[no-untyped-def]
    """ECN by a queue of at least kmin bytes: always from kmax on, before with a chance that rises to pmax."""
    chance = 1.0
    rare = rare_at(w.rare, number)
    if queue < rare.kmax:
        chance = rare.pmax * (queue - link.kmin) / (rare.kmax - link.kmin)
    if chance < 1.0:
        flow = flow_at(w.flows, packet.flow).id
        number63 = draw(w.key, flow, packet.sequence, packet.transmission, _MARK + packet.hop)
        if number63 >= chance * TWO_63:
            chance = 0.0
    if chance > 0.0:
        packet.marked = 1
        rare.marked += 1


@njit(types.void(World, Link, Port, _LONG, _LONG), internal=True)
def start_next(w, link, port, number, now):  # type: ignore[no-untyped-def]
    """A scheduled port whose wire is free sends what waits: control first, then data unless it is paused.

    While a packet waits, its ``end`` is when it was offered.
    """
    if port.control_head >= 0:
        index = port.control_head
        packet = packet_at(w.packets, index)
        port.control_bytes -= packet.size
        port.control_head = packet.next
        if packet.next < 0:
            port.control_tail = -1
    elif port.data_head >= 0 and port.paused == 0:
        index = port.data_head
        packet = packet_at(w.packets, index)
        port.data_bytes -= packet.size
        port.data_head = packet.next
        if packet.next < 0:
            port.data_tail = -1
    else:
        return
    transmit(w, link, number, index, packet, now, packet.end)
    if w.eager:
        push(w, packet.end, w.nic_count + number)


@njit(types.void(World, Link, _LONG, _LONG), internal=True)
def _go_on(w, link, number, now):  # type: ignore[no-untyped-def]
    """The packet on a scheduled port's wire has left, and perhaps others after it."""
    port = port_at(w.holds, number)
    while link.wire >= 0:
        index = link.wire
        packet = packet_at(w.packets, index)
        end = packet.end
        if end > now:
            return
        link.wire = -1
        link.queued = 0
        if w.loads:
            note_sent(w, number, packet.size, end)
        if packet.kind == DATA:
            if w.late_marks and port.data_bytes >= link.kmin:
                mark(w, link, number, packet, port.data_bytes)
            if w.telemetry:
                note_hop(w, link, number, index, packet, port.data_bytes, end)
        start_next(w, link, port, number, end)


@njit(types.void(World, Link, _LONG, _LONG), inline=True)
def settle(w, link, number, now):  # type: ignore[no-untyped-def]
    """Makes up for what has happened at a scheduled port until ``now``, what ends just now included.

    Nothing came there in the meantime, or it would have been settled then; and a packet arrives at least 1 ps after
    its end of serialisation, so nothing is ever too late. Where ends of serialisation are events there is never
    anything to make up for.
    """
    if link.wire >= 0 and packet_at(w.packets, link.wire).end <= now:
        _go_on(w, link, number, now)


@njit(_LONG(World, Link), inline=True)
def waiting_bytes(w, link):  # type: ignore[no-untyped-def]
    """Bytes that wait beside the link's own list: NICs' control packets, and what scheduled ports hold."""
    if link.nic >= 0:
        return nic_at(w.nics, link.nic).control_bytes
    if w.scheduled == 0:
        return 0
    port = port_at(w.holds, -1 - link.nic)
    return port.control_bytes + port.data_bytes


@njit(types.void(World, Link, _LONG), inline=True)
def catch_up(w, link, now):  # type: ignore[no-untyped-def]
    """Takes note of what has left by now."""
    if w.scheduled and link.nic < 0:
        settle(w, link, -1 - link.nic, now)
    else:
        forget_sent(w, link, now)


@njit(_LONG(World, Link, _LONG), inline=True)
def queue_bytes(w, link, now):  # type: ignore[no-untyped-def]
    """Bytes accepted and not yet sent: the rest of the packet on the wire counts, what leaves just now does not."""
    catch_up(w, link, now)
    waiting = waiting_bytes(w, link)
    if link.wire < 0:
        return waiting
    return waiting + link.queued - sent_of(w, link, packet_at(w.packets, link.wire), now)


@njit(types.void(World, Flow, _LONG, _LONG))
def finish(w, flow, slot, now):  # type: ignore[no-untyped-def]
    """A flow has ended; needless copies of its packets may still be under way."""
    flow.over = 1
    flow.end = now
    w.live -= 1
    store_int(w.done, w.done_count, slot)
    w.done_count += 1


@njit(types.void(World, Flow, _LONG, _LONG), inline=True)
def close(w, flow, slot, now):  # type: ignore[no-untyped-def]
    """Hands a flow's slot back (as -1 - slot) once it is over and none of its packets is left in the network.

    A flow that was halted ends then.
    """
    if flow.in_network == 0 and flow.over != 0:
        if flow.over == HALTED:
            flow.stopped = 1
            finish(w, flow, slot, now)
        flow.over = 2
        store_int(w.done, w.done_count, -1 - slot)
        w.done_count += 1


@njit(types.void(World, _LONG), inline=True)
def release(w, index):  # type: ignore[no-untyped-def]
    """Puts a packet back into the pool."""
    packet_at(w.packets, index).next = w.free
    w.free = index
    w.free_count += 1


@njit(types.void(World, _LONG, Packet, _LONG), internal=True)
def lose(w, index, packet, now):  # type: ignore[no-untyped-def]
    """A packet is gone. Without ACKs nobody sends it again: the flow ends when the rest has arrived."""
    flow = flow_at(w.flows, packet.flow)
    flow.in_network -= 1
    if packet.kind in (ACK, NACK, RTS, PULL):
        w.acks_lost += 1
    else:
        w.data_lost += 1
        if w.acks == 0:
            flow.lost += 1
            if flow.received + flow.lost == flow.packets:
                finish(w, flow, packet.flow, now)
    close(w, flow, packet.flow, now)
    release(w, index)


@njit(types.void(World, Link, _LONG, _LONG, Packet, _LONG), internal=True)
def drop(w, link, number, index, packet, now):  # type: ignore[no-untyped-def]
    """Loses a packet at a link, and counts it there."""
    link.dropped += 1
    if w.trace_room:
        trace(w, packet, number, now, -1, -1)
    lose(w, index, packet, now)


@njit(types.void(World, _LONG, _LONG, Packet, _LONG), internal=True)
def enqueue(w, number, index, packet, now):  # type: ignore[no-untyped-def]
    """A packet is offered to a switch port that is first in, first out: drop-tail, ECN by the queue it finds."""
    link = link_at(w.links, number)
    if link.up == 0:
        w.lost_down += 1
        drop(w, link, number, index, packet, now)
        return
    forget_sent(w, link, now)
    # a bound from whole packets is enough where the queue neither grows beyond its longest nor reaches a threshold
    if link.queued + packet.size <= link.queue_max and link.queued < link.kmin:
        transmit(w, link, number, index, packet, now, now)
        return
    queue = queue_bytes(w, link, now)
    if queue + packet.size > link.buffer:
        w.lost_full += 1
        drop(w, link, number, index, packet, now)
        return
    if queue >= link.kmin and packet.kind == DATA:
        mark(w, link, number, packet, queue)
    link.queue_max = max(link.queue_max, queue + packet.size)
    transmit(w, link, number, index, packet, now, now)
