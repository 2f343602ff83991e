"""The fluid engine's two heaps of time: finishes (one a stream, found by its slot) and deliveries."""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.fluid_state import NEVER, NONE, STATE_RECORD, delivery_at, finish_at, stream_at

i8, void = types.int64, types.void


@njit(void(STATE_RECORD, i8, i8, i8), internal=True)
def place_finish(s, position, time, slot):
    finish = finish_at(s.finishes, position)
    finish.time = time
    finish.slot = slot
    stream_at(s.streams, slot).place = position


@njit(void(STATE_RECORD, i8), internal=True)
def finish_up(s, position):
    time, slot = finish_at(s.finishes, position).time, finish_at(s.finishes, position).slot
    while position > 0:
        parent = finish_at(s.finishes, (position - 1) >> 1)
        if parent.time <= time:
            break
        place_finish(s, position, parent.time, parent.slot)
        position = (position - 1) >> 1
    place_finish(s, position, time, slot)


@njit(void(STATE_RECORD, i8), internal=True)
def finish_down(s, position):
    size = s.finish_count
    time, slot = finish_at(s.finishes, position).time, finish_at(s.finishes, position).slot
    while True:
        child = 2 * position + 1
        if child >= size:
            break
        if child + 1 < size and finish_at(s.finishes, child + 1).time < finish_at(s.finishes, child).time:
            child += 1
        smaller = finish_at(s.finishes, child)
        if smaller.time >= time:
            break
        place_finish(s, position, smaller.time, smaller.slot)
        position = child
    place_finish(s, position, time, slot)


@njit(void(STATE_RECORD, i8), internal=True)
def finish_remove(s, slot):
    position = stream_at(s.streams, slot).place
    if position == NONE:
        return
    stream_at(s.streams, slot).place = NONE
    s.finish_count -= 1
    size = s.finish_count
    if position < size:
        moved = finish_at(s.finishes, size).slot
        place_finish(s, position, finish_at(s.finishes, size).time, moved)
        finish_up(s, position)
        finish_down(s, stream_at(s.streams, moved).place)


@njit(void(STATE_RECORD, i8, i8, types.boolean), internal=True)
def finish_set(s, slot, time, ordered):
    """Enter or change a finish time. Not ``ordered``: ``finish_order`` is called before the heap is used."""
    if time == NEVER:
        finish_remove(s, slot)
        return
    position = stream_at(s.streams, slot).place
    before = NEVER
    if position == NONE:
        position = s.finish_count
        s.finish_count = position + 1
    else:
        before = finish_at(s.finishes, position).time
    place_finish(s, position, time, slot)
    if ordered and time < before:
        finish_up(s, position)
    elif ordered and time > before:
        finish_down(s, position)


@njit(void(STATE_RECORD), internal=True)
def finish_order(s):
    for position in range(s.finish_count // 2 - 1, -1, -1):
        finish_down(s, position)


@njit(types.boolean(STATE_RECORD, i8, i8), internal=True)
def earlier(s, a, b):
    one, other = delivery_at(s.deliveries, a), delivery_at(s.deliveries, b)
    if one.time != other.time:
        return one.time < other.time
    return one.id < other.id


@njit(void(STATE_RECORD, i8, i8), internal=True)
def swap(s, a, b):
    one, other = delivery_at(s.deliveries, a), delivery_at(s.deliveries, b)
    one.time, other.time = other.time, one.time
    one.id, other.id = other.id, one.id
    one.size, other.size = other.size, one.size
    one.notify, other.notify = other.notify, one.notify


@njit(void(STATE_RECORD, i8, i8, i8, i8), internal=True)
def delivery_push(s, time, number, size, notify):
    at = s.delivery_count
    s.delivery_count = at + 1
    delivery = delivery_at(s.deliveries, at)
    delivery.time = time
    delivery.id = number
    delivery.size = size
    delivery.notify = notify
    while at > 0 and earlier(s, at, (at - 1) >> 1):
        swap(s, at, (at - 1) >> 1)
        at = (at - 1) >> 1


@njit(void(STATE_RECORD), internal=True)
def delivery_pop(s):
    s.delivery_count -= 1
    size = s.delivery_count
    swap(s, 0, size)
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and earlier(s, child + 1, child):
            child += 1
        if not earlier(s, child, at):
            return
        swap(s, at, child)
        at = child
