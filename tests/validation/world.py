"""Small worlds for validation: a topology, an engine and policies by name, without a scenario file."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ideal import Unloaded
from models.paths import Routes
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.api import Flow, Piece
from sim.dispatch.views import PathView
from sim.flows import Flows
from sim.network.fluid import FluidNetwork
from sim.network.packet import PacketNetwork
from sim.network.protocol import INFINITY, Network
from sim.network.settings import ACK_BYTES, PacketChoice, PacketSettings
from sim.processes.collective import Collectives, CollectiveWorkload, Plan, Row
from sim.processes.gpu import Gpus

MTU = 4096
HEADER = 64
_FOREVER = 2**62


def path_policy(name: str, view: PathView, **parameters: Any) -> Any:
    """The path policy of this name. ``ethereal`` without its software delays unless they are given."""
    module = importlib.import_module(f"sim.dispatch.path.{name}")
    zero = {"batch_timer": "0ns", "jitter": "0ns"} if name == "ethereal" else {}
    return module.Policy(module.Params(**(zero | parameters)), view)


def assign(name: str, topology: Topology, routes: Routes, flows: Sequence[Flow], seed: int) -> list[list[Piece]]:
    """Each flow's pieces; the flows of a source are one batch."""
    rng = np.random.default_rng(seed)
    view = PathView(topology, routes, int(rng.integers(2**63)), lambda: 0)
    pieces: list[list[Piece]] = path_policy(name, view).assign(flows, rng)
    return pieces


def packet_choice(name: str, topology: Topology, key: int, **parameters: Any) -> PacketChoice | None:
    """The packet policy of this name, None for the built-in ``follow_path``."""
    module = importlib.import_module(f"sim.dispatch.packet.{name}")
    if module.pick is None:
        return None
    return PacketChoice(module.pick, module.state(topology, module.Params(**parameters), key), module.uses_queues)


def packets(
    topology: Topology,
    routes: Routes,
    *,
    mtu: int = MTU,
    header: int = HEADER,
    window: int | None = None,
    choice: PacketChoice | None = None,
    key: int = 1,
) -> PacketNetwork:
    """A packet network with unlimited buffers; ``window`` bytes, or None for line_rate."""
    settings = PacketSettings(
        mtu=mtu, header=header, acks=window is not None, go_back_n=False, rto=10**12,
        window=np.full(topology.hosts, window or _FOREVER, dtype=np.int64),
        buffer=None, kmin=None, kmax=None, pmax=1.0, key=key,
    )  # fmt: skip
    return PacketNetwork(topology, routes, settings, choice)


def drain(network: Network) -> int:
    """Runs until nothing is left; returns the time. AssertionError where an invariant does not hold."""
    now = 0
    while network.next_time() != INFINITY:
        now, _ = network.advance(_FOREVER, 10**9)
    end = max((done.end for done in network.finished()), default=now)
    assert not network.check(end), network.check(end)
    return end


def collective(
    operation: str,
    algorithm: str,
    size: int,
    topology: Topology,
    network: Network,
    path: str,
    *,
    acks: bool = False,
    seed: int = 1,
    **parameters: Any,
) -> Row:
    """Runs one operation over all hosts and returns its row; times in ps."""
    clock = Clock(network)
    rng = np.random.default_rng(seed)
    routes = Routes(topology)
    view = PathView(topology, routes, int(rng.integers(2**63)), lambda: int(clock.now))
    unloaded = Unloaded(topology, MTU, HEADER, ack=ACK_BYTES if acks else None)
    policy = path_policy(path, view, **parameters)
    flows = Flows(clock, network, topology, view, policy, rng, unloaded, acks)
    clock.on_tell = flows.hear
    module = importlib.import_module(f"sim.dispatch.collective.{algorithm}")
    hosts = list(range(topology.hosts))
    messages, counts = module.Policy(module.Params()).schedule(operation, len(hosts), size)
    records = Collectives()
    work = CollectiveWorkload(
        clock, flows, Gpus(clock), records, Plan(messages, counts, len(hosts)), hosts,
        op=operation, algorithm=algorithm, size=size,
    )  # fmt: skip
    clock.run(until=work.done)
    return records.rows[0]


def switch_links(topology: Topology) -> NDArray[np.int64]:
    """Links that leave switches."""
    return np.flatnonzero(topology.link_src >= topology.hosts)


def fabric_links(topology: Topology) -> NDArray[np.int64]:
    """Links between switches: leaf uplinks and spine downlinks."""
    return np.flatnonzero((topology.link_src >= topology.hosts) & (topology.link_dst >= topology.hosts))


def fluid(topology: Topology, routes: Routes, *, payload_rate: bool = False) -> FluidNetwork:
    """A fluid network; ``payload_rate``: links carry payload at rate x payload / (payload + header)."""
    return FluidNetwork(topology, routes, MTU / (MTU + HEADER) if payload_rate else 1.0)
