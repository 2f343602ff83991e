"""DCTCP: the window, or the rate, falls once an RTT by half the average share of marked packets.

Source: Alizadeh et al., "Data Center TCP (DCTCP)", SIGCOMM 2010: alpha <- (1 - g) alpha + g F each RTT, where F is the
marked share; at the first mark of a window W <- W (1 - alpha / 2); else one packet more an RTT. ``variant: rate`` is
the rate-based form in the ns-3 code of Ethereal's authors (arXiv 2407.00550): no window, g 1/256, 1 Gb/s more an RTT,
at least 100 Mb/s, back to the line rate after a timeout. Switches mark every packet from a step on (their table).

Differences: there is no slow start, a flow begins with a BDP or at line rate; F is by bytes, so that it may be used
with few ACKs. A loss halves, once a window; a timeout leaves a window of one packet, as in TCP.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

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
    Rate,
    SizeOrAuto,
    congestion_control,
)
from sim.dispatch.transport._marking import step_of

uses_telemetry = False
uses_sent = False

# constants: whether it paces, g, a packet, the step up an RTT, and the bounds of what is controlled
(_PACED, _GAIN, _MTU, _STEP, _LEAST, _MOST) = range(FREE, FREE + 6)
# alpha; the packet whose ACK ends this RTT (-1: none yet), bytes acknowledged in it and marked among them; packets
# below this were sent before the last decrease
(_ALPHA, _END, _ACKED, _MARKED, _CUT_END) = range(FREE + 6, FREE + 11)


class Params(PolicyParams):
    variant: Literal["window", "rate"] = Field("window", description="what is controlled")
    gain: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        "auto", description="g; auto: 1/16 for the window, 1/256 for the rate"
    )
    window: SizeOrAuto = Field("auto", description="bytes on the wire at the start (variant window); auto: 1 BDP")
    increase: Rate = Field(10**9, gt=0, description="more an RTT (variant rate)")
    min_rate: Rate = Field(10**8, gt=0, description="least rate (variant rate)")


def memory(params: Params, facts: PathFacts) -> NDArray[np.float64]:
    """The constants, and a flow at its start: alpha 1, so that the first mark halves."""
    own = np.zeros(FREE + 11)
    paced = params.variant == "rate"
    own[WINDOW] = 2.0**62 if paced else facts.bdp if params.window == "auto" else params.window
    own[RATE] = facts.rate if paced else 0
    own[_PACED], own[_MTU] = paced, facts.mtu
    own[_GAIN] = (1 / 256 if paced else 1 / 16) if params.gain == "auto" else params.gain
    own[_STEP] = params.increase if paced else facts.mtu
    own[_LEAST] = params.min_rate if paced else facts.mtu
    own[_MOST] = facts.rate if paced else 2.0**62
    own[_ALPHA], own[_END] = 1, -1
    return own


def marking(params: Params, facts: PathFacts) -> tuple[int, int, float]:
    """A step by the rate of the hosts' links."""
    return step_of(facts)


@congestion_control
def react(  # type: ignore[no-untyped-def]
    own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    what = RATE if own[_PACED] != 0 else WINDOW
    value = own[what]
    if event == ON_ACK:
        own[_ACKED] += acked
        if marked:
            own[_MARKED] += min(acked, own[_MTU])
        round_over = sequence >= own[_END]
        if round_over:
            if own[_END] >= 0 and own[_ACKED] > 0:
                own[_ALPHA] += own[_GAIN] * (own[_MARKED] / own[_ACKED] - own[_ALPHA])
            if own[_END] < 0 or own[_ACKED] > 0:
                own[_END] = following
                own[_ACKED] = own[_MARKED] = 0
        if sequence >= own[_CUT_END]:
            if marked:
                value *= 1 - own[_ALPHA] / 2
                own[_CUT_END] = following
            elif own[_PACED] == 0:
                value += own[_STEP] * acked / value
            elif round_over:
                value += own[_STEP]
    elif event == ON_NACK and sequence >= own[_CUT_END]:
        value /= 2
        own[_CUT_END] = following
    elif event == ON_TIMEOUT:
        value = own[_MOST] if own[_PACED] != 0 else own[_LEAST]
        own[_CUT_END] = following
    own[what] = min(max(value, own[_LEAST]), own[_MOST])
