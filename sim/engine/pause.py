"""Priority flow control and shared memory: what a switch holds, of whom, and the links that it pauses therefore.

The account of a link is of the packets in queues of data that came over it and have not left the switch. The switch
decides to pause a link when such a packet is accepted, and to let it go on when one of the link's has left. The frame
that says so takes as long as a control packet on the way back, and no room there. Frames are numbered, so that one
overtaken by the link's failure is void.
"""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import (
    Link,
    Packet,
    World,
    link_at,
    load_int,
    load_long,
    packet_at,
    port_at,
    rare_at,
    store_int,
    store_long,
)
from sim.engine.nic import nic_turn
from sim.engine.ports import start_next
from sim.engine.timers import PAUSE, push_timer

_LONG = types.int64
_VOID = types.void


@njit(types.float64(World, _LONG), inline=True)
def _threshold(w, switch):  # type: ignore[no-untyped-def]
    """Bytes in the account at which a link into the switch is paused."""
    limit = float(w.pause_limit)
    if w.pause_alpha < 0.0:
        return limit
    return min(limit, w.pause_alpha * (w.shared - load_long(w.shares, switch)))


@njit(_VOID(World, _LONG, _LONG, _LONG), internal=True)
def _send_frame(w, number, pausing, now):  # type: ignore[no-untyped-def]
    """A pause or its end goes to the sender of a link."""
    port = port_at(w.holds, number)
    port.pausing = pausing
    port.frames += 1
    w.pauses += pausing
    w.frames += 1
    back = link_at(w.links, number ^ 1)
    push_timer(w, now + back.ack_ser + back.delay, PAUSE + 2 * number + pausing, port.frames)


@njit(types.boolean(World, _LONG, _LONG), internal=True)
def has_headroom(w, came, size):  # type: ignore[no-untyped-def]
    """Whether a switch that may pause the link by which a packet came has room for it."""
    port = port_at(w.holds, came)
    if port.lossless:
        return True
    return port.account + size <= w.pause_limit + rare_at(w.rare, came).headroom


@njit(_VOID(World, Link, _LONG, Packet, _LONG, _LONG), internal=True)
def charge(w, link, index, packet, came, now):  # type: ignore[no-untyped-def]
    """A packet of a queue of data has been accepted at ``link``'s port; it came over link ``came``."""
    if w.shared:
        store_long(w.shares, link.src, load_long(w.shares, link.src) + packet.size)
    if w.pause:
        port = port_at(w.holds, came)
        store_int(w.came, index, came)
        port.account += packet.size
        if port.pausing == 0 and port.lossless == 0 and port.account >= _threshold(w, link.src):
            _send_frame(w, came, 1, now)


@njit(_VOID(World, Link, _LONG, _LONG), internal=True)
def discharge(w, link, index, now):  # type: ignore[no-untyped-def]
    """A packet has left a queue of data and the switch, or is lost there.

    A link with nothing in its account goes on even where little of the shared memory is free: nothing of its own would
    ever say so again.
    """
    size = packet_at(w.packets, index).size
    if w.shared:
        store_long(w.shares, link.src, load_long(w.shares, link.src) - size)
    if w.pause:
        came = load_int(w.came, index)
        port = port_at(w.holds, came)
        port.account -= size
        if port.pausing and (port.account == 0 or port.account + w.pause_resume <= _threshold(w, link.src)):
            _send_frame(w, came, 0, now)


@njit(_VOID(World, _LONG, _LONG, _LONG), internal=True)
def pause_came(w, word, frame, now):  # type: ignore[no-untyped-def]
    """A pause (``word`` odd) or its end reaches the sender of link ``word >> 1``."""
    w.frames -= 1
    number = word >> 1
    port = port_at(w.holds, number)
    if frame <= port.heard:
        return
    port.heard = frame
    if port.paused == word & 1:
        return
    port.paused = word & 1
    if port.paused:
        port.since = now
        return
    rare_at(w.rare, number).paused_ps += now - port.since
    link = link_at(w.links, number)
    if link.nic >= 0:
        nic_turn(w, link.nic, now, w.nic_count)
    elif link.wire < 0:
        start_next(w, link, port, number, now)


@njit(_VOID(World, _LONG, _LONG), internal=True)
def forget_pause(w, number, now):  # type: ignore[no-untyped-def]
    """A link went down: neither end knows of a pause any more, and frames on their way are void."""
    port = port_at(w.holds, number)
    if port.paused:
        rare_at(w.rare, number).paused_ps += now - port.since
    port.paused = 0
    port.pausing = 0
    port.heard = port.frames
