"""Fat-trees described by htsim's ``.topo`` files (csg-htsim and uet-htsim; format read in their loaders).

A header (``Nodes``, ``Tiers`` 2 or 3, ``Podsize`` in hosts), then a ``Tier i`` block a tier, 0 at the bottom, of
``Downlink_speed_Gbps``, ``Downlink_Latency_ns``, ``Radix_Down``, ``Radix_Up`` (all but the top tier), and if wanted
``Switch_Latency_ns`` (0), ``Bundle`` (cables to each switch below, 1), ``Oversubscribed`` (1), ``Queue_Up`` and
``Queue_Down`` (bytes; checked but not used: buffers belong to the scenario's ``switch``). Words in any case.
A packet waits a switch's latency before it is queued there, so it is added to the delay of the links into the switch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from models.csv_table import read_text
from models.errors import Problems, nearest
from models.topology import Topology, TopologyBuilder

_HEADER = ("Nodes", "Tiers", "Podsize")
_NEEDED = ("Downlink_speed_Gbps", "Downlink_Latency_ns", "Radix_Down")
_OPTIONAL = {"Switch_Latency_ns": 0, "Bundle": 1, "Oversubscribed": 1, "Queue_Up": 0, "Queue_Down": 0}
_TIER_KEYS = (*_NEEDED, "Radix_Up", *_OPTIONAL)
_UNIT = {"Downlink_speed_Gbps": 10**9, "Downlink_Latency_ns": 10**3, "Switch_Latency_ns": 10**3}  # bit/s, ps
_MAY_BE_ZERO = ("Switch_Latency_ns",)
_MOST_HOSTS = 2**20


@dataclass
class _Block:
    """The values of the header or of one tier, each with its line; ``line`` is where the block starts."""

    line: int
    value: dict[str, int] = field(default_factory=dict)
    at: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        return self.value[name] if name in self.value else _OPTIONAL[name]

    def place(self, name: str) -> int:
        return self.at.get(name, self.line)


@dataclass(frozen=True)
class Shape:
    """What the radices amount to."""

    pods: int
    edges_per_pod: int
    aggs_per_pod: int
    cores: int  # 0 with two tiers
    cores_per_agg: int


def build(path: Path) -> Topology:
    """Switches are edge, agg, core (two tiers: edge, core). InputError with all faults of the file."""
    problems = Problems(str(path))
    text = read_text(path, problems)
    problems.raise_if_any()
    return of_text(text or "", problems)


def of_text(text: str, problems: Problems) -> Topology:
    """The same from the text of a file; ``problems`` has its name."""
    header, tiers = _parse(text, problems)
    problems.raise_if_any()
    _complete(header, tiers, problems)
    problems.raise_if_any()
    shape = _shape(header, tiers, problems)
    problems.raise_if_any()
    return _assemble(header, tiers, shape)


def _parse(text: str, problems: Problems) -> tuple[_Block, dict[int, _Block]]:
    header = _Block(0)
    tiers: dict[int, _Block] = {}
    block: _Block | None = header
    for number, raw in enumerate(text.splitlines(), start=1):
        words = list(re.finditer(r"\S+", raw.split("#", 1)[0]))
        if not words:
            continue
        key = words[0].group()
        if len(words) != 2:
            said = "has no value" if len(words) == 1 else f"takes one value; '{words[2].group()}' is too much"
            problems.add(number, f"{key} {said}", words[2 if len(words) > 2 else 0].start() + 1)
            if key.lower() == "tier":
                block = None
            continue
        value, column = words[1].group(), words[1].start() + 1
        if key.lower() == "tier":
            block = _new_tier(value, number, column, tiers, problems)
            continue
        if block is None:  # under a broken Tier line
            continue
        valid = _HEADER if block is header else _TIER_KEYS
        name = next((known for known in valid if known.lower() == key.lower()), None)
        if name is None:
            problems.add(number, f"unknown word '{key}'{_hint(key, valid, block is header)}", words[0].start() + 1)
        elif name in block.value:
            problems.add(number, f"{name} is given twice (first on line {block.at[name]})", words[0].start() + 1)
        else:
            _store(block, name, value, number, column, problems)
    return header, tiers


def _hint(key: str, valid: tuple[str, ...], in_header: bool) -> str:
    lower = {name.lower(): name for name in (*_HEADER, *_TIER_KEYS)}
    if key.lower() in lower:
        return "; it belongs under a 'Tier' line" if in_header else "; it belongs above the first 'Tier' line"
    return nearest(key, (*valid, "Tier"))


def _new_tier(value: str, number: int, column: int, tiers: dict[int, _Block], problems: Problems) -> _Block | None:
    if value not in ("0", "1", "2"):
        problems.add(number, f"Tier '{value}'; tiers are 0, 1 and 2", column)
        return None
    tier = int(value)
    if tier in tiers:
        problems.add(number, f"Tier {tier} is given twice (first on line {tiers[tier].line})", column)
        return None
    tiers[tier] = _Block(number)
    return tiers[tier]


def _store(block: _Block, name: str, value: str, number: int, column: int, problems: Problems) -> None:
    """The value in bit/s, ps or pieces."""
    block.at[name] = number
    block.value[name] = 1  # stands in where the value is wrong, so that the key doesn't count as missing too
    if not re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,12})?", value):
        problems.add(number, f"{name}: '{value}' is not a number", column)
        return
    amount = Fraction(value) * _UNIT.get(name, 1)
    if amount.denominator != 1:
        problems.add(number, f"{name}: '{value}' is not a whole number", column)
    elif amount < 0 or (amount == 0 and name not in _MAY_BE_ZERO):
        problems.add(number, f"{name} must be above 0" if name not in _MAY_BE_ZERO else f"{name} is negative", column)
    elif amount >= 2**62:
        problems.add(number, f"{name}: '{value}' is out of range", column)
    else:
        block.value[name] = int(amount)


def _complete(header: _Block, tiers: dict[int, _Block], problems: Problems) -> None:
    """Every word that is needed is there."""
    for name in _HEADER:
        if name not in header.value:
            problems.add(0, f"the header lacks {name}")
    count = header.value.get("Tiers")
    if count is None:
        return
    if count not in (2, 3):
        problems.add(header.at["Tiers"], f"Tiers is {count}; 2 and 3 are possible")
        return
    for tier in range(count):
        if tier not in tiers:
            problems.add(header.at["Tiers"], f"Tiers is {count}, but there is no 'Tier {tier}'")
            continue
        for name in (*_NEEDED, "Radix_Up") if tier < count - 1 else _NEEDED:
            if name not in tiers[tier].value:
                problems.add(tiers[tier].line, f"Tier {tier} lacks {name}")
    for tier in sorted(tiers):
        if tier >= count:
            problems.add(tiers[tier].line, f"Tier {tier}, but Tiers is {count}")
    top = tiers.get(count - 1)
    if top is not None:
        for name in ("Radix_Up", "Queue_Up"):
            if name in top.value:
                problems.add(top.at[name], f"{name} in the top tier, which has no uplinks")
    if header.value.get("Nodes", 0) > _MOST_HOSTS:
        problems.add(header.at["Nodes"], f"Nodes is above {_MOST_HOSTS}")


def _shape(header: _Block, tiers: dict[int, _Block], problems: Problems) -> Shape:
    """Counts of switches; radices, bundles and ratios that contradict each other are problems."""
    nodes, pod, count = header["Nodes"], header["Podsize"], header["Tiers"]
    edge, agg = tiers[0], tiers[1]

    def must(true: bool, block: _Block, name: str, message: str) -> None:
        if not true:
            problems.add(block.place(name), message)

    must(nodes % pod == 0, header, "Podsize", f"Nodes {nodes} is not a multiple of Podsize {pod}")
    must(count == 3 or nodes == pod, header, "Podsize", f"two tiers are one pod: Podsize must be Nodes ({nodes})")
    must(edge["Bundle"] == 1, edge, "Bundle", f"Bundle is {edge['Bundle']} in tier 0; hosts have one cable")
    down = edge["Radix_Down"]
    must(pod % down == 0, edge, "Radix_Down", f"Podsize {pod} is not a multiple of tier 0's Radix_Down {down}")
    for low in range(count - 1):
        up, bundle = tiers[low]["Radix_Up"], tiers[low + 1]["Bundle"]
        words = f"tier {low}'s Radix_Up {up} is not a multiple of tier {low + 1}'s Bundle {bundle}"
        must(up % bundle == 0, tiers[low], "Radix_Up", words)
    if problems.found:
        return Shape(0, 0, 0, 0, 0)
    pods, edges_per_pod = nodes // pod, pod // down
    aggs = edge["Radix_Up"] // agg["Bundle"]
    due = edges_per_pod * agg["Bundle"]
    words = f"Radix_Down of tier 1 is {agg['Radix_Down']}, but {edges_per_pod} switches of tier 0 in a pod"
    must(agg["Radix_Down"] == due, agg, "Radix_Down", f"{words} x Bundle {agg['Bundle']} make {due}")
    each = 0
    if count == 3:
        core = tiers[2]
        each = agg["Radix_Up"] // core["Bundle"]
        due = pods * core["Bundle"]
        words = f"Radix_Down of tier 2 is {core['Radix_Down']}, but {pods} pods"
        must(core["Radix_Down"] == due, core, "Radix_Down", f"{words} x Bundle {core['Bundle']} make {due}")
    for low in range(count - 1):
        _check_ratio(low, tiers[low], tiers[low + 1], problems)
    return Shape(pods, edges_per_pod, aggs, aggs * each, each)


def _check_ratio(low: int, tier: _Block, above: _Block, problems: Problems) -> None:
    """Oversubscribed must be the ratio of ports (as htsim compares it) or of rates."""
    ports = Fraction(tier["Radix_Down"], tier["Radix_Up"])
    rates = ports * Fraction(tier["Downlink_speed_Gbps"], above["Downlink_speed_Gbps"])
    if tier["Oversubscribed"] not in (ports, rates):
        said = "is absent (so 1)" if "Oversubscribed" not in tier.value else f"is {tier['Oversubscribed']}"
        problems.add(
            tier.place("Oversubscribed"),
            f"Oversubscribed of tier {low} {said}, but Radix_Down {tier['Radix_Down']} over Radix_Up"
            f" {tier['Radix_Up']} at these speeds is {float(rates):g}",
        )


def _assemble(header: _Block, tiers: dict[int, _Block], shape: Shape) -> Topology:
    builder = TopologyBuilder("htsim")
    three = header["Tiers"] == 3
    upper = "agg" if three else "core"
    edges, aggs = shape.pods * shape.edges_per_pod, shape.pods * shape.aggs_per_pod
    for host in range(header["Nodes"]):
        builder.add_node(f"host{host}", host=True, tier=0)
    for tier, (name, count) in enumerate((("edge", edges), (upper, aggs), ("core", shape.cores)), start=1):
        for number in range(count):
            builder.add_node(f"{name}{number}", host=False, tier=tier)

    def cable(a: str, b: str, tier: int) -> None:
        """From below to a switch of ``tier``."""
        speed, far = tiers[tier]["Downlink_speed_Gbps"], tiers[tier]["Downlink_Latency_ns"]
        below = tiers[tier - 1]["Switch_Latency_ns"] if tier else 0
        for _ in range(tiers[tier]["Bundle"]):
            builder.add_cable(a, b, speed, far + tiers[tier]["Switch_Latency_ns"], back=(speed, far + below))

    for host in range(header["Nodes"]):
        cable(f"host{host}", f"edge{host // tiers[0]['Radix_Down']}", 0)
    for edge in range(edges):
        first = edge // shape.edges_per_pod * shape.aggs_per_pod
        for agg in range(first, first + shape.aggs_per_pod):
            cable(f"edge{edge}", f"{upper}{agg}", 1)
    for agg in range(aggs if three else 0):
        for turn in range(shape.cores_per_agg):
            cable(f"agg{agg}", f"core{agg % shape.aggs_per_pod + shape.aggs_per_pod * turn}", 2)
    return builder.freeze({0: "host", 1: "edge", 2: "agg", 3: "core"} if three else {0: "host", 1: "edge", 2: "core"})
