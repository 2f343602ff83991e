"""The clock with an engine and nothing else to wait for."""

from __future__ import annotations

import numpy as np
import pytest

from models.builders import star
from models.paths import Routes
from sim.clock import Clock
from sim.network.fluid import FluidNetwork
from sim.network.ideal import IdealNetwork
from sim.network.packet import PacketNetwork
from sim.network.protocol import INFINITY, Network, Stream
from sim.network.reference import ReferenceNetwork
from sim.network.settings import PacketSettings

US = 10**6


def made(engine: type) -> Network:
    topology = star.build(3, (8 * 10**9, US))
    routes = Routes(topology)
    if engine in (FluidNetwork, IdealNetwork):
        return engine(topology, routes)
    window = np.full(topology.hosts, 10**9)
    return engine(topology, routes, PacketSettings(1000, 0, True, False, 10**9, window, None, None, None, 1.0, 7))


@pytest.mark.parametrize("engine", [PacketNetwork, ReferenceNetwork, FluidNetwork, IdealNetwork])
def test_without_a_time_to_stop_at_it_runs_until_nothing_is_left(engine: type) -> None:
    network = made(engine)
    clock = Clock(network)
    for stream in range(2):
        network.add(Stream(stream, stream, 2, 10_000, None, notify=False))
    clock.run()
    done = network.finished()
    assert [one.stream for one in sorted(done)] == [0, 1]
    assert max(one.end for one in done) <= clock.now < 10**10
    assert network.next_time() == INFINITY
    # and it goes on from there
    network.add(Stream(2, 0, 1, 10_000, None, notify=False))
    clock.run()
    assert [one.stream for one in network.finished()] == [2]
    assert network.check(clock.now) == []
