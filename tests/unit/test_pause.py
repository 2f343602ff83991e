"""Priority flow control on the compiled engine: pauses by hand, headroom, their spread, and deadlock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import run_sim
from models.builders import leaf_spine
from models.paths import Routes
from models.topology import Topology, TopologyBuilder
from sim.network.deadlock import cycle
from sim.network.packet import PacketNetwork
from sim.network.protocol import INFINITY, Stream
from sim.network.settings import PacketSettings, Pause, Ports

NS, US = 10**3, 10**6
SLOW = 8 * 10**9  # bit/s: 1 byte/ns
KB = 1000  # bytes of a packet, without header


def network(topology: Topology, pause: Pause, **others: Any) -> PacketNetwork:
    window = np.full(topology.hosts, 10**9)
    ports = Ports(pause=pause, **others)
    made = PacketSettings(KB, 0, False, False, 10**9, window, KB, None, None, 1.0, 7, ports=ports)
    return PacketNetwork(topology, Routes(topology), made)


def run(network: PacketNetwork, until: int = 10**11, now: int = 0) -> int:
    network.commit(now)
    while network.next_time() <= until:
        now, _ = network.advance(until, 1000)
    assert network.check(now) == []
    return now


def dumbbell() -> Topology:
    """host0 with 2 bytes/ns to a switch, that has 1 byte/ns to host1."""
    builder = TopologyBuilder("dumbbell")
    for name, host in (("host0", True), ("host1", True), ("switch", False)):
        builder.add_node(name, host=host, tier=-1)
    builder.add_cable("host0", "switch", 2 * SLOW, US)
    builder.add_cable("switch", "host1", SLOW, US)
    return builder.freeze()


def even(topology: Topology, headroom: int) -> np.ndarray:
    return np.full(topology.links, headroom)


@pytest.mark.parametrize(("headroom", "dropped"), [(2 * KB, 0), (2 * KB - 1, 1)])
def test_a_pause_to_the_picosecond(headroom: int, dropped: int) -> None:
    """Packets come every 0.5 us from 1.5 us on, and leave every 1 us from 2.5 us on.

    At 3 us 4 have come and 1 has left: pause; its 64 B take 32 ns and 1 us. What began until 4.032 us has come at
    5.5 us: 9 packets, 5 of which are still there. At 9.5 us 8 have left: the host goes on at 10.532 us.
    """
    topology = dumbbell()
    net = network(topology, Pause(3 * KB, 2 * KB, even(topology, headroom)))
    net.add(Stream(0, 0, 1, 12 * KB, None))
    run(net)
    totals = net.link_totals(0)
    if dropped:
        assert totals["dropped"].sum() >= 1
        return
    assert net.counters() == {("pauses", "sent"): 1}
    assert totals["paused_ps"].tolist() == [10_532 * NS - 4_032 * NS, 0, 0, 0]
    assert [done.delivered for done in net.finished()] == [(12_032 + 3 * 1_000 + US // NS) * NS]


def test_a_pause_that_lasts_is_counted_so_far() -> None:
    topology = dumbbell()
    net = network(topology, Pause(3 * KB, 2 * KB, even(topology, 2 * KB)))
    net.add(Stream(0, 0, 1, 12 * KB, None))
    net.commit(0)
    net.advance(5 * US, 10**6)
    assert net.link_totals(5 * US)["paused_ps"].tolist() == [5 * US - 4_032 * NS, 0, 0, 0]
    assert net.deadlock() == []


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_an_incast_with_headroom_loses_nothing(alpha: float | None) -> None:
    """Pauses spread from the edge switch of the receiver over the spines to the hosts."""
    topology = leaf_spine.build(4, 2, 4, (SLOW, US), (SLOW, US))
    shared = {} if alpha is None else {"shared": 100 * KB}
    # a round trip of frame and data, and a packet that has just begun at each end
    pause = Pause(10 * KB, 2 * KB, even(topology, 2 * KB + 64 + 2 * KB), alpha)
    net = network(topology, pause, **shared)
    for source in range(4, 16):
        net.add(Stream(source, source, 0, 100 * KB, None))
    now = run(net)
    done = net.finished()
    assert [one.undelivered for one in done] == [0] * 12
    totals = net.link_totals(now)
    assert totals["dropped"].sum() == 0
    paused = {(topology.tier[topology.link_src[link]]) for link in np.flatnonzero(totals["paused_ps"]).tolist()}
    assert paused == {0, 1, 2}  # hosts, leaves, spines
    assert net.counters()[("pauses", "sent")] > 12
    # 1200 packets over one link, which never waits once they come
    assert max(one.delivered for one in done) <= (1200 + 4 + 4) * US
    assert net.next_time() == INFINITY
    assert net._held["holds"]["account"].tolist() == [0] * topology.links
    assert not net._held["holds"]["paused"].any()


def ring() -> tuple[Topology, list[int]]:
    """Three switches in a ring with a host each, and the links of the ring in one direction."""
    builder = TopologyBuilder("ring")
    for number in range(3):
        builder.add_node(f"host{number}", host=True, tier=-1)
    for number in range(3):
        builder.add_node(f"switch{number}", host=False, tier=-1)
    for number in range(3):
        builder.add_cable(f"host{number}", f"switch{number}", SLOW, US)
    for number in range(3):
        builder.add_cable(f"switch{number}", f"switch{(number + 1) % 3}", SLOW, US)
    return builder.freeze(), [6, 8, 10]


def ring_of_flows(net: PacketNetwork, around: list[int], packets: int) -> None:
    for number in range(3):  # two links of the ring each
        way = (2 * number, around[number], around[(number + 1) % 3], 2 * ((number + 2) % 3) + 1)
        net.add(Stream(number, number, (number + 2) % 3, packets * KB, way))


def test_a_ring_that_waits_for_itself_is_named() -> None:
    topology, around = ring()
    net = network(topology, Pause(5 * KB, KB, even(topology, 10 * KB)))
    ring_of_flows(net, around, 30)
    now = run(net, until=10**9)
    assert net.deadlock() == around
    assert net.active() == [0, 1, 2]
    assert net.link_totals(now)["dropped"].sum() == 0
    assert (net.link_state(now).queue_bytes[around] >= 5 * KB).all()
    # a link of it fails: what waits there is lost, and what came over the links before it no longer holds them
    net.set_links([around[0]], False)
    run(net, now=now + US)
    assert net.deadlock() == []
    assert net.active() == []
    assert net.counters()[("packets lost", "link down")] >= 5


def test_with_room_for_all_a_ring_does_not_wait_for_itself() -> None:
    topology, around = ring()
    net = network(topology, Pause(100 * KB, KB, even(topology, 10 * KB)))
    ring_of_flows(net, around, 50)
    run(net)
    assert net.active() == []
    assert net.deadlock() == []


def test_cycles_are_found_behind_ways_that_end() -> None:
    assert cycle({1: {2, 3}, 2: set(), 3: {4}, 4: {5}, 5: {3, 2}}) == [3, 4, 5]
    assert cycle({7: {7}}) == [7]
    assert cycle({1: {2}, 2: {3}, 3: set()}) == []


def test_acks_alone_pause_a_link_too() -> None:
    """One queue for all: 200 ACKs come back ten times as fast as they go on, and none is lost."""
    topology = dumbbell()
    pause = Pause(10 * 64, 5 * 64, even(topology, 200 * 64 // 2))
    window = np.full(topology.hosts, 10**9)
    made = PacketSettings(64, 0, True, False, 10**9, window, KB, None, None, 1.0, 7, ports=Ports(pause=pause))
    net = PacketNetwork(topology, Routes(topology), made)
    net.set_rates([1], [SLOW // 10])  # from the switch to host0
    net.add(Stream(0, 0, 1, 200 * 64, None))
    now = run(net)
    assert net.counters()[("pauses", "sent")] > 0
    totals = net.link_totals(now)
    assert totals["dropped"].sum() == 0
    assert totals["paused_ps"][3] > 0  # from host1 to the switch
    assert [done.retransmitted for done in net.finished()] == [0]


def test_a_run_that_stalls_names_the_links_that_wait_for_each_other(tmp_path: Path) -> None:
    """Five switches in a ring; every host sends to the one two switches further on."""
    line = ",100Gbps,1us\n"
    cables = [f"host{n},switch{n}{line}switch{n},switch{(n + 1) % 5}{line}" for n in range(5)]
    (tmp_path / "ring.csv").write_text("src,dst,rate,delay\n" + "".join(cables))
    flows = [f"0us,host{n},host{(n + 2) % 5},200KB\n" for n in range(5)]
    (tmp_path / "flows.csv").write_text("start,src,dst,size\n" + "".join(flows))
    (tmp_path / "ring.yaml").write_text(
        """name: ring
fabric:
  topology: {kind: edges, file: ring.csv}
  switch: {overflow: pause, pause: {threshold: 10KB, resume: 3KB}}
  transport: {kind: window, window: 1MB, rto: 100us}
dispatch: {path: static}
workload:
  - {kind: flows, file: flows.csv}
stop: {stall: 1ms}
"""
    )
    assert run_sim.main([str(tmp_path / "ring.yaml"), "--out", str(tmp_path / "out"), "-q", "--no-plots"]) == 3
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert told["status"] == "stalled"
    circle = [f"switch{n}->switch{(n + 1) % 5}" for n in range(5)]
    (named,) = [reason for reason in told["reasons"] if reason.startswith("deadlock")]
    assert named == f"deadlock of paused links: {', '.join(circle)}, and again the first"
