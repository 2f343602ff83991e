"""The link that a packet without a path of its own takes from a node: by tables, weights and the packet policy.

The links that it took are its trail, by which its ACK finds the way back.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from models.jit import njit
from sim.engine.layout import (
    DATA,
    INLINE,
    PACKET,
    Packet,
    World,
    address_as_pointer,
    flow_at,
    link_at,
    load_int,
    load_long,
    store_int,
)
from sim.engine.loads import load_of
from sim.engine.ports import catch_up, draw, queue_bytes
from sim.engine.signatures import call_pick

COUNT_BITS = 16  # of a table's entry: the number of ports; above it, where they begin
_HASH = 255  # the hop number of a switch's choice by entropy
_PACKET_BYTES = PACKET.itemsize
_TRAIL = PACKET.fields["trail"][1] // 4
_LONG = types.int64


@njit(_LONG(_LONG, _LONG, _LONG), internal=True)
def _by_weight(weights, count, key):  # type: ignore[no-untyped-def]
    """An index with probability proportional to its weight (address 0: all equal)."""
    if weights == 0:
        return key % count
    total = 0
    for i in range(count):
        total += load_long(weights, i)
    rest = key % total
    index = 0
    while rest >= load_long(weights, index):
        rest -= load_long(weights, index)
        index += 1
    return index


@njit(types.void(World, _LONG, Packet, _LONG), inline=True)
def leave_trail(w, index, packet, link):  # type: ignore[no-untyped-def]
    """Notes the link that a packet without a path of its own takes, for its ACK's way back."""
    hop = packet.hop
    if hop < INLINE:
        store_int(w.packets + index * _PACKET_BYTES, _TRAIL + hop, link)
    else:
        store_int(w.trail, index * w.hops + hop, link)
    packet.hop = hop + 1


@njit(_LONG(World, _LONG, _LONG), inline=True)
def trail_link(w, index, hop):  # type: ignore[no-untyped-def]
    """The link that a packet without a path of its own took as its number ``hop``."""
    if hop < INLINE:
        return load_int(w.packets + index * _PACKET_BYTES, _TRAIL + hop)
    return load_int(w.trail, index * w.hops + hop)


@njit(_LONG(World, _LONG, Packet), inline=True)
def trail_back(w, index, packet):  # type: ignore[no-untyped-def]
    """The link that leads one hop back."""
    packet.hop -= 1
    return trail_link(w, index, packet.hop) ^ 1


@njit(_LONG(World, Packet, _LONG, _LONG), internal=True)
def choose(w, packet, node, now):  # type: ignore[no-untyped-def]
    """The link that a packet without a path of its own takes from ``node``, or -1 if none leads on."""
    row = node * w.groups + packet.group
    entry = load_long(w.table, row)
    first, count = entry >> COUNT_BITS, entry & ((1 << COUNT_BITS) - 1)
    ports = w.table_port + 4 * first
    weights = w.table_weight + 8 * first if w.table_weight else 0
    if count == 0:  # the destination hangs here, or nowhere
        first = load_long(w.last_start, packet.dst)
        last = load_long(w.last_start, packet.dst + 1)
        while first < last and link_at(w.links, load_int(w.last_link, first)).src != node:
            first += 1
        ports = w.last_link + 4 * first
        while first + count < last and link_at(w.links, load_int(w.last_link, first + count)).src == node:
            count += 1
        if count == 0:
            return -1
        weights = 0
    if count == 1:
        return load_int(ports, 0)
    flow = flow_at(w.flows, packet.flow)
    key = draw(w.key, flow.id, packet.sequence, packet.transmission, packet.hop)
    if w.pick == 0 or packet.kind != DATA:  # a random path: every shortest path is equally likely
        if packet.path < -1 and w.spread:  # one path for each entropy
            key = draw(w.key, flow.id, -2 - packet.path, node, _HASH)
        return load_int(ports, _by_weight(weights, count, key))
    queues = numba.carray(address_as_pointer(w.queues), 3 * count if w.uses_loads else count, np.int64)
    if w.uses_queues:
        for i in range(count):
            queues[i] = queue_bytes(w, link_at(w.links, load_int(ports, i)), now)
    if w.uses_loads:
        for i in range(count):
            number = load_int(ports, i)
            catch_up(w, link_at(w.links, number), now)
            queues[count + i] = load_of(w, number, now)
            queues[2 * count + i] = number
    state = numba.carray(address_as_pointer(w.policy_state), w.policy_words, np.int64)
    index = call_pick(
        w.pick, state, queues, count, now, node, flow.src, flow.dst, flow.edge, flow.id, packet.sequence, key
    )
    if index < 0 or index >= count:
        raise ValueError("a packet policy's pick is not below the number of candidate links")
    return load_int(ports, index)
