"""Why a demand was admitted or not: the decision, and how full the network was then.

What was reserved is added up from the demands that were admitted at that time, each on the last path that it had: exact
unless demands moved later. Parallel cables between two nodes count as one.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import Results
from analysis.rows import rows_where
from analysis.why.text import rate_text, share_text, short, table, time_text

_SHOWN = 5
_PS = 1e12
Cable = tuple[str, str]  # from node, to node


def facts(run: Results, ident: str) -> dict[str, Any]:
    demands = run.frame("demands")
    row = demands[demands["id"] == ident].iloc[0]
    known: dict[str, Any] = {"kind": "demand", **{str(key): _plain(value) for key, value in row.items()}}
    known["decision"] = _decision(run, row["decided_s"])
    if pd.isna(row["decided_s"]):
        return known
    others = demands[(demands["id"] != ident) & (demands["admitted"] == 1)]
    present = others[(others["decided_s"] <= row["decided_s"]) & ~(others["end_s"] <= row["decided_s"])]
    capacity = _capacity(run)
    free = dict(capacity)
    for bandwidth, path in zip(present["bandwidth_mbps"], present["path"], strict=True):
        for cable in _cables(path):
            free[cable] = free.get(cable, 0.0) - bandwidth
    known["present"] = len(present)
    if row["admitted"]:
        known["links"] = [_link(cable, capacity, free) for cable in _cables(row["path"])]
    else:
        known["widest"] = _widest(row["src"], row["dst"], capacity, free, present)
    if row["status"] == "preempted":
        known["made_room_for"] = _newcomers(others, row)
    return known


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) else value


def _decision(run: Results, decided: float) -> dict[str, Any] | None:
    """The decision that was committed when the answer came; of several agents' at one time the first."""
    found = rows_where(run, "decisions", [("commit_s", "==", float(decided))]).to_dict("records")
    return {str(key): _plain(value) for key, value in found[0].items()} | {"of": len(found)} if found else None


def _capacity(run: Results) -> dict[Cable, float]:
    """Mbit/s that may be reserved from node to node."""
    booked = run.frame("reservations", ["link", "capacity_mbps"])
    ends = run.frame("links", ["link", "src", "dst"])
    found: dict[Cable, float] = defaultdict(float)
    for _, mbps, src, dst in booked.merge(ends, on="link").itertuples(index=False):
        found[src, dst] += mbps
    return dict(found)


def _cables(path: str | None) -> list[Cable]:
    """The steps of a path, or of two."""
    parts = [part.split(">") for part in (path or "").split(" ") if part]
    return [cable for nodes in parts for cable in pairwise(nodes)]


def _link(cable: Cable, capacity: dict[Cable, float], free: dict[Cable, float]) -> dict[str, Any]:
    whole = capacity.get(cable, 0.0)
    return {
        "link": "->".join(cable),
        "capacity_mbps": whole,
        "free_mbps": free.get(cable, 0.0),
        "reserved_share": 1 - free.get(cable, 0.0) / whole if whole else None,
    }


def _widest(
    src: str, dst: str, capacity: dict[Cable, float], free: dict[Cable, float], present: pd.DataFrame
) -> dict[str, Any] | None:
    """The path with the most room at that time, its tightest link, and the most important demands on that."""
    near: dict[str, list[str]] = defaultdict(list)
    for a, b in capacity:
        near[a].append(b)
    best: dict[str, float] = {src: np.inf}
    before: dict[str, str] = {}
    heap = [(-np.inf, src)]
    while heap:
        room, node = heappop(heap)
        if -room < best[node]:
            continue
        for after in near[node]:
            wide = min(-room, free[node, after])
            if wide > best.get(after, -np.inf):
                best[after], before[after] = wide, node
                heappush(heap, (-wide, after))
    if dst not in before:
        return None
    nodes = [dst]
    while nodes[-1] != src:
        nodes.append(before[nodes[-1]])
    nodes.reverse()
    tight = min(pairwise(nodes), key=lambda cable: free[cable])
    on = present[np.array([tight in _cables(path) for path in present["path"]], dtype=bool)]
    on = on.sort_values(["priority", "bandwidth_mbps"], ascending=False, kind="stable")
    columns = ["id", "priority", "bandwidth_mbps", "src", "dst"]
    return {
        "path": ">".join(nodes),
        "free_mbps": best[dst],
        "bottleneck": _link(tight, capacity, free),
        "demands": len(on),
        "on_it": [{str(key): _plain(value) for key, value in one.items()} for one in on[columns].to_dict("records")],
    }


def _newcomers(others: pd.DataFrame, row: Any) -> list[dict[str, Any]]:
    """Who was admitted when the demand had to go, is more important, and is on one of its links."""
    came = others[(others["decided_s"] == row["end_s"]) & (others["priority"] > row["priority"])]
    mine = set(_cables(row["path"]))
    came = came[np.array([bool(mine & set(_cables(path))) for path in came["path"]], dtype=bool)]
    return [{str(k): _plain(v) for k, v in one.items()} for one in came[["id", "priority"]].to_dict("records")]


def lines(known: dict[str, Any]) -> list[str]:
    """The facts as text."""
    what = f"{known['src']} -> {known['dst']}, {_mbps(known['bandwidth_mbps'])}, priority {known['priority']}"
    text = [f"demand {known['id']}: {what}", f"  arrived at {_at(known['arrival_s'])}; {_outcome(known)}"]
    if known["reason"]:
        text.append(f"  {known['reason']}")
    if known["path"]:
        text.append(f"  path {known['path']}" + (f", moved {known['moves']} times" if known["moves"] else ""))
    if known.get("made_room_for"):
        names = ", ".join(f"demand:{one['id']} (priority {one['priority']})" for one in known["made_room_for"][:_SHOWN])
        text.append(f"  more important and admitted then, on links of its path: {names}")
    if known["decision"]:
        text += ["", *_decision_lines(known["decision"])]
    if known.get("links"):
        rows = [
            [one["link"], _mbps(one["capacity_mbps"]), _mbps(one["free_mbps"]), _share(one)] for one in known["links"]
        ]
        text += ["", f"Its links when it was admitted, beside {known['present']} other{'s' * (known['present'] != 1)}"]
        text += table(["link", "capacity", "free", "reserved"], rows)
    elif "widest" in known:
        text += ["", *_widest_lines(known)]
    return text


def _outcome(known: dict[str, Any]) -> str:
    status = known["status"].replace("_", " ")
    if known["decided_s"] is None:
        return f"{status}: no answer yet" if status == "waiting" else status
    answer = f"answered after {time_text(known['wait_ms'] * 1e9)}: "
    if not known["admitted"]:
        return answer + status
    if known["end_s"] is None:
        return f"{answer}admitted, {status}"
    return f"{answer}admitted, {status} at {_at(known['end_s'])}"


def _decision_lines(one: dict[str, Any]) -> list[str]:
    several = f" (and {one['of'] - 1} more at that time)" if one["of"] > 1 else ""
    gap = "" if one["gap"] is None else f", gap {share_text(one['gap'])}"
    return [
        f"Decision {one['id']}{several} by {one['solver']}: {one['status']}, objective {one['objective']}{gap}",
        f"  planned from {_at(one['start_s'])}, committed at {_at(one['commit_s'])}",
        f"  {one['demands']} new demand{'s' * (one['demands'] != 1)}, {one['admitted']} admitted; "
        f"{one['preempted']} preempted, {one['moved']} moved, {one['conflicts']} conflicts",
    ]


def _widest_lines(known: dict[str, Any]) -> list[str]:
    widest = known["widest"]
    if widest is None:
        return ["No path leads there."]
    link = widest["bottleneck"]
    rows = []
    for one in widest["on_it"][:_SHOWN]:
        pair = short(f"{one['src']} -> {one['dst']}", 40)
        rows.append([f"demand:{one['id']}", f"priority {one['priority']}", _mbps(one["bandwidth_mbps"]), pair])
    return [
        f"The widest path then, of all: {_mbps(max(widest['free_mbps'], 0.0))} free",
        f"  {widest['path']}",
        f"  tightest at {link['link']}: {_mbps(link['capacity_mbps'])}, {_share(link)} reserved by "
        f"{widest['demands']} demands" + (", the most important ones:" if rows else ""),
        *(table(["", "", "", ""], rows, left=2, remark=True) if rows else []),
    ]


def _share(one: dict[str, Any]) -> str:
    return "-" if one["reserved_share"] is None else share_text(one["reserved_share"])


def _mbps(value: float) -> str:
    return rate_text(value / 1e3) if value >= 1e3 else f"{value:.4g} Mbps"


def _at(seconds: float) -> str:
    return time_text(seconds * _PS)
