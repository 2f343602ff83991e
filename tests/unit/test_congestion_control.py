"""Congestion controls called one event at a time: each rule by numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from sim.dispatch.api import (
    FREE,
    ON_ACK,
    ON_NACK,
    ON_SENT,
    ON_TIMEOUT,
    ON_TIMER,
    QUEUE,
    RATE,
    SENT,
    SPEED,
    TIME,
    TIMER,
)
from sim.dispatch.transport import constant, credit, dcqcn, dctcp, hpcc, nscc, swift, timely
from tests.unit.controls import CONTROLS, FACTS, MTU, NO_PATH, US, Flow, G


@pytest.mark.parametrize("module", CONTROLS)
def test_every_control_begins_with_a_full_packet_and_stays_finite_under_random_calls(module):
    flow, rng = Flow(module), np.random.default_rng(1)
    assert flow.own.dtype == np.float64
    assert flow.window >= MTU
    assert flow.rate >= 0
    for sequence in range(2000):
        now = flow.now + int(rng.integers(0, 10 * US))
        while 0 < flow.own[TIMER] <= now:
            due, flow.own[TIMER] = int(flow.own[TIMER]), 0
            flow.call(ON_TIMER, now=due)
        flow.call(
            int(rng.choice([ON_ACK, ON_ACK, ON_ACK, ON_NACK, ON_TIMEOUT, ON_SENT])),
            now=now,
            rtt=int(rng.integers(-1, 10**9)),
            marked=int(rng.integers(0, 2)),
            acked=MTU,
            lost=MTU,
            sequence=sequence,
            next=sequence + 20,
            path=rng.uniform(0, 1e6, 24) if module.uses_telemetry else NO_PATH,
        )
        assert np.all(np.isfinite(flow.own))
        assert flow.window >= MTU
        assert flow.rate >= 0
        assert flow.own[TIMER] == 0 or flow.own[TIMER] > flow.now


# -- DCTCP


def test_dctcp_alpha_goes_to_the_marked_share():
    flow, share, sequence = Flow(dctcp), 0.3, 0
    for _ in range(200):  # windows of 10 packets, 3 of them marked
        for place in range(10):
            flow.ack(sequence=sequence, next=sequence + 10, marked=place < 10 * share)
            sequence += 1
    assert flow.own[dctcp._ALPHA] == pytest.approx(share, rel=0.02)


def test_dctcp_cuts_once_a_window_by_half_of_alpha():
    flow = Flow(dctcp, window=100 * MTU)
    flow.own[dctcp._ALPHA] = 0.4
    flow.ack(sequence=0, next=10, marked=1)
    assert flow.window == pytest.approx(100 * MTU * (1 - 0.4 / 2))
    for sequence in range(1, 10):
        flow.ack(sequence=sequence, next=10 + sequence, marked=1)
    assert flow.window == pytest.approx(80 * MTU)
    flow.ack(sequence=10, next=20, marked=1)
    # one window over, all of it marked (but for the first packet, whose round ended with itself)
    assert flow.window == pytest.approx(80 * MTU * (1 - (0.4 + 0.6 / 16) / 2))


def test_dctcp_grows_by_a_packet_a_window_and_halves_at_a_loss():
    flow = Flow(dctcp, window=10 * MTU)
    for sequence in range(10):
        flow.ack(sequence=sequence, next=sequence + 10)
    assert flow.window == pytest.approx(11 * MTU, rel=0.005)
    before = flow.window
    flow.call(ON_NACK, lost=MTU, sequence=12, next=22)
    flow.call(ON_NACK, lost=MTU, sequence=13, next=22)
    assert flow.window == before / 2
    flow.call(ON_TIMEOUT, lost=MTU, sequence=30, next=40)
    assert flow.window == MTU


def test_dctcp_by_rate_adds_a_gigabit_an_rtt_and_has_no_window():
    flow = Flow(dctcp, variant="rate")
    assert flow.window == 2**62
    flow.ack(sequence=0, next=10, marked=1)  # alpha 1
    assert flow.rate == 50 * G
    for sequence in range(1, 31):
        flow.ack(sequence=sequence, next=sequence + 10)
    assert flow.rate == 53 * G  # the rounds that began at 10, 20 and 30
    for sequence in range(31, 1000):
        flow.ack(sequence=sequence, next=sequence + 10)
    assert flow.rate == 100 * G


# -- DCQCN


def test_dcqcn_rate_timeline_after_one_notification():
    flow = Flow(dcqcn, byte_counter=0)
    flow.ack(now=10 * US, marked=1, sequence=0, next=1)
    assert (flow.rate, flow.own[TIMER]) == (100 * G, 14 * US)

    def timer() -> int:
        at, flow.own[TIMER] = int(flow.own[TIMER]), 0
        flow.call(ON_TIMER, now=at)
        return at // US

    assert timer() == 14
    rate = 100 * G * (1 - (1 - 1 / 256) ** 4 / 2)  # alpha has fallen in four intervals of 1 us
    target = 100 * G
    assert flow.rate == pytest.approx(rate, rel=1e-12)
    flow.own[dcqcn._TARGET] = target = 80 * G  # as after cuts in a row, so that the increases can be seen
    for step, more in enumerate([0, 40e6, 100e6, 100e6]):  # fast recovery, additive, hyper, hyper
        assert timer() == 314 + 300 * step
        target += more
        rate = (rate + target) / 2
        assert flow.rate == pytest.approx(rate, rel=1e-12)


def test_dcqcn_byte_counter_and_timer_both_past_fast_recovery_for_hyper_increase():
    flow = Flow(dcqcn, byte_counter=10 * MTU)
    flow.ack(now=US, marked=1)
    flow.call(ON_TIMER, now=5 * US)
    flow.own[dcqcn._TARGET] = 60 * G
    rate, target = flow.rate, 60.0 * G
    for more in [0, 40e6, 40e6, 40e6]:  # the timer's count is 0: never hyper
        for _ in range(10):
            flow.call(ON_SENT, acked=MTU)
        target += more
        rate = (rate + target) / 2
        assert flow.rate == pytest.approx(rate, rel=1e-12)
    for more in [40e6, 40e6, 100e6]:
        flow.call(ON_TIMER, now=int(flow.own[dcqcn._RAISE_AT]))
        target += more
        rate = (rate + target) / 2
        assert flow.rate == pytest.approx(rate, rel=1e-12)


def test_dcqcn_cuts_at_most_once_a_decrease_interval_and_keeps_to_the_least_rate():
    flow = Flow(dcqcn, cnp_interval=0)
    cuts = 0
    for tick in range(1, 401):  # a marked ACK every 0.1 us for 40 us
        now = tick * US // 10
        if 0 < flow.own[TIMER] <= now:
            flow.call(ON_TIMER, now=int(flow.own[TIMER]))
            cuts += 1
        flow.ack(now=now, marked=1)
    assert cuts == 9
    assert flow.own[dcqcn._ALPHA] == pytest.approx(1, abs=0.01)  # all intervals had a notification
    assert flow.rate == 10**8 or flow.rate == pytest.approx(100 * G / 2**9, rel=0.05)
    sparse = Flow(dcqcn)
    for tick in range(1, 401):
        sparse.ack(now=tick * US // 10, marked=1)
    assert sparse.own[dcqcn._NOTIFIED] == US // 10


# -- HPCC


def link_of(sent: float, time: float, queue: float = 0) -> np.ndarray:
    path = np.zeros(4)
    path[QUEUE], path[SENT], path[TIME], path[SPEED] = queue, sent, time, 100 * G
    return path


def test_hpcc_settles_at_eta():
    flow, sent, queue, times = Flow(hpcc), 0.0, 0.0, []
    for sequence in range(20_000):
        # the link is served as fast as the sender paces, at most at its rate; a queue holds the rest
        gap = MTU * 8e12 / flow.rate
        queue = max(0.0, queue + MTU - gap * 100 * G / 8e12)
        flow.now += max(int(gap), int(MTU * 8e12 / (100 * G)))
        sent += MTU
        ahead = int(flow.window // MTU)
        flow.ack(sequence=sequence, next=sequence + ahead, path=link_of(sent, flow.now, queue))
        times.append(flow.now)
    use = 10_000 * MTU * 8e12 / (times[-1] - times[-10_001]) / (100 * G)
    assert use == pytest.approx(0.95, abs=0.0095)


def test_hpcc_divides_by_the_use_of_the_busiest_link_and_takes_the_reference_once_an_rtt():
    flow, rtt = Flow(hpcc), FACTS.rtt
    first = flow.window
    flow.ack(sequence=0, next=42, path=np.concatenate([link_of(0, 0), link_of(0, 0)]))
    full = rtt * 100 * G / 8e12  # what a link sends in an RTT
    # the second link was busy all the RTT and has a queue of half a BDP: u = 1.5
    second = np.concatenate([link_of(full / 2, rtt), link_of(full, rtt, full / 2)])
    flow.ack(sequence=1, next=43, path=second)
    assert flow.own[hpcc._USE] == pytest.approx(1.0)  # the lesser of the two queues is 0
    assert flow.window == pytest.approx(first * 0.95 + 80)
    third = np.concatenate([link_of(full / 2, 2 * rtt), link_of(2 * full, 2 * rtt, full / 2)])
    flow.ack(sequence=42, next=80, path=third)
    assert flow.own[hpcc._USE] == pytest.approx(1.5)
    assert flow.window == pytest.approx(first * 0.95 / 1.5 + 80)
    assert flow.own[hpcc._REFERENCE] == flow.window
    assert flow.rate == pytest.approx(flow.window * 8e12 / rtt)


# -- TIMELY


def test_timely_four_branches():
    def after(last: int, rtt: int, difference: float = 0.0, rises: int = 0) -> Flow:
        flow = Flow(timely, low=50 * US, high=500 * US, min_rtt=20 * US)
        flow.own[RATE] = 10 * G
        flow.ack(sequence=0, next=5, rtt=last)
        flow.own[timely._DIFFERENCE], flow.own[timely._RISES] = difference, rises
        flow.ack(sequence=5, next=10, rtt=rtt)
        return flow

    assert after(30 * US, 49 * US).rate == 10 * G + 40e6  # below low, although it rises
    assert after(600 * US, 550 * US).rate == pytest.approx(10 * G * (1 - 0.8 * (1 - 500 / 550)))  # above high
    assert after(100 * US, 100 * US).rate == 10 * G + 40e6  # level
    assert after(100 * US, 90 * US, rises=5).rate == 10 * G + 100e6  # the sixth in a row
    # 0.125 x 4 + 0.875 x 8 = 7.5 us more, of 20
    assert after(100 * US, 108 * US, difference=4.0 * US).rate == pytest.approx(10 * G * (1 - 0.8 * 7.5 / 20))


def test_timely_changes_once_an_rtt_and_not_below_the_least_rate():
    flow = Flow(timely)
    flow.ack(sequence=0, next=5, rtt=20 * US)
    flow.own[RATE] = 10 * G
    for sequence in range(1, 5):
        flow.ack(sequence=sequence, next=5 + sequence, rtt=20 * US)
    assert flow.rate == 10 * G
    flow.ack(sequence=5, next=9, rtt=100 * US)
    assert flow.rate == 10**8  # a gradient above 1 / beta takes all


# -- Swift


def test_swift_target_by_hand_and_decrease_once_an_rtt():
    facts = FACTS._replace(hops=2, mtu=4000)
    flow = Flow(swift, facts, base=20 * US, window=100_000)  # 25 packets
    slope = 100 * US / (1 / math.sqrt(0.1) - 1 / math.sqrt(100))
    target = 20 * US + 2 * 20 * US / 6.55 + slope / 5 - slope / 10
    flow.ack(now=10**9, rtt=int(target), acked=0)  # just below it
    assert flow.window == 100_000
    flow.ack(now=10**9, rtt=int(target) - 1, acked=4000)
    assert flow.window == pytest.approx(100_000 + 4000 / 25)
    flow = Flow(swift, facts, base=20 * US, window=100_000)
    rtt = int(1.25 * target)
    flow.ack(now=10**9, rtt=rtt, acked=4000)
    assert flow.window == pytest.approx(100_000 * (1 - 0.8 * 0.2), rel=1e-6)
    flow.ack(now=10**9 + rtt - 1, rtt=rtt, acked=4000)
    assert flow.window == pytest.approx(84_000, rel=1e-6)
    flow.ack(now=2 * 10**9, rtt=10**9, acked=4000)
    assert flow.window == pytest.approx(42_000, rel=1e-6)  # at most half


def test_swift_paces_below_one_packet():
    flow = Flow(swift, window=MTU)
    flow.call(ON_NACK, now=10**9, lost=MTU)
    assert flow.window == MTU  # one may always be under way
    assert flow.rate == pytest.approx(0.5 * MTU * 8e12 / FACTS.rtt)
    for round in range(2, 30):
        flow.call(ON_TIMEOUT, now=round * 10**9, lost=MTU)
    assert flow.own[swift._PACKETS] == 0.01


# -- NSCC


def test_constant_and_credit_begin_with_one_and_a_half_bdp():
    flow = Flow(constant)
    assert flow.own.tolist() == [FACTS.bdp * 3 // 2, 0, 0]
    flow.call(ON_NACK, lost=MTU)
    assert flow.window == FACTS.bdp * 3 // 2
    assert Flow(constant, window=50 * MTU).window == 50 * MTU
    flow = Flow(credit)
    assert (len(flow.own), flow.window) == (FREE, FACTS.bdp * 3 // 2)
    assert credit.uses_sent
    flow.call(ON_SENT, acked=MTU)
    assert flow.window == 2**62
    assert credit.options(credit.Params(), FACTS)["credit"] is True


def test_parameters_carry_units():
    assert dcqcn.Params(additive="40Mbps").additive == 40 * 10**6
    assert nscc.Params(target="6us", window="50KB").window == 50_000
    with pytest.raises(ValidationError, match="no unit"):
        timely.Params(additive=40)
    with pytest.raises(ValidationError):
        dctcp.Params(gain=0)


def test_marking_thresholds():
    at = {
        rate: dctcp.marking(dctcp.Params(), FACTS._replace(rate=rate * G, buffer=10**9)) for rate in (10, 100, 300, 800)
    }
    assert at == {
        10: (40_000, 40_000, 1),
        100: (400_000,) * 2 + (1,),
        300: (700_000,) * 2 + (1,),
        800: (1_600_000,) * 2 + (1,),
    }
    assert dcqcn.marking(dcqcn.Params(), FACTS) == (100_000, 400_000, 0.2)
    # a port of 100 KB can't wait for 400
    assert dcqcn.marking(dcqcn.Params(), FACTS._replace(buffer=100_000)) == (20_000, 80_000, 0.2)
