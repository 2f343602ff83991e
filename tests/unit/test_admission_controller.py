"""The admission controller: short stories with exact (time, who, what) logs.

Nodes a and b are joined by two routes, over u (2 hops, shorter delay) and over v; a link carries 10 bit/s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.builders.edges import build
from sim.clock import Clock
from sim.dispatch.admission import async_agents, greedy
from sim.processes.admission import Controller
from sim.processes.bookings import Request
from solvers.admission.plan import Plan, PlanError

RATE = 10
LINKS = [("a", "s"), ("s", "u"), ("u", "t"), ("s", "v"), ("v", "t"), ("t", "b")]
WIDE = {("a", "s"), ("t", "b")}


class Story:
    """A controller on the two routes, and what it said."""

    def __init__(self, policy: Any = greedy, choose: Any = None, **params: Any) -> None:
        cables = [
            {"src": a, "dst": b, "rate": 100 if (a, b) in WIDE else RATE, "delay": 2 if "v" in (a, b) else 1}
            for a, b in LINKS
        ]
        self.topology = build(links=cables, hosts=["a", "b"])
        self.clock = Clock()
        checked = policy.Params().model_copy(update=params)  # times in ps
        self.up = np.ones(self.topology.links, dtype=np.bool_)
        self.controller = Controller(
            self.clock, self.topology, checked, choose or (lambda view: policy.Policy(checked, view)),
            np.random.default_rng, self.up,
        )  # fmt: skip
        self.log: list[tuple[int, str, str]] = []
        self.number: dict[str, int] = {}

    def route(self, path: tuple[int, ...]) -> str:
        """u, v, or where a path leads else."""
        names = [self.topology.node_name[self.topology.link_dst[link]] for link in path]
        return next((name for name in names if name in "uv"), ">".join(names))

    def note(self, who: str, what: str) -> None:
        self.log.append((int(self.clock.now), who, what))

    def request(self, who: str, bandwidth: int = RATE, **terms: Any) -> Request:
        a, b = self.topology.node_index["a"], self.topology.node_index["b"]
        return Request(
            a, b, bandwidth, **terms, name=who,
            on_admitted=lambda path: self.note(who, f"admitted {self.route(path)}"),
            on_refused=lambda reason: self.note(who, f"refused: {reason}"),
            on_moved=lambda path: self.note(who, f"moved {self.route(path)}"),
            on_lost=lambda reason: self.note(who, f"lost: {reason}"),
            on_ended=lambda: self.note(who, "ended"),
        )  # fmt: skip

    def at(self, when: int, who: str, bandwidth: int = RATE, **terms: Any) -> Story:
        """A demand that arrives."""

        def ask() -> None:
            self.number[who] = self.controller.ask(self.request(who, bandwidth, **terms))

        self.clock.at(when, ask)
        return self

    def down(self, when: int, *cables: str, up: bool = False) -> Story:
        """The controller hears of cables that fail, or are back."""

        def hear() -> None:
            for cable in cables:
                self.up[list(self.topology.find_links(cable))] = up
            self.controller.hear(self.up.copy())

        self.clock.at(when, hear)
        return self

    def run(self, until: int = 1000) -> list[tuple[int, str, str]]:
        self.clock.run(until=until)
        assert self.controller.broken() == []
        return self.log

    def status(self, who: str) -> tuple[str, str]:
        booking = self.controller.bookings[self.number[who]]
        return booking.status, booking.reason

    def decisions(self, *columns: str) -> list[tuple[int, ...]]:
        counts = self.controller.decisions.counts
        return list(zip(*(counts[name].tolist() for name in columns), strict=True))


NO_ROOM = "refused: no path has room; the first lacks it on s->u"


def test_two_fill_both_routes_and_a_third_finds_no_room():
    story = Story().at(0, "one", hold=50).at(10, "two", hold=100).at(20, "three").at(60, "four", hold=10)
    assert story.run() == [
        (0, "one", "admitted u"),
        (10, "two", "admitted v"),
        (20, "three", NO_ROOM),
        (50, "one", "ended"),
        (60, "four", "admitted u"),
        (70, "four", "ended"),
        (110, "two", "ended"),
    ]
    links = {name: number for number, name in enumerate(story.topology.link_name)}
    ledger = story.controller.ledger
    assert [ledger.peak[links[name]] for name in ("a->s", "s->u", "s->v", "u->s")] == [20, 10, 10, 0]
    assert [ledger.demands[links[name]] for name in ("a->s", "s->u", "s->v")] == [3, 2, 1]
    assert ledger.mean(200)[links["s->u"]] == pytest.approx(10 * 60 / 200)


def test_those_of_one_instant_are_decided_together_the_important_first():
    story = Story().at(5, "low", bandwidth=6).at(5, "high", bandwidth=6, priority=2).at(5, "mid", bandwidth=6)
    said = {who: what for _, who, what in story.run()}
    assert said == {"high": "admitted u", "low": "admitted v", "mid": NO_ROOM}
    assert story.decisions("begun", "demands", "admitted", "objective") == [(5, 3, 2, 3)]


def test_an_epoch_gathers_what_arrives_in_it():
    story = Story(epoch=100).at(0, "a", 1).at(10, "b", 1).at(90, "c", 1).at(100, "d", 1).at(350, "e", 1)
    story.run()
    assert story.decisions("begun", "demands") == [(0, 1), (100, 3), (350, 1)]


def test_thinking_takes_time_and_the_next_waits_for_it():
    story = Story(time=20, time_per_demand=5).at(0, "one").at(10, "two").at(12, "three")
    assert story.run() == [(25, "one", "admitted u"), (55, "two", "admitted v"), (55, "three", NO_ROOM)]
    assert story.decisions("begun", "commit", "charged", "demands") == [(0, 25, 25, 1), (25, 55, 30, 2)]


def test_one_that_gives_up_while_it_is_planned_gets_nothing():
    story = Story(time=20).at(0, "hasty", patience=20).at(1, "calm", patience=40)
    assert story.run() == [(20, "hasty", "refused: no answer in time"), (40, "calm", "admitted u")]
    assert story.status("hasty") == ("gave_up", "no answer in time")
    assert story.decisions("demands", "admitted", "conflicts") == [(1, 0, 0), (1, 1, 0)]


def test_one_leaves_while_others_are_planned_and_its_room_counts_at_the_next_decision():
    story = Story(time=20).at(0, "one", hold=15).at(0, "two", hold=500).at(20, "three").at(35, "four")
    assert story.run(200) == [
        (20, "one", "admitted u"),
        (20, "two", "admitted v"),
        (35, "one", "ended"),
        (40, "three", "refused: the plan left it out, though a path has room now"),
        (60, "four", "admitted u"),
    ]


def test_a_link_that_fails_during_planning_is_a_conflict():
    story = Story(time=20).at(0, "one").down(10, "s-u")
    assert story.run() == [(40, "one", "admitted v")]
    assert story.decisions("begun", "admitted", "conflicts") == [(0, 0, 1), (20, 1, 0)]


def test_held_demands_try_again_when_something_is_released():
    story = Story().at(0, "one", hold=50).at(0, "two", hold=80).at(10, "held", full="hold", priority=2)
    story.at(11, "small", bandwidth=1, full="hold", hold=5).at(12, "short", full="hold", patience=20)
    assert story.run() == [
        (0, "one", "admitted u"),
        (0, "two", "admitted v"),
        (32, "short", NO_ROOM),
        (50, "one", "ended"),
        (50, "held", "admitted u"),
        (80, "two", "ended"),
        (80, "small", "admitted v"),
        (85, "small", "ended"),
    ]


def test_a_held_demand_is_not_forgotten_when_room_comes_while_it_is_planned():
    story = Story(time=10).at(0, "one", hold=50).at(0, "two", hold=55).at(55, "held", full="hold", hold=10)
    assert story.run()[2:] == [
        (60, "one", "ended"),
        (65, "two", "ended"),
        (75, "held", "admitted u"),
        (85, "held", "ended"),
    ]


def test_release_ends_an_admitted_demand_and_withdraws_one_that_waits():
    story = Story().at(0, "one").at(0, "two").at(5, "three", full="hold").at(6, "four", full="hold")
    story.clock.at(7, lambda: story.controller.release(story.number["three"]))
    story.clock.at(20, lambda: story.controller.release(story.number["one"]))
    assert story.run()[2:] == [(20, "four", "admitted u")]
    assert story.status("three") == ("gave_up", "withdrawn")
    assert story.status("one") == ("ended", "")


def test_the_more_important_pushes_out_the_least_important():
    story = Story(preempt=True).at(0, "low", priority=1, hold=100).at(0, "mid", priority=2, hold=100)
    story.at(10, "high", priority=3, hold=20).at(11, "late", priority=1)
    log = story.run()
    assert log[2:4] == [(10, "low", "lost: made room for demand high of priority 3"), (10, "high", log[3][2])]
    assert story.status("low")[0] == "preempted"
    assert story.status("late")[0] == "rejected"
    assert (30, "high", "ended") in log
    assert (100, "mid", "ended") in log
    assert story.decisions("present", "admitted", "preempted")[1:] == [(2, 1, 1), (0, 0, 0)]


def test_equals_do_not_push_each_other_out():
    story = Story(preempt=True).at(0, "one").at(0, "two").at(10, "three")
    assert [what for _, who, what in story.run() if who == "three"] == [NO_ROOM]


def test_nobody_makes_room_for_one_that_gave_up_meanwhile():
    story = Story(time=10, preempt=True).at(0, "one").at(0, "two").at(50, "hasty", priority=5, patience=5)
    assert story.run(100)[2:] == [(55, "hasty", "refused: no answer in time")]
    assert story.decisions("preempted", "conflicts")[1:] == [(0, 0)]


def test_equals_do_not_profit_from_one_that_gave_up_meanwhile():
    """The plan ends one for hasty, and has equal in what is left of its room."""
    story = Story(time=10, preempt=True).at(0, "one", priority=2).at(0, "two", priority=2)
    story.at(50, "hasty", 1, priority=3, patience=5).at(50, "equal", 9, priority=2)
    assert story.run(100)[2:] == [(55, "hasty", "refused: no answer in time"), (70, "equal", NO_ROOM)]
    assert story.decisions("preempted", "conflicts")[1:] == [(0, 1), (0, 0)]


def test_a_failed_link_moves_a_demand_ahead_of_new_ones():
    story = Story().at(0, "one", hold=100).at(50, "new").down(50, "s-u")
    assert story.run() == [
        (0, "one", "admitted u"),
        (50, "one", "moved v"),
        (50, "new", "refused: no path has room; the first lacks it on s->v"),
        (100, "one", "ended"),
    ]
    assert story.controller.bookings[0].moves == 1


def test_without_another_path_it_is_lost_and_the_reason_names_the_link():
    story = Story().at(0, "one", hold=100).at(0, "two", hold=100).down(50, "s-u").down(70, "s-u", up=True)
    story.at(60, "three").at(70, "four")
    assert story.run() == [
        (0, "one", "admitted u"),
        (0, "two", "admitted v"),
        (50, "one", "lost: s->u failed; no path has room; the first lacks it on s->v"),
        (60, "three", "refused: no path has room; the first lacks it on s->v"),
        (70, "four", "admitted u"),
        (100, "two", "ended"),
    ]
    assert story.status("one")[0] == "lost"


def test_a_demand_whose_time_is_up_before_its_new_path_is_lost():
    story = Story(time=20).at(0, "one", hold=40).down(50, "s-u")
    assert story.run() == [
        (20, "one", "admitted u"),
        (60, "one", "lost: s->u failed; its time was up before it had another path"),
    ]


def test_links_that_come_back_call_held_demands():
    story = Story().down(0, "s-u", "s-v").at(10, "one", full="hold").down(30, "s-v", up=True)
    assert story.run() == [(30, "one", "admitted v")]


def test_a_protected_demand_goes_to_its_second_path_at_once():
    story = Story(protection="link", by="delay", time=30).at(0, "one", bandwidth=4, hold=200).down(50, "u-t")
    story.down(80, "s-v").at(60, "two", bandwidth=4)
    log = story.run()
    assert log[:2] == [(30, "one", "admitted u"), (50, "one", "moved v")]
    links = {name: number for number, name in enumerate(story.topology.link_name)}
    assert story.controller.ledger.demands[links["s->v"]] == 1
    # nothing is left for a second path, and later none at all
    assert (90, "two", "refused: there are no two disjoint paths") in log
    assert log[-1][1:] == ("one", "lost: s->v failed; there are no two disjoint paths")


def test_a_second_path_that_fails_is_given_back():
    story = Story(protection="link", by="delay").at(0, "one", hold=200).down(50, "s-v").down(60, "s-v", up=True)
    assert story.run(100) == [(0, "one", "admitted u")]
    links = {name: number for number, name in enumerate(story.topology.link_name)}
    assert [story.controller.ledger.reserved[links[name]] for name in ("s->u", "s->v", "a->s")] == [10, 0, 10]


def test_a_bundle_is_admitted_as_a_whole_or_not_at_all():
    story = Story()
    heard: list[tuple[int, str]] = []

    def bundle(when: int, names: str, **terms: Any) -> None:
        def ask() -> None:
            story.controller.ask_all(
                [story.request(name, **terms) for name in names],
                lambda: heard.append((int(story.clock.now), f"{names} admitted")),
                lambda reason: heard.append((int(story.clock.now), f"{names}: {reason}")),
            )

        story.clock.at(when, ask)

    story.at(0, "one", hold=100)
    bundle(10, "xy", hold=50)
    bundle(20, "zw", full="hold", hold=50)
    bundle(30, "pq", full="hold", patience=15)
    story.run()
    assert heard == [
        (10, "xy: there is no room for the whole bundle"),
        (45, "pq: there is no room for the whole bundle"),
        (100, "zw admitted"),
    ]
    assert [(who, what) for _, who, what in story.log if who in "zw"] == [
        ("z", "admitted u"), ("w", "admitted v"), ("z", "ended"), ("w", "ended")
    ]  # fmt: skip


def test_agents_plan_at_the_same_time_and_the_slower_has_a_conflict():
    story = Story(async_agents, agents=2, time=20, retries=1, split="number")
    story.at(0, "one").at(5, "two").at(50, "three").at(50, "four")
    story.run()
    assert story.log[:2] == [(20, "one", "admitted u"), (45, "two", "admitted v")]
    assert story.decisions("agent", "begun", "commit", "conflicts")[:3] == [
        (0, 0, 20, 0),
        (1, 5, 25, 1),
        (1, 25, 45, 0),
    ]


def test_an_agent_that_is_always_late_is_refused():
    class Slow(greedy.Policy):
        """Two agents; what one plans, the other has taken."""

        agents, retries = 2, 0

        def agent_of(self, demand: int, src: int, dst: int, priority: int) -> int:
            return demand

    params = greedy.Params()
    story = Story(time=20, paths=1, choose=lambda view: Slow(params, view))
    story.at(0, "one").at(1, "two")
    assert story.run() == [
        (20, "one", "admitted u"),
        (21, "two", "refused: planned 1 times, and others were faster each time"),
    ]


def test_a_plan_that_breaks_a_rule_ends_the_run_and_names_it():
    class Wrong(greedy.Policy):
        def decide(self, problem: Any, rng: Any) -> Plan:
            return Plan("feasible", problem, problem.first[:-1].copy(), 100.0, "greedy", "wrong", 0.0)

    params = greedy.Params()
    story = Story(choose=lambda view: Wrong(params, view)).at(0, "one").at(0, "two")
    with pytest.raises(PlanError, match=r"wrong: s->u carries 20 bit/s of 10"):
        story.run()


def test_moves_make_room_within_their_limit():
    story = Story(moves=-1).at(0, "one", bandwidth=4, hold=100).at(0, "two", bandwidth=4, hold=100)
    story.run(10)
    assert {what for _, _, what in story.log} == {"admitted u"}
    story.at(20, "big", bandwidth=10, hold=100)
    story.run(30)
    assert ("big", "admitted v") in [(who, what) for _, who, what in story.log]
