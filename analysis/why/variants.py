"""The variants of a scenario side by side: where the time of their flows went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.load import Results
from analysis.why import overview
from analysis.why.parts import FLOW_PARTS
from analysis.why.text import WIDTH, short, table, time_text

_KEPT = ("name", "status", "flows", "finished", "total_ps", "parts", "links", "slower_links", "gpus")


def facts(runs: Mapping[str, Results]) -> dict[str, Any]:
    found = {name: overview.facts(run) for name, run in runs.items()}
    return {"kind": "variants", "variants": {name: {key: one[key] for key in _KEPT} for name, one in found.items()}}


def lines(known: dict[str, Any], folder: str) -> list[str]:
    """The facts as text: a column a variant, times a flow on average; then the dearest link and GPU of each."""
    runs = known["variants"]
    text: list[str] = []
    left = list(runs)
    while left:
        fits = next(n for n in range(len(left), 0, -1) if n == 1 or _width(_part_table(runs, left[:n])) <= WIDTH)
        text += [*_part_table(runs, left[:fits]), ""]
        left = left[fits:]
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
