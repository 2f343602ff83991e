"""The fluid engine's events: starts, changes of path and capacity, stops, drains, deliveries.

A stream drains when its last bit has left the source and is delivered its latency later; its share of the links is
free from the drain on. All drains of one instant are one recomputation (``fluid_fill``), and so are all commands of
one commit. What is left of a stream is brought up to date only when its rate changes, so results do not depend on how
often the engine is interrupted.
"""

from __future__ import annotations

import numpy as np
from numba import types

from models.jit import njit
from sim.engine.fluid_blame import blame, full_rate, keep_drain
from sim.engine.fluid_fill import draw_in, fill, gather
from sim.engine.fluid_heaps import delivery_pop, delivery_push, finish_order, finish_remove, finish_set
from sim.engine.fluid_state import (
    NEVER,
    NONE,
    OUT,
    STATE_RECORD,
    delivery_at,
    done_at,
    entry_at,
    finish_at,
    link_at,
    order_at,
    plus,
    real_at,
    state_at,
    stream_at,
)
from sim.engine.fluid_views import BYTE, SECOND, missing
from sim.engine.layout import load_int, load_long, store_int, store_long

UNLIMITED = 1e30  # bit/s of a stream without links and without a cap
i8, f8, void = types.int64, types.float64, types.void


@njit(i8(i8, f8, f8))
def finish_time(now, left, rate):
    """When ``left`` bits are gone, rounded up, at least 1 ps ahead.

    Equal volumes at equal rates must end in one ps though their floats differ in the last digits: what is above a
    whole ps by less than rounding can explain is cut off, and from 10 s on times lie on a grid of 1e-13 of the length.
    """
    if rate <= 0.0:
        return NEVER
    length = left * SECOND / rate
    if length >= 9.0e18 - now:
        return NEVER
    time = now + max(np.int64(np.ceil(length * (1.0 - 4e-15) - 1e-4)), 1)
    if length > 1e13:
        grid = np.int64(2.0 ** np.ceil(np.log2(length * 1e-13)))
        time = -(-time // grid) * grid
    return time


@njit(void(STATE_RECORD, i8, i8), internal=True)
def settle(s, slot, now):
    """Bring what is left of a stream up to ``now``."""
    stream = stream_at(s.streams, slot)
    stream.left = max(stream.left - stream.rate * (now - stream.since) / SECOND, 0.0)
    stream.since = now


@njit(void(STATE_RECORD, i8), internal=True)
def solve(s, now):
    """Recompute the rates of the streams drawn in, and of all that they reach; set the new finish times."""
    fill(s)
    many = s.chosen_count
    ordered = many * 8 < s.finish_count
    for number in range(many):
        slot = load_int(s.chosen, number)
        stream = stream_at(s.streams, slot)
        stream.state = OUT
        if stream.fresh != stream.rate:
            settle(s, slot, now)
            stream.rate = stream.fresh
            finish_set(s, slot, finish_time(now, stream.left, stream.rate), ordered)
    if not ordered:
        finish_order(s)
    s.chosen_count = 0
    s.solves += 1
    s.touched += many


@njit(void(STATE_RECORD, i8, f8), internal=True)
def leave(s, slot, sent):
    """Take a stream off its links, ``sent`` bits having gone over its path; gather links that may have room now."""
    stream = stream_at(s.streams, slot)
    if s.drains:
        blame(s, slot)
    if stream.bottleneck != NONE:
        link_at(s.links, stream.bottleneck).held -= 1
        stream.bottleneck = NONE
    for at in range(stream.first, stream.first + stream.count):
        index = np.int64(entry_at(s.entries, at).link)
        link = link_at(s.links, index)
        share = entry_at(s.entries, at).share
        link.sent += share * sent
        link.members -= 1
        if link.members == 0:
            link.load = 0.0
            link.load_low = 0.0
        else:
            link.load, link.load_low = plus(link.load, link.load_low, -(share * stream.rate))
        after, before = entry_at(s.entries, at).next, entry_at(s.entries, at).previous
        if before == NONE:
            link.head = after
        else:
            entry_at(s.entries, before).next = after
        if after != NONE:
            entry_at(s.entries, after).previous = before
        if link.held > 0 and link.item == NONE:
            gather(s, index)
    if stream.count > 0:
        entry_at(s.entries, stream.first).next = load_int(s.chunks, np.int64(stream.count))
        store_int(s.chunks, np.int64(stream.count), np.int64(stream.first))
    stream.count = 0
    stream.rate = 0.0


@njit(void(STATE_RECORD, i8, i8, i8, i8, i8, types.boolean, i8), internal=True)
def enter(s, slot, count, path, shares, offset, split, source):
    """Put a stream from node ``source`` on the lists of ``count`` links."""
    stream = stream_at(s.streams, slot)
    first = load_int(s.chunks, count)
    if first == NONE:
        first = s.entry_count
        s.entry_count += count
    else:
        store_int(s.chunks, count, np.int64(entry_at(s.entries, first).next))
    stream.first = first
    stream.count = count
    stream.full = stream.cap
    for number in range(count):
        at = first + number
        link = link_at(s.links, load_int(path, offset + number))
        share = real_at(shares, offset + number).x if split else 1.0
        stream.full = full_rate(s, load_int(path, offset + number), source, share, stream.full)
        entry_at(s.entries, at).share = share
        entry_at(s.entries, at).link = load_int(path, offset + number)
        entry_at(s.entries, at).stream = slot
        entry_at(s.entries, at).previous = NONE
        entry_at(s.entries, at).next = link.head
        if link.head != NONE:
            entry_at(s.entries, link.head).previous = at
        link.head = at
        link.members += 1


@njit(i8(STATE_RECORD, i8, i8, i8, i8), internal=True)
def longest(s, path, offset, count, source):
    """ps of the slowest way through a set of links without a cycle. ``reach`` [nodes] is -1 before and after."""
    store_long(s.reach, source, 0)
    result = np.int64(0)
    changed = True
    rounds = 0
    while changed and rounds <= count:
        changed = False
        rounds += 1
        for at in range(offset, offset + count):
            link = link_at(s.links, load_int(path, at))
            before = load_long(s.reach, np.int64(link.src))
            if before >= 0 and load_long(s.reach, np.int64(link.dst)) < before + link.delay:
                store_long(s.reach, np.int64(link.dst), before + link.delay)
                result = max(result, before + link.delay)
                changed = True
    store_long(s.reach, source, -1)
    for at in range(offset, offset + count):
        store_long(s.reach, np.int64(link_at(s.links, load_int(path, at)).dst), -1)
    return result


@njit(void(STATE_RECORD, i8, i8, i8), internal=True)
def open_slot(s, orders, number, now):
    """Take a free slot for a new stream; its number is left in the order."""
    slot = s.free_slot
    if slot == NONE:
        slot = s.slot_count
        s.slot_count += 1
    else:
        s.free_slot = stream_at(s.streams, slot).first
    order, stream = order_at(orders, number), stream_at(s.streams, slot)
    order.slot = slot
    stream.used = 1
    stream.id = order.id
    stream.size = order.size
    stream.left = np.float64(order.size) * 8.0
    stream.weight = order.weight
    stream.cap = order.cap
    stream.notify = order.notify
    stream.rate = 0.0
    stream.level = 0.0
    stream.place = NONE
    stream.item = NONE
    stream.bottleneck = NONE
    stream.state = OUT
    stream.since = now
    stream.full = UNLIMITED
    stream.lost = 0.0
    stream.blamed = now
    stream.suspect = NONE
    s.active += 1
    s.accepted += order.size


@njit(void(STATE_RECORD, i8), internal=True)
def free_slot(s, slot):
    """Hand a stream's slot back."""
    stream = stream_at(s.streams, slot)
    stream.used = 0
    stream.first = s.free_slot
    s.free_slot = slot
    s.active -= 1


@njit(void(STATE_RECORD, i8, i8, i8), internal=True)
def end(s, number, now, undelivered):
    """Note the end of a stream."""
    done = done_at(s.done, s.done_count)
    done.id = number
    done.time = now
    done.undelivered = undelivered
    s.done_count += 1


@njit(void(STATE_RECORD, i8, i8), internal=True)
def stop(s, slot, now):
    """A stream ends before it has drained; one with less than a byte left drains. What has drained is delivered."""
    settle(s, slot, now)
    stream = stream_at(s.streams, slot)
    if stream.left < BYTE and stream.rate > 0.0:
        return
    undelivered = max(missing(s, slot, now), 1)
    finish_remove(s, slot)
    leave(s, slot, stream.base - stream.left)
    s.delivered += stream.size - undelivered
    s.withdrawn += undelivered
    end(s, stream.id, now, undelivered)
    free_slot(s, slot)


@njit(void(STATE_RECORD, i8), internal=True)
def crowd(s, index):
    """Draw in all streams of a link that has less capacity than load."""
    link = link_at(s.links, index)
    if (link.capacity - link.load) - link.load_low >= -1e-14 * link.load:
        return
    at = link.head
    while at != NONE:
        slot = np.int64(entry_at(s.entries, at).stream)
        if stream_at(s.streams, slot).state == OUT:
            draw_in(s, slot, False)
        at = entry_at(s.entries, at).next


@njit(void(STATE_RECORD), internal=True)
def note_next(s):
    time = NEVER
    if s.finish_count > 0:
        time = finish_at(s.finishes, 0).time
    if s.delivery_count > 0:
        time = min(time, delivery_at(s.deliveries, 0).time)
    s.next = time


@njit(void(i8, i8, i8, i8, i8, i8, i8, i8, i8))
def apply(base, orders, many, path, shares, changed, capacities, changes, now):
    """All commands of one instant: new capacities, then orders in the order given, one recomputation."""
    s = state_at(base, 0)
    s.now = now
    for number in range(changes):
        index = load_int(changed, number)
        link_at(s.links, index).capacity = real_at(capacities, number).x
        if link_at(s.links, index).item == NONE:
            gather(s, index)
    offset = np.int64(0)
    for number in range(many):
        order = order_at(orders, number)
        count = np.int64(order.count)
        if count == NONE:
            stop(s, np.int64(order.slot), now)
            continue
        if order.slot == NONE:
            open_slot(s, orders, number, now)
        else:
            settle(s, order.slot, now)
            finish_remove(s, order.slot)
            gone = stream_at(s.streams, order.slot).base - stream_at(s.streams, order.slot).left
            leave(s, order.slot, gone)
        stream = stream_at(s.streams, order.slot)
        stream.base = stream.left
        stream.latency = 0
        if order.split != 0:
            stream.latency = longest(s, path, offset, count, np.int64(order.src))
        else:
            for at in range(offset, offset + count):
                stream.latency += link_at(s.links, load_int(path, at)).delay
        if count > 0:
            enter(s, order.slot, count, path, shares, offset, order.split != 0, np.int64(order.src))
        elif order.split == 0 and stream.cap == np.inf:
            stream.cap = UNLIMITED
        offset += count
    for number in range(many):
        order = order_at(orders, number)
        if order.count > 0 or (order.count == 0 and order.split == 0):
            draw_in(s, np.int64(order.slot), False)
    for number in range(changes):
        crowd(s, load_int(changed, number))
    solve(s, now)
    note_next(s)


@njit(i8(STATE_RECORD, i8), internal=True)
def drain(s, now):
    """All drains of one instant and their one recomputation; how many."""
    many = 0
    s.now = now
    while s.finish_count > 0 and finish_at(s.finishes, 0).time == now:
        slot = finish_at(s.finishes, 0).slot
        stream = stream_at(s.streams, slot)
        finish_remove(s, slot)
        leave(s, slot, stream.base)
        if s.drains:
            keep_drain(s, slot)
        delivery_push(s, now + stream.latency, stream.id, stream.size, np.int64(stream.notify))
        free_slot(s, slot)
        many += 1
    if many > 0:
        solve(s, now)
    return many


@njit(i8(i8, i8, i8))
def advance(base, until, budget):
    """Run events up to ``until``, to the first instant with tells, or about ``budget`` of them; the time reached."""
    s = state_at(base, 0)
    s.tell_count = 0
    while s.next <= until:
        now = s.next
        budget -= drain(s, now)
        while s.delivery_count > 0 and delivery_at(s.deliveries, 0).time == now:
            number = delivery_at(s.deliveries, 0).id
            s.delivered += delivery_at(s.deliveries, 0).size
            end(s, number, now, 0)
            if delivery_at(s.deliveries, 0).notify != 0:
                store_long(s.tells, s.tell_count, number)
                s.tell_count += 1
            delivery_pop(s)
            budget -= 1
        note_next(s)
        if s.tell_count > 0 or budget <= 0:
            return now
    return until
