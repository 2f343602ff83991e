"""Packet policies as functions: sequences that were worked out by hand or by a plain model, and each on the engine."""

from __future__ import annotations

import importlib
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from models.builders import leaf_spine
from models.mix import mix
from models.paths import Routes
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.api import CUT, DOWN, GOOD, LOST, MARKED
from sim.network.choices import packet_choice
from sim.network.packet import PacketNetwork, PacketSettings
from sim.network.protocol import Stream

GBPS = 10**9
MS = 10**9


def fabric(leaves: int = 2, spines: int = 2, hosts: int = 2) -> Topology:
    """Links of 100 Gbps and 500 ns; ``hosts`` a leaf."""
    return leaf_spine.build(leaves, spines, hosts, (100 * GBPS, 500_000), (100 * GBPS, 500_000))


def policy(name: str) -> Any:
    return importlib.import_module(f"sim.dispatch.packet.{name}")


def key(number: int) -> int:
    return int(mix(np.uint64(number + 1)) >> np.uint64(1))


class Host:
    """A flow's memory at its host, and the calls that a host makes."""

    def __init__(self, name: str, window: int = 32, **parameters: Any) -> None:
        self.module = policy(name)
        self.own = self.module.memory(fabric(), self.module.Params(**parameters), window, 1)
        self.window, self.now, self.calls, self.packet = window, 0, 0, 0

    def send(self) -> int:
        self.calls += 1
        self.packet += 1
        return int(self.module.spread(self.own, self.now, 7, self.packet - 1, self.window, key(self.calls)))

    def hear(self, kind: int, entropy: int) -> None:
        self.calls += 1
        self.module.hear(self.own, self.now, kind, entropy, key(self.calls))


def test_oblivious_uses_every_path_once_a_round_in_a_new_order() -> None:
    host = Host("oblivious", paths=64)
    rounds = [[host.send() for _ in range(64)] for _ in range(3)]
    assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
    assert len({value % 64 for value in rounds[0]}) == 64
    assert len({value // 64 for value in rounds[0]}) == 1
    assert rounds[0] != rounds[1]
    first = [value % 64 for value in rounds[1]]
    assert [one ^ first[0] for one in first] == list(range(64))


def test_bitmap_leaves_out_paths_by_their_penalties() -> None:
    host = Host("bitmap", paths=8)
    order = [host.send() for _ in range(8)]
    host.hear(MARKED, order[2])
    host.hear(CUT, order[5])
    sent = [host.send() for _ in range(4 * 8 - 5)]  # four rounds of eight turns
    assert sent.count(order[2]) == 3  # left out once
    assert sent.count(order[5]) == 0  # left out four times
    assert all(sent.count(value) == 4 for value in order if value not in (order[2], order[5]))
    again = [host.send() for _ in range(8)]
    assert sorted(again) == sorted(order)


def test_bitmap_sums_penalties_up_to_their_limit() -> None:
    host = Host("bitmap", paths=2)
    one, other = host.send(), host.send()
    for _ in range(5):
        host.hear(CUT, one)
    host.hear(LOST, -1)
    host.hear(LOST, -1)
    assert sorted(host.own[-2:].tolist()) == [15, 15]
    sent = Counter(host.send() for _ in range(40))
    assert min(sent[one], sent[other]) > 0  # a round without a path free of penalties ends


class Ring:
    """REPS in plain Python: a list of [value, fresh], from the oldest place on."""

    def __init__(self, slots: int, paths: int) -> None:
        self.slots, self.paths = slots, paths
        self.ring: list[list[int]] = []
        self.head = self.turn = self.explore = 0
        self.thaw: int | None = None

    def send(self, now: int, key: int) -> int:
        fresh = sum(place[1] for place in self.ring)
        if self.explore:
            self.explore -= 1
            return key % self.paths
        if self.thaw is not None:
            if not self.ring:
                return key % self.paths
            place = self.ring[self.turn]
            self.turn = (self.turn + 1) % len(self.ring)
        elif fresh:
            place = self.ring[(self.head - fresh) % self.slots]
            assert place[1]
        else:
            return key % self.paths
        place[1] = 0
        return place[0]

    def hear(self, now: int, kind: int, entropy: int) -> None:
        if kind == LOST and self.thaw is None and self.explore == 0:
            self.thaw = now + 10 * MS
        if self.thaw is not None and now > self.thaw:
            self.ring, self.head, self.turn, self.explore, self.thaw = [], 0, 0, 16, None
        if kind == GOOD:
            if len(self.ring) < self.slots:
                self.ring.append([0, 0])
            self.ring[self.head][:] = entropy, 1
            self.head = (self.head + 1) % self.slots


@pytest.mark.parametrize("seed", range(5))
def test_reps_is_its_plain_model(seed: int) -> None:
    draw = random.Random(seed)
    host, ring = Host("reps", paths=64), Ring(8, 64)
    frozen = explored = 0
    for _ in range(4000):
        host.now += draw.randrange(1, MS // 20)
        if draw.random() < 0.5:
            assert host.send() == ring.send(host.now, key(host.calls))
        else:
            kind = draw.choices([GOOD, MARKED, CUT, LOST], [80, 10, 9, 1])[0]
            entropy = -1 if kind == LOST else draw.randrange(64)
            host.hear(kind, entropy)
            ring.hear(host.now, kind, entropy)
        frozen += ring.thaw is not None
        explored += ring.explore > 0
    assert min(frozen, explored) > 50


def test_reps_uses_a_good_path_once_and_the_oldest_first() -> None:
    host = Host("reps", paths=1024)
    for entropy in (5, 6, 7):
        host.hear(GOOD, entropy)
    host.hear(MARKED, 8)
    assert [host.send(), host.send(), host.send()] == [5, 6, 7]
    for entropy in range(10):
        host.hear(GOOD, entropy)
    assert [host.send() for _ in range(8)] == list(range(2, 10))


def test_frozen_reps_goes_round_its_ring() -> None:
    host = Host("reps", paths=1024)
    for entropy in (5, 6, 7):
        host.hear(GOOD, entropy)
    host.hear(LOST, -1)
    assert [host.send() for _ in range(6)] == [5, 6, 7, 5, 6, 7]
    host.now = 10 * MS + 1
    host.hear(MARKED, 1)  # anything heard after the freeze ends it
    explored = [host.send() for _ in range(16)]
    assert len(set(explored)) > 10


def test_mixed_takes_what_came_back_and_else_walks() -> None:
    host = Host("mixed", paths=8)
    walked = [host.send() for _ in range(3)]
    for entropy in walked:
        host.hear(GOOD, entropy)
    assert [host.send() for _ in range(3)] == walked
    walked += [host.send() for _ in range(5)]
    assert len(set(walked)) == 8


def test_reps_v1_explores_a_window_then_uses_each_good_value_once() -> None:
    host = Host("reps_v1", window=4)
    assert [host.send() for _ in range(4)] == [0, 1, 2, 3]
    for entropy in (2, 0, 2, 3):
        host.hear(GOOD, entropy)
    host.hear(MARKED, 3)  # the oldest goes, not the marked one
    assert [host.send(), host.send()] == [0, 3]
    host.hear(GOOD, 9)
    host.hear(LOST, -1)
    assert len({host.send() for _ in range(20)}) > 10


def test_plb_moves_after_congested_rounds_only() -> None:
    host = Host("plb", window=4)
    path = host.send()
    for marks in [2] * 11 + [1] + [2] * 11:  # of four; half is congested
        for number in range(4):
            host.hear(MARKED if number < marks else GOOD, path)
        assert host.send() == path
    for _ in range(4):
        host.hear(MARKED, path)
    moved = host.send()
    assert moved != path
    host.hear(LOST, -1)
    after = host.send()
    assert after != moved
    for _ in range(4 * 12):
        host.hear(MARKED, after)
    assert host.send() == after  # suspended
    host.now = 120 * 1000 * MS
    for _ in range(4 * 12):
        host.hear(MARKED, after)
    assert host.send() != after


# -- policies of switches


class Switches:
    """A policy's state, and calls as a fabric's switches make them."""

    def __init__(self, name: str, topology: Topology, *more: int, **parameters: Any) -> None:
        self.module, self.topology, self.calls = policy(name), topology, 0
        self.state = self.module.state(topology, self.module.Params(**parameters), 3, *more)

    def pick(self, queues: list[int], now: int = 0, node: int = 0, edge: int = 0, flow: int = 1, n: int = 0) -> int:
        self.calls += 1
        seen = np.array(queues, dtype=np.int64)
        number = n or len(queues)
        return int(self.module.pick(self.state, seen, number, now, node, 0, 1, edge, flow, self.calls, key(self.calls)))


def two_leaves() -> tuple[Topology, int, int, list[int]]:
    """A 2 x 2 leaf-spine: leaves, and the first leaf's uplinks."""
    topology = fabric()
    one, other = topology.hosts, topology.hosts + 1
    up = np.flatnonzero((topology.link_src == one) & (topology.link_dst >= topology.hosts))
    return topology, one, other, up.tolist()


def test_adaptive_tells_queues_apart_in_steps_only() -> None:
    switches = Switches("adaptive", fabric(), 100_000)  # steps at 5, 10 and 20 kB
    assert {switches.pick([5_001, 4_000, 0, 21_000]) for _ in range(50)} == {1, 2}
    assert {switches.pick([20_000, 20_001, 60_000, 15_000]) for _ in range(50)} == {0, 3}
    assert {switches.pick([90_000, 21_000, 60_000]) for _ in range(50)} == {0, 1, 2}


def test_switch_round_robin_shuffles_after_five_rounds() -> None:
    switches = Switches("switch_round_robin", leaf_spine.build(2, 8, 1, (GBPS, 1), (GBPS, 1)))
    turns = [[switches.pick([0] * 8, node=2) for _ in range(8)] for _ in range(10)]
    assert all(sorted(turn) == list(range(8)) for turn in turns)
    assert turns[:5] == [turns[0]] * 5
    assert turns[5:] == [turns[5]] * 5
    assert turns[0] != turns[5]


def test_letflow_moves_only_after_a_gap() -> None:
    switches = Switches("letflow", leaf_spine.build(2, 8, 1, (GBPS, 1), (GBPS, 1)))
    gap, now, ports = 100_000_000, 0, []
    for _ in range(40):
        port = switches.pick([0] * 8, now=now, node=2)
        for _ in range(3):
            now += gap
            assert switches.pick([0] * 8, now=now, node=2) == port
        ports.append(port)
        now += gap + 1
    assert len(set(ports)) > 5


def test_conga_takes_the_least_of_the_larger_of_local_and_remote_load() -> None:
    topology, one, other, up = two_leaves()
    switches = Switches("conga", topology)
    us = 1_000_000

    def choose(local: list[int], now: int, flow: int) -> int:
        return switches.pick([0, 0, *local, *up], now=now, node=one, edge=other, flow=flow, n=2)

    assert choose([300, 200], 0, 1) == 1
    assert choose([200, 300], 1 * us, 1) == 1  # its flowlet goes on
    switches.module.learn(switches.state, 2 * us, one, other, up[1], 700, 0)
    assert choose([300, 200], 2 * us, 2) == 0  # max(300, -) against max(200, 700)
    switches.module.learn(switches.state, 3 * us, one, other, up[0], 900, 0)
    assert choose([300, 200], 3 * us, 3) == 1
    assert choose([300, 200], 504 * us, 4) == 1  # both are forgotten
    assert choose([200, 300], 504 * us, 5) == 0
    assert choose([200, 201], 604 * us + 1, 5) == 0  # equal in 3 bits: it stays


def test_hula_knows_the_least_loaded_way() -> None:
    topology, one, other, up = two_leaves()
    switches = Switches("hula", topology)
    loads = np.zeros(topology.links, dtype=np.int64)
    down = [
        int(np.flatnonzero((topology.link_src == topology.link_dst[link]) & (topology.link_dst == other))[0])
        for link in up
    ]

    def choose(flow: int) -> int:  # a second apart: each is a new flowlet
        return switches.pick([0, 0, 0, 0, *up], now=flow * 1000 * MS, node=one, edge=other, flow=flow, n=2)

    loads[up[0]], loads[down[1]] = 100, 200
    switches.module.tick(switches.state, loads, 1)
    assert {choose(flow) for flow in range(10)} == {0}
    loads[down[0]] = 300
    switches.module.tick(switches.state, loads, 2)
    assert {choose(flow) for flow in range(10, 20)} == {1}
    loads[down[1]] = DOWN
    switches.module.tick(switches.state, loads, 3)
    assert {choose(flow) for flow in range(20, 30)} == {0}
    loads[down[0]] = DOWN
    switches.module.tick(switches.state, loads, 4)
    assert {choose(flow) for flow in range(30, 60)} == {0, 1}


class Automaton(Switches):
    """Decisions at the first leaf, each followed by its feedback: the queue (1/1024) of the way that was taken."""

    def __init__(self, **parameters: Any) -> None:
        topology, self.one, self.other, self.up = two_leaves()
        super().__init__("stochastic_automaton", topology, gap="0ns", **parameters)

    def share(self, queues: tuple[int, int], feedbacks: int) -> list[float]:
        """How often each way was taken."""
        taken = [0, 0]
        for _ in range(feedbacks):
            index = self.pick([0, 0, 0, 0, *self.up], now=self.calls * 1000, node=self.one, edge=self.other, n=2)
            taken[index] += 1
            self.module.learn(self.state, 0, self.one, self.other, self.up[index], queues[index], 0)
        return [count / feedbacks for count in taken]

    def probabilities(self) -> list[int]:
        topology, head = self.topology, 4 + 7 + self.topology.nodes + self.topology.links + 2
        assert topology.hosts == 4
        return self.state[head + 2 : head + 4].tolist()


def test_reward_inaction_ends_on_the_better_way() -> None:
    better = 0
    for seed in range(20):
        automaton = Automaton(rule="reward_inaction", gain=0.02, floor=0)
        automaton.calls = 100_000 * seed
        automaton.share((800, 100), 2000)
        assert sum(automaton.probabilities()) == 1 << 30
        better += automaton.probabilities()[1] > 0.999 * (1 << 30)
    assert better >= 19


def test_reward_penalty_follows_a_shift_within_200_feedbacks() -> None:
    automaton = Automaton()
    automaton.share((800, 100), 500)
    assert automaton.share((800, 100), 500)[1] > 0.75
    automaton.share((100, 800), 200)
    assert automaton.share((100, 800), 500)[0] > 0.75
    assert sum(automaton.probabilities()) == 1 << 30
    assert min(automaton.probabilities()) >= 0.01 * (1 << 30) - 1


# -- on the engine


def settings(topology: Topology, **changes: Any) -> PacketSettings:
    plain: dict[str, Any] = {
        "mtu": 4096, "header": 64, "acks": True, "go_back_n": False, "rto": 200_000_000,
        "window": np.full(topology.hosts, 200_000, dtype=np.int64), "buffer": 200_000, "kmin": 40_000, "kmax": 100_000,
        "pmax": 1.0, "key": 11,
    }  # fmt: skip
    return PacketSettings(**(plain | changes))


def run(name: str, topology: Topology, pairs: list[tuple[int, int]], size: int, **changes: Any) -> list[Any]:
    module = policy(name)
    choice = packet_choice(module, topology, module.Params(), 5, 48, 200_000)
    network = PacketNetwork(topology, Routes(topology), settings(topology, **changes), choice)
    clock = Clock(network)
    for ident, (src, dst) in enumerate(pairs):
        network.add(Stream(ident, src, dst, size, None))
    clock.run(until=10 * MS)
    assert network.check(clock.now) == []
    return sorted(network.finished())


HOSTS = ("oblivious", "reps", "reps_v1", "bitmap", "mixed", "plb")
SWITCHES = ("adaptive", "switch_round_robin", "letflow", "conga", "hula", "stochastic_automaton")


@pytest.mark.parametrize("name", HOSTS + SWITCHES)
def test_every_policy_delivers(name: str) -> None:
    topology = fabric(hosts=4)
    pairs = [(i, (i + 4) % 8) for i in range(8)] + [(0, 1), (4, 0)]
    done = run(name, topology, pairs, 2_000_000)
    assert len(done) == len(pairs)
    assert all(one.undelivered == 0 and one.lost == 0 for one in done)
