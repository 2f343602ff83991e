"""The packet engine's event queue: the next event of each NIC (end of serialisation) and link (arrival).

Events are ordered by (time, id); ids of NICs are below those of links, so that events of one instant come in the
canonical order. Each id has at most one event. Nearly all events lie less than one packet time and one propagation
delay ahead, so time is cut into buckets (a calendar queue, Brown 1988): an event goes into its bucket unsorted, and a
bucket is sorted when its turn comes. The few events that fall into the open bucket, or beyond the last one, wait in a
small binary heap. A heap of all events costs 130 ns an event at 4,000 links; this 20 to 30.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import (
    LINK,
    PACKET,
    World,
    link_at,
    load_int,
    load_long,
    lowest_bit,
    prefetch,
    store_int,
    store_long,
)

NEVER = 2**63 - 1
_ID_BITS = 32  # a sorted run's keys: offset in the bucket, then the id
_SMALL = 32  # runs up to here are sorted by insertion, longer ones by radix

_KEPT = -2  # in event_next: to be put in again

LINK_BYTES, PACKET_BYTES = LINK.itemsize, PACKET.itemsize
_LONG = types.int64
_VOID = types.void


@njit(_VOID(World, _LONG, _LONG), internal=True)
def _push_heap(w, time, ident):  # type: ignore[no-untyped-def]
    heap, place = w.heap, w.heap_size
    w.heap_size = place + 1
    while place > 0:
        parent = (place - 1) >> 1
        above, above_id = load_long(heap, 2 * parent), load_long(heap, 2 * parent + 1)
        if (above < time) | ((above == time) & (above_id < ident)):
            break
        store_long(heap, 2 * place, above)
        store_long(heap, 2 * place + 1, above_id)
        place = parent
    store_long(heap, 2 * place, time)
    store_long(heap, 2 * place + 1, ident)


@njit(_VOID(World, _LONG, _LONG), inline=True)
def push(w, time, ident):  # type: ignore[no-untyped-def]
    """Adds an event of an id that has none."""
    ahead = (time >> w.shift) - w.bucket
    if ahead <= 0 or ahead > w.mask:
        _push_heap(w, time, ident)
        return
    place = (time >> w.shift) & w.mask
    store_long(w.event_time, ident, time)
    head = load_int(w.heads, place)
    store_int(w.event_next, ident, head)
    store_int(w.heads, place, ident)
    if head < 0:
        word = place >> 6
        bits = load_long(w.bits, word)
        store_long(w.bits, word, bits | (1 << (place & 63)))
        if bits == 0:
            store_long(w.summary, word >> 6, load_long(w.summary, word >> 6) | (1 << (word & 63)))


@njit(_LONG(World), internal=True)
def _pop_heap(w):  # type: ignore[no-untyped-def]
    """Takes the heap's first event out and returns its id."""
    heap = w.heap
    first = load_long(heap, 1)
    size = w.heap_size - 1
    w.heap_size = size
    time, ident = load_long(heap, 2 * size), load_long(heap, 2 * size + 1)
    hole, child = 0, 1
    while child < size:
        if child + 1 < size:
            left, right = load_long(heap, 2 * child), load_long(heap, 2 * child + 2)
            if right < left or (right == left and load_long(heap, 2 * child + 3) < load_long(heap, 2 * child + 1)):
                child += 1
        best, best_id = load_long(heap, 2 * child), load_long(heap, 2 * child + 1)
        if best > time or (best == time and best_id > ident):
            break
        store_long(heap, 2 * hole, best)
        store_long(heap, 2 * hole + 1, best_id)
        hole = child
        child = 2 * hole + 1
    store_long(heap, 2 * hole, time)
    store_long(heap, 2 * hole + 1, ident)
    return first


@njit(_LONG(World), internal=True)
def _next_bucket(w):  # type: ignore[no-untyped-def]
    """The number of the first bucket after the open one that holds events, or -1."""
    first = (w.bucket + 1) & w.mask
    words = (w.mask + 1) >> 6
    word = first >> 6
    bits = load_long(w.bits, word) & (-1 << (first & 63))
    if bits == 0:
        summaries = (words + 63) >> 6
        group = word >> 6
        inside = word & 63
        # the rest of this summary word, the other words, then this one from its beginning
        some = load_long(w.summary, group) & ((-2 << inside) if inside < 63 else 0)
        for _ in range(summaries):
            if some != 0:
                break
            group = group + 1 if group + 1 < summaries else 0
            some = load_long(w.summary, group)
        if some == 0:
            return -1
        word = (group << 6) + lowest_bit(some)
        bits = load_long(w.bits, word)
    place = (word << 6) + lowest_bit(bits)
    return w.bucket + 1 + ((place - first) & w.mask)


@njit(_VOID(World, _LONG), internal=True)
def _sort_run(w, count):  # type: ignore[no-untyped-def]
    """Sorts the first ``count`` keys of the run."""
    run = w.run
    if count <= _SMALL:
        for i in range(1, count):
            key = load_long(run, i)
            j = i - 1
            while j >= 0 and load_long(run, j) > key:
                store_long(run, j + 1, load_long(run, j))
                j -= 1
            store_long(run, j + 1, key)
        return
    top = 0
    for i in range(count):
        top |= load_long(run, i)
    source, target = w.run, w.spare_run
    counts = w.spare_run + 8 * (w.nic_count + w.link_count)  # 256 words behind the spare run
    digit = 0
    while top >> digit:
        if (top >> digit) & 255:
            for i in range(256):
                store_long(counts, i, 0)
            for i in range(count):
                value = (load_long(source, i) >> digit) & 255
                store_long(counts, value, load_long(counts, value) + 1)
            total = 0
            for i in range(256):
                here = load_long(counts, i)
                store_long(counts, i, total)
                total += here
            for i in range(count):
                key = load_long(source, i)
                value = (key >> digit) & 255
                place = load_long(counts, value)
                store_long(counts, value, place + 1)
                store_long(target, place, key)
            source, target = target, source
        digit += 8
    if source != w.run:
        for i in range(count):
            store_long(run, i, load_long(source, i))


@njit(_VOID(World, _LONG), internal=True)
def _open(w, bucket):  # type: ignore[no-untyped-def]
    """Makes a bucket the open one: its events become the sorted run."""
    place = bucket & w.mask
    w.bucket = bucket
    base = bucket << w.shift
    w.run_base = base
    ident = load_int(w.heads, place)
    store_int(w.heads, place, -1)
    count = 0
    while ident >= 0:
        store_long(w.run, count, ((load_long(w.event_time, ident) - base) << _ID_BITS) | ident)
        count += 1
        if ident >= w.nic_count:
            prefetch(w.links + (ident - w.nic_count) * LINK_BYTES)
        ident = load_int(w.event_next, ident)
    word = place >> 6
    bits = load_long(w.bits, word) & ~(1 << (place & 63))
    store_long(w.bits, word, bits)
    if bits == 0:
        store_long(w.summary, word >> 6, load_long(w.summary, word >> 6) & ~(1 << (word & 63)))
    if count > 1:
        _sort_run(w, count)
    w.run_at = 0
    w.run_end = count


@njit(_LONG(World), inline=True)
def peek(w):  # type: ignore[no-untyped-def]
    """ps of the first event, NEVER if there is none."""
    while True:
        time = NEVER
        if w.run_at < w.run_end:
            time = w.run_base + (load_long(w.run, w.run_at) >> _ID_BITS)
        if w.heap_size > 0:
            time = min(time, load_long(w.heap, 0))
        if (time >> w.shift) <= w.bucket:
            return time
        bucket = _next_bucket(w)
        if bucket < 0 or bucket > (time >> w.shift):
            if time == NEVER:
                return NEVER
            w.bucket = time >> w.shift
            return time
        _open(w, bucket)


@njit(_LONG(World), inline=True)
def pop(w):  # type: ignore[no-untyped-def]
    """Takes out the event that `peek` saw and returns its id."""
    if w.run_at < w.run_end:
        key = load_long(w.run, w.run_at)
        time, ident = w.run_base + (key >> _ID_BITS), key & ((1 << _ID_BITS) - 1)
        if w.heap_size == 0 or (
            time < load_long(w.heap, 0) or (time == load_long(w.heap, 0) and ident < load_long(w.heap, 1))
        ):
            w.run_at += 1
            if w.run_at < w.run_end:  # the next event's packet is wanted soon
                following = (load_long(w.run, w.run_at) & ((1 << _ID_BITS) - 1)) - w.nic_count
                if following >= 0:
                    prefetch(w.packets + link_at(w.links, following).head * PACKET_BYTES)
            return ident
    return _pop_heap(w)


@njit(_VOID(World, _LONG), internal=True)
def remove(w, ident):  # type: ignore[no-untyped-def]
    """Takes an id's event out, wherever it is. Rare (a link went down), so simply: all come out, the others go in."""
    ids = w.nic_count + w.link_count
    first = peek(w)
    time = first
    while time != NEVER:
        other = pop(w)
        store_long(w.event_time, other, time)
        store_int(w.event_next, other, -1 if other == ident else _KEPT)
        time = peek(w)
    w.run_at = 0
    w.run_end = 0
    if first != NEVER:
        w.bucket = (first >> w.shift) - 1
    for other in range(ids):
        if load_int(w.event_next, other) == _KEPT:
            store_int(w.event_next, other, -1)
            push(w, load_long(w.event_time, other), other)
