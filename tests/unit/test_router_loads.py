"""What a router knows when: short stories of requests and reports, each with the exact numbers that it believes in."""

from __future__ import annotations

import numpy as np
import pytest

from models.draws import normals
from sim.dispatch.api import DECODE, HOLD, REJECT, Incoming, Predictor, RouterParams
from sim.dispatch.kit.fleet import US, Fleet, Job
from sim.dispatch.registry import Registry
from sim.dispatch.request_loads import Report, TrueLoads
from sim.dispatch.request_view import RequestView
from sim.dispatch.router import Router, predictions


class Cast:
    """Copies of a router in front of a fleet, at a time that the story sets."""

    def __init__(self, replicas: int, policy: str = "least_requests", copies: int = 1, **params: object) -> None:
        self.fleet = Fleet((0,) * replicas)
        found = Registry().load("request", policy)
        self.params = found.Params.model_validate({"ties": "first", **params})
        assert isinstance(self.params, RouterParams)
        self.copies = [
            Router(found.module.Policy, self.params, self.fleet.view(self.params), np.random.default_rng(copy))
            for copy in range(copies)
        ]
        self.everyone = np.arange(replicas)

    def route(self, number: int, copy: int = 0, **fields: object) -> int:
        request = Incoming(number, self.fleet.now, **{"prompt": 100, **fields})
        self.fleet.requests[number] = request
        return self.copies[copy].route(request, self.everyone)

    def take(self, *load: int) -> Report:
        """A report is taken: waiting, running, tokens, prefill tokens, blocks."""
        self.fleet.true.reports += 1
        return Report(*(*load, 0, 0, 0, 0, 0)[:5], number=self.fleet.true.reports)

    def believed(self, copy: int = 0) -> list[int]:
        return self.copies[copy].view.requests.tolist()


REPORTED = {"telemetry": {"interval": "10ms", "delay": "2ms"}}


@pytest.mark.parametrize(
    ("counted", "routed", "arrived"),
    [("decision", [1, 0], [1, 0]), ("arrival", [0, 0], [1, 0]), ("report", [0, 0], [0, 0])],
)
def test_when_a_request_counts(counted: str, routed: list[int], arrived: list[int]) -> None:
    """Routed but not there yet; there but in no report; in a report, once."""
    cast = Cast(2, counted=counted, **REPORTED)
    router = cast.copies[0]
    assert cast.route(7) == 0
    assert cast.believed() == routed
    router.arrived(7, 0)
    assert cast.believed() == arrived
    router.report(0, cast.take(1, 0, 150, 100, 7), taken=5)
    assert cast.believed() == [1, 0]
    assert router.view.tokens.tolist() == [150, 0]


def test_all_go_to_the_first_replica_where_only_reports_count() -> None:
    """Ties to the first and loads counted late: the next replica's turn comes with the next report."""
    late = Cast(3, counted="report", **REPORTED)
    assert [late.route(number) for number in range(4)] == [0, 0, 0, 0]
    late.copies[0].report(0, late.take(3, 1), taken=0)
    assert [late.route(number) for number in range(4, 7)] == [1, 1, 1]
    early = Cast(3, counted="decision", **REPORTED)
    assert [early.route(number) for number in range(6)] == [0, 1, 2, 0, 1, 2]


def test_a_report_that_was_under_way() -> None:
    """Taken before the request arrived, if only in the same instant: the request counts beside it."""
    cast = Cast(2, **REPORTED)
    router = cast.copies[0]
    assert cast.route(1) == 0
    before = cast.take(0)
    router.arrived(1, 0)
    after = cast.take(0, 1, 40, 0, 7)
    router.report(0, before, taken=0)
    assert cast.believed() == [1, 0]
    assert router.view.prefill_tokens.tolist() == [100, 0]
    router.report(0, after, taken=0)
    assert cast.believed() == [1, 0]
    assert router.view.prefill_tokens.tolist() == [0, 0]


def test_an_end_that_a_report_under_way_does_not_know() -> None:
    """Reports taken before the end still have the request; it is not brought back by them."""
    cast = Cast(1, **REPORTED)
    router = cast.copies[0]
    cast.route(1)
    router.arrived(1, 0)
    router.report(0, cast.take(2, 1), taken=50)
    under_way = cast.take(1, 2)
    router.left(1, 0, now=60)
    assert cast.believed() == [2]
    assert (router.view.waiting.tolist(), router.view.running.tolist()) == ([2], [0])
    router.report(0, under_way, taken=55)
    assert (router.view.waiting.tolist(), router.view.running.tolist()) == ([1], [1])
    router.report(0, cast.take(1, 1), taken=60)
    assert (router.view.waiting.tolist(), router.view.running.tolist()) == ([1], [1])


def test_a_lost_report_leaves_the_old_numbers_and_their_age() -> None:
    cast = Cast(2, counted="report", **REPORTED)
    router = cast.copies[0]
    router.report(0, cast.take(3, 1), taken=10)
    router.report(1, cast.take(0), taken=10)
    cast.fleet.now = 25
    assert router.view.age == 15
    router.report(1, cast.take(9, 9), taken=20)  # replica 0's was lost
    assert (cast.believed(), router.view.age) == ([4, 18], 15)


def test_copies_know_their_own_requests_only() -> None:
    cast = Cast(2, copies=2, **REPORTED)
    assert [cast.route(number, copy=number % 2) for number in range(4)] == [0, 0, 1, 1]
    assert cast.believed(0) == cast.believed(1) == [1, 1]
    for number in range(4):
        cast.copies[number % 2].arrived(number, number // 2)
    report = cast.take(2)
    for router in cast.copies:  # it has the requests of both
        router.report(0, report, taken=3)
    assert cast.believed(0) == cast.believed(1) == [2, 1]


def test_without_reports_a_router_counts_its_own() -> None:
    """Every report is lost: what was sent and has not ended, exactly; nothing is kept of what has."""
    cast = Cast(2, telemetry={"interval": "10ms", "loss": 1.0})
    router = cast.copies[0]
    for number in range(40):
        replica = cast.route(number, predicted=50)
        assert replica == number % 2
        router.arrived(number, replica)
    for number in range(0, 40, 2):
        router.left(number, 0, now=100 + number)
    assert cast.believed() == [0, 20]
    assert router.view.tokens.tolist() == [0, 20 * 150]


@pytest.mark.parametrize(("counted", "loss"), [("decision", 0.0), ("decision", 0.6), ("arrival", 0.3)])
def test_a_single_router_is_exact_however_late_and_rare_its_reports(counted: str, loss: float) -> None:
    """Random stories: with what has not ended (from the decision, or from the arrival), step by step."""
    rng = np.random.default_rng(7)
    for _ in range(30):
        telemetry = {"interval": "10ms", "delay": "1ms", "loss": loss}
        cast = Cast(3, policy="random", counted=counted, telemetry=telemetry)
        router, fleet, true = cast.copies[0], cast.fleet, [0, 0, 0]
        sent: list[tuple[int, int]] = []
        there: list[tuple[int, int]] = []
        under_way: list[tuple[int, int, Report]] = []
        for step in range(200):
            fleet.now += int(rng.integers(3)) * 10**8
            while under_way and under_way[0][0] + 10**9 <= fleet.now:
                taken, replica, load = under_way.pop(0)
                if rng.random() >= loss:
                    router.report(replica, load, taken)
            what = rng.integers(4)
            if what == 0:
                sent.append((step, cast.route(step)))
                true[sent[-1][1]] += counted == "decision"
            elif what == 1 and sent:
                number, replica = sent.pop(int(rng.integers(len(sent))))
                there.append((number, replica))
                fleet.loads["waiting"][replica] += 1
                router.arrived(number, replica)
                true[replica] += counted == "arrival"
            elif what == 2 and there:
                number, replica = there.pop(int(rng.integers(len(there))))
                fleet.loads["waiting"][replica] -= 1
                router.left(number, replica, fleet.now)
                true[replica] -= 1
            elif what == 3:
                replica = int(rng.integers(3))
                under_way.append((fleet.now, replica, fleet.true.report(replica)))
            assert cast.believed() == true


def test_true_loads_and_requests_on_their_way() -> None:
    cast = Cast(2, network="1ms")
    router, fleet = cast.copies[0], cast.fleet
    assert cast.route(1, predicted=20) == 0
    view = router.view
    assert (view.requests.tolist(), view.tokens.tolist(), view.decode_blocks.tolist()) == ([1, 0], [120, 0], [7, 0])
    assert cast.route(2) == 1
    fleet.take(0, Job(fleet.requests[1], 0, 20))
    router.arrived(1, 0)
    assert (view.requests.tolist(), view.running.tolist(), view.age) == ([1, 1], [1, 0], 0)
    arrival = Cast(2, network="1ms", counted="arrival")
    assert [arrival.route(1), arrival.route(2)] == [0, 0]


def test_the_decode_half_of_a_request_is_on_its_way_while_its_cache_moves() -> None:
    cast = Cast(2)
    assert cast.route(1, stage=DECODE, predicted=30) == 0
    assert cast.copies[0].view.tokens.tolist() == [30, 0]
    assert cast.route(2, stage=DECODE) == 1


def test_loads_of_a_replica_with_several_schedulers() -> None:
    fleet = Fleet((0,) * 4)
    fleet.loads["waiting"] = [1, 2, 3, 4]
    fleet.loads["running"] = [1, 0, 0, 0]
    pair = fleet.facts.block_tokens[:2]
    first = np.array([0, 1])
    true = TrueLoads(fleet.loads, first)
    facts = fleet.facts._replace(first=first, pool=pair, block_tokens=pair)
    view = RequestView(facts, RouterParams(), fleet, true, lambda: 0)
    assert view.requests.tolist() == [2, 9]
    assert true.report(1) == Report(9, 0, 0, 0, 0, number=1)


@pytest.mark.parametrize(
    ("ties", "chosen"), [("first", [1, 1, 1, 1]), ("rotate", [1, 2, 4, 1]), ("random", None)]
)  # fmt: skip
def test_ties(ties: str, chosen: list[int] | None) -> None:
    """Of equal ones the first, the next after the last one, or any of them, evenly."""
    cast = Cast(5, ties=ties)
    cast.fleet.loads["running"] = [2, 1, 1, 3, 1]
    got = [cast.route(number) for number in range(4 if chosen else 3000)]
    if chosen:
        assert got == chosen
    else:
        assert set(got) == {1, 2, 4}
        assert all(abs(got.count(replica) - 1000) < 3 * 26 for replica in (1, 2, 4))


def test_holding_and_early_rejection() -> None:
    """Held while all queues are long; rejected by queue, or by the predicted TTFT where there is a target."""
    cast = Cast(2, hold={"queue": 2}, reject={"kind": "queue", "most": 0})
    cast.fleet.loads["waiting"] = [2, 3]
    assert cast.route(1) == HOLD
    assert cast.route(1, stage=DECODE) == 0  # its prompt is computed: it is never turned away
    cast.fleet.loads["waiting"] = [2, 1]
    assert cast.route(1) == REJECT
    cast.fleet.loads["waiting"] = [2, 0]
    assert cast.route(1) == 1

    cast = Cast(2, reject={"kind": "slo", "factor": 2.0})
    cast.fleet.take(0, Job(Incoming(8, 0, 300), 0, 20))
    cast.fleet.take(1, Job(Incoming(9, 0, 300), 0, 20))  # 500 us of work; the request's own prompt takes 100
    assert cast.route(1, ttft=299 * US) == REJECT
    assert cast.route(2, ttft=300 * US) == 0
    assert cast.route(3) == 0


def test_predicted_lengths() -> None:
    outputs = np.full(20_000, 200)
    drawn = normals(7, np.arange(20_000) // 4, np.arange(20_000) % 4)
    assert set(predictions(outputs, None, drawn).tolist()) == {-1}
    assert predictions(outputs, Predictor(), drawn).tolist() == outputs.tolist()
    errors = np.log(predictions(outputs, Predictor(error=0.5), drawn) / outputs)
    assert abs(errors.std() - 0.5) < 0.01
    assert abs(errors.mean()) < 0.01
    assert set(predictions(outputs, Predictor(bucket=128), drawn).tolist()) == {256}
