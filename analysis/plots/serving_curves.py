"""Latency and goodput of request serving against whatever was varied: a rate, the age of telemetry, a policy's number.

The knee of a latency line is marked as ``curves.py`` says.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis.load import Results
from analysis.plots.curves import LINE, Against, Panel, draw, has_values
from analysis.plots.loads import policy_names
from models.served_figures import COLUMNS, TABLE, served_figures

TTFT = Panel("TTFT", (("requests.ttft_ms.p99", "p99"), ("requests.ttft_ms.p50", "p50")), "s", 1e-3)
TPOT = Panel("TPOT", (("requests.tpot_ms.p99", "p99"), ("requests.tpot_ms.p50", "p50")), "s", 1e-3)
E2E = Panel("E2E", (("requests.e2e_ms.p99", "p99"), ("requests.e2e_ms.p50", "p50")), "s", 1e-3)
GOODPUT = Panel("Goodput: good requests a second", ((f"{TABLE}.goodput_per_s.all", ""),), "/s", kind="rate")
GOOD = Panel("Good requests of those injected", ((f"{TABLE}.good_share.all", ""),), kind="blocking")
SERVED = Panel("Output tokens a second", ((f"{TABLE}.output_tokens_per_s.all", ""),), "/s", kind="rate")
_MOST = 4
_NEAR = 0.02  # rates that differ by less are one


def served_panels(frame: pd.DataFrame) -> list[Panel]:
    """Of an index, or of ``against_rate``: latencies, then goodput where there are targets, else tokens."""
    panels = [panel for panel in (TTFT, TPOT, GOODPUT, GOOD, E2E, SERVED) if has_values(frame, panel)]
    return panels[:_MOST]


def against_rate(runs: Sequence[Results]) -> Figure | None:
    """The same panels over the offered rate, a line a policy. None unless requests came at two rates."""
    runs = [run for run in runs if run.rows("requests")]
    figures = [served_figures(run.frame(TABLE, list(COLUMNS))) for run in runs]
    rates = [one.get(f"{TABLE}.offered_per_s.all", 0.0) for one in figures]
    if not rates or max(rates) <= (1 + _NEAR) * min(rates):
        return None
    rows = []
    for run, name, rate, known in zip(runs, policy_names(runs), rates, figures, strict=True):
        row = {LINE: name, "rate": rate, "status": run.status, **known}
        for limit in ("ttft_ms", "tpot_ms", "e2e_ms"):
            row |= {f"requests.{limit}.{rank}": run.number("requests", limit, rank) for rank in ("p50", "p99")}
        rows.append(row)
    frame = pd.DataFrame(rows).astype({f"requests.{limit}_ms.{rank}": float for limit in ("ttft", "tpot", "e2e")
                                       for rank in ("p50", "p99")})  # fmt: skip
    against = Against("rate", "offered requests a second", "/s")
    return draw(frame, against, served_panels(frame), "Latency and goodput against the offered rate")
