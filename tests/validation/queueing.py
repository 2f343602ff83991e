"""Single queues against theory: M/D/1 and M/M/1 in the packet engine, M/G/1 processor sharing in the fluid one.

Waiting in M/G/1 first come first served (Pollaczek-Khinchine): load x E[S^2] / (2 E[S] (1 - load)); mean time in
M/G/1-PS: E[S] / (1 - load), whatever the distribution. Intervals are 99 % batch means over the flows in order of
arrival.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.stats import Interval, batch_means
from models import sizes
from models.paths import Routes
from models.topology import TopologyBuilder
from sim.network.fluid import FluidNetwork
from sim.network.protocol import INFINITY, Network, Stream
from tests.validation.world import packets

RATE = 10**11
DELAY = 1_000  # ps
MEAN = 10_000  # bytes
MTU = 40 * MEAN  # a size above it has a chance of e^-40
PS_PER_BYTE = 8 * 10**12 // RATE
BLOCK = 100_000

Array = NDArray[np.int64]

# kind, load, flows, half-width to reach: the flows give it with room to spare
FULL = (
    ("M/D/1", 0.3, 400_000, 0.02),
    ("M/D/1", 0.6, 900_000, 0.02),
    ("M/D/1", 0.9, 3_000_000, 0.03),
    ("M/M/1", 0.3, 1_000_000, 0.02),
    ("M/M/1", 0.6, 1_800_000, 0.02),
    ("M/M/1", 0.9, 8_000_000, 0.03),
    ("M/G/1-PS", 0.3, 700_000, 0.02),
    ("M/G/1-PS", 0.6, 2_500_000, 0.02),
    ("M/G/1-PS", 0.9, 18_000_000, 0.03),
)


class Queue(NamedTuple):
    """A measured mean in ps beside the theory's."""

    name: str
    load: float
    flows: int
    theory: float
    measured: Interval

    def holds(self, width: float) -> bool:
        """Theory inside the interval, whose half-width is at most ``width`` of the mean."""
        return self.theory in self.measured and self.measured.relative <= width


def _network(mtu: int | None) -> Network:
    """Two hosts and the cable between them: behind a second link small packets would wait for large ones again."""
    builder = TopologyBuilder("pair")
    for name in ("a", "b"):
        builder.add_node(name, host=True, tier=0)
    builder.add_cable("a", "b", RATE, DELAY)
    topology = builder.freeze()
    routes = Routes(topology)
    return FluidNetwork(topology, routes) if mtu is None else packets(topology, routes, mtu=mtu, header=0)


def arrivals(
    rng: np.random.Generator, distribution: sizes.SizeDistribution, load: float, flows: int
) -> Iterator[tuple[Array, Array]]:
    """Blocks of (start ps, bytes): Poisson arrivals that offer ``load``."""
    gap = distribution.mean() * PS_PER_BYTE / load
    now = 0.0
    for first in range(0, flows, BLOCK):
        number = min(BLOCK, flows - first)
        start = now + np.cumsum(rng.standard_exponential(number) * gap)
        now = float(start[-1])
        yield start.astype(np.int64), distribution.sample(rng, number)


def times(network: Network, blocks: Iterator[tuple[Array, Array]], flows: int) -> tuple[Array, Array]:
    """Each flow's time from start to delivery in ps, and its bytes."""
    start, size, ended = (np.zeros(flows, dtype=np.int64) for _ in range(3))
    number = 0
    add, commit, advance, next_time = network.add, network.commit, network.advance, network.next_time

    def collect() -> None:
        done = network.finished()
        ended[[one.stream for one in done]] = [one.delivered for one in done]

    for starts, bytes_ in blocks:
        block = slice(number, number + len(starts))
        start[block], size[block] = starts, bytes_
        for now, amount in zip(starts.tolist(), bytes_.tolist(), strict=True):
            advance(now, INFINITY >> 1)
            add(Stream(number, 0, 1, amount, (0,), 1.0, None, False))
            commit(now)
            number += 1
        collect()
    while next_time() != INFINITY:
        advance(INFINITY >> 1, INFINITY >> 1)
    collect()
    return ended - start, size


def waiting(kind: str, load: float, flows: int, seed: int = 1) -> Queue:
    """Waiting before the link in the packet engine: M/D/1 or M/M/1."""
    distribution: sizes.SizeDistribution = sizes.Constant(MEAN) if kind == "M/D/1" else sizes.Exponential(MEAN)
    network = _network(MTU)
    blocks = arrivals(np.random.default_rng(seed), distribution, load, flows)
    took, size = times(network, blocks, flows)
    wait = took - size * PS_PER_BYTE - DELAY
    mean = distribution.mean()
    theory = load * distribution.second_moment() / (2 * mean * (1 - load)) * PS_PER_BYTE
    return Queue(kind, load, flows, theory, batch_means(wait))


def sharing(load: float, flows: int, seed: int = 1) -> Queue:
    """Time in the system in the fluid engine with websearch sizes over one pair: M/G/1-PS."""
    distribution = sizes.named("websearch")
    network = _network(None)
    blocks = arrivals(np.random.default_rng(seed), distribution, load, flows)
    took, _ = times(network, blocks, flows)
    theory = distribution.mean() * PS_PER_BYTE / (1 - load)
    return Queue("M/G/1-PS", load, flows, theory, batch_means(took - DELAY))


def run(kind: str, load: float, flows: int, seed: int = 1) -> Queue:
    return sharing(load, flows, seed) if kind == "M/G/1-PS" else waiting(kind, load, flows, seed)
