"""The packet engine's loop: one compiled call runs many events.

Order within an instant: ends of serialisation at NICs, then at switch ports, arrivals by link, timers by (kind, flow);
then whoever called. Switch ports mostly need no end of serialisation (``sim/engine/ports.py``). The specification is
``sim/network/reference.py``.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.balance import arm_tick, stamp, tick_due
from sim.engine.choice import choose, leave_trail, trail_back
from sim.engine.credit import credit_due, leave_list
from sim.engine.events import NEVER, move_base, peek, pop, push, remove
from sim.engine.feedback import control_ran_out, packet_ran_out
from sim.engine.layout import (
    ACK,
    DATA,
    FLOW,
    HALTED,
    LINK,
    PULL,
    SENDER,
    Packet,
    World,
    flow_at,
    link_at,
    load_int,
    load_long,
    nic_at,
    packet_at,
    port_at,
    prefetch,
    rare_at,
    sender_at,
    world_at,
)
from sim.engine.loads import note_sent
from sim.engine.nic import empty_link, leave_turn, nic_turn, pace_ran_out, send_control, wake
from sim.engine.offers import note_offer
from sim.engine.pause import forget_pause, pause_came
from sim.engine.ports import (
    BYTE_PS,
    TWO_63,
    close,
    draw,
    enqueue,
    forget_sent,
    lose,
    queue_bytes,
    serialise,
    settle,
    waiting_bytes,
)
from sim.engine.queues import empty_port, offer, port_ended, stop_port
from sim.engine.receiver import arrived
from sim.engine.recovery import new_sendings
from sim.engine.timers import CONTROL, CREDIT, PACE, PAUSE, SPARE, TICK, pop_timer
from sim.engine.transport import acknowledge, receive, timer_ran_out

_LONG = types.int64
_VOID = types.void
LINK_BYTES, FLOW_BYTES, SENDER_BYTES = LINK.itemsize, FLOW.itemsize, SENDER.itemsize
_LOSS = 1 << 22  # the hop number of draws of losses is set apart from those of other draws

# why `advance` came back
IDLE, TOLD, BUDGET, POOL, TRACE_FULL = range(5)


@njit(_LONG(World, _LONG, Packet, _LONG, _LONG), inline=True)
def _onward(w, index, packet, node, now):  # type: ignore[no-untyped-def]
    """The link that a packet takes from a node on its way; -1 if there is none."""
    if packet.kind & 1 and (packet.kind != PULL or packet.path >= 0):  # a PULL has no trail
        if packet.path < 0:
            return trail_back(w, index, packet)
        packet.path -= 1
        packet.hop -= 1
        return load_int(w.paths, packet.path) ^ 1
    if packet.path >= 0:
        onward = load_int(w.paths, packet.path)
        note_offer(w, index, packet.hop, now)
        packet.path += 1
        packet.hop += 1
        return onward
    if packet.hop >= w.hops:
        return -1
    onward = choose(w, packet, node, now)
    if onward >= 0:
        note_offer(w, index, packet.hop, now)
        leave_trail(w, index, packet, onward)
        if w.stamps:
            stamp(w, packet, onward, now)
    return onward


@njit(types.boolean(World, _LONG, Packet), internal=True)
def _is_lost(w, number, packet):  # type: ignore[no-untyped-def]
    """Whether a packet that has crossed a link is lost by chance."""
    loss = rare_at(w.rare, number).loss
    if loss <= 0.0:
        return False
    flow = flow_at(w.flows, packet.flow).id
    word = _LOSS + (packet.kind << 12) + packet.hop
    return draw(w.key, flow, packet.sequence, packet.transmission, word) < loss * TWO_63


@njit(_VOID(World, _LONG, _LONG), inline=True)
def arrive(w, number, now):  # type: ignore[no-untyped-def]
    """The first packet in flight on a link reaches its far end."""
    link = link_at(w.links, number)
    if w.scheduled and link.nic < 0:
        settle(w, link, number, now)
    index = link.head
    packet = packet_at(w.packets, index)
    following = packet.next
    if link.wire == index:
        link.queued -= packet.size
        link.wire = following
        if w.loads:
            note_sent(w, number, packet.size, packet.end)
    link.head = following
    gone = w.losses and _is_lost(w, number, packet)
    # where it goes is found before the link's next event is filed, so that the way there is fetched meanwhile
    home = link.dst == packet.dst
    onward = -1
    if not home and not gone:
        onward = _onward(w, index, packet, link.dst, now)
        if onward >= 0:
            prefetch(w.links + onward * LINK_BYTES)
            prefetch(w.links + onward * LINK_BYTES + 64)
    elif w.controlled:
        prefetch(w.flows + packet.flow * FLOW_BYTES)
        prefetch(w.flows + packet.flow * FLOW_BYTES + 64)
        prefetch(w.senders + packet.flow * SENDER_BYTES + (64 if packet.kind == DATA else 0))
    if following < 0:
        link.tail = -1
    else:
        push(w, packet_at(w.packets, following).end + link.delay, w.arrivals + number)
    if gone:
        w.lost_random += 1
        link.dropped += 1
        lose(w, index, packet, now)
    elif home:
        if w.controlled:
            arrived(w, index, packet, number, now)
        elif packet.kind == ACK:
            acknowledge(w, index, packet, now)
        elif packet.kind == DATA:
            receive(w, index, packet, number, now)
        else:
            lose(w, index, packet, now)
    elif onward < 0:
        w.lost_unreachable += 1
        link.dropped += 1
        lose(w, index, packet, now)
    elif link_at(w.links, onward).nic >= 0:
        send_control(w, onward, index, packet, now)
    elif w.scheduled:
        offer(w, onward, index, packet, number, now)
    else:
        enqueue(w, onward, index, packet, now)


@njit(_LONG(_LONG, _LONG, _LONG))
def advance(address, until, budget):  # type: ignore[no-untyped-def]
    """Runs events up to ``until`` (included); returns why it stopped. ``now`` in the world is the last instant run."""
    w = world_at(address, 0)
    last = w.events + budget
    move_base(w, w.now)
    while True:
        time = peek(w)
        timer = load_long(w.timers, 0) if w.timer_size > 0 else NEVER
        soonest = min(time, timer)
        if w.tell_count > 0 and soonest > w.now:
            return TOLD
        if soonest > until or soonest == NEVER:  # ``until`` may be NEVER too
            return IDLE
        if soonest > w.now and w.events >= last:
            return BUDGET
        if w.free_count <= w.nic_count + 3 or w.timer_size + SPARE > w.timer_room:
            return POOL
        if w.trace_room > 0 and w.trace_size + w.nic_count + 4 > w.trace_room:
            return TRACE_FULL
        w.now = soonest
        w.events += 1
        if time <= timer:
            ident = pop(w)
            if ident < w.nic_count:
                nic_at(w.nics, ident).armed = 0
                nic_turn(w, ident, time, ident)
            elif ident < w.arrivals:
                port_ended(w, ident - w.nic_count, time)
            else:
                arrive(w, ident - w.arrivals, time)
        else:
            ident = load_long(w.timers, 1)
            slot = pop_timer(w)
            if ident < PACE and w.controlled:
                packet_ran_out(w, ident, slot, timer)
            elif ident < PACE:
                timer_ran_out(w, ident, slot, timer)
            elif ident < CONTROL:
                pace_ran_out(w, ident - PACE, slot, timer)
            elif ident < CREDIT:
                control_ran_out(w, ident - CONTROL, slot, timer)
            elif ident < PAUSE:
                credit_due(w, ident - CREDIT, timer)
            elif ident < TICK:
                pause_came(w, ident - PAUSE, slot, timer)
            else:
                tick_due(w, timer)


@njit(_LONG(_LONG))
def next_event(address):  # type: ignore[no-untyped-def]
    """ps of the next event, NEVER if there is none."""
    w = world_at(address, 0)
    time = peek(w)
    timer = load_long(w.timers, 0) if w.timer_size > 0 else NEVER
    return min(time, timer)


@njit(_VOID(_LONG, _LONG, _LONG))
def start(address, slot, now):  # type: ignore[no-untyped-def]
    """A flow begins, or goes on after its path was chosen anew."""
    w = world_at(address, 0)
    w.now = now
    flow = flow_at(w.flows, slot)
    flow.blocked = 0
    if w.controlled:
        sender_at(w.senders, slot).since = now
    arm_tick(w, now)
    if flow.is_ready and flow.path >= 0 and link_at(w.links, load_int(w.paths, flow.path)).nic != flow.nic:
        leave_turn(w, flow, slot)
    wake(w, slot, now)


@njit(_VOID(_LONG, _LONG))
def prepare(address, slot):  # type: ignore[no-untyped-def]
    """A flow under a congestion control has been put into its slot."""
    new_sendings(flow_at(world_at(address, 0).flows, slot))


@njit(_VOID(_LONG, _LONG, _LONG))
def stop(address, slot, now):  # type: ignore[no-untyped-def]
    """A flow sends nothing more; it ends when none of its packets is left. Not if its source is done with it."""
    w = world_at(address, 0)
    w.now = now
    flow = flow_at(w.flows, slot)
    if flow.over or (w.acks == 0 and flow.next_new == flow.packets):
        return
    if flow.is_ready:
        leave_turn(w, flow, slot)
    flow.over = HALTED
    if w.credit:
        leave_list(w, flow, sender_at(w.senders, slot), slot)
    close(w, flow, slot, now)


@njit(_VOID(_LONG, _LONG, _LONG))
def queue_again(address, slot, now):  # type: ignore[no-untyped-def]
    """A flow that waits at a NIC leaves its turn and queues up anew, wherever tables lead it now."""
    w = world_at(address, 0)
    w.now = now
    leave_turn(w, flow_at(w.flows, slot), slot)
    wake(w, slot, now)


@njit(_VOID(_LONG, _LONG, _LONG, _LONG))
def set_link(address, number, up, now):  # type: ignore[no-untyped-def]
    """A link goes down (its packets are lost) or comes up again."""
    w = world_at(address, 0)
    w.now = now
    link = link_at(w.links, number)
    if link.up == up:
        return
    link.up = up
    port = w.scheduled and link.nic < 0
    if up == 0:
        if port:
            stop_port(w, link, number, now)
        if link.head >= 0:
            remove(w, w.arrivals + number)
        if link.nic >= 0 and nic_at(w.nics, link.nic).armed:
            remove(w, link.nic)
            nic_at(w.nics, link.nic).armed = 0
        empty_link(w, number, now)
        if port:
            empty_port(w, link, number, now)
        if w.pause:
            forget_pause(w, number, now)
    elif link.nic >= 0:
        nic_turn(w, link.nic, now, w.nic_count)


@njit(_VOID(_LONG, _LONG, _LONG, _LONG))
def set_rate(address, number, rate, now):  # type: ignore[no-untyped-def]
    """A link's rate changes: the packet on the wire keeps its pace, later ones take the new one."""
    w = world_at(address, 0)
    w.now = now
    link = link_at(w.links, number)
    if w.scheduled and link.nic < 0:
        settle(w, link, number, now)
    forget_sent(w, link, now)
    if link.wire >= 0:
        packet = packet_at(w.packets, link.wire)
        rare = rare_at(w.rare, number)
        if packet.end > rare.old_until:  # else its pace is older than the rate that ends now
            rare.old_rate = link.rate
            rare.old_until = packet.end
    w.rates_changed = 1
    link.rate = rate
    link.last_size = -1
    link.ack_ser = max(1, (w.ack * BYTE_PS + rate - 1) // rate)
    if link.wire >= 0:
        end = packet_at(w.packets, link.wire).end
        index = packet_at(w.packets, link.wire).next
        while index >= 0:  # accepted, and not begun
            packet = packet_at(w.packets, index)
            end += serialise(w, link, packet.size)
            packet.end = end
            index = packet.next
        link.busy_until = end


@njit(_VOID(_LONG, _LONG, types.float64))
def set_loss(address, number, share):  # type: ignore[no-untyped-def]
    """From now on this share of the packets that cross the link is lost at its far end."""
    w = world_at(address, 0)
    w.losses = 1
    rare_at(w.rare, number).loss = share


@njit(_VOID(_LONG, _LONG, _LONG[::1], _LONG[::1]))
def look(address, now, queues, sent):  # type: ignore[no-untyped-def]
    """Per link, at ``now``: bytes queued, and wire bytes sent since the start."""
    w = world_at(address, 0)
    for number in range(w.link_count):
        link = link_at(w.links, number)
        queues[number] = queue_bytes(w, link, now)
        sent[number] = link.accepted + rare_at(w.rare, number).sent_lost - (queues[number] - waiting_bytes(w, link))


@njit(_VOID(_LONG, _LONG, _LONG[::1], _LONG[::1]))
def crossed(address, now, sizes, packets):  # type: ignore[no-untyped-def]
    """Per link: wire bytes and packets that have crossed it. What is still on it was accepted, but has not.

    Marks of what has left until ``now`` are counted after this too.
    """
    w = world_at(address, 0)
    for number in range(w.link_count):
        link = link_at(w.links, number)
        if w.scheduled and link.nic < 0:
            settle(w, link, number, now)
        sizes[number] = link.accepted
        packets[number] = link.accepted_packets
        index = link.head
        while index >= 0:
            packet = packet_at(w.packets, index)
            sizes[number] -= packet.size
            packets[number] -= 1
            index = packet.next


@njit(_LONG(World, _LONG), internal=True)
def _count(w, index):  # type: ignore[no-untyped-def]
    """Packets of a list that begins with this one (-1: it is empty)."""
    total = 0
    while index >= 0:
        total += 1
        index = packet_at(w.packets, index).next
    return total


@njit(_LONG(_LONG))
def count_packets(address):  # type: ignore[no-untyped-def]
    """Packets found on the links and in the queues beside them: the other side of the pool's account."""
    w = world_at(address, 0)
    total = 0
    for number in range(w.link_count):
        total += _count(w, link_at(w.links, number).head)
        if w.scheduled:
            port = port_at(w.holds, number)
            total += _count(w, port.control_head) + _count(w, port.data_head)
    for number in range(w.nic_count):
        total += _count(w, nic_at(w.nics, number).control_head)
    return total
