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
from sim.dispatch.api import CUT, GOOD, LOST, MARKED
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


POLICIES = ("oblivious", "reps", "bitmap", "mixed")


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_delivers(name: str) -> None:
    topology = fabric(hosts=4)
    pairs = [(i, (i + 4) % 8) for i in range(8)] + [(0, 1), (4, 0)]
    done = run(name, topology, pairs, 2_000_000)
    assert len(done) == len(pairs)
    assert all(one.undelivered == 0 and one.lost == 0 for one in done)
