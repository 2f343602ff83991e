"""What ``check`` and ``list`` print: the effective scenario with origins, the topology's counts and a drawing of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as FilePath

import numpy as np

from models import units
from models.architectures import ARCHITECTURES, Architecture
from models.calibrated import KINDS, path_of
from models.hardware import GPUS, Gpu
from models.paths import Routes
from models.structure import describe, scale_up_rtt
from models.topology import NVSWITCH, Topology
from sim.build_packets import Derived, derive, pause_of, reorder_buffer
from sim.dispatch.registry import LEVELS, Registry
from sim.network.settings import NO_LIMIT
from sim.scenario.clusters import TOPOLOGIES
from sim.scenario.load import Loaded
from sim.scenario.schema import ACK
from sim.scenario.show import text_of
from sim.scenario.tree import Path
from sim.scenario.workloads import WORKLOADS

_WIDTH = 96  # characters of a drawing


def report(loaded: Sequence[Loaded], topologies: Sequence[Topology]) -> str:
    """The first run in full; of every further variant what differs from it."""
    first = loaded[0]
    head = f"# {first.file}" + (f", variant {first.variant}" if first.variant else "")
    parts = [head, text_of(first.effective, first.origins), *_topology(first, topologies[0])]
    for other, topology in zip(loaded[1:], topologies[1:], strict=True):
        parts += ["", f"# variant {other.variant}: what differs from {first.variant}", *_difference(first, other)]
        if topology is not topologies[0]:
            parts += _topology(other, topology)
        elif other.scenario.packets and _ports(other) != _ports(first):
            parts += ["", *_transport(other, topology)]
    return "\n".join(parts)


def _flat(values: object, path: Path = ()) -> dict[Path, object]:
    if isinstance(values, dict) and values:
        return {p: v for name, item in values.items() for p, v in _flat(item, (*path, name)).items()}
    if isinstance(values, list) and values and isinstance(values[0], dict):
        return {p: v for index, item in enumerate(values) for p, v in _flat(item, (*path, index)).items()}
    return {path: values}


def _difference(first: Loaded, other: Loaded) -> list[str]:
    """Changed, new and missing keys, dotted."""
    before, after = _flat(first.effective), _flat(other.effective)
    lines = []
    for path in [*after, *(path for path in before if path not in after)]:
        if before.get(path) == after.get(path) and path in before and path in after:
            continue
        dotted = ".".join(str(step) for step in path)
        value = after.get(path, "(absent)")
        lines.append(f"{dotted}: {value}" + (f"  # {other.origins[path]}" if path in other.origins else ""))
    return lines or ["(nothing)"]


def _topology(loaded: Loaded, topology: Topology) -> list[str]:
    transport = loaded.scenario.fabric.transport
    wire = transport.payload + transport.header
    found = describe(topology, wire, ACK)
    rows = [("hosts", f"{found.hosts:,}")]
    rows += [(f"{tier} switches", f"{count:,}") for tier, count in found.switches.items()]
    rows += [("links", f"{found.links:,} directed ({found.cables:,} cables)")]
    sampled = "" if found.paths_exact else " (from a sample)"
    ends = _ends(topology)
    if found.paths_min == found.paths_max:
        rows.append(("equal-cost paths", f"{found.paths_max:,} between any two {ends}{sampled}"))
    else:
        text = f"{found.paths_min:,} to {found.paths_max:,} between {ends}, median {found.paths_median:,}"
        rows.append(("equal-cost paths", text + sampled))
    rows.append(("longest path", f"{found.hops_max} hops"))
    rows.append(("bisection", units.show(found.bisection, "rate") + " from the first half of the hosts to the second"))
    if found.oversubscription_min is not None and found.oversubscription_max is not None:
        low, high = f"{found.oversubscription_min:.4g}", f"{found.oversubscription_max:.4g}"
        ratio = low if low == high else f"{low} to {high}"
        what = "NIC" if topology.clustered else "host"
        rows.append(("oversubscription", f"{ratio} ({what} rate : uplink rate of an edge switch)"))
    if found.oversubscription_whole is not None:
        rows.append(("", f"{found.oversubscription_whole:.4g} (half of the hosts : bisection)"))
    if found.disconnected_pairs:
        rows.append(("pairs without a path", f"{found.disconnected_pairs:,}"))
    rows.append(("longest unloaded RTT", f"{found.rtt_max / 1e6:.3f} us ({wire} B there, {ACK} B back)"))
    inside = scale_up_rtt(topology, wire, ACK)
    products = [("inside a node, ", inside, topology.scale_up_rate)] if inside else []
    if topology.domain.any():
        where = "between nodes, " if inside else ""
        products.insert(0, (where, found.rtt_max, topology.outward_rate))
    for number, (where, rtt, rates) in enumerate(products):
        bdp = -(-rtt * int(rates.max()) // (8 * units.PS_PER_SECOND))
        rows.append(("" if number else "BDP", f"{bdp:,} B ({where}{bdp / wire:.1f} full packets)"))
    width = max(len(name) for name, _ in rows)
    lines = ["# topology", *(f"{name:<{width}}  {text}" for name, text in rows), "", *draw(topology)]
    return [*lines, "", *_transport(loaded, topology)] if loaded.scenario.packets else lines


def _ports(loaded: Loaded) -> object:
    """All that the numbers of a packet engine follow from, beside the topology."""
    fabric = loaded.scenario.fabric
    return loaded.scenario.packets, fabric.switch, fabric.transport, loaded.dispatch["transport"].params


def _transport(loaded: Loaded, topology: Topology) -> list[str]:
    """What packet engines are told that follows from the topology, and why."""
    found = derive(loaded, topology, Routes(topology))
    facts, switch, transport = found.facts, loaded.scenario.fabric.switch, loaded.scenario.fabric.transport
    rows = [("transport", transport.kind)]
    rows.append(("unloaded RTT", f"{facts.rtt / 1e6:.3f} us over {facts.hops} links, the longest pair's"))
    rows.append(("BDP", f"{facts.bdp:,} B at {units.show(facts.rate, 'rate')}, {found.packets:,} packets, rounded up"))
    if transport.kind != "line_rate":
        packets = f" ({found.window / facts.mtu:.1f} packets)"
        text = "no limit" if found.window >= NO_LIMIT else f"{found.window:,} B on the wire{packets}"
        rows.append(("first window", f"{text} a flow"))
        rows.append(("RTO", f"{found.rto / 1e6:,.3f} us ({found.rto_source})"))
        held = reorder_buffer(transport, found)
        if transport.go_back_n:
            rows.append(("receiver", "takes only the next packet (go-back-N)"))
        elif held is not None:
            rows.append(("receiver", f"in order, holds {held:,} B of payload that came too early"))
    if switch.overflow == "pause":
        rows += _pausing(loaded, topology, found)
    else:
        size = "unlimited" if found.buffer is None else f"{found.buffer:,} B, {found.buffer / facts.mtu:.1f} packets"
        rows.append(("buffer of a port", f"{size} ({found.buffer_source})"))
    if switch.overflow == "trim":
        room = "unlimited" if found.header_room >= NO_LIMIT else f"{found.header_room:,} B"
        rows.append(("header queue", room))
    if found.ecn is None:
        rows.append(("marking", f"none ({found.ecn_source})"))
    else:
        low, high = found.ecn
        pmax = "" if found.pmax == 1 else f", below it up to {found.pmax:g}"
        rows.append(("marking", f"from {low:,} B, surely from {high:,} B{pmax} ({found.ecn_source})"))
    width = max(len(name) for name, _ in rows)
    return ["# transport", *(f"{name:<{width}}  {text}" for name, text in rows)]


def _pausing(loaded: Loaded, topology: Topology, found: Derived) -> list[tuple[str, str]]:
    """Thresholds of priority flow control."""
    pause = pause_of(loaded, topology, found)
    limit = f"{pause.limit:,} B" if pause.alpha is None else f"{pause.alpha:g} x what is free of {pause.limit:,} B"
    room = pause.headroom[topology.link_dst >= topology.hosts]
    low, high = (int(room.min()), int(room.max())) if len(room) else (0, 0)
    spread = f"{low:,} B" if low == high else f"{low:,} to {high:,} B"
    return [
        ("pause", f"a link that has {limit} in a switch; it goes on {pause.resume:,} B below"),
        ("headroom", f"{spread} a link"),
    ]


def _ends(topology: Topology) -> str:
    """Between what equal-cost paths are counted."""
    if not topology.clustered:
        return "edge switches"
    return "GPUs of different nodes" if topology.domain.any() else "GPUs"


def draw(topology: Topology) -> list[str]:
    """The fabric as text: a line a tier, highest first, with the cables between two tiers. Flat graphs: a table."""
    tiers = sorted({int(tier) for tier in topology.tier if tier >= 0}, reverse=True)
    if topology.clustered and NVSWITCH in tiers:  # the way up from a host is out of its node
        tiers.remove(NVSWITCH)
        tiers.append(NVSWITCH)
    if -1 in topology.tier or len(tiers) < 2:
        return _degrees(topology)
    lines: list[str] = []
    for tier, below in zip(tiers, [*tiers[1:], None], strict=True):
        lines.append(_row(topology, tier))
        inside = _cables(topology, tier, tier)
        if inside:
            lines.append(f"{'~ ' + inside + ' among them':^{_WIDTH}}".rstrip())
        if below is not None:
            lines.append(f"{'|  ' + _cables(topology, tier, below):^{_WIDTH}}".rstrip())
    return lines


def _row(topology: Topology, tier: int) -> str:
    """Boxes of the tier's first nodes, an ellipsis, its last."""
    names = [topology.node_name[node] for node in np.flatnonzero(topology.tier == tier)]
    boxes = [f"[{name}]" for name in names]
    room = _WIDTH - len(f" ... {boxes[-1]}")
    shown: list[str] = []
    for box in boxes:
        if len(" ".join([*shown, box])) > room:
            break
        shown.append(box)
    whole = len(" ".join(boxes)) <= _WIDTH
    text = " ".join(boxes) if whole else " ".join(shown) + f" ... {boxes[-1]}"
    return f"{text:^{_WIDTH}}".rstrip()


def _cables(topology: Topology, upper: int, lower: int) -> str:
    """'64 cables, 400Gbps, 500ns', or '' without any; several speeds are listed."""
    a, b = topology.tier[topology.link_src[::2]], topology.tier[topology.link_dst[::2]]
    found = np.flatnonzero(((a == upper) & (b == lower)) | ((a == lower) & (b == upper)))
    if not len(found):
        return ""
    kinds = np.stack([topology.link_rate[2 * found], topology.link_delay[2 * found]], axis=1)
    values, counts = np.unique(kinds, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    texts = [
        f"{counts[i]:,} cable{'s' if counts[i] > 1 else ''} of {units.show(int(values[i][0]), 'rate')}, "
        f"{units.show(int(values[i][1]), 'time')}"
        for i in order
    ]
    rest = len(values) - len(order)
    return "; ".join(texts) + (f"; {rest} other kinds" if rest else "")


def _degrees(topology: Topology) -> list[str]:
    """For graphs without tiers: the first nodes and what they are joined to."""
    lines = []
    for node in range(min(topology.nodes, 24)):
        links = topology.out_link[topology.out_start[node] : topology.out_start[node + 1]]
        others = [topology.node_name[topology.link_dst[link]] for link in links[:8]]
        more = f", ... ({len(links)})" if len(links) > 8 else ""
        lines.append(f"[{topology.node_name[node]}] -- {', '.join(others)}{more}")
    if topology.nodes > 24:
        lines.append(f"... {topology.nodes - 24:,} more nodes")
    return lines


def listing(what: Sequence[str], plugins: Sequence[str]) -> str:
    """Names with the first line of their description, by word of ``list``."""
    blocks: list[str] = []
    for word in what:
        if word == "policies":
            registry = Registry()
            for file in plugins:
                registry.add_plugin(FilePath(file))
            for level in LEVELS:
                rows = [(name, registry.describe(level, name)) for name in registry.names(level)]
                blocks.append(_block(f"policies: {level}", rows))
        elif word == "hardware":
            blocks.append(_block(word, [(one.name, _hardware_line(one)) for one in GPUS.values()]))
        elif word == "models":
            blocks.append(_block(word, [(one.name, _model_line(one)) for one in ARCHITECTURES.values()]))
        else:
            models = TOPOLOGIES if word == "topologies" else WORKLOADS
            rows = [(name, (model.__doc__ or "").split("\n")[0]) for name, model in models.items()]
            blocks.append(_block(word, rows))
    return "\n\n".join(blocks)


def _hardware_line(one: Gpu) -> str:
    """Memory, rates, and which models are measured (a name in brackets: another GPU's stand in)."""
    kinds = {kind: one.calibrated.get(kind, one.name) for kind in KINDS}
    fits = [
        kind + (f" ({system})" if system != one.name else "")
        for kind, system in kinds.items()
        if path_of(system, kind).exists()
    ]
    bandwidth, peak = one.memory_bandwidth / 1e12, one.peak["bfloat16"] / 1e12
    link = f"{one.scale_up} {units.show(one.scale_up_rate, 'rate')}"
    head = f"{one.memory_bytes / 1e9:.0f} GB at {bandwidth:.2f} TB/s, {peak:.0f} TFLOP/s bfloat16, {link}"
    return f"{head}; fitted: {', '.join(fits) or 'nothing'}"


def _model_line(one: Architecture) -> str:
    """The numbers that decide a layer."""
    if one.dense:
        return f"{one.layers} dense layers, hidden {one.hidden}, inner {one.dense_inner}, {one.kv_heads} KV heads"
    sizes = f"hidden {one.hidden}, inner {one.expert_inner}"
    shared = f" + {one.shared_experts} shared" if one.shared_experts else ""
    return f"{one.moe_layers} of {one.layers} layers with {one.experts} experts{shared}, top {one.top_k}, {sizes}"


def _block(title: str, rows: Sequence[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {text}".rstrip() for name, text in rows)])
