"""A bare packet kernel, to judge the packet engine against in the same run.

The least that still counts packet-hops: a fixed window of whole packets, an ACK a packet over the reverse path,
arithmetic leaf-spine routing, a random spine a packet chosen at its source, links that serialise and delay. There are
no buffers, no ECN, no tables, no policies, no timers, no losses and no counters but the hops. One event is pending a
link, in a binary heap whose keys hold time and link in one word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.jit import njit

_LINK_BITS = 20  # of a heap key; the rest is the time: up to 8 s
_MIX = np.uint64(0xBF58476D1CE4E5B9)


@njit("void(uint64[::1], int64, int64, uint64)")
def _down(heap: Any, size: Any, place: Any, key: Any) -> Any:
    """Puts ``key`` into the hole at ``place`` and restores the heap below it."""
    hole = np.uint64(place)
    end = np.uint64(size)
    one = np.uint64(1)
    child = np.uint64(2) * hole + one
    while child + one < end:
        # without a branch: which child is smaller is a coin toss
        child += np.uint64(heap[child + one] < heap[child])
        if heap[child] >= key:
            heap[hole] = key
            return
        heap[hole] = heap[child]
        hole = child
        child = np.uint64(2) * hole + one
    if child < end and heap[child] < key:
        heap[hole] = heap[child]
        hole = child
    heap[hole] = key


@njit("void(uint64[::1], int64, uint64)")
def _up(heap: Any, size: Any, key: Any) -> Any:
    """Adds ``key`` to a heap of ``size``."""
    hole = np.uint64(size)
    one = np.uint64(1)
    while hole > np.uint64(0):
        parent = (hole - one) >> one
        if heap[parent] <= key:
            break
        heap[hole] = heap[parent]
        hole = parent
    heap[hole] = key


@njit("int64(int64, int64, int64, int32[::1], int64, int64, int64, int64, int64, int64, int64[::1])")
def run(
    leaves: Any,
    spines: Any,
    hosts: Any,
    partner: Any,
    size: Any,
    mtu: Any,
    header: Any,
    rate: Any,
    delay: Any,
    window: Any,
    end: Any,
) -> Any:
    """Every host sends ``size`` bytes to its ``partner``; returns packet-hops, and when each flow's last ACK came."""
    per_leaf = hosts // leaves
    up, down, last = hosts, hosts + leaves * spines, hosts + 2 * leaves * spines
    links = last + hosts
    total = -(-size // mtu)
    full = ((mtu + header) * 8 * 10**12 + rate - 1) // rate
    short = ((size - (total - 1) * mtu + header) * 8 * 10**12 + rate - 1) // rate
    ack = (64 * 8 * 10**12 + rate - 1) // rate
    head = np.full(links, -1, np.int32)
    tail = np.full(links, -1, np.int32)
    busy = np.zeros(links, np.int64)
    # 0: next in the link's queue, 1: where it goes, 2: where it came from, 3: spine, 4: is an ACK, 5: short
    packets = np.zeros((hosts * window, 8), np.int32)
    arrive = np.zeros(hosts * window, np.int64)
    sent = np.zeros(hosts, np.int64)
    acked = np.zeros(hosts, np.int64)
    heap = np.zeros(links + 2, np.uint64)
    heap_size = 0
    hops = 0
    draw = np.uint64(1)
    for packet in range(hosts * window):
        host = packet // window
        if sent[host] == total:
            continue
        packets[packet, 1], packets[packet, 2] = partner[host], host
        draw = (draw ^ (draw >> np.uint64(29))) * _MIX + np.uint64(packet)
        packets[packet, 3] = np.int64(draw >> np.uint64(33)) % spines
        sent[host] += 1
        packets[packet, 5] = sent[host] == total
        busy[host] += short if sent[host] == total else full
        arrive[packet] = busy[host] + delay
        packets[packet, 0] = -1
        if head[host] < 0:
            head[host] = packet
            _up(heap, heap_size, (np.uint64(arrive[packet]) << np.uint64(_LINK_BITS)) | np.uint64(host))
            heap_size += 1
        else:
            packets[tail[host], 0] = packet
        tail[host] = packet
    while heap_size > 0:
        top = heap[0]
        link = np.int64(top & np.uint64((1 << _LINK_BITS) - 1))
        now = np.int64(top >> np.uint64(_LINK_BITS))
        packet = head[link]
        following = packets[packet, 0]
        head[link] = following
        if following >= 0:
            key = (np.uint64(arrive[following]) << np.uint64(_LINK_BITS)) | np.uint64(link)
            _down(heap, heap_size, 0, key)
        else:
            heap_size -= 1
            _down(heap, heap_size, 0, heap[heap_size])
        hops += 1
        target = packets[packet, 1]
        leaf = target // per_leaf
        onward = last + target
        if link < up:
            if link // per_leaf != leaf:
                onward = up + link // per_leaf * spines + packets[packet, 3]
        elif link < down:
            onward = down + packets[packet, 3] * leaves + leaf
        elif link >= last:
            if packets[packet, 4]:
                acked[target] += 1
                if acked[target] == total:
                    end[target] = now
                if sent[target] == total:
                    continue
                sent[target] += 1
                draw = (draw ^ (draw >> np.uint64(29))) * _MIX + np.uint64(packet)
                packets[packet, 3] = np.int64(draw >> np.uint64(33)) % spines
                packets[packet, 5] = sent[target] == total
            packets[packet, 1], packets[packet, 2] = packets[packet, 2], target
            packets[packet, 4] ^= 1
            onward = np.int64(target)
        took = ack if packets[packet, 4] else (short if packets[packet, 5] else full)
        busy[onward] = max(busy[onward], now) + took
        arrive[packet] = busy[onward] + delay
        packets[packet, 0] = -1
        if head[onward] < 0:
            head[onward] = packet
            _up(heap, heap_size, (np.uint64(arrive[packet]) << np.uint64(_LINK_BITS)) | np.uint64(onward))
            heap_size += 1
        else:
            packets[tail[onward], 0] = packet
        tail[onward] = packet
    return hops


def permutation(
    leaves: int, spines: int, partner: NDArray[np.int64], *, size: int, rate: int, delay: int, window: int
) -> tuple[int, NDArray[np.int64]]:
    """Packet-hops, and the flows' ends in ps. ``window`` in packets of 4096 + 64 bytes."""
    end = np.zeros(len(partner), dtype=np.int64)
    hops = run(
        leaves, spines, len(partner), partner.astype(np.int32), size, 4096, 64, rate, delay, window, end
    )  # fmt: skip
    return int(hops), end
