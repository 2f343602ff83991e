"""Congestion controls for the twin tests: they use all that a control may use, at any price."""

from __future__ import annotations

from sim.dispatch.api import (
    FREE,
    ON_ACK,
    ON_NACK,
    ON_SENT,
    ON_TIMEOUT,
    ON_TIMER,
    RATE,
    TIMER,
    WINDOW,
    congestion_control,
)

WORDS = FREE + 3


@congestion_control
def constant(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):  # type: ignore[no-untyped-def]
    """The window stays as it is."""


@congestion_control
def halving(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):  # type: ignore[no-untyped-def]
    """A packet more a round trip, half of it at a mark or loss. own[FREE]: a packet's size."""
    if event == ON_ACK and marked == 0:
        own[WINDOW] += own[FREE] * acked / max(own[WINDOW], 1.0)
    elif event in (ON_ACK, ON_NACK, ON_TIMEOUT):
        own[WINDOW] = max(own[WINDOW] / 2, own[FREE])


@congestion_control
def pacing(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):  # type: ignore[no-untyped-def]
    """A rate that rises with a timer of its own, which ACKs put off. own[FREE]: period; own[FREE + 1]: least rate."""
    if event == ON_TIMER:
        own[RATE] = own[RATE] * 2 if own[RATE] < 64 * own[FREE + 1] else 0.0
        own[TIMER] = now + own[FREE] + key % 1000
    elif event == ON_ACK and marked == 0:
        if rtt > 0 and key % 3 == 0:
            own[TIMER] = now + own[FREE] + rtt // 2
    elif event == ON_SENT:
        if own[TIMER] == 0.0:
            own[TIMER] = now + own[FREE]
    else:
        own[RATE] = max(own[RATE] / 2, own[FREE + 1])
        if event == ON_NACK and own[TIMER] > 0.0:
            own[TIMER] = max(own[TIMER] - lost, 1.0)  # earlier, or already over


@congestion_control
def nosy(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):  # type: ignore[no-untyped-def]
    """A window that depends on every word it is told. own[FREE]: a packet's size."""
    told = now + 3 * rtt + 5 * marked + 7 * acked + 11 * lost + 13 * in_flight + 17 * sequence + 19 * following
    own[FREE + 1] = (own[FREE + 1] * 31 + told % 1000003 + key % 1009 + event) % 1000003
    own[WINDOW] = own[FREE] * (1 + own[FREE + 1] % 7)
    if event == ON_TIMEOUT:
        own[TIMER] = now + own[FREE + 1]
