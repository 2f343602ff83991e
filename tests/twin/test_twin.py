"""The compiled packet engine against its specification: every packet on every link, to the picosecond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import sim.clock
from models.builders import star
from models.ideal import pipeline_ps
from models.paths import Routes
from models.topology import Topology, TopologyBuilder
from sim.clock import Clock
from sim.engine.layout import DATA
from sim.flow_times import hops_of
from sim.network.packet import PacketNetwork, PacketSettings
from sim.network.protocol import DELIVERED, ENDED, INFINITY, TIMEOUT, Done, LastPackets, Stream, Tell
from sim.network.reference import ReferenceNetwork
from tests.twin.stories import Outcome, make, tell

STORIES = 500
INTERRUPTED = 60
GBPS = 10**9
ENGINES = pytest.mark.parametrize("engine", [PacketNetwork, ReferenceNetwork])


def differences(one: Outcome, other: Outcome) -> list[str]:
    """What two outcomes don't agree in; of lists the first entries that only one of them has."""
    found = []
    for name in (field.name for field in fields(Outcome)):
        a, b = getattr(one, name), getattr(other, name)
        if a == b:
            continue
        if isinstance(a, list):
            a, b = [row for row in a if row not in b][:5], [row for row in b if row not in a][:5]
        found.append(f"{name}: {a} against {b}")
    return found


@pytest.mark.parametrize("seed", range(STORIES))
def test_the_engine_agrees_with_its_specification(seed: int) -> None:
    story = make(seed)
    specified, compiled = tell(story, ReferenceNetwork), tell(story, PacketNetwork)
    assert specified.broken == []
    assert differences(specified, compiled) == []


@pytest.mark.parametrize("seed", range(INTERRUPTED))
def test_interruptions_change_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks of 1 ns to 1 us, and calls of few events."""
    story = make(seed)
    until = min(story.stop, 3_000_000)
    whole = tell(story, PacketNetwork, until=until)
    monkeypatch.setattr(sim.clock, "BUDGET", 1 + 7 * seed % 100)
    for tick in (None, 1_000 + 13 * seed, 1_000_000):
        assert differences(whole, tell(story, PacketNetwork, tick, until)) == []


@pytest.mark.parametrize("seed", range(0, STORIES, 10))
def test_the_way_of_a_last_packet_is_the_one_in_the_trace(seed: int) -> None:
    """Where the time of streams went is told by records of its own; the trace saw the same packets pass."""
    story = make(seed)
    outcome = tell(story, PacketNetwork)
    topology = story.topology
    passed = {row[:5]: row[5:8] for row in outcome.trace if row[6] >= 0}
    for stream, delivered, sequence, transmission, size, links, offered in outcome.last:
        ways = [passed[stream, sequence, transmission, DATA, link] for link in links]
        last = LastPackets(
            *(np.array([value]) for value in (stream, delivered, sequence, transmission, size, len(links))),
            np.array(links), np.array(offered),
        )  # fmt: skip
        hops = hops_of(last, np.array([0]), topology)
        assert (hops.offered + hops.queueing).tolist() == [start for _, start, _ in ways]
        assert (hops.offered + hops.queueing + hops.serialisation).tolist() == [end for _, _, end in ways]
        arrivals = [end + int(topology.link_delay[link]) for (_, _, end), link in zip(ways, links, strict=True)]
        assert [*offered[1:], delivered] == arrivals
        assert offered[0] == ways[0][1]
        assert int(topology.link_dst[links[-1]]) < topology.hosts


def test_stories_are_not_dull() -> None:
    """What the twins must agree in does happen: losses of all kinds, timeouts, reordering, marks, waiting, stops."""
    counters: dict[tuple[str, str], int] = {}
    marked = reordered = multihomed = 0
    stopped = stopped_whole = stopped_again = 0  # without any loss; with packets sent again before
    for seed in range(0, STORIES, 3):
        story = make(seed)
        outcome = tell(story, PacketNetwork)
        for what, number in outcome.counters.items():
            counters[what] = counters.get(what, 0) + number
        marked += sum(outcome.totals["marked"])
        reordered += sum(outcome.reordering[1:])
        multihomed += bool(np.any(np.bincount(story.topology.link_src)[: story.topology.hosts] > 1))
        ends = [done for done in outcome.done if done.stopped]
        stopped += len(ends)
        stopped_whole += sum(done.undelivered == 0 for done in ends)
        stopped_again += sum(done.retransmitted > 0 for done in ends)
    assert min(counters.values()) > 20
    assert len(counters) == 6
    assert min(marked, reordered, multihomed, stopped) > 20
    assert min(stopped_whole, stopped_again) > 3


# -- stories with known ends. Two hosts on a switch: 1000 B and no header are 80 ns, a link's delay is 100 ns


def settings(hosts: int, **changes: Any) -> PacketSettings:
    plain: dict[str, Any] = {
        "mtu": 1000, "header": 0, "acks": True, "go_back_n": False, "rto": 10_000_000,
        "window": np.full(hosts, 10_000, dtype=np.int64), "buffer": None, "kmin": None, "kmax": None, "pmax": 1.0,
        "key": 1,
    }  # fmt: skip
    return PacketSettings(**(plain | changes))


class Stage:
    """A clock with an engine, and a log of (ps, who)."""

    def __init__(self, engine: Any, topology: Topology, **changes: Any) -> None:
        self.rows: list[Any] = []
        plain = settings(topology.hosts, **changes)
        self.network = engine(topology, Routes(topology), plain, None, lambda block: self.rows.extend(block.tolist()))
        self.topology = topology
        self.clock = Clock(self.network)
        self.log: list[tuple[int, Any]] = []
        self.clock.on_tell = self.hear

    def hear(self, tells: list[Tell]) -> None:
        self.log.append((self.clock.now, tells))

    def at(self, when: int, action: Callable[[], Any]) -> None:
        self.clock.at(when, action)

    def send(self, ident: int, src: int, dst: int, size: int, **more: Any) -> None:
        path = Routes(self.topology).paths(src, dst)[0]
        self.network.add(Stream(ident, src, dst, size, path, **more))


def small_star(hosts: int = 3) -> Topology:
    return star.build(hosts, (100 * GBPS, 100_000))


@ENGINES
def test_only_network_events_pending(engine: Any) -> None:
    """An empty SimPy heap with flows in the network is not the end."""
    stage = Stage(engine, small_star())
    stage.send(0, 0, 1, 1000, notify_end=True)
    assert stage.clock.peek() == 0  # a command waits
    stage.clock.run()
    one_way = 2 * (80_000 + 100_000)
    back = 2 * (5_120 + 100_000)
    assert stage.log == [(one_way, [Tell(DELIVERED, 0)]), (one_way + back, [Tell(ENDED, 0)])]
    assert stage.network.finished() == [Done(0, one_way, one_way + back, 0, 0, 0)]
    assert stage.network.next_time() == INFINITY == stage.clock.peek()


@ENGINES
def test_two_deliveries_and_a_new_flow_at_one_instant(engine: Any) -> None:
    """SimPy's own events of the instant come before what the engine tells; all of it is told at once."""
    stage = Stage(engine, small_star(4), acks=False)
    stage.send(7, 0, 1, 1000)
    stage.send(3, 2, 3, 1000)
    arrival = 2 * (80_000 + 100_000)

    def start() -> None:
        stage.log.append((stage.clock.now, "start"))
        stage.send(5, 1, 0, 1000)

    stage.at(arrival, start)
    stage.clock.run(until=10**7)
    both = [Tell(DELIVERED, 3), Tell(DELIVERED, 7)]
    assert stage.log == [(arrival, "start"), (arrival, both), (2 * arrival, [Tell(DELIVERED, 5)])]


@ENGINES
def test_a_link_goes_down_in_the_picosecond_of_an_arrival(engine: Any) -> None:
    """The arrival comes first; what arrives one picosecond later is lost."""
    for late, lost in ((0, 1), (-1, 2)):
        stage = Stage(engine, small_star(2), acks=False)
        stage.send(0, 0, 1, 3000)
        first = stage.topology.find_links("host0->switch0")[0]
        second_arrival = 2 * 80_000 + 100_000
        stage.at(second_arrival + late, lambda stage=stage, first=first: stage.network.set_links([first], False))
        stage.clock.run(until=10**7)
        assert stage.network.link_totals(10**7)["dropped"].sum() == lost
        # the third was on the wire: what had left of it counts as sent, and not as crossed
        assert stage.network.link_totals(10**7)["packets"][first] == 3 - lost
        assert stage.network.link_state(10**7).sent_bytes[first] == 3000
        assert stage.network.check(10**7) == []


@ENGINES
def test_a_partition_with_timers_running(engine: Any) -> None:
    """Timers go on for as long as the clock is driven, and no further; what comes back goes on."""
    stage = Stage(engine, small_star(2), rto=1_000_000)
    stage.send(0, 0, 1, 5000)
    into = stage.topology.find_links("switch0->host1")[0]
    stage.at(0, lambda: stage.network.set_links([into], False))
    stage.clock.run(until=10_500_000)
    assert stage.log == []
    assert stage.network.active() == [0]
    # five packets in 400 ns, the last one sent at 320 ns, then silence: a timeout every 1.32 us, eight times five lost
    counters = stage.network.counters()
    assert counters == {("timers", "retransmission timeout"): 7, ("packets lost", "link down"): 40}
    stage.network.set_links([into], True)
    stage.clock.run(until=20_000_000)
    assert [kind for _, tells in stage.log for kind, _ in tells] == [DELIVERED]
    assert stage.network.next_time() == INFINITY


@ENGINES
def test_a_timeout_asks_and_waits_for_the_answer(engine: Any) -> None:
    stage = Stage(engine, small_star(2), rto=1_000_000)
    stage.send(0, 0, 1, 1000, ask=True)
    cable = stage.topology.find_links("host1-switch0")
    stage.at(0, lambda: stage.network.set_links(cable, False))
    stage.at(500_000, lambda: stage.network.set_links(cable, True))
    stage.clock.run(until=5_000_000)
    assert stage.log == [(1_000_000, [Tell(TIMEOUT, 0)])]
    stage.network.reroute(0, Routes(stage.topology).paths(0, 1)[0])
    stage.clock.run(until=6_000_000)
    assert stage.log[1:] == [(5_000_000 + 360_000, [Tell(DELIVERED, 0)])]


@ENGINES
def test_a_nic_that_comes_back_does_not_wait_for_the_packet_it_lost(engine: Any) -> None:
    stage = Stage(engine, small_star(2), acks=False)
    for ident, size in enumerate((1000, 1, 1)):
        stage.send(ident, 0, 1, size)
    cable = stage.topology.find_links("host0-switch0")
    stage.at(10_000, lambda: stage.network.set_links(cable, False))
    stage.at(20_000, lambda: stage.network.set_links(cable, True))
    stage.clock.run(until=10**7)
    sent = sorted(row[6:8] for row in stage.rows if row[4] == cable[0])
    assert sent == [[0, 80_000], [20_000, 20_080], [20_080, 20_160]]


def dual_homed() -> Topology:
    """host0 and host1, each on both of two switches."""
    builder = TopologyBuilder("dual")
    for number in range(2):
        builder.add_node(f"host{number}", host=True, tier=0)
    for number in range(2):
        builder.add_node(f"switch{number}", host=False, tier=1)
    for host in range(2):
        for switch in range(2):
            builder.add_cable(f"host{host}", f"switch{switch}", 100 * GBPS, 100_000)
    return builder.freeze()


@ENGINES
def test_a_sprayed_flow_leaves_a_dead_nic_when_tables_know(engine: Any) -> None:
    """Tables that change alone take effect at once, without another command of that instant."""
    stage = Stage(engine, dual_homed(), rto=2_000_000, window=np.full(2, 2000, dtype=np.int64))
    topology = stage.topology
    stage.network.add(Stream(0, 0, 1, 40_000, None))
    cable = topology.find_links("host0-switch0")
    up = np.ones(topology.links, dtype=np.bool_)
    up[list(cable)] = False
    stage.at(500_000, lambda: stage.network.set_links(cable, False))
    stage.at(1_000_000, lambda: stage.network.set_routes(Routes(topology, up)))
    stage.clock.run(until=30_000_000)
    assert [tells for _, tells in stage.log] == [[Tell(DELIVERED, 0)]]


@ENGINES
def test_both_nics_of_a_host_work_for_one_flow(engine: Any) -> None:
    """A flow whose next packet queues up at another, idle NIC goes on there at once."""
    stage = Stage(engine, dual_homed(), acks=False)
    stage.network.add(Stream(0, 0, 1, 200_000, None))
    stage.clock.run(until=10**9)
    assert stage.log[0][0] < 200 * 80_000 * 0.8 + 360_000
    assert stage.network.finished()[0].lost == 0


@ENGINES
def test_a_stream_rerouted_in_the_instant_of_its_start(engine: Any) -> None:
    stage = Stage(engine, dual_homed(), acks=False)
    ways = Routes(stage.topology).paths(0, 1)
    stage.network.add(Stream(0, 0, 1, 1000, ways[0]))
    stage.network.reroute(0, ways[1])
    stage.clock.run(until=10**7)
    assert sorted(row[4] for row in stage.rows) == sorted(ways[1])


@ENGINES
def test_the_last_of_two_link_commands_of_an_instant_holds(engine: Any) -> None:
    stage = Stage(engine, small_star(2), acks=False)
    stage.network.set_links([0], False)
    stage.clock.run(until=1000)
    stage.network.set_links([0], True)
    stage.network.set_links([0], False)
    stage.send(0, 0, 1, 1000)
    stage.clock.run(until=10**7)
    assert stage.log == []


# -- paced and stopped streams. Two hosts on a switch, 1000 B in 80 ns, 100 ns a link


def sent(stage: Stage, stream: int = 0) -> list[int]:
    """When its packets left the source."""
    return sorted(row[6] for row in stage.rows if row[0] == stream and row[3] == DATA and row[4] == 0)


@ENGINES
@pytest.mark.parametrize("acks", [False, True])
def test_a_paced_stream_sends_at_its_cap(engine: Any, acks: bool) -> None:
    """1000 B at 30 Gbit/s are due every 266,667 ps, rounded up; the unloaded time says when the last one arrives."""
    stage = Stage(engine, small_star(2), acks=acks)
    stage.send(0, 0, 1, 3500, cap=30 * GBPS)
    stage.clock.run(until=10**8)
    assert sent(stage) == [0, 266_667, 533_334, 800_001]
    ideal = pipeline_ps(3500, 1000, 0, [(100 * GBPS, 100_000)] * 2, 30 * GBPS)
    assert stage.log == [(ideal, [Tell(DELIVERED, 0)])] == [(800_001 + 2 * (40_000 + 100_000), [Tell(DELIVERED, 0)])]
    assert stage.network.longest_gap() == 266_667


@ENGINES
def test_a_paced_stream_makes_up_for_a_short_wait_only(engine: Any) -> None:
    """Due at 160 ns, behind another's packet until 200: the next is due at 320. A NIC away for long: two at once."""
    stage = Stage(engine, small_star(2), acks=False)
    stage.send(0, 0, 1, 6000, cap=50 * GBPS)
    stage.at(120_000, lambda: stage.send(1, 0, 1, 1000))
    stage.at(500_000, lambda: stage.network.set_links([0], False))
    stage.at(1_000_000, lambda: stage.network.set_links([0], True))
    stage.clock.run(until=10**8)
    assert sent(stage) == [0, 200_000, 320_000, 480_000, 1_000_000, 1_080_000]


@ENGINES
def test_what_is_sent_again_is_paced_too(engine: Any) -> None:
    """After the silence of a timeout one packet is due besides the next: credit never is more than that."""
    stage = Stage(engine, small_star(2), rto=1_000_000)
    stage.send(0, 0, 1, 3000, cap=25 * GBPS)
    into = stage.topology.find_links("switch0->host1")
    stage.network.set_links(into, False)
    stage.at(1_640_000, lambda: stage.network.set_links(into, True))
    stage.clock.run(until=10**8)
    assert sent(stage) == [0, 320_000, 640_000, 1_640_000, 1_720_000, 1_960_000]
    assert stage.network.finished()[0].retransmitted == 3


@ENGINES
def test_a_stop_in_the_instant_of_an_arrival(engine: Any) -> None:
    """At 180 ns the first packet is at the switch, the second has just left, the third is on the wire: all arrive."""
    stage = Stage(engine, small_star(2), acks=False)
    stage.send(0, 0, 1, 9000)
    stage.at(180_000, lambda: stage.network.stop(0))
    stage.clock.run(until=170_000)
    assert stage.network.undelivered(0, 170_000) == 9000
    stage.clock.run(until=10**7)
    assert sent(stage) == [0, 80_000, 160_000]
    assert stage.log == []
    assert stage.network.finished() == [Done(0, -1, 160_000 + 360_000, 0, 0, 0, 6000, 1)]
    assert stage.network.check(10**7) == []
    assert stage.network.next_time() == INFINITY


@ENGINES
def test_a_stop_while_a_retransmission_is_due(engine: Any) -> None:
    """All packets or all ACKs are lost, then comes the stop, with the timer running: nothing is sent again."""
    for link, delivered, missing in (("switch0->host1", -1, 2000), ("host1->switch0", 440_000, 0)):
        stage = Stage(engine, small_star(2), rto=1_000_000)
        stage.send(0, 0, 1, 2000)
        stage.network.set_links(stage.topology.find_links(link), False)
        stage.at(900_000, lambda stage=stage: stage.network.stop(0))
        stage.clock.run(until=10**8)
        assert stage.network.finished() == [Done(0, delivered, 900_000, 0, 0, 0, missing, 1)]
        assert sent(stage) == [0, 80_000]
        assert stage.network.counters() == {("packets lost", "link down"): 2}


@ENGINES
def test_a_stop_that_comes_too_late_or_too_early(engine: Any) -> None:
    """All is sent when 0 is stopped: it ends as usual. 1 never starts; 2 is unknown; 3 waits at the NIC behind 0."""
    stage = Stage(engine, small_star(2))
    stage.send(0, 0, 1, 1000, notify_end=True)
    stage.send(3, 0, 1, 1000)
    stage.send(1, 0, 1, 700)
    stage.network.stop(1)
    stage.at(40_000, lambda: [stage.network.stop(ident) for ident in (0, 2, 3)])
    stage.clock.run(until=10**7)
    done = {one.stream: one for one in stage.network.finished()}
    assert done.keys() == {0, 1, 3}
    assert done[0] == Done(0, 360_000, 360_000 + 210_240, 0, 0, 0)
    assert done[1] == Done(1, -1, 0, 0, 0, 0, 700, 1)
    assert done[3] == Done(3, -1, 40_000, 0, 0, 0, 1000, 1)
    assert stage.network.active() == []
