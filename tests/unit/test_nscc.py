"""NSCC called one event at a time: each rule by numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sim.dispatch.api import (
    ON_NACK,
    ON_TIMEOUT,
)
from sim.dispatch.transport import nscc
from tests.unit.controls import FACTS, MTU, US, Flow


def nscc_flow(window: int = 100_000, **params: Any) -> Flow:
    """A flow in the middle of its life: no quick adapt and no adjustment is due."""
    flow = Flow(nscc, window=window, **params)
    flow.now = 10**9
    flow.own[nscc._ADJUSTED] = flow.now
    flow.own[nscc._ROUND_END] = flow.now + 10**8
    return flow


def test_nscc_begins_with_uet_htsim_constants():
    flow = Flow(nscc)
    own, scale = flow.own, 175_250 / 150_000
    assert flow.window == own[nscc._MOST] == 262_875
    assert own[nscc._TARGET] == 10_515_000
    assert own[nscc._FAIR] == pytest.approx(5 * 4086 * scale)
    assert own[nscc._ETA] == pytest.approx(0.15 * 4086 * scale)
    assert own[nscc._ALPHA] == pytest.approx(4 * 4086 * scale / 12e6)
    assert nscc.marking(nscc.Params(), FACTS) == (9 * MTU, 35 * MTU, 1.0)
    assert nscc.options(nscc.Params(credit=True), FACTS) == {"credit": True, "ack_every": 16384}
    assert Flow(nscc, FACTS._replace(trims=False)).own[nscc._TARGET] == 14_020_000


def test_nscc_four_quadrants():
    base, target, scale = FACTS.rtt, 10_515_000, 175_250 / 150_000
    # no mark, long delay: fair increase; after more than 8 packets it takes effect
    flow = nscc_flow()
    for _ in range(8):
        flow.ack(rtt=base + target)
    gathered = 0
    for _ in range(9):
        gathered = math.floor(gathered + 5 * 4086 * scale * MTU)
    assert flow.window == 100_000
    flow.ack(rtt=base + target)
    assert flow.window == 100_000 + gathered // 100_000
    # no mark, short delay: in proportion to what is missing
    flow = nscc_flow()
    flow.ack(rtt=base + 2 * US, acked=9 * MTU)
    gathered = math.floor(4 * 4086 * scale / 12e6 * 9 * MTU * (target - 2 * US))
    assert flow.window == 100_000 + gathered // 100_000
    # mark, long delay: by what the average is above the target, once a base RTT
    flow = nscc_flow()
    flow.own[nscc._AVERAGE] = 20_000_000
    flow.ack(rtt=base + 20 * US, marked=1, acked=1)
    expected = math.floor(100_000 * (1 - 0.8 * (20_000_000 - target) / 20_000_000))
    assert flow.window == expected
    flow.ack(rtt=base + 20 * US, marked=1, acked=1)
    assert flow.window == expected
    flow.now += base + 1
    flow.own[nscc._AVERAGE] = 10**9  # at most half
    flow.ack(rtt=base + 20 * US, marked=1, acked=1)
    assert flow.window == expected // 2 + 716  # and eta, since an RTT is over
    # mark, short delay: nothing
    flow = nscc_flow()
    flow.ack(rtt=base + 2 * US, marked=1, acked=9 * MTU)
    assert flow.window == 100_000


def test_nscc_eta_once_an_rtt_and_fast_increase_without_delay():
    flow = nscc_flow()
    flow.now += FACTS.rtt + 1
    flow.ack(rtt=FACTS.rtt + 2 * US, marked=1, acked=1)
    assert flow.window == math.floor(100_000 + 0.15 * 4086 * 175_250 / 150_000)
    flow = nscc_flow(window=10 * MTU)
    flow.own[nscc._RECEIVED] = -(10**9)  # adjustments out of the way
    for _ in range(10):
        flow.ack(rtt=FACTS.rtt)
    assert flow.window == 10 * MTU
    flow.ack(rtt=FACTS.rtt)  # a window without delay is over
    assert flow.window == math.floor(10 * MTU + 0.25 * 175_250 / 150_000 * MTU)


def test_nscc_average_delay():
    flow = nscc_flow()
    flow.own[nscc._AVERAGE] = 4_000_000
    flow.ack(rtt=FACTS.rtt + 8 * US, marked=1, acked=1)
    assert flow.own[nscc._AVERAGE] == math.floor(0.0125 * 8e6 + 0.9875 * 4e6)
    flow.own[nscc._AVERAGE] = 4_000_000
    flow.ack(rtt=FACTS.rtt + 20 * US, acked=1)  # long without a mark: a quarter of the base RTT
    assert flow.own[nscc._AVERAGE] == math.floor(0.0125 * FACTS.rtt * 0.25 + 0.9875 * 4e6)
    before = flow.own[nscc._AVERAGE]
    flow.ack(rtt=-1, acked=1)
    assert flow.own[nscc._AVERAGE] == before
    flow.ack(rtt=10_000_000, acked=1)  # a shorter RTT: the most follows
    assert flow.own[nscc._BASE] == 10_000_000
    assert flow.own[nscc._MOST] == 187_500


def test_nscc_quick_adapt_and_nacks():
    flow = nscc_flow(window=200_000)
    flow.own[nscc._ACHIEVED] = 20_000
    flow.call(ON_NACK, lost=MTU, in_flight=50_000, marked=1)
    assert flow.window == 200_000 - MTU  # its round is not over: a cut packet takes its bytes
    flow.now += 10**8 + 1
    flow.call(ON_NACK, lost=MTU, in_flight=50_000, marked=1)
    assert flow.window == 20_000  # what was achieved
    assert flow.own[nscc._TO_IGNORE] == 50_000 + MTU
    assert flow.own[nscc._ROUND_END] == flow.now + FACTS.rtt + 10_515_000
    flow.call(ON_NACK, lost=MTU, in_flight=40_000, marked=1)  # of what was in flight then: ignored
    assert flow.window == 20_000
    flow.ack(rtt=FACTS.rtt + 60 * US, marked=1)
    assert flow.window == 20_000
    # by delay alone: above four targets, with little achieved
    flow = nscc_flow(window=200_000)
    flow.now += 10**8 + 1
    flow.ack(rtt=FACTS.rtt + 43 * US, marked=1, acked=3000)
    assert flow.window == MTU  # 3000 B were achieved; a packet is the least
    # much achieved: the window stays, a new round begins
    flow = nscc_flow(window=200_000)
    flow.own[nscc._ACHIEVED] = 262_875 // 8
    flow.now += 10**8 + 1
    flow.call(ON_NACK, lost=MTU, in_flight=50_000)
    assert flow.window == 200_000 - MTU
    assert flow.own[nscc._ACHIEVED] == 0
    # cut at the last hop: with credit the receiver sees to it
    flow = nscc_flow(window=200_000, credit=True)
    flow.call(ON_NACK, lost=MTU, marked=2)
    assert flow.window == 200_000
    flow.call(ON_TIMEOUT, lost=MTU)
    assert flow.window == 200_000 - MTU
    assert nscc_flow(window=200_000, quick_adapt=False).own[nscc._GATE] == 0


# -- constant and credit
