"""A plan for the terminal: the status first, then what it is worth, the classes and the busiest links."""

from __future__ import annotations

from typing import Any

from analysis.grid import align, write

_BUSIEST = 5
_SAID = {
    "optimal": "proven: no plan is worth more",
    "feasible": "a plan that fits; not proven to be the best",
    "time_limit": "the best plan that was found before the limit",
    "strict": "proven: class by class no plan admits more",
    "infeasible": "proven: the demands that must be admitted do not fit together",
    "not_found": "no plan was found that admits all that must be; nothing is proven",
}


def plan_text(known: dict[str, Any]) -> str:
    """The text of what plan.json holds."""
    demands = known["demands"]
    admitted = [row for row in demands if row["admitted"]]
    nodes = f", {known['nodes']:,} nodes" if known["nodes"] else ""
    bound = "an unknown bound" if known["bound"] is None else f"at most {known['bound']:,.10g}"
    gap = "" if known["gap"] is None else f", gap {write(known['gap'], 'share')}"
    said = _SAID["strict" if known["asked"].get("strict") and known["status"] == "optimal" else known["status"]]
    lines = [
        f"{known['status']}: {said}",
        f"objective {known['objective']:,} of {bound}{gap}"
        f"  ({known['method']}, {known['solver']}, {known['seconds']:.3g} s{nodes})",
        f"admitted {len(admitted):,} of {len(demands):,} demands, {_rate(admitted)} of {_rate(demands)}",
        *(f"note: {note}" for note in known["notes"]),
        align([("", "priority"), ("", "demands"), ("", "admitted"), ("", "share")], _classes(known), 0),
    ]
    links = sorted((link for link in known["links"] if link["reserved_mbps"]), key=lambda link: -_share(link))
    if links:
        rows = [
            [link["link"], _mbps(link["capacity_mbps"]), _mbps(link["reserved_mbps"]), write(_share(link), "share")]
            for link in links[:_BUSIEST]
        ]
        titles = [("", "busiest links"), ("capacity", "Mbit/s"), ("reserved", "Mbit/s"), ("", "share")]
        lines += ["", align(titles, rows, 1)]
    return "\n".join(lines)


def _classes(known: dict[str, Any]) -> list[list[str]]:
    rows = []
    for one in known["classes"]:
        share = write(one["admitted"] / one["demands"], "share")
        rows.append([str(one["priority"]), f"{one['demands']:,}", f"{one['admitted']:,}", share])
    return rows


def _share(link: dict[str, Any]) -> float:
    return float(link["reserved_mbps"] / link["capacity_mbps"]) if link["capacity_mbps"] else 0.0


def _mbps(value: float) -> str:
    return f"{value:,.10g}"


def _rate(rows: list[dict[str, Any]]) -> str:
    total = sum(row["bandwidth_mbps"] for row in rows)
    return f"{total / 1e3:.4g} Gbps" if total >= 1e3 else f"{total:.4g} Mbps"
