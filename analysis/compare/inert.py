"""Keys that change nothing: runs that differ in one alone have the same tables, byte for byte. With the reason.

A reason is a fact of the runs that makes the key idle, whatever its value: one line for each kind of key below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.compare.findings import Findings
from analysis.load import Results

_PACKET_ENGINES = ("packet", "reference")


@dataclass(frozen=True)
class Inert:
    """``values``: those between which nothing changes. ``reason``: empty where it can't be told."""

    key: str
    values: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        why = self.reason or "the reason can't be told from the results"
        return f"{self.key} changes nothing between {', '.join(self.values)}: {why}"

    def as_json(self) -> dict[str, object]:
        return {"key": self.key, "values": list(self.values), "reason": self.reason or None}


def inert_keys(found: Findings) -> list[Inert]:
    """Arms that are identical everywhere, and swept keys that change nothing under any arm."""
    study = found.study
    inert = []
    for group in _groups(study.arms, lambda one, other: _arms_alike(found, one, other)):
        runs = [reading.run for arm in group for point in range(len(study.points)) for reading in found.arm(arm, point)]
        inert.append(Inert(study.arms_by, tuple(group), reason(study.arms_by, runs)))
    for key in study.points[0].values:
        values = list(dict.fromkeys(point.values[key] for point in study.points))
        if len(values) > 1 and _sweeps_nothing(found, key):
            inert.append(Inert(key, tuple(values), reason(key, [reading.run for reading in found.readings.values()])))
    return inert


def _groups(names: Sequence[str], alike: Callable[[str, str], bool]) -> list[list[str]]:
    """Of two or more that are alike."""
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if alike(group[0], name):
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]


def _arms_alike(found: Findings, one: str, other: str) -> bool:
    points = range(len(found.study.points))
    metric = found.metric
    return all(found.verdict(one, other, point, metric).kind == "identical" for point in points)


def _sweeps_nothing(found: Findings, key: str) -> bool:
    """Whether runs are alike wherever only this key differs."""
    digests: dict[object, set[str]] = {}
    compared = 0
    for cell, reading in found.readings.items():
        rest = tuple(value for name, value in found.study.points[cell.point].values.items() if name != key)
        known = digests.setdefault((cell.arm, rest, cell.seed), set())
        compared += bool(known)
        known.add(reading.digest)
    return compared > 0 and all(len(known) == 1 for known in digests.values())


def reason(key: str, runs: Sequence[Results]) -> str:
    """Why ``key`` did nothing in these runs; empty where no fact in the results explains it."""
    for prefixes, explain in _REASONS:
        if any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes):
            found = explain(runs)
            if found:
                return found
    return ""


def _no_packets(runs: Sequence[Results]) -> str:
    engines = {str(run.manifest["engine"]) for run in runs}
    if any(engine in _PACKET_ENGINES for engine in engines):
        return ""
    return f"the engine {' or '.join(sorted(engines))} has no packets and no queues"


def _overruled(runs: Sequence[Results]) -> str:
    kinds = {str(run.manifest["policies"]["packet"]["kind"]) for run in runs}
    if "follow_path" in kinds:
        return ""
    return f"the packet policy {' or '.join(sorted(kinds))} chooses every port, so no path policy is asked"


def _one_path(runs: Sequence[Results]) -> str:
    """Traffic that stays below its first switch, or has one path to choose from."""
    paths = {path for run in runs for path in run.frame("flows", ["path"])["path"].dropna().unique()}
    if not paths:
        return "no flow had a path" if any(run.rows("flows") for run in runs) else "no flow was sent"
    whole = [path for path in paths if not path.startswith("spray:")]
    switches = {piece.split(">")[1] for path in whole for piece in path.split(" ") if piece.count(">") == 2}
    if len(whole) == len(paths) and all(piece.count(">") <= 2 for path in whole for piece in path.split(" ")):
        if not switches:
            return "every flow goes over one cable"
        tiers = {run.tier_of.get(switch, "switch") for run in runs[:1] for switch in switches}
        return f"no traffic leaves its {' or '.join(sorted(tiers))}: every path has one switch"
    if "spray:1" in paths and all(path.startswith("spray:") is False or path == "spray:1" for path in paths):
        return "there is only one equal-cost path between any two hosts that talk"
    return ""


def _ideal(runs: Sequence[Results]) -> str:
    return "the engine ideal shares no links" if {run.manifest["engine"] for run in runs} == {"ideal"} else ""


def _nothing_dropped(runs: Sequence[Results]) -> str:
    if any(_sum(run, "links", what) for run in runs for what in ("dropped", "trimmed", "paused_us")):
        return ""
    longest = max((_longest_queue(run) for run in runs), default=0)
    return f"no packet was dropped: the longest queue of a switch was {longest:,} B"


def _nothing_marked(runs: Sequence[Results]) -> str:
    if any(_sum(run, "links", "marked") for run in runs):
        return ""
    longest = max((_longest_queue(run) for run in runs), default=0)
    return f"no packet was marked: the longest queue of a switch was {longest:,} B"


def _nothing_sent_again(runs: Sequence[Results]) -> str:
    if any(_sum(run, "flows", "retransmitted") for run in runs):
        return ""
    return "no packet was lost, so nothing was sent again"


def _no_control(runs: Sequence[Results]) -> str:
    kinds = {str(run.manifest["policies"].get("transport", {}).get("kind", "window")) for run in runs}
    if kinds - {"window", "line_rate"}:
        return ""
    return f"the transport {' or '.join(sorted(kinds))} is no congestion control"


def _never_paused(runs: Sequence[Results]) -> str:
    if any(_sum(run, "links", "dropped") or _sum(run, "links", "paused_us") for run in runs):
        return ""
    return "no link was paused and no packet was dropped"


def _nothing_cut(runs: Sequence[Results]) -> str:
    return "" if any(_sum(run, "links", "trimmed") for run in runs) else "no packet was cut to its header"


def _nothing_reordered(runs: Sequence[Results]) -> str:
    if any(_sum(run, "flows", "reordered") or _sum(run, "flows", "retransmitted") for run in runs):
        return ""
    return "every packet arrived in order"


def _without(table: str, what: str) -> Callable[[Sequence[Results]], str]:
    return lambda runs: "" if any(run.rows(table) for run in runs) else what


def _ended_alone(runs: Sequence[Results]) -> str:
    return "" if any(run.status == "stopped" for run in runs) else "every run ended before, with its work"


def _no_events(runs: Sequence[Results]) -> str:
    """The effective scenario has its empty list in a line of its own."""
    texts = [(run.folder / "scenario.yaml").read_text(encoding="utf-8") for run in runs]
    return "no link ever goes down" if all("\nevents: []\n" in text for text in texts) else ""


def _never_stalled(runs: Sequence[Results]) -> str:
    return "" if any(run.status == "stalled" for run in runs) else "no run stalls"


def _no_draws(_: Sequence[Results]) -> str:
    return "no policy of these runs draws at random"


def _sum(run: Results, table: str, column: str) -> int:
    return int(run.frame(table, [column])[column].sum()) if run.rows(table) else 0


def _longest_queue(run: Results) -> int:
    links = run.frame("links", ["src", "queue_max_bytes"])
    at_switch = links["src"].isin(list(run.tier_of))
    return int(links.loc[at_switch, "queue_max_bytes"].max()) if at_switch.any() else 0


_Why = Callable[[Sequence[Results]], str]
_REASONS: list[tuple[tuple[str, ...], _Why]] = [
    (("dispatch.packet", "fabric.switch", "fabric.transport"), _no_packets),
    (("dispatch.path",), _overruled),
    (("dispatch.path", "dispatch.packet"), _ideal),
    (("dispatch.path", "dispatch.packet", "variant"), _one_path),
    (("fabric.transport.parameters", "fabric.transport.ack_every", "fabric.transport.reorder"), _no_control),
    (("fabric.switch.pause", "fabric.switch.shared"), _never_paused),
    (("fabric.switch.buffer", "fabric.switch.overflow", "fabric.switch.shared"), _nothing_dropped),
    (("fabric.switch.header_buffer", "fabric.switch.bounce"), _nothing_cut),
    (("fabric.transport.receiver", "fabric.transport.reorder"), _nothing_reordered),
    (("fabric.switch.ecn",), _nothing_marked),
    (("fabric.transport.rto", "fabric.transport.recovery"), _nothing_sent_again),
    (("dispatch.collective",), _without("collectives", "the workload has no collective")),
    (("dispatch.expert",), _without("moe_steps", "the workload has no mixture of experts")),
    (("gpus",), _without("kernels", "no workload computes on GPUs")),
    (("policy_stream",), _no_draws),
    (("stop.time",), _ended_alone),
    (("stop.stall",), _never_stalled),
    (("fabric.convergence_delay", "dispatch.path.failed_path_timeout"), _no_events),
]
