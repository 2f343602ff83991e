"""Routers that learn or forecast: their models against exact numbers, their decisions as stories."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sim.dispatch.api import DECODE, HOLD, PREFILL, WHOLE, Incoming
from sim.dispatch.kit.fleet import Fleet
from sim.dispatch.registry import Registry
from sim.dispatch.request._double_q import DoubleQ, Step
from sim.dispatch.request._impact import CLASSES, FEATURES, GUIDE, Limits, Load, features
from sim.dispatch.request._latency import StepLaw
from sim.dispatch.request._value import LinearValue
from sim.dispatch.request_view import DECODES, MIXED, PREFILLS
from sim.dispatch.router import Router

S = 10**12  # ps
LAW = np.array([8e-3, 4e-5, 9e-5, 6e-8])


class Place:
    """A router in front of replicas whose loads and clock the test sets."""

    def __init__(self, name: str, roles: tuple[int, ...] = (MIXED, MIXED), qualities=None, **params: object) -> None:
        self.fleet = Fleet(roles, qualities)
        policy = Registry().load("request", name)
        made = policy.Params.model_validate({"ties": "first", **params})
        self.router = Router(policy.module.Policy, made, self.fleet.view(made), np.random.default_rng(1))
        self.everyone = np.arange(len(roles))
        self.count = 0

    def asked(self, **fields: object) -> Incoming:
        hashes = np.array(fields.pop("hashes", []), dtype=np.int64)
        request = Incoming(self.count, self.fleet.now, hashes=hashes, **{"prompt": 160, "predicted": 100, **fields})
        self.fleet.requests[self.count] = request
        self.count += 1
        return request

    def ask(self, among: list[int] | None = None, **fields: object) -> int:
        return self.router.route(self.asked(**fields), self.everyone if among is None else np.array(among))

    def splits(self, **fields: object) -> bool:
        return self.router.splits(self.asked(**fields))

    def loads(self, **columns: list[int]) -> None:
        for name, values in columns.items():
            self.fleet.loads[name] = values


def test_the_step_law_is_found_from_noisy_times() -> None:
    """400 measurements with 10 % noise, from guesses off by factors of 2 to 3; then a machine twice as slow."""
    rng, law = np.random.default_rng(3), StepLaw(LAW * [2.0, 0.3, 0.5, 3.0])
    iteration = np.array([1.0, 64.0, 300.0, 50_000.0])
    for count, truth, noise in ((400, LAW, 0.1), (4000, 2 * LAW, 0.0)):
        for _ in range(count):
            steps = rng.integers(1, 500)
            load = rng.integers((1, 0, 0), (128, 20_000, 100_000))
            row = np.array([steps, steps * load[0], load[1], steps * load[2]], dtype=np.float64)
            law.saw(row, float(row @ truth) * float(np.exp(noise * rng.standard_normal())))
        assert law.values @ iteration == pytest.approx(truth @ iteration, rel=0.05)
        assert law.values[[0, 2, 3]] == pytest.approx(truth[[0, 2, 3]], rel=0.15)


def load(requests: int, prompt: int, output: int, context: int) -> Load:
    one = [np.array([float(value)]) for value in (requests, prompt, output, context)]
    return Load(*one, np.zeros((1, CLASSES)))


def test_the_impact_of_a_request_by_hand() -> None:
    """It waits for the prompts there, delays all by its own, and lengthens the steps that it shares with the others."""
    limits = Limits(np.array([128.0]), np.array([1e6]))
    before, after = load(10, 500, 2000, 9000), load(10, 500, 2000, 9000).after(300, 100, 0, 0)
    got = ((features(after, limits, LAW) - features(before, limits, LAW)) @ GUIDE)[0]
    step = LAW[0] + LAW[1] * 10 + LAW[3] * 9000
    assert got == pytest.approx(LAW[2] * (500 + 11 * 300) + 100 * (step + LAW[1]) + 2000 * LAW[1])


def test_requests_beyond_the_seats_wait_for_others() -> None:
    """Of 6 requests with 100 tokens each and 4 seats, two wait: for one and two ends of 100 steps by 4."""
    limits = Limits(np.array([4.0]), np.array([1e6]))
    queue = features(load(6, 0, 600, 0), limits, LAW)[0, 2]
    assert queue == pytest.approx(0.5 * 4 * 600 * (LAW[0] + 4 * LAW[1]) / 6 / 4)
    narrow = Limits(np.array([128.0]), np.array([300.0]))  # KV for half of them
    assert features(load(6, 0, 600, 0), narrow, LAW)[0, 2] > 0


def test_a_value_begins_as_the_guide_and_becomes_the_truth() -> None:
    """A state that never changes and costs 2 a decision is worth 2 / (1 - discount)."""
    value = LinearValue(np.array([5.0]), trust=10.0, memory=1e6)
    one, cost = np.ones((1, 1)), np.array([2.0])
    for _ in range(64):
        value.saw(one, cost, 0.9, one)
    assert 5 < value.weights[0] < 20
    for _ in range(6400):
        value.saw(one, cost, 0.9, one)
    assert value.weights[0] == pytest.approx(20, rel=0.05)


def test_workload_aware_keeps_heavy_prompts_from_running_outputs() -> None:
    """Replica 0 decodes many tokens, replica 1 has as many requests in prefill: work alone would say 0 for both."""
    place = Place("workload_aware", learn=False)
    place.loads(running=[10, 12], outstanding_tokens=[9000, 2600], waiting_tokens=[0, 2000])
    assert place.ask(prompt=4000, predicted=10) == 0  # few wait for a long prompt, many steps do not
    place.loads(running=[40, 4], outstanding_tokens=[9000, 9000], waiting_tokens=[0, 8000])
    assert place.ask(prompt=4000, predicted=10) == 1  # 40 would wait for it
    assert place.ask(prompt=16, predicted=50) == 0  # this one waits for nobody's prompt there


def test_workload_aware_by_stage_and_without_predictions() -> None:
    place = Place("workload_aware", learn=False)
    place.loads(running=[3, 3], outstanding_tokens=[5000, 5000], waiting_tokens=[5000, 0])
    assert place.ask(stage=PREFILL) == 1
    assert place.ask(stage=DECODE) == 1  # no prompt is in its way
    for output, expected in ((1, 1), (5000, 0)):  # what it assumes of an unknown output
        place = Place("workload_aware", learn=False, output=output, sequence="5ms")
        place.loads(running=[1, 10], outstanding_tokens=[3000, 10], waiting_tokens=[3000, 0])
        assert place.ask(prompt=16, predicted=-1) == expected


def test_workload_aware_holds_what_no_cache_has_room_for() -> None:
    place = Place("workload_aware", learn=False, hold_above=0.5)  # of 4096 blocks of 16 tokens
    assert place.ask(prompt=60_000) == 0  # an idle replica takes anything
    place.loads(running=[1, 1], used_blocks=[1000, 1500], outstanding_tokens=[100, 100])
    assert place.ask(prompt=30_000) == HOLD
    assert place.ask(prompt=10_000) == 0
    assert place.ask(prompt=30_000, stage=DECODE) >= 0


def test_workload_aware_learns_times_and_values_while_it_serves() -> None:
    place = Place("workload_aware", explored=50)
    policy = place.router.policy
    for number in range(400):
        place.fleet.now += S // 10
        place.loads(running=[number % 7, number % 5], outstanding_tokens=[(number % 7) * 90, (number % 5) * 90])
        request = place.asked()
        replica = place.router.route(request, place.everyone)
        place.router.finished(request.id, replica, S // 50, S // 50 + request.predicted * S // 20)  # 50 ms a token
    assert policy.times[0] + policy.times[1] * 3 == pytest.approx(0.05, rel=0.3)
    assert not np.array_equal(policy.weights, GUIDE)
    assert len(policy.weights) == FEATURES
    assert policy._mix.sum() == 0  # all have ended
    with pytest.raises(ValueError, match="at least 10 items"):
        Place("workload_aware", weights=[1.0])


def test_double_q_learns_what_an_action_leads_to() -> None:
    """Action 0 pays 0.2 and leads to where nothing pays; action 1 pays nothing and leads to where 1 is paid."""
    rng = np.random.default_rng(2)
    learner = DoubleQ(states=3, actions=2, hidden=16, rate=0.01, discount=0.8, memory=500)
    learner.start(rng)
    here, poor, rich = np.eye(3)
    for _ in range(1000):
        learner.saw(Step(here, 0, 0.2, poor))
        learner.saw(Step(here, 1, 0.0, rich))
        for action in range(2):
            learner.saw(Step(poor, action, 0.0, poor))
            learner.saw(Step(rich, action, 1.0, here))
        learner.train(32, 20, rng)
    worth = learner.values(np.eye(3))
    # V(rich) = 1 + 0.8 V(here), V(here) = 0.8 V(rich)
    assert worth[0] == pytest.approx([0.2, 0.8 / 0.36], abs=0.15)
    assert worth[2] == pytest.approx([1 / 0.36] * 2, abs=0.15)


@pytest.mark.parametrize("reward", ["hard", "soft"])
def test_best_effort_takes_the_good_model_until_it_is_too_slow(reward: str) -> None:
    """The good one meets the deadline while fewer than 10 are there."""
    place = Place("best_effort", qualities=(0.9, 0.6), deadline="1s", warm_up=50, reward=reward, rate=0.003)

    def story(requests: int) -> list[int]:
        answers = []
        rng = np.random.default_rng(5)
        for _ in range(requests):
            place.fleet.now += S // 100
            busy = int(rng.integers(0, 20))
            place.loads(running=[busy, 3])
            request = place.asked()
            answers.append(replica := place.router.route(request, place.everyone))
            spent = 3 * S if replica == 0 and busy >= 10 else S // 2
            place.router.finished(request.id, replica, S // 10, spent)
            answers[-1] = 2 * replica + (busy >= 10)
        return answers

    story(1000)
    count = Counter(story(500))  # 0, 1: the good one in time and late; 2, 3: the fast one
    assert count[0] > 0.85 * (count[0] + count[2])
    assert count[3] > 0.85 * (count[1] + count[3])


def test_best_effort_gives_up_on_what_never_ends() -> None:
    place = Place("best_effort", qualities=(0.9, 0.6), deadline="1s", warm_up=0)
    policy = place.router.policy
    for _ in range(300):
        place.fleet.now += S // 10
        place.ask()
    assert len(policy._by_id) <= 11
    assert policy._learner._kept >= 289


def test_predictive_takes_the_best_forecast_of_the_least_loaded() -> None:
    place = Place("predictive", roles=(MIXED,) * 4)
    asked: list[int] = []
    times = {0: (9, 50), 1: (5, 70), 2: (7, 40), 3: (1, 99)}
    place.fleet.forecast = lambda rank, *_: asked.append(rank) or times[rank]
    assert (place.ask(), place.ask(stage=PREFILL), place.ask(among=[0, 1])) == (2, 3, 0)
    soon = Place("predictive", roles=(MIXED,) * 4, by="ttft", top_k=2)
    soon.fleet.forecast = place.fleet.forecast
    soon.loads(outstanding_tokens=[5, 6, 7, 8])
    asked.clear()
    assert soon.ask() == 1
    assert asked == [0, 1]


def test_pd_threshold_counts_what_is_not_cached() -> None:
    place = Place("pd_threshold", roles=(PREFILLS, DECODES, DECODES), threshold=64)
    place.fleet.cached[2] = set(range(8))  # 128 tokens
    chain = list(range(10))
    assert place.splits(prompt=200)
    assert not place.splits(prompt=60)
    assert place.splits(prompt=192, hashes=chain)  # 64 at the best replica
    assert not place.splits(prompt=191, hashes=chain)
    place.loads(outstanding_tokens=[0, 0, 200])  # now the other one would decode, and has nothing cached
    assert place.splits(prompt=191, hashes=chain)
    always = Place("pd_threshold", roles=(PREFILLS, DECODES), threshold=0)
    assert always.splits(prompt=1)


def test_pd_threshold_places_each_half() -> None:
    place = Place("pd_threshold", roles=(PREFILLS, PREFILLS, DECODES, DECODES))
    place.loads(waiting_tokens=[90, 50, 0, 0], outstanding_tokens=[90, 50, 30, 20], used_blocks=[0, 0, 5, 7])
    assert place.ask(among=[0, 1], stage=PREFILL) == 1
    assert place.ask(among=[2, 3], stage=DECODE) == 2
    assert place.ask(among=[2, 3], stage=WHOLE) == 3
