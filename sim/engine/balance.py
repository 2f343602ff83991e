"""The calls of a packet policy beside ``pick``: hosts' entropies, what comes back to hosts and edge switches, periods.

A packet without a path of its own carries one number x as ``path`` = -2 - x: its entropy, if hosts choose those
(``spread``), or else the largest load or queue of the switch links on its way (``stamps``). -1: nothing.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from models.jit import njit
from sim.engine.choice import trail_link
from sim.engine.layout import (
    DATA,
    Flow,
    Packet,
    World,
    address_as_pointer,
    link_at,
    load_long,
    store_long,
)
from sim.engine.loads import load_of
from sim.engine.ports import catch_up, draw, queue_bytes
from sim.engine.signatures import call_hear, call_learn, call_spread, call_tick
from sim.engine.timers import TICK, push_timer
from sim.engine.words import GOOD, MARKED

# behind the policy's words of a flow: the entropy of the packet to come + 1 (0: none), entropies drawn, calls of hear
PLANNED, SPREADS, HEARS, MORE_WORDS = range(4)
MOST_ENTROPY = 1 << 30
LOADS, QUEUES = 1, 2  # what stamps are of
_SPREAD, _HEAR, _LEARN = (word << 23 for word in (1, 2, 3))  # hop numbers of draws
_UNLIMITED = 1_000_000  # bytes that stand for the buffer of a port without a limit
_LONG = types.int64
_VOID = types.void


@njit(_LONG(World, Flow, _LONG, _LONG, _LONG), internal=True)
def plan_entropy(w, flow, slot, sequence, now):  # type: ignore[no-untyped-def]
    """The entropy of the flow's next packet: a host with several links must know it before the packet is made."""
    words = w.spreads + 8 * slot * (w.spread_words + MORE_WORDS)
    more = words + 8 * w.spread_words
    planned = load_long(more, PLANNED) - 1
    if planned >= 0:
        return planned
    count = load_long(more, SPREADS)
    store_long(more, SPREADS, count + 1)
    own = numba.carray(address_as_pointer(words), w.spread_words, np.int64)
    window = max(1, flow.window // w.mtu)
    key = draw(w.key, flow.id, count, 0, _SPREAD)
    entropy = call_spread(w.spread, own, now, flow.id, max(sequence, flow.sent_high), window, key)
    if entropy < 0 or entropy >= MOST_ENTROPY:
        raise ValueError("a packet policy's entropy is below 0 or not below 2^30")
    store_long(more, PLANNED, entropy + 1)
    return entropy


@njit(_LONG(World, Flow, _LONG, _LONG, _LONG), internal=True)
def entropy_of(w, flow, slot, sequence, now):  # type: ignore[no-untyped-def]
    """The entropy of the packet that is made."""
    entropy = plan_entropy(w, flow, slot, sequence, now)
    store_long(w.spreads + 8 * (slot * (w.spread_words + MORE_WORDS) + w.spread_words), PLANNED, 0)
    return entropy


@njit(_VOID(World, Flow, _LONG, _LONG, _LONG, _LONG), internal=True)
def heard(w, flow, slot, kind, entropy, now):  # type: ignore[no-untyped-def]
    """Tells the flow's host what became of a packet; kinds in ``sim/engine/words.py``, entropy -1: not known."""
    words = w.spreads + 8 * slot * (w.spread_words + MORE_WORDS)
    more = words + 8 * w.spread_words
    count = load_long(more, HEARS)
    store_long(more, HEARS, count + 1)
    own = numba.carray(address_as_pointer(words), w.spread_words, np.int64)
    call_hear(w.hear, own, now, kind, entropy, draw(w.key, flow.id, count, 0, _HEAR))


@njit(_VOID(World, Flow, _LONG, Packet, _LONG), internal=True)
def learnt(w, flow, index, packet, now):  # type: ignore[no-untyped-def]
    """Tells the source's edge switch what a stamped packet met, now that its ACK has come back."""
    first = trail_link(w, index, 1)  # number 0 is the host's
    state = numba.carray(address_as_pointer(w.policy_state), w.policy_words, np.int64)
    key = draw(w.key, flow.id, packet.sequence, packet.transmission, _LEARN)
    call_learn(w.learn, state, now, link_at(w.links, first).src, flow.edge, first, -2 - packet.path, key)


@njit(_VOID(World, Flow, _LONG, _LONG, Packet, _LONG), internal=True)
def feed_back(w, flow, slot, index, packet, now):  # type: ignore[no-untyped-def]
    """An ACK, at its sender, of a packet that has carried a number."""
    if w.hear:
        heard(w, flow, slot, MARKED if packet.marked & 1 else GOOD, -2 - packet.path, now)
    if w.learn:
        learnt(w, flow, index, packet, now)


@njit(_VOID(World, Packet, _LONG, _LONG), internal=True)
def stamp(w, packet, number, now):  # type: ignore[no-untyped-def]
    """A data packet notes the load or queue that it finds at a link from switch to switch."""
    link = link_at(w.links, number)
    if packet.kind != DATA or link.nic >= 0 or link_at(w.links, number ^ 1).nic >= 0:
        return
    if w.stamps == LOADS:
        catch_up(w, link, now)
        metric = load_of(w, number, now)
    else:
        room = link.buffer if link.buffer < 1 << 40 else _UNLIMITED
        metric = queue_bytes(w, link, now) * 1024 // room
    packet.path = min(packet.path, -2 - metric)


@njit(_VOID(World, _LONG), internal=True)
def arm_tick(w, now):  # type: ignore[no-untyped-def]
    """A flow starts: from the next multiple of the period on the policy is called."""
    if w.tick and w.tick_at <= now:
        w.tick_at = (now // w.period + 1) * w.period
        push_timer(w, w.tick_at, TICK, 0)


@njit(_VOID(World, _LONG), internal=True)
def tick_due(w, now):  # type: ignore[no-untyped-def]
    """The policy's period is over, if the timer is not stale. Without flows it is called no more."""
    if now != w.tick_at or w.live == 0:
        return
    loads = numba.carray(address_as_pointer(w.load_view), w.link_count, np.int64)
    for number in range(w.link_count):
        catch_up(w, link_at(w.links, number), now)
        loads[number] = load_of(w, number, now)
    state = numba.carray(address_as_pointer(w.policy_state), w.policy_words, np.int64)
    call_tick(w.tick, state, loads, now)
    w.tick_at = now + w.period
    push_timer(w, w.tick_at, TICK, 0)
