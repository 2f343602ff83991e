"""Exchanges of messages on a small cluster, timed without a scenario file."""

from __future__ import annotations

import numpy as np

from models.builders import gpu_cluster, star
from models.builders.gpu_cluster import ScaleUp
from models.ideal import Unloaded
from models.paths import Routes
from sim.clock import Clock
from sim.dispatch.api import Exchange
from sim.dispatch.groups import layout_of
from sim.dispatch.path import ecmp
from sim.dispatch.views import PathView
from sim.flows import Flows
from sim.network.fluid import FluidNetwork
from sim.processes.collective import Collectives, CollectiveWorkload
from sim.processes.gpu import Gpus
from sim.processes.plan import Plan, priced, profile_named

GBPS = 10**9
SLOTS = 8  # GPUs of a node


class Cluster:
    """Nodes of eight GPUs with a NIC of 400 Gb/s each on one switch; ``nvlink`` GB/s of a GPU, each way."""

    def __init__(self, nodes: int, nvlink: int) -> None:
        fabric = star.build(nodes * SLOTS, (400 * GBPS, 500_000))
        scale_up = ScaleUp("nvswitch", nvlink * 8 * GBPS, 250_000)
        self.topology = gpu_cluster.build(fabric, nodes, SLOTS, 1.0, scale_up, (504 * GBPS, 250_000))
        self.hosts = list(range(nodes * SLOTS))
        self.layout = layout_of(self.topology, self.hosts)

    def time(self, exchange: Exchange, profile: str, *, launch: bool = True) -> float:
        """us from the first GPU's joining to the last one's end."""
        plan: Plan = priced(exchange, self.layout, profile_named(profile), launches_phases=False)
        plan.launch = plan.launch if launch else 0
        routes = Routes(self.topology)
        network = FluidNetwork(self.topology, routes, 1.0)
        clock = Clock(network)
        view = PathView(self.topology, routes, 1, lambda: int(clock.now))
        unloaded = Unloaded(self.topology, 4096, 64, ack=None)
        policy = ecmp.Policy(ecmp.Params(), view)
        flows = Flows(clock, network, self.topology, view, policy, np.random.default_rng(1), unloaded, False)
        clock.on_tell = flows.hear
        records = Collectives()
        work = CollectiveWorkload(
            clock, flows, Gpus(clock), records, plan, self.hosts, op="exchange", algorithm="", size=1
        )
        clock.run(until=work.done)
        return records.rows[0].time / 1e6


def pairs(nodes: int, shift: int, size: int, number: int) -> Exchange:
    """Every GPU sends ``number`` messages of ``size`` bytes to the next node's GPU that is ``shift`` rails on."""
    ranks = nodes * SLOTS
    src = np.arange(ranks)
    dst = (src // SLOTS + 1) % nodes * SLOTS + (src + shift) % SLOTS
    none = np.full(ranks, -1)
    return Exchange(src, dst, np.full(ranks, number * size), np.full(ranks, number), none, none, [])
