"""TIMELY: rates follow the gradient of the RTT, once an RTT.

Source: Mittal et al., "TIMELY: RTT-based Congestion Control for the Datacenter", SIGCOMM 2015, as in the public ns-3
code: RTT below ``low``: additive increase; above ``high``: rate x (1 - beta (1 - high / rtt)); between them, with the
averaged difference of RTTs over the least RTT as gradient: not rising: additive increase (the hyper increase after five
of them); rising: rate x (1 - beta gradient). Its constants are 50, 500 and 20 us for low, high and least RTT: ``auto``
keeps their proportions for the fabric's RTT. Increases of 40 and 100 Mb/s are those of 100 Gb/s, in proportion.

Differences: it has no reaction to loss of its own (it ran on a lossless fabric); here a cut packet halves the rate,
once an RTT, and so does a timeout.
"""

from __future__ import annotations

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
    RateOrAuto,
    TimeOrAuto,
    congestion_control,
)

uses_telemetry = False
uses_sent = False

_HYPER_AFTER = 5  # increases

(_WEIGHT, _BETA, _LOW, _HIGH, _SHORTEST, _ADD, _HYPER, _LEAST, _MOST) = range(FREE, FREE + 9)
# the packet whose ACK ends this RTT; the last RTT (-1: none), the averaged difference; increases in a row; packets
# below this were sent before the last loss that counted
(_END, _LAST, _DIFFERENCE, _RISES, _CUT_END) = range(FREE + 9, FREE + 14)


class Params(PolicyParams):
    weight: float = Field(0.875, gt=0, le=1, description="of a new difference in the average")
    beta: float = Field(0.8, gt=0, le=1, description="of a decrease")
    low: TimeOrAuto = Field("auto", description="RTT below which rates only rise; auto: 2.5 RTT")
    high: TimeOrAuto = Field("auto", description="RTT above which rates always fall; auto: 25 RTT")
    min_rtt: TimeOrAuto = Field("auto", description="what differences are divided by; auto: the RTT")
    additive: RateOrAuto = Field("auto", description="increase an RTT; auto: rate / 2500")
    hyper: RateOrAuto = Field("auto", description="increase after five in a row; auto: rate / 1000")
    min_rate: Rate = Field(10**8, gt=0, description="least rate")


def memory(params: Params, facts: PathFacts) -> NDArray[np.float64]:
    """The constants, and a flow at line rate."""
    own = np.zeros(FREE + 14)
    own[WINDOW], own[RATE] = 2.0**62, facts.rate
    own[_WEIGHT], own[_BETA] = params.weight, params.beta
    own[_LOW] = 2.5 * facts.rtt if params.low == "auto" else params.low
    own[_HIGH] = 25 * facts.rtt if params.high == "auto" else params.high
    own[_SHORTEST] = facts.rtt if params.min_rtt == "auto" else params.min_rtt
    own[_ADD] = facts.rate / 2500 if params.additive == "auto" else params.additive
    own[_HYPER] = facts.rate / 1000 if params.hyper == "auto" else params.hyper
    own[_LEAST], own[_MOST], own[_LAST] = min(params.min_rate, facts.rate), facts.rate, -1
    return own


@congestion_control
def react(  # type: ignore[no-untyped-def]
    own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    rate = own[RATE]
    if event == ON_ACK and rtt >= 0 and sequence >= own[_END]:
        own[_END] = following
        last = own[_LAST]
        own[_LAST] = rtt
        if last < 0:
            return
        own[_DIFFERENCE] += own[_WEIGHT] * (rtt - last - own[_DIFFERENCE])
        gradient = own[_DIFFERENCE] / own[_SHORTEST]
        if rtt < own[_LOW] or (rtt <= own[_HIGH] and gradient <= 0):
            rate += own[_ADD] if own[_RISES] < _HYPER_AFTER else own[_HYPER]
            own[_RISES] += 1
        else:
            share = 1 - own[_HIGH] / rtt if rtt > own[_HIGH] else gradient
            rate *= max(1 - own[_BETA] * share, 0)
            own[_RISES] = 0
    elif event in (ON_NACK, ON_TIMEOUT) and sequence >= own[_CUT_END]:
        rate /= 2
        own[_RISES] = 0
        own[_CUT_END] = following
    own[RATE] = min(max(rate, own[_LEAST]), own[_MOST])
