"""DCQCN: rates fall at congestion notifications and recover in stages by a timer and a byte counter.

Source: Zhu et al., "Congestion Control for Large-Scale RDMA Deployments", SIGCOMM 2015, in the form and with the
defaults of the public ns-3 code (HPCC's, ConWeave's): alpha interval 1 us, decrease interval 4 us, increase timer
300 us, one fast recovery, marking from 100 to 400 KB with 0.2 at 100 Gb/s. The paper has timers of 55 us and five fast
recoveries. Increases of 40 and 100 Mb/s are those of 100 Gb/s, in proportion.

A notification is a marked ACK, at most one in ``cnp_interval`` (the paper's 50 us; the ns-3 code has 0: all of them).
The first one sets alpha to 1. Every alpha interval alpha falls by g, and a notification in it adds g; alpha is brought
up to date when it is needed, so it costs no timer. Every decrease interval with a notification: target = rate (unless
it has not risen since the last decrease; in the paper always: ``clamp_target``), rate x (1 - alpha / 2), and the stages
begin anew. Every increase timer or ``byte_counter`` bytes: rate = (rate + target) / 2, after ``fast_recovery`` of them
with the target raised, by the hyper increase where both counts are past it (the timer alone if there is no counter).

Difference: a cut or lost packet notifies too.
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
    ON_SENT,
    ON_TIMEOUT,
    ON_TIMER,
    RATE,
    TIMER,
    WINDOW,
    Field,
    PathFacts,
    PolicyParams,
    Rate,
    RateOrAuto,
    Size,
    Time,
    congestion_control,
)
from sim.dispatch.transport._marking import ramp_of

uses_telemetry = False
uses_sent = True

(_GAIN, _ALPHA_EVERY, _CUT_EVERY, _RAISE_EVERY, _COUNT, _STAGES) = range(FREE, FREE + 6)
(_ADD, _HYPER, _LEAST, _MOST, _NOTIFY_EVERY, _CLAMP) = range(FREE + 6, FREE + 12)
# alpha, until when it is right, and whether a notification came since; the target; the last notification; the first
# one (0: none yet), from which the decrease intervals count; when the rate falls and rises (0: not); how often it rose
# by the timer and by the counter; bytes sent since the counter's last
(_ALPHA, _ALPHA_AT, _HEARD, _TARGET, _NOTIFIED, _BEGAN) = range(FREE + 12, FREE + 18)
(_CUT_AT, _RAISE_AT, _BY_TIME, _BY_BYTES, _SENT) = range(FREE + 18, FREE + 23)

_OWN, _LONG = types.float64[::1], types.int64


class Params(PolicyParams):
    gain: float = Field(1 / 256, gt=0, le=1, description="g, of a notification in alpha")
    alpha_interval: Time = Field(10**6, gt=0, description="alpha falls by g in each")
    decrease_interval: Time = Field(4 * 10**6, gt=0, description="least time between two decreases")
    increase_timer: Time = Field(300 * 10**6, gt=0, description="from increase to increase")
    byte_counter: Size = Field(10**7, ge=0, description="bytes from increase to increase; 0: only the timer")
    fast_recovery: int = Field(1, ge=0, le=100, description="increases before the target rises")
    additive: RateOrAuto = Field("auto", description="of the target; auto: rate / 2500")
    hyper: RateOrAuto = Field("auto", description="of the target later on; auto: rate / 1000")
    min_rate: Rate = Field(10**8, gt=0, description="least rate")
    clamp_target: bool = Field(False, description="each decrease lowers the target, not just the first in a row")
    cnp_interval: Time = Field(50 * 10**6, ge=0, description="between two notifications; 0: every marked ACK")


def memory(params: Params, facts: PathFacts) -> NDArray[np.float64]:
    """The constants, and a flow at line rate."""
    own = np.zeros(FREE + 23)
    own[WINDOW], own[RATE] = 2.0**62, facts.rate
    own[_GAIN], own[_ALPHA_EVERY], own[_CUT_EVERY] = params.gain, params.alpha_interval, params.decrease_interval
    own[_RAISE_EVERY], own[_COUNT], own[_STAGES] = params.increase_timer, params.byte_counter, params.fast_recovery
    own[_ADD] = facts.rate / 2500 if params.additive == "auto" else params.additive
    own[_HYPER] = facts.rate / 1000 if params.hyper == "auto" else params.hyper
    own[_LEAST], own[_MOST], own[_NOTIFY_EVERY] = min(params.min_rate, facts.rate), facts.rate, params.cnp_interval
    own[_CLAMP] = params.clamp_target
    own[_ALPHA], own[_TARGET] = 1, facts.rate
    return own


def marking(params: Params, facts: PathFacts) -> tuple[int, int, float]:
    """The ns-3 code's ramp at 100 Gb/s, in proportion to the rate."""
    return ramp_of(100_000, 400_000, 0.2, facts)


@njit(types.void(_OWN, _LONG), internal=True)
def _bring_alpha(own, now):  # type: ignore[no-untyped-def]
    """Alpha as it is after the intervals that are over by now."""
    count = np.floor((now - own[_ALPHA_AT]) / own[_ALPHA_EVERY])
    if count > 0:
        own[_ALPHA] = (1 - own[_GAIN]) * own[_ALPHA] + own[_GAIN] * own[_HEARD]
        own[_ALPHA] *= (1 - own[_GAIN]) ** (count - 1)
        own[_HEARD] = 0
        own[_ALPHA_AT] += count * own[_ALPHA_EVERY]


@njit(types.void(_OWN, _LONG), internal=True)
def _notify(own, now):  # type: ignore[no-untyped-def]
    if own[_BEGAN] == 0:
        own[_BEGAN] = own[_ALPHA_AT] = now
        own[_TARGET] = own[RATE]
    else:
        if now - own[_NOTIFIED] < own[_NOTIFY_EVERY]:
            return
        _bring_alpha(own, now)
        own[_HEARD] = 1
    own[_NOTIFIED] = now
    if own[_CUT_AT] == 0:
        count = np.floor((now - own[_BEGAN]) / own[_CUT_EVERY]) + 1
        own[_CUT_AT] = own[_BEGAN] + count * own[_CUT_EVERY]


@njit(types.void(_OWN, _LONG), internal=True)
def _cut(own, now):  # type: ignore[no-untyped-def]
    _bring_alpha(own, now)
    if own[_CLAMP] != 0 or own[_BY_TIME] > 0 or own[_BY_BYTES] > 0:
        own[_TARGET] = own[RATE]
    own[RATE] = max(own[RATE] * (1 - own[_ALPHA] / 2), own[_LEAST])
    own[_CUT_AT] = own[_BY_TIME] = own[_BY_BYTES] = own[_SENT] = 0
    own[_RAISE_AT] = now + own[_RAISE_EVERY]


@njit(types.void(_OWN), internal=True)
def _rise(own):  # type: ignore[no-untyped-def]
    """One increase, by the stage that the counts (before it) have reached."""
    most = max(own[_BY_TIME], own[_BY_BYTES])
    least = min(own[_BY_TIME], own[_BY_BYTES]) if own[_COUNT] > 0 else own[_BY_TIME]
    if least > own[_STAGES]:
        own[_TARGET] += own[_HYPER]
    elif most >= own[_STAGES]:
        own[_TARGET] += own[_ADD]
    own[_TARGET] = min(own[_TARGET], own[_MOST])
    own[RATE] = (own[RATE] + own[_TARGET]) / 2


@congestion_control
def react(  # type: ignore[no-untyped-def]
    own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    if (event == ON_ACK and marked) or event in (ON_NACK, ON_TIMEOUT):
        _notify(own, now)
    elif event == ON_TIMER:
        if own[_CUT_AT] != 0 and own[_CUT_AT] <= now:
            _cut(own, now)
        if own[_RAISE_AT] != 0 and own[_RAISE_AT] <= now:
            _rise(own)
            own[_BY_TIME] += 1
            # at line rate there is nothing to raise until it falls again
            own[_RAISE_AT] = now + own[_RAISE_EVERY] if own[RATE] < own[_MOST] else 0
    elif event == ON_SENT and own[_COUNT] > 0 and own[_RAISE_AT] != 0:
        own[_SENT] += acked
        if own[_SENT] >= own[_COUNT]:
            own[_SENT] -= own[_COUNT]
            _rise(own)
            own[_BY_BYTES] += 1
    first, second = own[_CUT_AT], own[_RAISE_AT]
    own[TIMER] = max(first, second) if first == 0 or second == 0 else min(first, second)
