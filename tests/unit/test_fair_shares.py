"""Two flows on one bottleneck come to equal shares under every congestion control, whoever began first."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from models.builders import star
from models.paths import Routes
from models.structure import longest_rtt
from sim.clock import Clock
from sim.dispatch.api import PathFacts
from sim.dispatch.transport import constant, credit, dcqcn, dctcp, hpcc, nscc, swift, timely
from sim.network.packet import PacketNetwork
from sim.network.protocol import Stream
from sim.network.settings import ACK_BYTES, Control, PacketSettings

RATE, HEADER, MS = 100 * 10**9, 64, 10**9
SIZE = 10**9  # more than a flow sends here


def shares(
    module: ModuleType, end: int, payload: int = 4096, buffer: int = 10**6, **params: Any
) -> tuple[float, float]:
    """Gb/s of payload of two flows in the second half of the time until ``end``; the second begins 1 ms later."""
    topology = star.build(3, (RATE, 2_750_000))  # an RTT of 11.7 us, near that of NSCC's reference network
    routes, mtu = Routes(topology), payload + HEADER
    rtt = longest_rtt(routes, mtu, ACK_BYTES)
    facts = PathFacts(rtt, RATE, RATE * rtt // (8 * 10**12), mtu, payload, ACK_BYTES, 2, buffer, False)
    chosen = module.Params().model_copy(update=params)
    own = np.tile(module.memory(chosen, facts), (topology.hosts, 1))
    more = module.options(chosen, facts) if hasattr(module, "options") else {}
    kmin, kmax, pmax = module.marking(chosen, facts) if hasattr(module, "marking") else (None, None, 1.0)
    control = Control(module.react, own, uses_telemetry=module.uses_telemetry, uses_sent=module.uses_sent, **more)
    window = np.full(topology.hosts, mtu, dtype=np.int64)
    settings = PacketSettings(payload, HEADER, True, False, MS, window, buffer, kmin, kmax, pmax, 1, control=control)
    network = PacketNetwork(topology, routes, settings)
    clock, half = Clock(network), []
    for ident, at in enumerate((0, MS)):
        stream = Stream(ident, ident, 2, SIZE, routes.paths(ident, 2)[0])
        clock.at(at, lambda stream=stream: network.add(stream))
    clock.at(end // 2, lambda: half.extend(network.undelivered(flow, clock.now) for flow in range(2)))
    clock.run(until=end)
    left = [network.undelivered(flow, end) for flow in range(2)]
    assert min(left) > 0
    assert network.check(end) == []
    first, second = ((before - after) * 8000 / (end / 2) for before, after in zip(half, left, strict=True))
    return first, second


CASES: list[tuple[ModuleType, dict[str, Any]]] = [
    (constant, {"end": 10 * MS}),
    (credit, {"end": 10 * MS}),
    (nscc, {"end": 10 * MS}),
    (dctcp, {"end": 40 * MS}),
    (dctcp, {"end": 40 * MS, "variant": "rate", "buffer": 10**8}),  # it is made for fabrics without loss
    (dcqcn, {"end": 40 * MS}),
    (timely, {"end": 40 * MS}),
    (swift, {"end": 10 * MS}),
    # W_AI by the paper's rule for two flows; packets of 1000 B as in the paper
    (hpcc, {"end": 20 * MS, "payload": 1000, "additive": 3500}),
]


@pytest.mark.parametrize(
    ("module", "setting"), CASES, ids=[case[0].__name__.rsplit(".")[-1] + case[1].get("variant", "") for case in CASES]
)
def test_two_flows_come_to_equal_shares(module, setting):
    first, second = shares(module, **setting)
    jain = (first + second) ** 2 / (2 * (first**2 + second**2))
    print(f"{first:.2f} and {second:.2f} Gb/s, Jain {jain:.5f}")
    fair = (first + second) / 2
    assert abs(first - fair) <= 0.05 * fair
    assert first + second > 80
