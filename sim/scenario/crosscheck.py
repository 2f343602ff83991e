"""What can only be seen with the topology: names of hosts, links and switches, ranks, and pairs without a path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models import connection_matrix, flow_files, sizes, units
from models.errors import InputError, Problem, nearest
from models.offered import masses
from models.topology import Topology
from sim.dispatch.groups import layout_of, problem_of, schedule_of
from sim.processes.pairs import Gravity as GravityPairs
from sim.processes.pairs import RackSkewed as RackSkewedPairs
from sim.processes.pairs import pattern
from sim.rng import Streams
from sim.scenario import combine
from sim.scenario.arriving import Fixed, Gravity, RackSkewed
from sim.scenario.check_demands import demand_problems
from sim.scenario.check_events import event_problems
from sim.scenario.check_moe import gpu_problems, moe_problems
from sim.scenario.demands import Demands
from sim.scenario.gates import Gate
from sim.scenario.load import Loaded
from sim.scenario.moe import Moe
from sim.scenario.serving import Requests
from sim.scenario.tree import Path
from sim.scenario.workloads import Cdf, Collective, Constant, Flows, Matrix, Named, Poisson
from sim.sources import demand_gap

_MOST_PACKETS = 2**31 - 1  # of one flow: packets are numbered in 32 bits
_MOST_LISTED = 20  # faults of one workload that are listed one by one


def cross_check(loaded: Loaded, topology: Topology) -> None:
    """InputError with every fault; files of workloads are read here too."""
    check = _Check(loaded, topology)
    for index, item in enumerate(loaded.scenario.workload):
        path: Path = ("workload", index)
        if isinstance(item, Matrix):
            check.matrix(item, path)
        elif isinstance(item, Flows):
            check.flows(item, path)
        elif isinstance(item, Collective):
            check.collective(item, path)
        elif isinstance(item, Demands):
            check.demands(item, path)
        elif isinstance(item, Moe):
            check.problems += moe_problems(loaded, topology, item, path, check.parts)
        if isinstance(item, (Flows, Collective)) and item.admission is not None:
            check.gate(item.admission, (*path, "admission"))
    if any(isinstance(item, Requests) for item in loaded.scenario.workload):
        from sim.scenario.check_serving import requests_problems  # loads compiled cost models

        check.problems += requests_problems(loaded, topology, check.parts)
    check.problems += gpu_problems(loaded, topology)
    check.problems += combine.collectives(loaded.scenario, loaded.dispatch, loaded.tree, topology.hosts, topology)
    check.problems += combine.memory(
        loaded.scenario, loaded.dispatch, loaded.tree, topology.hosts, topology.links // 2, check.mean_gap
    )
    check.overrides()
    check.problems += event_problems(loaded, topology)
    for index, name in enumerate(loaded.scenario.telemetry.links):
        check.link(name, ("telemetry", "links", index))
    if check.problems:
        raise InputError(check.problems)


class _Check:
    def __init__(self, loaded: Loaded, topology: Topology) -> None:
        self.loaded = loaded
        self.topology = topology
        self.problems: list[Problem] = []
        self.parts = _parts(topology)
        self.mean_gap: dict[int, float] = {}  # ps, of workloads with a load

    def add(self, path: Path, message: str) -> None:
        self.problems.append(self.loaded.problem_at(path, message))

    def reaches(self, src: int, dst: int) -> bool:
        return bool(self.parts[src] & self.parts[dst])

    def apart(self, src: int, dst: int) -> str:
        names, domain = self.topology.node_name, self.topology.domain
        text = f"there is no path from {names[src]} to {names[dst]}"
        if self.topology.clustered and domain[src] != domain[dst]:
            text += "; GPUs don't forward, so their NICs must be joined (rail: with spines)"
        return text

    def host(self, name: str, path: Path) -> int | None:
        index = self.topology.node_index.get(name)
        if index is None or index >= self.topology.hosts:
            what = "is a switch, not a host" if index is not None else "is no host"
            self.add(path, f"'{name}' {what}{nearest(name, self.topology.node_name[: self.topology.hosts])}")
            return None
        return index

    def link(self, name: str, path: Path) -> None:
        try:
            self.topology.find_links(name)
        except KeyError as error:
            self.add(path, str(error.args[0]))

    def too_long(self, size: int) -> str | None:
        """Why a flow of so many bytes can't be sent in packets, or None."""
        scenario = self.loaded.scenario
        if not scenario.packets or size <= _MOST_PACKETS * scenario.fabric.transport.payload:
            return None
        payload = scenario.fabric.transport.payload
        return f"{size} bytes are more than 2^31 packets of {payload} B; the fluid engine takes them"

    def everyone(self, path: Path) -> None:
        """A workload that may pair any two hosts."""
        if self.topology.hosts < 2:
            self.add(path, f"flows need at least 2 hosts; the fabric has {self.topology.hosts}")
            return
        lost = next((host for host in range(1, self.topology.hosts) if not self.reaches(0, host)), None)
        if lost is not None:
            self.add(path, self.apart(0, lost))

    def matrix(self, item: Matrix, path: Path) -> None:
        if item.file is not None:
            self.connection_matrix(item.file, path)
            return
        problem = self.too_long(item.size or 0)
        if problem:
            self.add((*path, "size"), problem)
        if item.pattern in {"all_to_all", "permutation"}:
            self.everyone((*path, "pattern"))
            return
        numbers = {"by": item.by or 0, "senders": item.senders, "receivers": item.receivers}
        try:
            pairs = pattern(item.pattern or "", self.topology.hosts, np.random.default_rng(0), **numbers)  # type: ignore[arg-type]
        except ValueError as error:
            about = next((name for name in numbers if getattr(item, name) is not None), "pattern")
            self.add((*path, about), str(error))
            return
        lost = next(((src, dst) for src, dst in pairs if not self.reaches(src, dst)), None)
        if lost is not None:
            self.add((*path, "pattern"), self.apart(*lost))

    def connection_matrix(self, name: str, path: Path) -> None:
        file = self.loaded.beside(name)
        try:
            matrix = connection_matrix.read(file)
        except InputError as error:
            self.problems += error.problems
            return
        hosts = self.topology.hosts
        if matrix.nodes > hosts:
            self.add((*path, "file"), f"{file} is for {matrix.nodes} nodes, but the fabric has {hosts} hosts")
            return
        self.pairs(str(file), [(flow.src, flow.dst, flow.line) for flow in matrix.flows])
        self.sizes(str(file), [(flow.size, flow.line) for flow in matrix.flows])

    def sizes(self, file: str, sizes: Iterable[tuple[int, int]]) -> None:
        """(bytes, line) of a file's flows."""
        wrong = [(self.too_long(size), line) for size, line in sizes]
        self.problems += [Problem(file, line, 1, text) for text, line in wrong if text][:_MOST_LISTED]

    def pairs(self, file: str, pairs: Iterable[tuple[int, int, int]]) -> None:
        """(source, destination, line) of a file's flows."""
        lost = [(src, dst, line) for src, dst, line in pairs if not self.reaches(src, dst)]
        self.problems += [Problem(file, line, 1, self.apart(src, dst)) for src, dst, line in lost[:_MOST_LISTED]]

    def flows(self, item: Flows, path: Path) -> None:
        try:
            if item.file is not None:
                file = self.loaded.beside(item.file)
                table = flow_files.read(file, self.topology)
                self.pairs(str(file), zip(table.src.tolist(), table.dst.tolist(), table.line.tolist(), strict=True))
                self.sizes(str(file), zip(table.size.tolist(), table.line.tolist(), strict=True))
                return
            mean = self.mean_size(item.sizes)
            if isinstance(item.arrivals, Poisson) and item.arrivals.load is not None:
                bits = item.arrivals.load * float(self.topology.nic_rate.sum())
                self.mean_gap[int(path[1])] = mean * 8e12 / bits
        except InputError as error:
            self.problems += error.problems
        self.pairs_of(item.pairs, path)

    def pairs_of(self, spec: Any, path: Path) -> None:
        """Who sends to whom in a workload at ``path``."""
        if isinstance(spec, Fixed):
            self.fixed(spec, (*path, "pairs"))
            return
        before = len(self.problems)
        self.everyone(path)
        if len(self.problems) > before:
            return
        try:
            if isinstance(spec, RackSkewed):
                RackSkewedPairs(self.topology.edge_of_host.tolist(), spec.local)
            elif isinstance(spec, Gravity):
                GravityPairs(masses(self.topology))
        except ValueError as error:
            self.add((*path, "pairs"), str(error))

    def demands(self, item: Demands, path: Path) -> None:
        self.problems += demand_problems(self.loaded, self.topology, item, path)
        if item.file is not None:
            return
        before = len(self.problems)
        self.pairs_of(item.pairs, path)
        if len(self.problems) > before:
            return
        scenario = self.loaded.scenario
        streams = Streams(scenario.seed, scenario.policy_stream)
        try:
            gap = demand_gap(item, int(path[1]), self.topology, streams)
        except ValueError as error:
            self.add((*path, "arrivals", "load"), str(error))
        else:
            if gap is not None:
                self.mean_gap[int(path[1])] = gap

    def mean_size(self, spec: Any) -> float:
        """Bytes; InputError where a file of points is faulty."""
        if isinstance(spec, Cdf):
            return sizes.read_cdf(self.loaded.beside(spec.file)).mean()
        if isinstance(spec, Named):
            return sizes.named(spec.name).mean()
        return float(spec.size if isinstance(spec, Constant) else spec.mean)

    def fixed(self, pairs: Fixed, path: Path) -> None:
        src, dst = self.host(pairs.src, (*path, "src")), self.host(pairs.dst, (*path, "dst"))
        if src is None or dst is None:
            return
        if src == dst:
            self.add((*path, "dst"), f"a flow from {pairs.src} to itself")
        elif not self.reaches(src, dst):
            self.add((*path, "dst"), self.apart(src, dst))

    def collective(self, item: Collective, path: Path) -> None:
        hosts = self.topology.hosts
        problem = self.too_long(item.size)
        if problem:
            self.add((*path, "size"), problem)
        ranks = list(range(hosts)) if item.group == "all" else list(item.group)
        wrong = [position for position, rank in enumerate(ranks) if rank >= hosts]
        for position in wrong[:_MOST_LISTED]:
            self.add((*path, "group", position), f"there is no rank {ranks[position]}; the fabric has 0 to {hosts - 1}")
        if item.root >= len(ranks):
            self.add((*path, "root"), f"root {item.root} is no position of a group of {len(ranks)}")
        if wrong or not ranks:
            return
        lost = self.lost_message(item, ranks) if item.root < len(ranks) else None
        if lost is not None:
            where: Path = (*path, "op") if item.group == "all" else (*path, "group")
            self.add(where, self.apart(*lost))

    def gate(self, item: Gate, path: Path) -> None:
        """A rate that no link has would never be admitted."""
        widest = int(self.topology.link_rate.max(initial=0))
        if item.rate > widest:
            asked, has = units.show(item.rate, "rate"), units.show(widest, "rate")
            self.add((*path, "rate"), f"{asked} are asked for; the widest link has {has}")

    def lost_message(self, item: Collective, ranks: list[int]) -> tuple[int, int] | None:
        """Two hosts without a path of which the operation makes one send to the other."""
        if set.intersection(*(self.parts[rank] for rank in ranks)):
            return None  # all in one part of the fabric
        policy, params = self.loaded.dispatch["collective"]
        algorithm = policy.module.Policy(params)
        hosts = [*ranks[item.root :], *ranks[: item.root]]
        layout = layout_of(self.topology, hosts)
        if item.op not in algorithm.operations or problem_of(algorithm, item.op, len(hosts), layout):
            return None  # that is reported by itself
        messages, _ = schedule_of(algorithm, item.op, len(hosts), item.size, layout)
        ends = {(hosts[message.src], hosts[message.dst]) for message in messages if message.bytes}
        return min((pair for pair in ends if not self.reaches(*pair)), default=None)

    def overrides(self) -> None:
        """Buffers and marking are the switches' business."""
        for name, change in self.loaded.scenario.fabric.links.items():
            ports = self.topology.link_src[list(self.topology.find_links(name))] >= self.topology.hosts
            for key in ("buffer", "ecn"):
                if getattr(change, key) is not None and not ports.any():
                    self.add(("fabric", "links", name, key), f"'{name}' leaves a host, whose NIC queues without limit")


def _parts(topology: Topology) -> list[set[Any]]:
    """Of each host the parts of the fabric it can reach into. Hosts forward only where there are no switches."""
    offset = topology.hosts if topology.nodes > topology.hosts else 0
    src, dst = topology.link_src.astype(np.int64) - offset, topology.link_dst.astype(np.int64) - offset
    inner = (src >= 0) & (dst >= 0)
    size = topology.nodes - offset
    graph = coo_array((np.ones(int(inner.sum()), dtype=np.int8), (src[inner], dst[inner])), shape=(size, size))
    label = connected_components(graph.tocsr(), directed=False)[1].tolist()
    if offset == 0:
        return [{part} for part in label]
    parts: list[set[Any]] = [set() for _ in range(topology.hosts)]
    for a, b in zip(topology.link_src.tolist(), topology.link_dst.tolist(), strict=True):
        if a < offset <= b:
            parts[a].add(label[b - offset])
        elif a < offset and b < offset:
            # a cable between two hosts is a part of its own
            parts[a].add((min(a, b), max(a, b)))
    return parts
