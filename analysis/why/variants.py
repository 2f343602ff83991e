"""The variants of a scenario side by side: where the time of their flows and requests went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.load import Results
from analysis.why import overview, request
from analysis.why.parts import FLOW_PARTS
from analysis.why.text import WIDTH, short, table, time_text

_KEPT = ("name", "status", "flows", "finished", "total_ps", "parts", "links", "slower_links", "gpus", "requests")


def facts(runs: Mapping[str, Results]) -> dict[str, Any]:
    found = {name: overview.facts(run) for name, run in runs.items()}
    return {"kind": "variants", "variants": {name: {key: one[key] for key in _KEPT} for name, one in found.items()}}


def lines(known: dict[str, Any], folder: str) -> list[str]:
    """The facts as text: a column a variant, times a flow and a request on average; then each one's dearest link."""
    runs = known["variants"]
    text: list[str] = []
    for what in _told(runs):
        left = list(runs)
        while left:
            fits = next(n for n in range(len(left), 0, -1) if n == 1 or _width(_parts(what, runs, left[:n])) <= WIDTH)
            text += [*_parts(what, runs, left[:fits]), ""]
            left = left[fits:]
    if not any(one["links"] or one["gpus"] for one in runs.values()):
        return [*text, f"One of them: why {folder}/{next(iter(runs))} [ID]"]
    text += ["Dearest link and busiest GPU"]
    tops = []
    for name, one in runs.items():
        link = one["links"][0] if one["links"] else None
        gpu = one["gpus"][0] if one["gpus"] else None
        tops.append(
            [
                name,
                f"{short(link['link'], 30)}, {time_text(link['cost_ps'])}" if link else "no flow waited for a link",
                f"GPU {gpu['gpu']}, busy {time_text(gpu['busy_ps'])}" if gpu else "",
            ]
        )
    return [*text, *table(["", "", ""], tops, left=3), "", f"One of them: why {folder}/{next(iter(runs))} [ID]"]


def _told(runs: Mapping[str, dict[str, Any]]) -> list[str]:
    """What there is to tell of: requests, flows, or both."""
    requests, flows = (any(one[name] for one in runs.values()) for name in ("requests", "flows"))
    return ["requests"] * requests + ["flows"] * (flows or not requests)


def _parts(what: str, runs: Mapping[str, dict[str, Any]], names: list[str]) -> list[str]:
    return (_request_table if what == "requests" else _part_table)(runs, names)


def _request_table(runs: Mapping[str, dict[str, Any]], names: list[str]) -> list[str]:
    """A column for each named run with the mean time of its finished requests."""
    served = {name: runs[name]["requests"] or {"parts": [], "status": {}, "requests": 0} for name in runs}
    rows = []
    for part in request.PARTS:
        if any(_mean(one, part) for one in served.values()):
            cells = [_mean(served[name], part) for name in names]
            rows.append(
                [part, *(f"{time_text(cell['mean_ps'])} {cell['share']:.0%}" if cell else "-" for cell in cells)]
            )
    rows.append(["total", *(time_text(sum(row["mean_ps"] for row in served[name]["parts"])) for name in names)])
    done = [f"{served[name]['status'].get('finished', 0)} of {served[name]['requests']}" for name in names]
    rows.append(["requests done", *done])
    if any(one["status"] != "completed" for one in runs.values()):
        rows.append(["status", *(runs[name]["status"] for name in names)])
    return table(["mean of a request", *(short(name, 16) for name in names)], rows)


def _part_table(runs: Mapping[str, dict[str, Any]], names: list[str]) -> list[str]:
    """A column for each named run; parts that none of all runs has are left out."""
    rows = []
    for part in FLOW_PARTS:
        if any(_mean(one, part) for one in runs.values()):
            cells = [_mean(runs[name], part) for name in names]
            rows.append(
                [part, *(f"{time_text(cell['mean_ps'])} {cell['share']:.0%}" if cell else "-" for cell in cells)]
            )
    rows.append(["total", *(time_text(runs[name]["total_ps"] / max(runs[name]["finished"], 1)) for name in names)])
    rows.append(["flows done", *(f"{runs[name]['finished']} of {runs[name]['flows']}" for name in names)])
    if any(one["status"] != "completed" for one in runs.values()):
        rows.append(["status", *(runs[name]["status"] for name in names)])
    return table(["mean of a flow", *(short(name, 16) for name in names)], rows)


def _width(lines: list[str]) -> int:
    return max(map(len, lines))


def _mean(one: dict[str, Any], part: str) -> dict[str, Any] | None:
    return next((row for row in one["parts"] if row["part"] == part), None)
