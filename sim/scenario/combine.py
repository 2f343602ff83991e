"""What is wrong between keys: combinations that CONTRACT forbids, and sizes that would not fit memory."""

from __future__ import annotations

import math
import os
from typing import Any

from models import units
from models.errors import Problem
from models.moe_layer import EXPERTS
from models.topology import Topology
from sim.dispatch.groups import layout_of, problem_of
from sim.scenario.arriving import Gaps
from sim.scenario.demands import Demands
from sim.scenario.demands import Poisson as DemandPoisson
from sim.scenario.moe import Moe
from sim.scenario.request_arrivals import Gamma
from sim.scenario.request_arrivals import Poisson as RequestPoisson
from sim.scenario.schema import ACK, Scenario
from sim.scenario.serving import Requests
from sim.scenario.tree import Path, Tree
from sim.scenario.workloads import Collective, Flows, Matrix, Poisson

OWN_PATHS = ("ethereal", "static", "subflows")  # path policies that fix the way of every piece
# bytes a unit of each needs while a run lasts, rounded up from measurements of the packet and fluid engines
NODE, CABLE, FLOW, DEMAND, REQUEST = 600, 1_200, 1_000, 1_500, 1_000
_ROWS = {Demands: ("demands", FLOW + DEMAND), Requests: ("requests", REQUEST)}
_FALLBACK_MEMORY = 16 * 2**30
_MOST_BYTES = 2**62
_TREE_CHUNK = 128 * 2**10  # bytes of a message of the double binary tree


def policies(dispatch: dict[str, Any], tree: Tree) -> list[Problem]:
    """Policies that exclude each other."""
    if "path" not in dispatch or "packet" not in dispatch:
        return []
    path, packet = dispatch["path"].policy.name, dispatch["packet"].policy.name
    if packet != "follow_path" and path in OWN_PATHS:
        message = f"the packet policy {packet} would overrule the paths of '{path}'; use follow_path, or path: spray"
        return [tree.value_mark(_written(tree, ("dispatch", "packet"), ("dispatch", "path"))).problem(message)]
    return []


def scenario(scenario: Scenario, dispatch: dict[str, Any], tree: Tree) -> list[Problem]:
    """All other combinations of one scenario that needs no topology to be seen."""
    problems: list[Problem] = []

    def add(message: str, *path: str | int) -> None:
        problems.append(tree.value_mark(path).problem(message))

    problems += ports(scenario, tree)
    if "transport" in dispatch and scenario.packets:
        problems += transports(scenario, dispatch, tree)
    for index, item in enumerate(scenario.workload):
        if isinstance(item, Flows) and not _ends(item, scenario):
            add("the flows never end: give count, until or stop.time", "workload", index)
        if isinstance(item, Demands):
            problems += _demands(item, scenario, tree, index)
        if isinstance(item, Requests) and not item.ends() and scenario.stop.time is None:
            add("the requests never end: give count, until or stop.time", "workload", index)
    size = scenario.fabric.topology.hosts_and_cables()
    hosts = size[0] if size and size[0] else None
    if hosts is not None:
        problems += collectives(scenario, dispatch, tree, hosts)
    if size is not None:
        problems += memory(scenario, dispatch, tree, *size)
    return problems


def ports(scenario: Scenario, tree: Tree) -> list[Problem]:
    """Buffers that hold no packet."""
    transport, base = scenario.fabric.transport, ("fabric", "switch")
    packet = transport.payload + transport.header
    found: list[Path] = []
    if isinstance(scenario.fabric.switch.buffer, int) and scenario.fabric.switch.buffer < packet:
        found.append((*base, "buffer"))
    for name, change in scenario.fabric.links.items():
        if isinstance(change.buffer, int) and change.buffer < packet:
            found.append(("fabric", "links", name, "buffer"))
    if scenario.fabric.switch.shared is not None and scenario.fabric.switch.shared.buffer < packet:
        found.append((*base, "shared", "buffer"))
    text = f"the buffer is smaller than one packet of {packet} B (mtu and header)"
    problems = [tree.value_mark(path).problem(text) for path in found]
    room = scenario.fabric.switch.header_buffer
    if room != "auto" and room < ACK:
        text = f"the header buffer is smaller than a header of {ACK} B"
        problems.append(tree.value_mark((*base, "header_buffer")).problem(text))
    return problems


def transports(scenario: Scenario, dispatch: dict[str, Any], tree: Tree) -> list[Problem]:
    """What a transport can't do with these switches, policies and keys."""
    problems: list[Problem] = []
    transport, module = scenario.fabric.transport, dispatch["transport"].policy.module
    fabric: Path = ("fabric", "transport")

    def add(message: str, *paths: Path) -> None:
        problems.append(tree.value_mark(_written(tree, *paths)).problem(message))

    own = module.react is not None and "window" in dispatch["transport"].policy.Params.model_fields
    if own and transport.window != "auto":
        add(f"{transport.kind} has its own: give fabric.transport.parameters.window", (*fabric, "window"))
    if transport.kind == "line_rate":
        if scenario.fabric.switch.overflow == "trim":
            text = "line_rate sends nothing again, so trimming has no use; take a window or a congestion control"
            add(text, ("fabric", "switch", "overflow"))
        packet = dispatch["packet"].policy if "packet" in dispatch else None
        if packet is not None and any(getattr(packet.module, name, None) for name in ("hear", "learn")):
            add(f"{packet.name} learns from ACKs, and line_rate has none", ("dispatch", "packet"), (*fabric, "kind"))
    if scenario.engine == "reference" and getattr(module, "uses_telemetry", False):
        text = f"the reference engine has no telemetry, which {transport.kind} needs; take engine: packet"
        add(text, (*fabric, "kind"))
    return problems


def _demands(item: Demands, scenario: Scenario, tree: Tree, index: int) -> list[Problem]:
    """Demands without an end."""
    where = tree.value_mark(("workload", index))
    if not _ends(item, scenario):
        return [where.problem("the demands never end: give count, until or stop.time")]
    if item.file is None and item.hold is None and scenario.stop.time is None:
        return [where.problem("demands without a hold stay for ever: give a hold or stop.time")]
    return []


def collectives(
    scenario: Scenario, dispatch: dict[str, Any], tree: Tree, hosts: int, topology: Topology | None = None
) -> list[Problem]:
    """Operations that the chosen algorithm can't do on their groups; with a topology, where those are in it."""
    if "collective" not in dispatch:
        return []
    policy, params = dispatch["collective"]
    algorithm = policy.module.Policy(params)
    problems: list[Problem] = []
    for index, item in enumerate(scenario.workload):
        if not isinstance(item, Collective):
            continue
        ranks = hosts if item.group == "all" else len(item.group)
        path: Path = ("workload", index, "op")
        if item.op not in algorithm.operations:
            message = f"{policy.name} has no {item.op}; it does {', '.join(sorted(algorithm.operations))}"
        else:
            group = range(hosts) if item.group == "all" else item.group
            layout = layout_of(topology, group) if topology is not None and max(group) < hosts else None
            message = problem_of(algorithm, item.op, ranks, layout)
            path = _written(tree, ("dispatch", "collective"), path)
        if message:
            problems.append(tree.value_mark(path).problem(message))
    return problems


def _written(tree: Tree, *paths: Path) -> Path:
    """The first of the paths that is written in the scenario, else the last."""
    return next((path for path in paths if tree.has(path)), paths[-1])


def _ends(item: Flows | Demands, scenario: Scenario) -> bool:
    listed = isinstance(item.arrivals, Gaps) and item.arrivals.gaps is not None
    return bool(item.file or item.count or item.until or listed or scenario.stop.time)


def memory_limit() -> int:
    """Bytes that a run may need: 80 % of the machine's memory."""
    try:
        return int(0.8 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return _FALLBACK_MEMORY


def memory(
    scenario: Scenario,
    dispatch: dict[str, Any],
    tree: Tree,
    hosts: int,
    cables: int,
    mean_gap: dict[int, float] | None = None,
) -> list[Problem]:
    """What would not fit: an estimate. ``mean_gap`` [ps] of workloads whose load has been turned into a rate."""
    limit = memory_limit()
    fabric = (hosts + cables // 8) * NODE + cables * CABLE
    if fabric > limit:
        text = f"the topology of {hosts:,} hosts and {cables:,} cables would need about {_show(fabric)} of memory"
        return [tree.value_mark(("fabric", "topology")).problem(f"{text}; {_show(limit)} is what may be used")]
    problems: list[Problem] = []
    for index, item in enumerate(scenario.workload):
        flows, total = _flows(item, hosts, scenario, dispatch.get("collective"), (mean_gap or {}).get(index))
        where = tree.value_mark(_written(tree, ("workload", index, "count"), ("workload", index)))
        what, each = _ROWS.get(type(item), ("flows", FLOW))
        need = fabric + flows * each
        if need > limit:
            text = f"{flows:,} {what} would need about {_show(need)} of memory"
            problems.append(where.problem(f"{text}; {_show(limit)} is what may be used"))
        elif total > _MOST_BYTES:
            text = f"the flows carry {units.show(total, 'size')} in all; at most 2^62 bytes can be counted"
            problems.append(tree.value_mark(("workload", index, "size")).problem(text))
    return problems


def _flows(item: Any, hosts: int, scenario: Scenario, algorithm: Any, mean_gap: float | None) -> tuple[int, int]:
    """(flows alive or recorded, their bytes): an estimate from above; 0 where only a file tells."""
    if isinstance(item, Matrix) and item.size is not None:
        count = hosts * max(0, hosts - 1) if item.pattern == "all_to_all" else hosts
        return count, count * item.size
    if isinstance(item, Collective):
        ranks = hosts if item.group == "all" else len(item.group)
        # no algorithm sends more than twice what direct sends; rounds add rows of flows
        return _messages(item, ranks, algorithm) * item.repeat, 2 * ranks * item.size * item.repeat
    if isinstance(item, Moe):
        group = item.group_size(hosts)
        layers = item.layer_kinds().count(EXPERTS) * item.steps * item.micro_batches
        return 2 * layers * hosts * max(0, group // item.tensor_parallel - 1), 0
    if isinstance(item, (Flows, Demands, Requests)):
        return _open_loop(item, scenario, mean_gap), 0
    return 0, 0


def _messages(item: Collective, ranks: int, algorithm: Any) -> int:
    """Messages of one round; those of two levels as if nodes had as many ranks as there are nodes."""
    name, params = (algorithm.policy.name, algorithm.params) if algorithm is not None else ("", None)
    if name in {"direct", "ring", "low_latency"}:
        pairs = ranks if item.op == "broadcast" else ranks * max(0, ranks - 1)
        return pairs * (2 if item.op == "all_reduce" else 1) * getattr(params, "channels", 1)
    if name in {"bilevel", "hierarchical_dedup", "hierarchical"}:
        return 4 * ranks * math.isqrt(ranks) * getattr(params, "chunks", 1)
    if name == "double_binary_tree":
        return 2 * ranks * max(1, -(-item.size // _TREE_CHUNK))
    return 2 * ranks * ranks.bit_length()


def _open_loop(item: Flows | Demands | Requests, scenario: Scenario, mean_gap: float | None) -> int:
    """Flows, demands or requests of an open loop: its count, or what its rate makes until its end."""
    if item.count is not None:
        return item.count
    ends = [end for end in (item.until, scenario.stop.time) if end is not None]
    if not ends:
        return 0
    end = min(ends)
    if isinstance(item.arrivals, Gaps) and item.arrivals.gap:
        return end // item.arrivals.gap
    if isinstance(item.arrivals, (Poisson, DemandPoisson, RequestPoisson, Gamma)) and item.arrivals.rate is not None:
        return int(item.arrivals.rate * end / units.PS_PER_SECOND)
    if mean_gap is not None:
        return int(end / mean_gap)
    return 0


def _show(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
