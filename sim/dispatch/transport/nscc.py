"""NSCC, the sender's congestion control of Ultra Ethernet: a window steered by marks and queueing delay.

Source: network signal congestion control of the Ultra Ethernet specification 1.0, as in the consortium's public
simulator uet-htsim, with its integer arithmetic. The queueing delay of an ACK is its RTT less the least RTT seen. Four
cases: no mark, long delay: fair increase; no mark, short delay: increase in proportion to what is missing to the
target (or fast, where the delay has been below 1 us for a window); mark, long delay: once an RTT a decrease by what the
average delay is above the target; mark, short delay: nothing, the load balancer changes path. Quick adapt: where loss
or a delay of four targets came and little was achieved in a round, the window becomes what was achieved.

Differences: the base RTT begins at the network's, as there, never at a pair's; delayed samples come only from packets
whose transmission the ACK names.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import (
    FREE,
    ON_ACK,
    ON_NACK,
    ON_TIMEOUT,
    WINDOW,
    Field,
    PathFacts,
    PolicyParams,
    Size,
    SizeOrAuto,
    TimeOrAuto,
    congestion_control,
)
from sim.dispatch.transport._marking import share_of_bdp

uses_telemetry = False
uses_sent = False

_SCALE_BYTES = 150_000  # BDP of the network that the constants are given for: 100 Gb/s, 12 us
_GAIN = 0.0125  # of a new sample in the average delay
_GAMMA = 0.8  # multiplicative decrease
_LEAST_FACTOR = 0.5  # of one decrease
_SHORT = 10**6  # ps: a delay below this counts as none

# what the fabric and the parameters make of it
(_NETWORK, _SPEED, _TARGET, _MTU, _ALPHA, _FAIR, _FAST, _ETA, _GATE, _CREDIT) = range(FREE, FREE + 10)
# what a flow learns: least RTT, largest window, average delay; bytes since quick adapt that it waits for; quick adapt
# is due; bytes of this round, and its end; gathered increase (bytes x bytes) and bytes acknowledged for it; bytes
# without delay, and whether the window grows fast; last decrease, last adjustment
(_BASE, _MOST, _AVERAGE, _IGNORED, _TO_IGNORE, _DUE, _ACHIEVED, _ROUND_END) = range(FREE + 10, FREE + 18)
(_GATHERED, _RECEIVED, _EMPTY, _GROWS, _DECREASED, _ADJUSTED) = range(FREE + 18, FREE + 24)

_OWN, _BOOL, _LONG, _FLOAT = types.float64[::1], types.boolean, types.int64, types.float64


class Params(PolicyParams):
    target: TimeOrAuto = Field("auto", description="queueing delay; auto: 0.75 RTT with trimming, else 1 RTT")
    window: SizeOrAuto = Field("auto", description="bytes on the wire at the start; auto: 1.5 BDP, which is the most")
    quick_adapt: bool = Field(
        True, description="after loss, or a delay of four targets, the window is what was achieved"
    )
    gate: int = Field(3, ge=0, le=7, description="quick adapt only if that was below 2^-gate of the largest window")
    credit: bool = Field(False, description="receivers grant credit as well, as under `credit`")
    ack_every: Size = Field(16384, gt=0, description="bytes on the wire after which an ACK is due")


def memory(params: Params, facts: PathFacts) -> NDArray[np.float64]:
    """The control's constants for this fabric, and a flow at its start."""
    own = np.zeros(FREE + 24)
    target = int(facts.rtt * 0.75) if facts.trims else facts.rtt
    target = target if params.target == "auto" else params.target
    scale = facts.bdp / _SCALE_BYTES
    own[_NETWORK], own[_SPEED], own[_TARGET], own[_MTU] = facts.rtt, facts.rate, target, facts.mtu
    own[_ALPHA] = 4.0 * facts.payload * scale * (target / (12 * 10**6)) / target
    own[_FAIR], own[_FAST], own[_ETA] = 5 * facts.payload * scale, 0.25 * scale, 0.15 * facts.payload * scale
    own[_GATE] = 2.0**params.gate if params.quick_adapt else 0
    own[_CREDIT] = params.credit
    own[_BASE], own[_MOST] = facts.rtt, int(1.5 * facts.bdp)
    own[WINDOW] = own[_MOST] if params.window == "auto" else params.window
    return own


def options(params: Params, facts: PathFacts) -> dict[str, object]:
    """What the transport around it does."""
    return {"credit": params.credit, "ack_every": params.ack_every}


def marking(params: Params, facts: PathFacts) -> tuple[int, int, float]:
    """As uet-htsim has it."""
    return share_of_bdp(facts)


@njit(types.void(_OWN, _LONG), internal=True)
def _hear_rtt(own, rtt):  # type: ignore[no-untyped-def]
    """A shorter RTT than any before: the largest window follows."""
    if rtt < own[_BASE]:
        own[_BASE] = rtt
        own[_MOST] = np.floor(1.5 * np.floor(rtt / 1e6 * own[_SPEED] / 8e6))


@njit(types.void(_OWN), internal=True)
def _bound(own):  # type: ignore[no-untyped-def]
    own[WINDOW] = min(max(own[WINDOW], own[_MTU]), own[_MOST])


@njit(types.boolean(_OWN, _LONG, _BOOL, _BOOL, _FLOAT, _LONG), internal=True)
def _quick_adapt(own, now, lost, marked, delay, in_flight):  # type: ignore[no-untyped-def]
    """Whether the window was set to what was achieved, or marks of before that are still coming in."""
    if own[_GATE] == 0:
        return False
    adapted = False
    if own[_IGNORED] < own[_TO_IGNORE] and marked:
        adapted = True
    elif now > own[_ROUND_END]:
        bad = own[_DUE] != 0 or lost or delay > 4 * own[_TARGET]
        if own[_ROUND_END] != 0 and bad and own[_ACHIEVED] < np.floor(own[_MOST] / own[_GATE]):
            own[WINDOW] = max(own[_ACHIEVED], own[_MTU])
            own[_TO_IGNORE], own[_IGNORED], own[_DUE] = in_flight, 0, 0
            adapted = True
        own[_ACHIEVED] = 0
        own[_ROUND_END] = now + own[_BASE] + own[_TARGET]
    if adapted:
        own[_GATHERED] = own[_RECEIVED] = 0
    return adapted


@njit(types.void(_OWN, _LONG, _FLOAT), internal=True)
def _increase(own, acked, delay):  # type: ignore[no-untyped-def]
    """Fast after a window without delay, else in proportion to what is missing to the target."""
    if delay < _SHORT:
        own[_EMPTY] += acked
        if own[_EMPTY] > own[WINDOW] or own[_GROWS] != 0:
            own[WINDOW] = np.floor(own[WINDOW] + acked * own[_FAST])
            own[_GROWS] = 1
            return
    else:
        own[_EMPTY] = 0
    own[_GROWS] = 0
    own[_GATHERED] = np.floor(own[_GATHERED] + own[_ALPHA] * acked * (own[_TARGET] - delay))


@njit(types.void(_OWN, _LONG), internal=True)
def _decrease(own, now):  # type: ignore[no-untyped-def]
    own[_GROWS] = own[_EMPTY] = 0
    average, target = own[_AVERAGE], own[_TARGET]
    if average > target and now - own[_DECREASED] > own[_BASE]:
        factor = max(1 - _GAMMA * (average - target) / average, _LEAST_FACTOR)
        own[WINDOW] = max(np.floor(own[WINDOW] * factor), own[_MTU])
        own[_DECREASED] = now


@njit(types.void(_OWN, _LONG, _BOOL, _FLOAT, _LONG), internal=True)
def _adjust(own, now, marked, delay, acked):  # type: ignore[no-untyped-def]
    """The four cases; what they gathered takes effect after eight packets or an RTT."""
    if not marked and delay >= own[_TARGET]:
        own[_GATHERED] = np.floor(own[_GATHERED] + own[_FAIR] * acked)
    elif not marked:
        _increase(own, acked, delay)
    elif delay >= own[_TARGET]:
        _decrease(own, now)
    _bound(own)
    since = now - own[_ADJUSTED]
    if own[_RECEIVED] > 8 * own[_MTU] or since > own[_NETWORK]:
        own[WINDOW] += np.floor(own[_GATHERED] / own[WINDOW])
        if since >= own[_NETWORK]:
            own[WINDOW] = np.floor(own[WINDOW] + own[_ETA])
            own[_ADJUSTED] = now
        own[_GATHERED] = own[_RECEIVED] = 0
    _bound(own)


@congestion_control
def react(  # type: ignore[no-untyped-def]
    own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    if event == ON_ACK:
        own[_ACHIEVED] += acked
        own[_RECEIVED] += acked
        own[_IGNORED] += acked
        delay = own[_AVERAGE]
        if rtt >= 0:
            _hear_rtt(own, rtt)
            delay = rtt - own[_BASE]
            # a long delay without a mark is a queue that is about to go
            sample = own[_BASE] * 0.25 if marked == 0 and delay > own[_TARGET] else delay
            own[_AVERAGE] = np.floor(_GAIN * sample + (1 - _GAIN) * own[_AVERAGE])
        if not _quick_adapt(own, now, False, marked != 0, delay, in_flight):
            _adjust(own, now, marked != 0, delay, acked)
    elif event == ON_NACK:
        if rtt >= 0:
            _hear_rtt(own, rtt)
        own[_IGNORED] += lost
        own[_AVERAGE] = np.floor(_GAIN * own[_NETWORK] + (1 - _GAIN) * own[_AVERAGE])
        own[_DUE] = 1
        # cut at the last hop: the receiver's credit sees to it
        adapted = _quick_adapt(own, now, True, True, 0.0, in_flight + lost)
        if not adapted and (own[_CREDIT] == 0 or (marked & 2) == 0):
            own[WINDOW] -= lost
            _bound(own)
    elif event == ON_TIMEOUT:
        own[WINDOW] = max(own[WINDOW] - lost, own[_MTU])
