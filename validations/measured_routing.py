"""Expert dispatchers on measured routing: the loads that were counted, and the best placement of whole experts."""

from __future__ import annotations

import numpy as np

from benchmarks.reproduce import routing as ours
from validations._row import Found, Row

TITLE = "Measured routing"
KIND = "measured"
SOURCE = (
    "tokens of DeepSeek-V2-Lite, OLMoE and Mixtral as routed (`scenarios/traces/README.md` has sources and licences); "
    "the best placement of whole experts by an integer programme (HiGHS)"
)
ABOUT = """\
`scenarios/measured_routing.yaml`, one layer on 8 H200 behind each dispatcher. Without a dispatcher every GPU must get
the share of copies that was counted in the model (four steps are all but 30 of the tokens that were counted, hence 1
%). Longest-processing-time-first must stay within 4/3 of the best placement of whole experts, and no whole placement
may beat that optimum. [The table of all dispatchers](moe.md#measured-routing).
"""
FIGURES = ("routing.png",)


def run(quick: bool) -> Found:
    rows = _shares()
    for source in ours.SOURCES[: 1 if quick else len(ours.SOURCES)]:
        variants = ours.variants(source)
        static, packed = (ours.run(source, name, variants[name]) for name in ("static", "greedy_lpt"))
        best = ours.best_whole(static)
        busiest = np.array([plan.load.max() for plan in packed.last_plans()]) / best
        case = f"{source.label}: busiest GPU over the optimum's"
        rows.append(Row(case, "LPT of whole experts", 4 / 3, float(busiest.max()), side="at most"))
        metric = "LPT of whole experts: no better than the optimum"
        rows.append(Row(case, metric, 1.0, float(busiest.min()), side="at least"))
    return Found(rows)


def _shares() -> list[Row]:
    """Copies on each GPU under static, all steps of the trace, beside the counts of the whole task."""
    rows = []
    source = ours.SOURCES[0]
    row = ours.run(source, "static", ours.variants(source)["static"])
    for place, layer in enumerate(source.layers):
        load = sum(plan.load for (_, at), plan in row.plans.items() if at == place)
        counted = ours.tasks()["intent"][layer - 1].reshape(ours.GPUS, -1).sum(axis=1)
        busiest = int(np.argmax(counted))
        there, here = (float(values[busiest] / values.sum()) for values in (counted, np.asarray(load)))
        rows.append(Row(f"intent, layer {layer}", "share of the busiest GPU", there, here, "", 0.01))
    return rows
