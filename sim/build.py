"""Scenario -> live objects. The only place that wires clock, network, policies, workloads and faults together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from simpy.events import Event

from models import connection_matrix
from models.errors import InputError, Problem
from models.ideal import Unloaded
from models.paths import Routes
from models.topology import NIC, Topology
from models.units import PS_PER_SECOND
from sim import sources
from sim.build_admission import AdmissionWiring
from sim.build_faults import wire_faults
from sim.build_moe import MoeWiring, gpus_of
from sim.build_packets import Derived, chooses, derive, settings_of
from sim.build_requests import ServingWiring
from sim.clock import Clock
from sim.dispatch.path import spray
from sim.dispatch.views import PathView
from sim.failures import FailureBook
from sim.flows import Flows
from sim.network.choices import packet_choice
from sim.network.protocol import Network
from sim.network.settings import ACK_BYTES
from sim.processes import arrivals
from sim.processes.collective import Collectives, CollectiveWorkload
from sim.processes.faults import Faults
from sim.processes.gpu import Gpus
from sim.processes.kernels import KEPT
from sim.processes.matrix import Matrix
from sim.processes.moe import Steps
from sim.rng import Streams
from sim.scenario.demands import Demands
from sim.scenario.fabric import prepare
from sim.scenario.load import Loaded
from sim.scenario.moe import Moe
from sim.scenario.serving import Requests
from sim.scenario.workloads import Collective
from sim.scenario.workloads import Flows as FlowsSpec
from sim.scenario.workloads import Matrix as MatrixSpec
from sim.telemetry import Telemetry

_TIERS = {"TOR": 1, "AGG": 2, "CORE": 3}  # htsim's words


class Work(Protocol):
    """A source of work: when it is done, and who waits on what until then."""

    done: Event

    def describe_waiting(self) -> list[str]: ...


@dataclass
class World:
    """All that a run needs."""

    loaded: Loaded
    topology: Topology
    clock: Clock
    network: Network
    flows: Flows
    work: list[Work]  # with an end of its own
    endless: list[Work]
    faults: Faults | None
    failures: FailureBook | None
    telemetry: Telemetry
    collectives: Collectives
    gpus: Gpus
    moe: MoeWiring
    admission: AdmissionWiring
    serving: ServingWiring
    expected_bytes: int | None  # payload of all work, where it can be told beforehand
    loads: list[float]  # of workloads that are given one
    derived: Derived | None  # what the packet engines were told
    housekeeping: int = 1  # SimPy events that are always planned: telemetry's next sample

    @property
    def steps(self) -> Steps:
        return self.moe.steps

    def counted(self) -> dict[tuple[str, str], int]:
        """What was dropped, rerouted, extrapolated or ran over, by (what, reason)."""
        full = {("GPUs out of memory", d.settings.kind): 0 for d in self.gpus.out_of_memory()}
        for device in self.gpus.out_of_memory():
            full["GPUs out of memory", device.settings.kind] += 1
        left_out = self.gpus.kernels.left_out
        kernels = {("kernels left out of their table", f"more than {KEPT:,}"): left_out}
        return self.moe.counted() | self.admission.refused.count | self.serving.counted() | full | kernels


def build(loaded: Loaded) -> World:
    """InputError where the scenario does not fit its topology."""
    topology = loaded.built[0] if loaded.built else prepare([loaded])[0]
    scenario = loaded.scenario
    streams = Streams(scenario.seed, scenario.policy_stream)
    broken = _broken_links(loaded, topology)
    up = np.ones(topology.links, dtype=np.bool_)
    up[broken] = False
    routes = Routes(topology, up)
    derived = derive(loaded, topology, routes) if scenario.packets else None
    network = _network(loaded, topology, routes, derived, streams)
    clock = Clock(network)
    view = PathView(topology, routes, streams.key("dispatch/path"), lambda: int(clock.now))
    policy = _path_policy(loaded, view)
    transport = scenario.fabric.transport
    acks = scenario.packets and transport.kind != "line_rate"
    unloaded = Unloaded(
        topology,
        transport.payload,
        transport.header,
        ack=ACK_BYTES if acks else None,
        efficiency=None if scenario.packets else 1.0,
    )
    flows = Flows(clock, network, topology, view, policy, streams.generator("dispatch/path"), unloaded, acks)
    clock.on_tell = flows.hear
    if broken:
        network.set_links(broken, False)
    collectives, gpus = Collectives(), gpus_of(loaded, clock, streams)
    moe = MoeWiring(loaded, topology, clock, flows, streams, gpus)
    admission = AdmissionWiring(loaded, topology, clock, flows, streams, up)
    serving = ServingWiring(loaded, topology, clock, flows, streams, gpus)
    maker = _Maker(loaded, topology, clock, flows, streams, collectives, gpus, moe, admission, serving)
    for index, item in enumerate(scenario.workload):
        maker.make(index, item)
    telemetry = Telemetry(
        clock,
        network,
        topology,
        None if scenario.telemetry.interval == "auto" else scenario.telemetry.interval,
        list(scenario.telemetry.links),
        lambda: flows.active() + admission.backlog() + serving.backlog(),
        _shortest(loaded, topology, maker.expected),
        scenario.packets,
        serving,
    )
    wired = wire_faults(loaded, topology, clock, network, view, flows, admission, broken, acks)
    faults, failures = wired if wired is not None else (None, None)
    return World(
        loaded, topology, clock, network, flows, maker.work, maker.endless, faults, failures, telemetry, collectives,
        gpus, moe, admission, serving, maker.expected, maker.loads, derived, 1 + serving.housekeeping,
    )  # fmt: skip


def _path_policy(loaded: Loaded, view: PathView) -> Any:
    """The flows' policy. A packet policy chooses among all equal-cost ports, so it wins over a flow's own path.

    Without packets its even spread is what is left of it.
    """
    if chooses(loaded.dispatch["packet"].policy.module):
        return spray.Policy(spray.Params(), view)
    choice = loaded.dispatch["path"]
    return choice.policy.module.Policy(choice.params, view)


def _shortest(loaded: Loaded, topology: Topology, expected: int | None) -> int | None:
    """ps that all work takes at least: all hosts send at full rate, over two links. None: it can't be told."""
    if expected is None:
        return None
    sending = expected * 8 * PS_PER_SECOND // int(topology.host_rate.sum())
    through = sending + 2 * int(topology.link_delay.max())
    limit = loaded.scenario.stop.time
    return through if limit is None else min(through, limit)


def _network(loaded: Loaded, topology: Topology, routes: Routes, derived: Derived | None, streams: Streams) -> Network:
    """The engine. Imported only when it is chosen: each compiles its own kernels."""
    scenario = loaded.scenario
    explains = scenario.telemetry.flow_times
    if scenario.engine == "fluid":
        from sim.network.fluid import FluidNetwork

        return FluidNetwork(topology, routes, explains=explains)
    if derived is None:
        from sim.network.ideal import IdealNetwork

        return IdealNetwork(topology, routes, explains=explains)
    settings = settings_of(loaded, topology, derived, streams.key("dispatch/packet"))
    policy, params = loaded.dispatch["packet"]
    key, facts = streams.key("dispatch/packet/state"), derived.facts
    choice = packet_choice(policy.module, topology, params, key, derived.packets, facts.buffer)
    if scenario.engine == "reference":
        from sim.network.reference import ReferenceNetwork

        return ReferenceNetwork(topology, routes, settings, choice, explains=explains)
    from sim.network.packet import PacketNetwork

    return PacketNetwork(topology, routes, settings, choice, explains=explains)


def _broken_links(loaded: Loaded, topology: Topology) -> list[int]:
    """Links that the `failure` lines of a .cm file take away from the beginning; tables know of them."""
    problems: list[Problem] = []
    broken: set[int] = set()
    for item in loaded.scenario.workload:
        if not isinstance(item, MatrixSpec) or item.file is None:
            continue
        file = loaded.beside(item.file)
        for failure in connection_matrix.read(file).failures:
            tier = _TIERS[failure.switch_type] + (NIC if topology.clustered else 0)
            nodes = np.flatnonzero(topology.tier == tier)
            if failure.switch_id >= len(nodes):
                text = f"the fabric has {len(nodes)} switches of the type {failure.switch_type}"
                problems.append(Problem(str(file), failure.line, 1, text))
                continue
            node = int(nodes[failure.switch_id])
            leaving = topology.out_link[topology.out_start[node] : topology.out_start[node + 1]]
            upwards = leaving[topology.tier[topology.link_dst[leaving]] > tier]
            if failure.link_id >= len(upwards):
                text = f"switch {topology.node_name[node]} has {len(upwards)} uplinks"
                problems.append(Problem(str(file), failure.line, 1, text))
                continue
            link = int(upwards[failure.link_id])
            broken |= {link, link ^ 1}
    if problems:
        raise InputError(problems)
    return sorted(broken)


class _Maker:
    """Makes the workloads of a scenario."""

    def __init__(
        self,
        loaded: Loaded,
        topology: Topology,
        clock: Clock,
        flows: Flows,
        streams: Streams,
        collectives: Collectives,
        gpus: Gpus,
        moe: MoeWiring,
        admission: AdmissionWiring,
        serving: ServingWiring,
    ) -> None:
        self.moe, self.admission, self.serving = moe, admission, serving
        self.loaded, self.topology, self.clock, self.flows, self.streams = loaded, topology, clock, flows, streams
        self.collectives, self.gpus = collectives, gpus
        self.work: list[Work] = []
        self.endless: list[Work] = []
        self.expected: int | None = 0
        self.loads: list[float] = []

    def make(self, index: int, item: Any) -> None:
        if isinstance(item, Collective):
            self._collective(index, item)
        elif isinstance(item, MatrixSpec):
            self._matrix(index, item)
        elif isinstance(item, Moe):
            self._expect(None)
            self.work.append(self.moe.make(index, item))
        elif isinstance(item, Demands):
            self._demands(index, item)
        elif isinstance(item, Requests):
            self._expect(None)
            work = self.serving.make(index, item)
            (self.endless if work.endless else self.work).append(work)
        else:
            self._flows(index, item)

    def _demands(self, index: int, item: Demands) -> None:
        self._expect(None)
        work, drawn = self.admission.make(index, item)
        if drawn.load is not None:
            self.loads.append(drawn.load)
        (self.endless if drawn.endless else self.work).append(work)

    def _expect(self, size: float | None) -> None:
        self.expected = None if size is None or self.expected is None else self.expected + int(size)

    def _collective(self, index: int, item: Collective) -> None:
        plan = sources.plan_of(item, self.loaded, self.topology)
        self._expect(item.repeat * sum(plan.size))
        work = CollectiveWorkload(
            self.clock, self.flows, self.gpus, self.collectives, plan, sources.hosts_of(item, self.topology),
            op=item.op, algorithm=self.loaded.dispatch["collective"].policy.name, size=item.size, repeat=item.repeat,
            gap=item.gap, root=item.root, name=f"workload.{index}",
            rounds=self.admission.rounds(item.admission) if item.admission else None,
        )  # fmt: skip
        self.work.append(work)

    def _matrix(self, index: int, item: MatrixSpec) -> None:
        transfers, triggers = sources.transfers_of(item, index, self.loaded, self.topology, self.streams)
        self._expect(sum(transfer.size for transfer in transfers))
        self.work.append(Matrix(self.clock, self.flows, transfers, triggers, name=f"workload.{index}"))

    def _flows(self, index: int, item: FlowsSpec) -> None:
        drawn = sources.flows_of(item, index, self.loaded, self.topology, self.streams)
        self._expect(drawn.expected)
        if drawn.load is not None:
            self.loads.append(drawn.load)
        door = self.admission.door(item.admission) if item.admission else None
        work = arrivals.Arrivals(
            self.clock, door or self.flows, drawn.blocks, endless=drawn.endless, name=f"workload.{index}"
        )
        if door is not None:
            door.on_given_up = work.give_up
        (self.endless if drawn.endless else self.work).append(work)
