"""The incremental recomputation of weighted max-min rates: progressive filling that draws streams in on its way.

Only streams that the change can reach are solved again. The water level rises from 0; a link's next event is
1. it saturates under its open streams, at (capacity - load of the others) / (weight of the open). A stream of it
   outside the recomputation whose level is higher must give way: it becomes open, then the link is looked at again.
2. the level reaches that of streams which have their bottleneck here and are outside, and the link is not full: they
   can rise, and become open.
In both cases the stream's old level is at or above the water, so every link's saturation level with it open, a
weighted mean of the old one and the stream's, stays there too: the result is what filling with it from the start
would have given. Streams never drawn in keep a full bottleneck link on which nobody is at a higher level. So the whole
vector is the unique max-min vector. Levels are compared with TOLERANCE (relative).
"""

from __future__ import annotations

import numpy as np
from numba import types

from models.jit import njit
from sim.engine.fluid_blame import blame
from sim.engine.fluid_state import (
    FROZEN,
    NONE,
    OPEN,
    OUT,
    STATE_RECORD,
    entry_at,
    level_at,
    link_at,
    plus,
    stream_at,
)
from sim.engine.layout import load_int, store_int

TOLERANCE = 1e-12  # levels closer than this are equal
SLACK = 1e-14  # of a capacity: less than that free is full
PATIENCE = 4  # searches of a link for its highest streams, before all that are too high are drawn in at once
i8, f8, void = types.int64, types.float64, types.void


@njit(f8(STATE_RECORD, i8), internal=True)
def room(s, index):
    """bit/s that the frozen and the outside streams of a link leave."""
    link = link_at(s.links, index)
    return max((link.capacity - link.load) - link.load_low, 0.0)


@njit(types.boolean(STATE_RECORD, i8), internal=True)
def can_release(s, index):
    """Whether outside streams have their bottleneck at this link, and the water can rise past their level."""
    link = link_at(s.links, index)
    if link.held == 0:
        return False
    if link.open > 0:
        return room(s, index) / link.weight > link.level * (1.0 + TOLERANCE)
    return room(s, index) > SLACK * link.capacity


@njit(f8(STATE_RECORD, i8), internal=True)
def event_level(s, index):
    """The water level of a link's next event, inf: none."""
    if can_release(s, index):
        return link_at(s.links, index).level
    if link_at(s.links, index).open > 0:
        return room(s, index) / link_at(s.links, index).weight
    return np.inf


@njit(void(STATE_RECORD, i8, i8), internal=True)
def note(s, item, position):
    if item < s.link_count:
        link_at(s.links, item).item = position
    else:
        stream_at(s.streams, item - s.link_count).item = position


@njit(void(STATE_RECORD, i8, f8, i8), internal=True)
def place_level(s, position, key, item):
    level = level_at(s.levels, position)
    level.key = key
    level.item = item
    note(s, item, position)


@njit(void(STATE_RECORD, i8, f8), internal=True)
def sift_up(s, position, key):
    """Give the item at a position a lower key."""
    item = level_at(s.levels, position).item
    while position > 0:
        parent = level_at(s.levels, (position - 1) >> 1)
        if parent.key <= key:
            break
        place_level(s, position, parent.key, parent.item)
        position = (position - 1) >> 1
    place_level(s, position, key, item)


@njit(void(STATE_RECORD, i8, f8, i8), internal=True)
def sift_down(s, position, key, item):
    """Put an item with a higher key at a position."""
    size = s.level_count
    while True:
        child = 2 * position + 1
        if child >= size:
            break
        if child + 1 < size and level_at(s.levels, child + 1).key < level_at(s.levels, child).key:
            child += 1
        smaller = level_at(s.levels, child)
        if smaller.key >= key:
            break
        place_level(s, position, smaller.key, smaller.item)
        position = child
    place_level(s, position, key, item)


@njit(void(STATE_RECORD), internal=True)
def pop(s):
    note(s, level_at(s.levels, 0).item, NONE)
    s.level_count -= 1
    if s.level_count > 0:
        last = level_at(s.levels, s.level_count)
        sift_down(s, 0, last.key, last.item)


@njit(void(STATE_RECORD, i8), internal=True)
def gather(s, item):
    """Put an item in the heap without order; ``order`` gives links their keys and makes it a heap."""
    position = s.level_count
    s.level_count = position + 1
    place_level(s, position, np.inf, item)


@njit(void(STATE_RECORD, i8, types.boolean), internal=True)
def draw_in(s, slot, ordered):
    """Make a stream open: its load leaves its links, its weight comes. ``ordered``: the heap is in use."""
    stream = stream_at(s.streams, slot)
    if s.drains:
        blame(s, slot)
    stream.state = OPEN
    store_int(s.chosen, s.chosen_count, slot)
    s.chosen_count += 1
    s.open += 1
    if stream.bottleneck != NONE:
        link_at(s.links, stream.bottleneck).held -= 1
        stream.bottleneck = NONE
    for at in range(stream.first, stream.first + stream.count):
        index = entry_at(s.entries, at).link
        share = entry_at(s.entries, at).share
        link = link_at(s.links, index)
        link.load, link.load_low = plus(link.load, link.load_low, -(share * stream.rate))
        link.weight, link.weight_low = plus(link.weight, link.weight_low, share * stream.weight)
        link.open += 1
        if not ordered:
            if link.item == NONE:
                gather(s, index)
            continue
        if link.item == NONE:
            gather(s, index)
        key = event_level(s, index)
        if key < level_at(s.levels, link.item).key:
            sift_up(s, link.item, key)
    if stream.cap < np.inf:
        gather(s, s.link_count + slot)
        if ordered:
            sift_up(s, stream.item, stream.cap / stream.weight)
        else:
            level_at(s.levels, stream.item).key = stream.cap / stream.weight


@njit(void(STATE_RECORD, i8, f8, f8, i8), internal=True)
def freeze(s, slot, level, rate, bottleneck):
    stream = stream_at(s.streams, slot)
    stream.state = FROZEN
    stream.level = level
    stream.fresh = rate
    stream.bottleneck = bottleneck
    s.open -= 1
    weight = stream.weight
    for at in range(stream.first, stream.first + stream.count):
        link = link_at(s.links, entry_at(s.entries, at).link)
        share = entry_at(s.entries, at).share
        link.load, link.load_low = plus(link.load, link.load_low, share * rate)
        link.open -= 1
        if link.open == 0:
            link.weight = 0.0
            link.weight_low = 0.0
        else:
            link.weight, link.weight_low = plus(link.weight, link.weight_low, -(share * weight))


@njit(types.boolean(STATE_RECORD, i8, f8), internal=True)
def give_way(s, index, level):
    """Draw in the highest streams of a link that saturates at ``level``, if any is too high."""
    highest = -1.0
    at = link_at(s.links, index).head
    while at != NONE:
        stream = stream_at(s.streams, entry_at(s.entries, at).stream)
        if stream.state == OUT:
            highest = max(highest, stream.level)
        at = entry_at(s.entries, at).next
    bound = level * (1.0 + TOLERANCE)
    if highest <= bound:
        return False
    link_at(s.links, index).visits += 1
    if link_at(s.links, index).visits < PATIENCE:
        bound = max(bound, highest * (1.0 - TOLERANCE))
    at = link_at(s.links, index).head
    while at != NONE:
        slot = entry_at(s.entries, at).stream
        if stream_at(s.streams, slot).state == OUT and stream_at(s.streams, slot).level >= bound:
            draw_in(s, slot, True)
        at = entry_at(s.entries, at).next
    return True


@njit(void(STATE_RECORD, i8), internal=True)
def release(s, index):
    """Draw in all streams that have their bottleneck at this link: it has room."""
    at = link_at(s.links, index).head
    while at != NONE:
        slot = entry_at(s.entries, at).stream
        if stream_at(s.streams, slot).state == OUT and stream_at(s.streams, slot).bottleneck == index:
            draw_in(s, slot, True)
        at = entry_at(s.entries, at).next


@njit(void(STATE_RECORD, i8, f8), internal=True)
def saturate(s, index, level):
    """Freeze the open streams of a link at the water level."""
    at = link_at(s.links, index).head
    while at != NONE:
        slot = entry_at(s.entries, at).stream
        if stream_at(s.streams, slot).state == OPEN:
            freeze(s, slot, level, level * stream_at(s.streams, slot).weight, index)
        at = entry_at(s.entries, at).next


@njit(void(STATE_RECORD), internal=True)
def order(s):
    """Give every gathered item its key, drop those without an event, make a heap."""
    kept = 0
    for position in range(s.level_count):
        item, key = level_at(s.levels, position).item, level_at(s.levels, position).key
        if item < s.link_count:
            link_at(s.links, item).visits = 0
            key = event_level(s, item)
        if key == np.inf:
            note(s, item, NONE)
            continue
        place_level(s, kept, key, item)
        kept += 1
    s.level_count = kept
    for position in range(kept // 2 - 1, -1, -1):
        sift_down(s, position, level_at(s.levels, position).key, level_at(s.levels, position).item)


@njit(void(STATE_RECORD), internal=True)
def fill(s):
    """Solve: on entry the gathered links and the drawn-in streams; on return ``chosen`` are FROZEN with ``fresh``."""
    order(s)
    while s.level_count > 0:
        key, item = level_at(s.levels, 0).key, level_at(s.levels, 0).item
        if item >= s.link_count:
            slot = item - s.link_count
            pop(s)
            if stream_at(s.streams, slot).state == OPEN:
                freeze(s, slot, key, stream_at(s.streams, slot).cap, NONE)
            continue
        level = event_level(s, item)
        if level == np.inf:
            link_at(s.links, item).visits = 0
            pop(s)
            continue
        if level <= key * (1.0 + SLACK):
            if can_release(s, item):
                release(s, item)
            elif not give_way(s, item, level):
                saturate(s, item, level)
            level = event_level(s, item)
        sift_down(s, np.int64(link_at(s.links, item).item), level, item)
    for number in range(s.chosen_count):
        stream = stream_at(s.streams, load_int(s.chosen, number))
        if stream.bottleneck != NONE:
            link = link_at(s.links, stream.bottleneck)
            # the lowest of nearly equal levels, so that rounding never lifts it off a stream that stays
            link.level = min(link.level, stream.level) if link.held > 0 else stream.level
            link.held += 1
