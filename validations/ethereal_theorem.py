"""Ethereal's theorem: minimal splitting loads links as packet spraying does."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.validation import theorem
from tests.validation.world import fabric_links
from validations._row import Found, Row

TITLE = "Ethereal loads links as spraying does"
KIND = "theory"
SOURCE = "Addanki et al., arXiv 2407.00550v2"
ABOUT = """\
Fluid, 256 hosts, 16 leaves. Largest difference of bytes over a fabric link between `ethereal` and `spray`: 0 where
sizes are multiples of the pieces, else at most k bytes for each batch that crosses the link. ECMP's ratio is the
largest bytes over leaf uplinks and spine downlinks, over the same under spray. The figure shows every fabric link of
the direct All2All over 12 spines. On fabrics with fewer spines than hosts a leaf, packets and fluid may differ more:
a NIC gives each piece a full turn, fluid a weight of 1/n.
"""
POLICIES = ("ecmp", "wcmp", "static", "least_loaded", "ethereal", "subflows", "spray")


def run(quick: bool) -> Found:
    cases = [theorem.direct(16, 125_000), theorem.direct(12, 120_000), theorem.direct(12, 100_000)]
    for spines, size in ((16, 4_096_000), (12, 3_072_000), (12, 1_000_000))[: 1 if quick else 3]:
        cases += theorem.halving_doubling(spines, size)
    metric = "largest difference of a link"
    rows = [
        Row(f"{c.name}, {c.spines} spines, {c.size:,} B", metric, c.allowed, c.difference, "B", side="at most")
        for c in cases
    ]
    random = theorem.random_cases(200)
    wrong = sum(not case.holds for case in random)
    rows.append(Row("200 random (flows, spines): links that differ by more", metric, 0, wrong, side="at most"))
    more = len(theorem.minimal(40))
    rows.append(
        Row("flows and paths below 40: more pieces than the least", "number of pieces", 0, more, side="at most")
    )
    direct = theorem.ecmp_ratio(theorem.all_to_all(256), 5 if quick else 30)
    shift = theorem.ecmp_ratio([(host, (host + 16) % 256) for host in range(256)], 200)
    metric = "ECMP over spray"
    case = f"direct All2All, {len(direct)} seeds"
    rows.append(Row(case, metric, 1.19, float(direct.mean()), "", 0.03, difference=True))
    rows.append(Row("shift by 16, 200 seeds", metric, 4.5, float(shift.mean()), "", 0.15, difference=True))
    hosts = (4, 4) if quick else (16, 16)
    times = theorem.ring_times(POLICIES, *hosts)
    spread = (max(times.values()) - min(times.values())) / min(times.values())
    case = f"ring all_gather, {hosts[0] * hosts[1]} hosts, 7 policies"
    rows.append(Row(case, "spread of completion", 1e-9, spread, side="at most"))
    return Found(rows, _links())


def _links() -> dict[str, dict[str, list[float]]]:
    """Bytes of every fabric link under three policies, sorted."""
    world = theorem.fabric(12)
    flows = theorem.flows_of(theorem.all_to_all(theorem.HOSTS), 120_000)
    links = fabric_links(world[0])
    found = {}
    for name in ("ecmp", "spray", "ethereal"):
        load = np.sort(theorem.link_bytes(name, *world, flows)[links])[::-1]
        found[name] = {"x": [float(at) for at in range(len(load))], "y": [float(value) for value in load / 1e6]}
    return found


def draw(found: Found) -> Any:
    """Links sorted by their load, a line a policy."""
    from analysis.plots.style import line_style, settings, sheet

    page = sheet(1, 1, (6.2, 2.6), f"{TITLE}: direct All2All, 16 leaves, 12 spines", list(found.curves))
    with settings():
        for number, (name, curve) in enumerate(found.curves.items()):
            page.axes[0, 0].plot(curve["x"], curve["y"], label=name, **line_style(number))
        page.axes[0, 0].set(xlabel="fabric links, by load", ylabel="MB")
        page.axes[0, 0].set_ylim(bottom=0)
    page.legend()
    return page.figure
