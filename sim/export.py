"""A scenario's work as an htsim connection matrix: every flow that can be told before the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from models.connection_matrix import CmFailure, CmFlow, CmTrigger, ConnectionMatrix, read
from models.errors import InputError, Problem
from models.topology import Topology
from sim import sources
from sim.rng import Streams
from sim.scenario.events import links_of
from sim.scenario.load import Loaded
from sim.scenario.tree import Path
from sim.scenario.workloads import Collective, Flows, Matrix
from sim.triggers import chained

_INT = 2**31  # htsim reads sizes into 32 bits
_SWITCH_TYPES = {1: "TOR", 2: "AGG", 3: "CORE"}


@dataclass
class Exported:
    """The matrix, and what a reader must know of it."""

    matrix: ConnectionMatrix
    notes: list[str] = field(default_factory=list)


def exported(loaded: Loaded, topology: Topology) -> Exported:
    """InputError with every line of the scenario that the format can't express."""
    writer = _Writer(loaded, topology)
    for index, item in enumerate(loaded.scenario.workload):
        if isinstance(item, Matrix):
            writer.matrix(index, item)
        elif isinstance(item, Flows):
            writer.flows(index, item)
        elif isinstance(item, Collective):
            writer.collective(index, item)
        else:
            writer.fault(("workload", index), f"the flows of a {item.kind} workload are only known in the run")
    writer.events()
    if writer.problems:
        raise InputError(writer.problems)
    return writer.result()


class _Writer:
    """Collects flows, triggers and failures; ids count from 1."""

    def __init__(self, loaded: Loaded, topology: Topology) -> None:
        self._loaded, self._topology = loaded, topology
        self._streams = Streams(loaded.scenario.seed, loaded.scenario.policy_stream)
        self._flows: list[CmFlow] = []
        self._triggers: list[CmTrigger] = []
        self._failures: dict[tuple[str, int, int], None] = {}
        self._notes: list[str] = []
        self.problems: list[Problem] = []

    def fault(self, path: Path, message: str) -> None:
        self.problems.append(self._loaded.problem_at(path, f"{message}; a .cm file can't express it"))

    def _add(
        self, src: int, dst: int, size: int, start: int | None, trigger: int | None, send: int | None, recv: int | None
    ) -> None:
        self._flows.append(CmFlow(len(self._flows) + 1, src, dst, start, size, trigger, send, recv, None, 0))

    def matrix(self, index: int, item: Matrix) -> None:
        transfers, triggers = sources.transfers_of(item, index, self._loaded, self._topology, self._streams)
        numbers = self._define((key, one.kind, one.count) for key, one in triggers.items())
        for one in transfers:
            keys = (one.trigger, one.send_done, one.recv_done)
            start = one.start if one.trigger is None else None
            self._add(one.src, one.dst, one.size, start, *(None if key is None else numbers[key] for key in keys))
        if item.file is not None:
            failures = read(self._loaded.beside(item.file)).failures
            self._failures |= {(one.switch_type, one.switch_id, one.link_id): None for one in failures}

    def flows(self, index: int, item: Flows) -> None:
        drawn = sources.flows_of(item, index, self._loaded, self._topology, self._streams)
        if drawn.endless:
            self.fault(("workload", index), "the flows have no end: give a count or until")
            return
        for block in drawn.blocks:
            for start, src, dst, size in zip(*(column.tolist() for column in block), strict=True):
                self._add(src, dst, size, start, None, None, None)

    def collective(self, index: int, item: Collective) -> None:
        if item.messages != "none":
            self.fault(("workload", index, "messages"), "messages cost time beyond their bytes")
        if item.repeat > 1 and item.gap:
            self.fault(("workload", index, "gap"), "GPUs compute between rounds")
        exchange = sources.messages_of(item, self._loaded, self._topology)
        try:
            messages, counts = chained(exchange, item.repeat)
        except ValueError as error:
            name = self._loaded.dispatch["collective"].policy.name
            self.fault(("workload", index), f"{item.op} by {name}: {error}")
            return
        hosts = sources.hosts_of(item, self._topology)
        hosts = [*hosts[item.root :], *hosts[: item.root]]
        numbers = self._define((key, "oneshot" if n == 1 else "barrier", n) for key, n in counts.items())
        late = 0
        # all that waits for nothing starts in order of rank, as the ranks join
        for one in sorted(messages, key=lambda message: message.src if message.trigger is None else len(hosts)):
            keys = (one.trigger, one.send_done, one.recv_done)
            start = 0 if one.trigger is None else None
            ids = [None if key is None else numbers[key] for key in keys]
            self._add(hosts[one.src], hosts[one.dst], one.size, start, *ids)
            late += one.send_done is not None
        if late:
            self._notes.append(
                f"workload.{index}: {late:,} flows start others by send_done_trigger, at their last ACK; the schedule"
                " does so on arrival or before"
            )

    def _define(self, triggers: Iterable[tuple[int, str, int]]) -> dict[int, int]:
        """New triggers; the number that each key got."""
        numbers: dict[int, int] = {}
        for key, kind, count in triggers:
            numbers[key] = len(self._triggers) + 1
            self._triggers.append(CmTrigger(numbers[key], kind, count, 0))
        return numbers

    def events(self) -> None:
        """Links that are down from the beginning to the end are failures; the format knows no other events."""
        topology, events = self._topology, self._loaded.scenario.events
        for index, event in enumerate(events):
            if event.replica is not None:
                self.fault(("events", index), "a replica that goes down")
                continue
            if event.at or event.set != "down" or event.lasts is not None:
                does = {"degrade": "is degraded", "loss": "loses packets"}
                what = does.get(event.set, f"goes {event.set} at a time of its own")
                self.fault(("events", index), f"a link or switch that {what}")
                continue
            links = links_of(event, topology)
            for cable in sorted({link // 2 for link in links}):
                self._failure(cable, index, whole={2 * cable, 2 * cable + 1} <= set(links))
        if events and not self.problems:
            self._notes.append("failures: routing knows of them from the start, here after convergence_delay")

    def _failure(self, cable: int, index: int, whole: bool) -> None:
        """One cable as an uplink of the switch at its lower end."""
        topology = self._topology
        ends = [int(topology.link_src[2 * cable]), int(topology.link_dst[2 * cable])]
        low, high = sorted(ends, key=lambda node: int(topology.tier[node]))
        tier = int(topology.tier[low])
        if not whole or topology.clustered or tier not in _SWITCH_TYPES or topology.tier[high] != tier + 1:
            self.fault(("events", index), f"{topology.cable_name[cable]} is down, but is no uplink of a switch, whole")
            return
        leaving = topology.out_link[topology.out_start[low] : topology.out_start[low + 1]]
        upwards = leaving[topology.tier[topology.link_dst[leaving]] > tier].tolist()
        number = int((topology.tier[:low] == tier).sum())
        place = next(place for place, link in enumerate(upwards) if link // 2 == cable)
        self._failures[_SWITCH_TYPES[tier], number, place] = None

    def result(self) -> Exported:
        failures = [CmFailure(*one, 0) for one in self._failures]
        big = sum(flow.size >= _INT for flow in self._flows)
        if big:
            self._notes.append(f"{big:,} flows have 2^31 bytes or more; htsim reads sizes as 32-bit integers")
        matrix = ConnectionMatrix(self._topology.hosts, self._flows, self._triggers, failures)
        return Exported(matrix, self._notes)
