"""``plan.json``: the answer of an admission solver. Same seed, same bytes, but for ``seconds`` and ``steps``.

``content`` makes it, ``read`` reads it again. Bandwidths are in Mbit/s, paths are nodes joined by ``>`` as in the
result tables. ``links``: those that may carry a demand (hosts that no demand names are left out). ``hosts``: nodes that
are no switches. ``places``: where a map shows the nodes, if the topology's file says so.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.admission.reasons import reasons
from models.errors import InputError
from models.errors import Problem as Fault
from models.records import PROGRAM, SCHEMA
from models.topology import Topology
from solvers.admission.plan import Plan
from solvers.admission.problem import Problem

KIND = "admission plan"
_KEYS = ("status", "objective", "bound", "gap", "method", "solver", "seconds", "steps", "classes", "links", "asked")
_MBPS = 1e6


def content(plan: Plan, topology: Topology, ids: list[str], asked: dict[str, Any]) -> dict[str, Any]:
    """What goes to the file. ``asked``: the options of the call, such as seed and time limit."""
    problem = plan.problem
    used = set(problem.src.tolist()) | set(problem.dst.tolist())
    load = problem.load(plan.way)
    names = topology.node_name
    links: list[dict[str, Any]] = []
    for link, (a, b) in enumerate(zip(topology.link_src.tolist(), topology.link_dst.tolist(), strict=True)):
        if any(end < topology.hosts and end not in used and not problem.graph.transit[end] for end in (a, b)):
            continue
        links.append(
            {"link": topology.link_name[link], "src": names[a], "dst": names[b]}
            | {"capacity_mbps": int(problem.capacity[link]) / _MBPS, "reserved_mbps": int(load[link]) / _MBPS}
        )
    return {
        "program": PROGRAM,
        "schema": SCHEMA,
        "kind": KIND,
        "status": plan.status,
        "objective": plan.objective,
        "bound": plan.bound,
        "gap": plan.gap,
        "method": plan.method,
        "solver": plan.solver,
        "seconds": round(plan.seconds, 6),
        "nodes": plan.nodes,
        "interrupted": plan.interrupted,
        "notes": list(plan.notes),
        "asked": asked,
        "classes": [share._asdict() for share in plan.classes()],
        "links": links,
        "hosts": sorted({end for link in links for end in (link["src"], link["dst"])} & set(names[: topology.hosts])),
        "places": {name: list(place) for name, place in topology.place.items()},
        "steps": [step._asdict() for step in plan.steps],
        "demands": _demands(plan, names, ids),
    }


def text(known: dict[str, Any]) -> str:
    """JSON, a line a demand, link, class or step."""
    entries = []
    for key, value in known.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            written = "[\n  " + ",\n  ".join(_json(row) for row in value) + "\n ]"
        else:
            written = _json(value)
        entries.append(f" {_json(key)}: {written}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """A bound that is not known yet is infinite; JSON has no word for it."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _demands(plan: Plan, names: list[str], ids: list[str]) -> list[dict[str, Any]]:
    problem = plan.problem
    rows = []
    for demand, (name, way, reason) in enumerate(zip(ids, plan.way.tolist(), reasons(plan), strict=True)):
        path, backup = (None, None) if way < 0 else paths_of(problem, way, names)
        rows.append(
            {"id": name, "src": names[problem.src[demand]], "dst": names[problem.dst[demand]]}
            | {"bandwidth_mbps": int(problem.bandwidth[demand]) / _MBPS, "priority": int(problem.weight[demand])}
            | {"admitted": way >= 0, "path": path, "backup": backup, "reason": reason}
        )
    return rows


def paths_of(problem: Problem, way: int, names: list[str]) -> tuple[str, str | None]:
    """The path of a way, and its backup path where it is protected."""
    path, backup = (_nodes(problem, links, names) for links in problem.paths_of(way))
    return path, backup or None


def _nodes(problem: Problem, links: tuple[int, ...], names: list[str]) -> str:
    ends = [problem.graph.link_src[link] for link in links[:1]] + [problem.graph.link_dst[link] for link in links]
    return ">".join(names[node] for node in ends)


@dataclass(frozen=True)
class PlanFile:
    """A plan.json that was read."""

    path: Path
    known: dict[str, Any]


def read(path: Path | str) -> PlanFile:
    """InputError for what is no plan of ours."""
    path = Path(path)
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(path, f"can't be read: {error}") from None
    if not isinstance(known, dict) or known.get("kind") != KIND:
        raise _wrong(path, "is no admission plan; `solve admission -o FILE` writes one")
    missing = [key for key in (*_KEYS, "hosts", "demands") if key not in known]
    if known.get("schema") != SCHEMA or missing:
        what = f"lacks {', '.join(missing)}" if missing else f"has schema {known.get('schema')!r}"
        raise _wrong(path, f"{what}; solve it again with this version")
    return PlanFile(path, known)


def _wrong(path: Path, message: str) -> InputError:
    return InputError([Fault(str(path), 0, 0, message)])
