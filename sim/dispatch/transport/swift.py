"""Swift: the window follows a target delay that grows with hops and shrinks with the window; pacing below one packet.

Source: Kumar et al., "Swift: Delay is Simple and Effective for Congestion Control in the Datacenter", SIGCOMM 2020,
with the constants of the public htsim (its comments call them guesses). Delay below the target: ai / window packets
more for each that is acknowledged; else, once an RTT, window x max(1 - beta (delay - target) / delay, 1 -
max_decrease). Target = base + hops x base / 6.55 + flow scaling: alpha / sqrt(window) + beta' between 0 and ``scaling``
x base, such that it is 0 at ``scale_to`` packets and all of it at ``scale_from``. A cut packet, or the first timeouts:
window x (1 - max_decrease), once an RTT; the fifth timeout in a row: the least window.

Differences: ``base`` is htsim's 20 us where it is given; auto is the fabric's unloaded RTT. Hops are those of the
longest way. The whole RTT is one delay: hosts here take no time of their own.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import (
    FREE,
    ON_ACK,
    ON_NACK,
    ON_TIMEOUT,
    RATE,
    WINDOW,
    Field,
    PathFacts,
    PolicyParams,
    SizeOrAuto,
    TimeOrAuto,
    congestion_control,
)

uses_telemetry = False
uses_sent = False

_HOP_SHARE = 1 / 6.55  # of the base target, a hop
_MANY = 5  # timeouts in a row

(_BASE, _RANGE, _SLOPE, _OFFSET, _RISE, _BETA, _FALL, _LEAST, _MOST, _MTU) = range(FREE, FREE + 10)
# the window in packets, the last decrease, the last RTT, timeouts in a row
(_PACKETS, _DECREASED, _RTT, _TIMEOUTS) = range(FREE + 10, FREE + 14)

_OWN, _LONG, _FLOAT = types.float64[::1], types.int64, types.float64


class Params(PolicyParams):
    base: TimeOrAuto = Field("auto", description="target without hops and scaling; auto: 1 RTT (htsim: 20 us)")
    increase: float = Field(1.0, gt=0, description="packets an RTT")
    beta: float = Field(0.8, gt=0, le=1, description="of a decrease")
    max_decrease: float = Field(0.5, gt=0, lt=1, description="largest decrease at once")
    scaling: float = Field(5.0, ge=0, description="most that flow scaling adds, in base targets")
    scale_from: float = Field(0.1, gt=0, description="packets at which it adds most")
    scale_to: float = Field(100.0, gt=0, description="packets at which it adds nothing")
    window: SizeOrAuto = Field("auto", description="bytes on the wire at the start; auto: 1 BDP")
    max_window: SizeOrAuto = Field("auto", description="auto: 4 BDP")
    min_window: float = Field(0.01, gt=0, le=1, description="packets")


def memory(params: Params, facts: PathFacts) -> NDArray[np.float64]:
    """The constants, and a flow with its first window."""
    own = np.zeros(FREE + 14)
    base = facts.rtt if params.base == "auto" else params.base
    low, high = 1 / math.sqrt(params.scale_to), 1 / math.sqrt(params.scale_from)
    own[_BASE], own[_RANGE] = base * (1 + facts.hops * _HOP_SHARE), params.scaling * base
    own[_SLOPE] = own[_RANGE] / (high - low) if high > low else 0
    own[_OFFSET] = -own[_SLOPE] * low
    own[_RISE], own[_BETA], own[_FALL] = params.increase, params.beta, 1 - params.max_decrease
    own[_LEAST], own[_MTU], own[_RTT] = params.min_window, facts.mtu, facts.rtt
    own[_MOST] = max(1, (4 * facts.bdp if params.max_window == "auto" else params.max_window) / facts.mtu)
    first = (facts.bdp if params.window == "auto" else params.window) / facts.mtu
    own[_PACKETS] = min(max(first, 1), own[_MOST])
    own[WINDOW] = own[_PACKETS] * facts.mtu
    return own


@njit(types.float64(_OWN), internal=True)
def _target(own):  # type: ignore[no-untyped-def]
    scaled = own[_SLOPE] / np.sqrt(own[_PACKETS]) + own[_OFFSET]
    return own[_BASE] + min(max(scaled, 0.0), own[_RANGE])


@njit(types.void(_OWN, _LONG, _FLOAT), internal=True)
def _decrease(own, now, factor):  # type: ignore[no-untyped-def]
    """Once an RTT."""
    if now - own[_DECREASED] >= own[_RTT]:
        own[_PACKETS] *= factor
        own[_DECREASED] = now


@congestion_control
def react(  # type: ignore[no-untyped-def]
    own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    if event == ON_ACK:
        own[_TIMEOUTS] = 0
        if rtt >= 0:
            own[_RTT] = rtt
            target = _target(own)
            if rtt < target:
                own[_PACKETS] += own[_RISE] * acked / own[_MTU] / max(own[_PACKETS], 1.0)
            else:
                _decrease(own, now, max(1 - own[_BETA] * (rtt - target) / rtt, own[_FALL]))
    elif event == ON_NACK:
        _decrease(own, now, own[_FALL])
    elif event == ON_TIMEOUT:
        own[_TIMEOUTS] += 1
        if own[_TIMEOUTS] >= _MANY:
            own[_PACKETS] = own[_LEAST]
        else:
            _decrease(own, now, own[_FALL])
    packets = min(max(own[_PACKETS], own[_LEAST]), own[_MOST])
    own[_PACKETS] = packets
    own[WINDOW] = max(packets, 1.0) * own[_MTU]
    # below one packet: the next is sent after RTT / window
    own[RATE] = packets * own[_MTU] * 8e12 / own[_RTT] if packets < 1 else 0
