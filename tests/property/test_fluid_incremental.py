"""The incremental engine against the full solver, after every event of random histories."""

from __future__ import annotations

import numpy as np
import pytest

from models.topology import Topology, TopologyBuilder
from sim.network.fluid import FluidNetwork
from sim.network.protocol import INFINITY, Stream
from solvers.maxmin import rates

GBPS = 10**9


def line_up(rng: np.random.Generator, links: int) -> Topology:
    """Links of random rate and delay, each between two nodes of its own: paths may combine them at will."""
    builder = TopologyBuilder("links")
    for number in range(links):
        builder.add_node(f"a{number}", host=True, tier=0)
        builder.add_node(f"b{number}", host=True, tier=0)
        builder.add_cable(f"a{number}", f"b{number}", int(rng.integers(1, 40)) * GBPS, int(rng.integers(1, 10**6)))
    return builder.freeze()


class Shares:
    """Routes that give a stream the split it was made with."""

    def __init__(self) -> None:
        self.split: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def share(self, src: int, dst: int) -> tuple[np.ndarray, np.ndarray]:
        return self.split[src * 10**6 + dst]

    def shares(self, src: list[int], dst: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        links, parts = zip(*(self.share(*pair) for pair in zip(src, dst, strict=True)), strict=True)
        return np.concatenate(links), np.concatenate(parts), np.array([len(row) for row in links])


class History:
    """A network and, beside it, what its streams are: enough to ask the full solver for the rates."""

    def __init__(self, seed: int, links: int, equal: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.equal = equal
        self.topology = line_up(self.rng, links)
        if equal:
            self.topology.link_rate[:] = 10 * GBPS
        self.routes = Shares()
        self.network = FluidNetwork(self.topology, self.routes)
        self.up = np.ones(self.topology.links, dtype=bool)
        self.streams: dict[int, tuple[np.ndarray, np.ndarray, float, float]] = {}
        self.number = 0
        self.sizes: list[int] = []

    def way(self) -> tuple[tuple[int, ...] | None, np.ndarray, np.ndarray, tuple[int, int]]:
        rng = self.rng
        path = rng.choice(self.topology.links, int(rng.integers(1, 6)), replace=False).astype(np.int32)
        pair = (0, 1)
        if self.equal or rng.random() < 0.6:
            return tuple(path.tolist()), path, np.ones(len(path)), pair
        share = rng.integers(1, 9, len(path)) / 8.0
        pair = (int(rng.integers(self.topology.hosts)), self.number % self.topology.hosts)
        self.routes.split[pair[0] * 10**6 + pair[1]] = (path, share)
        return None, path, share, pair

    def start(self) -> None:
        rng = self.rng
        path, links, share, (src, dst) = self.way()
        weight = 1.0 if self.equal else float(rng.choice([0.001, 0.25, 1.0, 1.0, 2.0, 50.0]))
        cap = int(rng.integers(1, 10**10)) if rng.random() < 0.25 and not self.equal else None
        size = 10**6 if self.equal else int(rng.integers(1, 10**7))
        self.network.add(Stream(self.number, src, dst, size, path, weight, cap))
        self.sizes.append(size)
        self.streams[self.number] = (links, share, weight, np.inf if cap is None else float(cap))
        self.number += 1

    def change(self, now: int) -> None:
        rng = self.rng
        for _ in range(int(rng.integers(0, 4))):
            self.start()
        if rng.random() < 0.15:
            link = int(rng.integers(self.topology.links))
            self.up[link] = not self.up[link]
            self.network.set_links([link], bool(self.up[link]))
        active = sorted(self.network.rates())
        if active and rng.random() < 0.2:
            stream = int(rng.choice(active))
            path = tuple(rng.choice(self.topology.links, 2, replace=False).tolist())
            self.network.reroute(stream, path)
            self.streams[stream] = (np.array(path, dtype=np.int32), np.ones(2), *self.streams[stream][2:])
        for _ in range(int(rng.integers(0, 3)) if active and rng.random() < 0.3 else 0):
            self.network.stop(int(rng.choice([*active, self.number - 1])))  # now and then one that starts just now
        self.network.commit(now)

    def compare(self, now: int) -> None:
        found = self.network.rates()
        order = sorted(found)
        parts = [self.streams[stream] for stream in order]
        if not parts:
            return
        start = np.concatenate([[0], np.cumsum([len(part[0]) for part in parts])]).astype(np.int64)
        expected = rates(
            np.where(self.up, self.topology.link_rate, 0).astype(np.float64),
            start,
            np.concatenate([part[0] for part in parts]).astype(np.int32),
            np.concatenate([part[1] for part in parts]),
            np.array([part[2] for part in parts]),
            np.array([part[3] for part in parts]),
        )
        np.testing.assert_allclose([found[stream] for stream in order], expected, rtol=1e-9, atol=1e-3)
        assert self.network.check(now) == []


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_rates_are_those_of_the_full_solver_after_every_event(seed: int, equal: bool) -> None:
    """System: random paths, splits, weights, caps. Events: starts, drains, reroutes, stops, links down and up."""
    history = History(seed, links=8 if seed % 3 else 40, equal=equal)
    now = 0
    for _ in range(150):
        history.change(now)
        history.compare(now)
        for _ in range(int(history.rng.integers(1, 4))):
            if history.network.next_time() == INFINITY:
                break
            now, _ = history.network.advance(history.network.next_time(), 10**6)
            history.compare(now)
    history.network.set_links(range(history.topology.links), True)
    history.network.commit(now)
    while history.network.next_time() < INFINITY:
        now, _ = history.network.advance(history.network.next_time(), 10**6)
    assert history.network.active() == []
    ended = sorted(history.network.finished())
    assert [done.stream for done in ended] == list(range(history.number))
    assert sum(done.undelivered for done in ended) == sum(history.sizes) - history.network.delivered_bytes()
    assert any(done.stopped and done.undelivered < history.sizes[done.stream] for done in ended)
