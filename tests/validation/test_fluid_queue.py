"""The fluid link is an M/G/1 processor-sharing queue: mean time = E[S] / (1 - load), whatever the size distribution."""

from __future__ import annotations

import numpy as np
import pytest

from models.topology import TopologyBuilder
from sim.network.fluid import FluidNetwork
from sim.network.protocol import INFINITY, Stream


@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_poisson_flows_over_one_link(spread: float) -> None:
    """40,000 flows at load 0.5, sizes equal or lognormal, over one link of 8 Gbit/s: within 4 % of theory."""
    rng = np.random.default_rng(1)
    builder = TopologyBuilder("link")
    builder.add_node("a", host=True, tier=0)
    builder.add_node("b", host=True, tier=0)
    builder.add_cable("a", "b", 8 * 10**9, 10**6)
    engine = FluidNetwork(builder.freeze(), None)
    count, load = 40_000, 0.5
    sizes = (rng.lognormal(0.0, spread / 2, count) * 10_000).astype(np.int64) + 1
    service = sizes.mean() * 1000  # ps at 1 byte/ns
    starts = np.cumsum(rng.exponential(service / load, count)).astype(np.int64)
    for number, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
        while engine.next_time() <= start:
            engine.advance(start, 10**6)
        engine.add(Stream(number, 0, 1, size, (0,)))
        engine.commit(start)
    while engine.next_time() < INFINITY:
        engine.advance(INFINITY - 1, 10**6)
    done = engine.finished()
    ended = np.empty(count)
    ended[[one.stream for one in done]] = [one.delivered for one in done]
    assert np.mean(ended - starts - 10**6) == pytest.approx(service / (1 - load), rel=0.04)
