"""HPCC: the window follows the bytes in flight that in-band telemetry finds at the busiest link of the way.

Source: Li et al., "HPCC: High Precision Congestion Control", SIGCOMM 2019, algorithm 1, eta 0.95 and maxStage 5; W_AI
80 B. An ACK brings queue, bytes sent, time and rate of every link as the packet left it. For each link u = (rate of
sending between the last two ACKs) / B + min(queues) / (B T), with T the unloaded RTT; U averages the largest u over T.
U >= eta, or five increases: W = Wc / (U / eta) + W_AI, else W = Wc + W_AI; Wc takes W once an RTT. Packets are paced at
W / T, and W is at most a BDP. U begins at 1, as in the public ns-3 code.

Differences: a timeout halves Wc, which the paper leaves to PFC. A link that seems to have sent faster than it can was
another one before (the packet took another way): it is left out. It is made for flows of one path.

W_AI: the paper's rule is BDP x (1 - eta) / N for N flows at a time. With much less, few flows stay unequal: the one
with fewer packets finds more of the others' behind its own, and so a larger U.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import (
    FREE,
    HOP_WORDS,
    ON_ACK,
    ON_TIMEOUT,
    QUEUE,
    RATE,
    SENT,
    SPEED,
    TIME,
    WINDOW,
    Field,
    PathFacts,
    PolicyParams,
    Size,
    SizeOrAuto,
    congestion_control,
)

uses_telemetry = True
uses_sent = False

_HOPS = 16  # whose last telemetry a flow keeps

(_ETA, _STAGES, _ADD, _RTT, _LEAST, _MOST) = range(FREE, FREE + 6)
# U, Wc, increases since Wc was divided, the packet whose ACK ends this RTT; then the last ACK's telemetry
(_USE, _REFERENCE, _STAGE, _END, _LINKS) = range(FREE + 6, FREE + 11)

_OWN, _LONG = types.float64[::1], types.int64


class Params(PolicyParams):
    eta: float = Field(0.95, gt=0, le=1, description="utilisation aimed at")
    stages: int = Field(5, ge=0, le=1000, description="additive increases in a row")
    additive: Size = Field(80, gt=0, description="W_AI, bytes on the wire an RTT")
    window: SizeOrAuto = Field("auto", description="bytes on the wire at the start, and at most; auto: 1 BDP")


def memory(params: Params, facts: PathFacts) -> NDArray[np.float64]:
    """The constants, and a flow with its first window."""
    own = np.zeros(_LINKS + _HOPS * HOP_WORDS)
    first = max(facts.bdp if params.window == "auto" else params.window, facts.mtu)
    own[_ETA], own[_STAGES], own[_ADD] = params.eta, params.stages, params.additive
    own[_RTT], own[_LEAST], own[_MOST] = facts.rtt, min(facts.mtu, first), first
    own[_USE], own[_REFERENCE] = 1, first
    own[WINDOW], own[RATE] = first, min(first * 8e12 / facts.rtt, facts.rate)
    return own


@njit(types.void(_OWN, _OWN, _LONG), internal=True)
def _measure(own, path, hops):  # type: ignore[no-untyped-def]
    """Brings U up to date, and keeps the telemetry."""
    rtt, largest, over = own[_RTT], 0.0, 0.0
    for hop in range(min(hops, _HOPS)):
        new, old = hop * HOP_WORDS, _LINKS + hop * HOP_WORDS
        since = path[new + TIME] - own[old + TIME]
        speed = path[new + SPEED]
        if own[old + SPEED] == speed and since > 0:
            sent = (path[new + SENT] - own[old + SENT]) * 8e12 / since / speed
            if 0 <= sent <= 1 + 1e-6:
                queue = min(path[new + QUEUE], own[old + QUEUE]) * 8e12 / (speed * rtt)
                if sent + queue > largest:
                    largest, over = sent + queue, min(since, rtt)
        for word in range(HOP_WORDS):
            own[old + word] = path[new + word]
    own[_USE] += over / rtt * (largest - own[_USE])


@congestion_control
def react(  # type: ignore[no-untyped-def]
    own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    if event == ON_ACK and hops > 0:
        first = own[_LINKS + SPEED] == 0
        _measure(own, path, hops)
        if first:
            own[_END] = following
            return
        divides = own[_USE] >= own[_ETA] or own[_STAGE] >= own[_STAGES]
        window = own[_REFERENCE] + own[_ADD]
        if divides:
            window = own[_REFERENCE] / (own[_USE] / own[_ETA]) + own[_ADD]
        window = min(max(window, own[_LEAST]), own[_MOST])
        if sequence >= own[_END]:
            own[_STAGE] = 0 if divides else own[_STAGE] + 1
            own[_REFERENCE] = window
            own[_END] = following
    elif event == ON_TIMEOUT:
        window = own[_REFERENCE] = max(own[_REFERENCE] / 2, own[_LEAST])
    else:
        return
    own[WINDOW] = window
    own[RATE] = window * 8e12 / own[_RTT]
