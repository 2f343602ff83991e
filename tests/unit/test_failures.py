"""Failures: who holds a link in which state, what the engines do about it, and what the table tells. Exact times."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simpy

from models.builders import leaf_spine
from models.paths import Routes
from sim import run
from sim.dispatch.api import Flow
from sim.dispatch.path import ecmp, subflows
from sim.dispatch.views import PathView
from sim.failures import recovery
from sim.processes.faults import Fault, Faults
from sim.results import Results
from sim.scenario.events import Event

US = 10**6
STAR = {"kind": "star", "hosts": 4, "host_link": {"rate": "100Gbps", "delay": "1us"}}
CLOS = {"kind": "leaf_spine", "leaves": 2, "spines": 4, "hosts_per_leaf": 4}
ENGINES = ("fluid", "ideal")


# who holds a link


class Log:
    """What the network and the tables were told, and when a failure was over."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env, self.lines, self.ended = env, [], []

    def set_links(self, links, up) -> None:
        self.lines.append((self.env.now, list(links), up))

    def set_rates(self, links, rates) -> None:
        self.lines.append((self.env.now, list(links), list(rates)))

    def set_loss(self, links, share) -> None:
        self.lines.append((self.env.now, list(links), round(share, 9)))

    def converge(self, up) -> None:
        self.lines.append((self.env.now, "tables", np.flatnonzero(~up).tolist()))

    def begin(self, number, fault) -> None:
        pass

    def end(self, number) -> None:
        self.ended.append((self.env.now, number))

    def converged(self, numbers) -> None:
        pass


def story(*faults: Fault, delay: int = 5, broken: tuple[int, ...] = ()) -> Log:
    """Six links of 100 bit/s."""
    env = simpy.Environment()
    log = Log(env)
    work = Faults(env, log, np.full(6, 100), faults, delay, log.converge, log, broken)
    env.run()
    assert work.applied == len(faults)
    return log


def cable(at: int, what: str, until: int | None = None, links: tuple[int, ...] = (2, 3), **more: Any) -> Fault:
    rates = (more.pop("rate"),) * len(links) if "rate" in more else ()
    return Fault(0, at, "cable", "", links, what, until, rates, **more)


def switch(at: int, what: str, until: int | None = None) -> Fault:
    return Fault(0, at, "switch", "switch", (0, 1, 2, 3), what, until)


def test_tables_follow_a_fault_after_the_delay() -> None:
    log = story(cable(10, "down"), cable(400, "up"), delay=100)
    assert log.lines == [
        (10, [2, 3], False), (110, "tables", [2, 3]), (400, [2, 3], True), (500, "tables", []),
    ]  # fmt: skip
    assert log.ended == [(400, 0)]


def test_a_switch_that_comes_back_does_not_raise_a_cut_cable() -> None:
    log = story(switch(50, "up"), cable(10, "down"), switch(10, "down"), cable(60, "up"))
    assert log.lines == [
        (10, [2, 3], False), (10, [0, 1], False), (15, "tables", [0, 1, 2, 3]),
        (50, [0, 1], True), (55, "tables", [2, 3]), (60, [2, 3], True), (65, "tables", []),
    ]  # fmt: skip


def test_a_failure_ends_by_itself_and_setting_up_ends_all_that_its_element_holds() -> None:
    """The longer of two that overlap decides; what was set up before its end does nothing then."""
    log = story(cable(10, "down", 30), cable(20, "down", 60), cable(100, "degrade", 500, rate=40), cable(200, "up"))
    assert [line for line in log.lines if line[1] != "tables"] == [
        (10, [2, 3], False), (60, [2, 3], True), (100, [2, 3], [40, 40]), (200, [2, 3], [100, 100]),
    ]  # fmt: skip
    assert log.ended == [(30, 0), (60, 1), (200, 2)]


def test_one_direction_of_a_cut_cable_comes_back() -> None:
    log = story(cable(10, "down"), cable(20, "up", links=(3,)))
    assert log.lines == [(10, [2, 3], False), (15, "tables", [2, 3]), (20, [3], True), (25, "tables", [2])]
    assert log.ended == []


def test_the_least_rate_wins_and_losses_add_up() -> None:
    log = story(
        cable(10, "degrade", 50, rate=30), cable(20, "degrade", 40, rate=60), cable(30, "degrade", rate=10),
        cable(60, "loss", 90, loss=0.5, links=(4,)), cable(70, "loss", 80, loss=0.2, links=(4, 5)),
    )  # fmt: skip
    assert log.lines == [
        (10, [2, 3], [30, 30]), (30, [2, 3], [10, 10]),
        (60, [4], 0.5), (70, [5], 0.2), (70, [4], 0.6), (80, [5], 0.0), (80, [4], 0.5), (90, [4], 0.0),
    ]  # fmt: skip


def test_a_link_that_was_broken_from_the_start_stays_so_for_the_tables() -> None:
    log = story(cable(10, "down", 20), broken=(0,))
    assert [line for line in log.lines if line[1] == "tables"] == [(15, "tables", [0, 2, 3]), (25, "tables", [0])]


def test_flapping_ends_before_until_and_before_the_end_of_the_run() -> None:
    event = {"at": "10us", "link": "a-b", "set": "down", "for": "1us", "every": "10us"}
    flaps = Event.model_validate({**event, "until": "40us"})
    assert [flap.at // US for flap in flaps.occurrences(None)] == [10, 20, 30]
    assert [flap.at // US for flap in flaps.occurrences(25 * US)] == [10, 20]
    assert [flap.until for flap in flaps.occurrences(15 * US)] == [11 * US]


# engines


def ran(*events: dict[str, Any], topology: dict[str, Any] = STAR, work: Any = None, **more: Any) -> Results:
    shift = {"kind": "matrix", "pattern": "shift", "by": 1, "size": "1MB"}  # 80 us at 100 Gbit/s, and 2 us of delay
    fabric = more.pop("fabric", {})
    values = {"name": "failures", "engine": "fluid", "workload": [work or shift], "events": list(events), **more}
    values["fabric"] = {"topology": topology, "convergence_delay": "10us", **fabric}
    return run(values)


def ends(results: Results) -> list[float]:
    return [round(float(end), 6) for end in results.frame("flows")["end_us"]]


@pytest.mark.parametrize("engine", ENGINES)
def test_bytes_over_a_degraded_link_take_longer_by_hand(engine: str) -> None:
    """40 us at a quarter of the rate cost 30 us; below a slower rate of another event, that one; three flaps 15 us."""
    slow = {"at": "20us", "link": "host0->switch0", "set": "degrade", "rate": "25%", "for": "40us"}
    flaps = {"at": "30us", "link": "host1->switch0", "set": "down", "for": "5us", "every": "10us", "until": "60us"}
    both = {"at": "20us", "host": "host3", "set": "degrade", "rate": "50Gbps", "for": "20us"}
    results = ran(slow, flaps, both, engine=engine)
    # host 2 sends to host 3 and host 3 to host 0: both lose 10 us
    assert ends(results) == [112.0, 97.0, 92.0, 92.0]
    times = results.frame("flow_times")
    assert (times["sharing_ps"] / US).round(6).tolist() == [30.0, 15.0, 10.0, 10.0]


def test_an_engine_without_packets_loses_none_and_says_so() -> None:
    results = ran({"at": "0us", "link": "host0-switch0", "set": "loss", "loss": 0.5})
    assert ends(results) == [82.0] * 4
    assert results.summary["reasons"] == ["the engine fluid has no packets: events that lose packets change nothing"]


def test_a_packet_takes_the_pace_of_the_degraded_link_by_hand() -> None:
    """4160 B: 332.8 ns at 100 Gbit/s, four times that at a quarter; what is on the wire keeps its pace."""
    slow = {"at": "1us", "host": "host0", "set": "degrade", "rate": "25%"}
    early = {"kind": "flows", "arrivals": {"kind": "gaps", "gaps": ["900ns", "1us"]}, "sizes": {"kind": "constant"}}
    early["sizes"]["size"] = "4096B"
    early["pairs"] = {"kind": "fixed", "src": "host0", "dst": "host1"}
    results = ran(slow, work=early, engine="packet", fabric={"transport": {"kind": "line_rate"}})
    assert ends(results) == pytest.approx([0.9 + 2.6656, 1.9 + 3.664], abs=1e-9)
    times = results.frame("flow_times")
    assert times["queueing_ps"].tolist() == [0, 998_400]
    assert times["bottleneck"].tolist()[1] == "host0->switch0"


@pytest.mark.parametrize(("transport", "status"), [("window", "completed"), ("line_rate", "stalled")])
def test_a_lossy_run_ends_and_counts(transport: str, status: str) -> None:
    """Without ACKs what is lost is lost for good, and the work can't be done."""
    lossy = [{"at": "0us", "host": f"host{host}", "set": "loss", "loss": 0.02} for host in range(4)]
    results = ran(*lossy, engine="packet", stop={"stall": "20ms"}, fabric={"transport": {"kind": transport}})
    assert results.status == status
    lost = results.frame("counters").set_index(["name", "reason"])["count"]["packets lost", "random loss"]
    assert lost == results.frame("links")["dropped"].sum() > 0
    assert results.frame("failures")["packets_lost"].sum() == lost
    assert (results.frame("flows")["status"] == ("finished" if status == "completed" else "unfinished")).all()


# the table


def row(results: Results, number: int = 0) -> dict[str, Any]:
    found = results.frame("failures").iloc[number].to_dict()
    return {name: None if pd.isna(value) else value for name, value in found.items()}


def test_the_table_tells_what_was_hit_and_when_it_recovered() -> None:
    """Samples every 4 us. A quarter of the traffic stands for 8 us: below 90 % until the sample at 36 us."""
    results = ran({"at": "24us", "link": "host1->switch0", "set": "down", "for": "8us"}, telemetry={"interval": "4us"})
    assert ends(results) == [82.0, 90.0, 82.0, 82.0]
    told = row(results)
    assert (told["element"], told["what"], told["event"]) == ("host1->switch0", "down", 0)
    assert (told["at_us"], told["until_us"], told["converged_us"]) == (24.0, 32.0, 34.0)
    assert (told["flows_hit"], told["flows_rerouted"], told["flows_lost"]) == (1, 0, 0)
    assert told["recovery_us"] == 12.0
    assert told["inflation"] == pytest.approx(90 / 82)
    assert told["rate_share"] is None
    assert told["loss"] is None


def test_flows_that_tables_move_are_rerouted_and_sprayed_ones_are_hit() -> None:
    down = {"at": "20us", "link": "leaf0-spine1", "set": "down"}
    work = {"kind": "matrix", "pattern": "shift", "by": 4, "size": "4MB"}
    static = {"topology": CLOS, "work": work, "dispatch": {"path": "static"}}
    told = row(ran(down, **static))
    assert (told["flows_hit"], told["flows_rerouted"], told["flows_lost"]) == (2, 2, 0)  # one a direction
    assert told["converged_us"] == 30.0
    assert told["until_us"] is None
    assert told["inflation"] > 1.1
    told = row(ran(down, **{**static, "dispatch": {"path": "spray"}}))
    assert (told["flows_hit"], told["flows_rerouted"]) == (8, 0)
    assert told["inflation"] is None  # all were hit


def test_flows_that_start_while_it_lasts_are_hit() -> None:
    slow = {"at": "0us", "link": "host0->switch0", "set": "degrade", "rate": "10Gbps", "for": "50us"}
    pairs = {"kind": "fixed", "src": "host0", "dst": "host1"}
    work = {"kind": "flows", "arrivals": {"kind": "gaps", "gaps": ["10us", "30us", "30us"]}, "pairs": pairs}
    told = row(ran(slow, work={**work, "sizes": {"kind": "constant", "size": "1KB"}}))
    assert (told["flows_hit"], told["rate_share"]) == (2, 0.1)


def test_a_partition_ends_and_names_who_is_unreachable() -> None:
    """Host 1 is cut off: what it has under way stands, what starts after the tables knew is rejected."""
    late = {"kind": "matrix", "pattern": "shift", "by": 2, "size": "1KB", "start": "200us"}
    results = ran({"at": "20us", "host": "host1", "set": "down"}, stop={"stall": "5ms"}, work=None)
    assert results.status == "stalled"
    text = "\n".join(results.summary["reasons"])
    assert "unreachable: flow 0 of 1000000 B from host0 to host1" in text
    assert "unreachable: flow 1 of 1000000 B from host1 to host2" in text
    assert row(results)["flows_lost"] == 2
    results = ran({"at": "20us", "host": "host1", "set": "down"}, stop={"stall": "5ms"}, work=late)
    assert results.status == "stalled"
    assert "unreachable: flow 1 of 1000 B from host1 to host3" in results.summary["reasons"]
    assert results.summary["reasons"][1] == "2 flows rejected: unreachable"


def test_a_partition_under_timers_ends_too() -> None:
    results = ran({"at": "20us", "host": "host1", "set": "down"}, engine="packet", stop={"stall": "5ms"})
    assert results.status == "stalled"
    assert "unreachable: flow 1 of 1000000 B from host1 to host2" in results.summary["reasons"]
    assert row(results)["packets_lost"] > 0


def test_recovery_is_told_from_samples() -> None:
    times = np.arange(1, 11) * 10
    steady = np.arange(1, 11) * 100.0
    assert recovery(times, steady, 50) == 0
    assert recovery(times, steady, 15) == -1  # one sample before
    dip = np.array([100, 200, 300, 400, 480, 500, 590, 690, 790, 890], dtype=np.float64)
    assert recovery(times, dip, 40) == 30  # low at 50 and 60, back at 70
    assert recovery(times, dip, 25) == 0  # what comes later is something else
    gone = np.minimum(steady, 400.0)
    assert recovery(times, gone, 40) == -1


# resilient hashing


@pytest.mark.parametrize("pieces", [1, 4])
def test_a_failure_moves_no_flow_whose_path_is_alive(pieces: int) -> None:
    """Nor where later flows go; the others spread over the ports that are left; when it is over all is as before."""
    gbit = 10**9
    topology = leaf_spine.build(4, 8, 8, (400 * gbit, 500), (400 * gbit, 500))
    view = PathView(topology, Routes(topology), 7, lambda: 0)
    policy = ecmp.Policy(ecmp.Params(), view) if pieces == 1 else subflows.Policy(subflows.Params(k=pieces), view)
    flows = [Flow(number, number % 8, 8 + number % 24, 1000, 0) for number in range(2000)]

    def drawn() -> list[tuple[int, ...]]:
        given = policy.assign(flows, np.random.default_rng(1))
        assert given == [policy.assign([flow], np.random.default_rng(1))[0] for flow in flows]  # however many at once
        return [piece.path for parts in given for piece in parts]

    before = drawn()
    up = np.ones(topology.links, dtype=np.bool_)
    dead = {*topology.find_links("leaf0-spine3"), *topology.find_links("leaf2-spine5")}
    up[list(dead)] = False
    view.routes = Routes(topology, up)
    after = drawn()
    moved = [at for at, path in enumerate(before) if not dead.isdisjoint(path)]
    assert 0 < len(moved) < len(before) / 5
    assert [at for at, path in enumerate(before) if after[at] != path] == moved
    assert all(dead.isdisjoint(after[at]) for at in moved)
    spines = Counter(int(topology.link_dst[after[at][1]]) for at in moved)
    assert len(spines) >= 7
    assert max(spines.values()) < 2.5 * np.mean(list(spines.values()))
    view.routes = Routes(topology)
    assert drawn() == before


def test_a_link_that_was_never_up_is_new_to_the_hash() -> None:
    topology = leaf_spine.build(2, 2, 2, (10**9, 500), (10**9, 500))
    up = np.ones(topology.links, dtype=np.bool_)
    up[list(topology.find_links("leaf0-spine1"))] = False
    view = PathView(topology, Routes(topology, up), 7, lambda: 0)
    policy = ecmp.Policy(ecmp.Params(), view)
    flows = [Flow(number, 0, 2, 1000, 0) for number in range(40)]
    assert len({piece.path for (piece,) in policy.assign(flows, np.random.default_rng(1))}) == 1
    view.routes = Routes(topology)
    assert len({piece.path for (piece,) in policy.assign(flows, np.random.default_rng(1))}) == 2
