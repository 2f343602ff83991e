"""What links have cost the flows of a run, the dearest first; and which are slower than others of their class."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import Results
from analysis.rows import rows_where
from analysis.why.text import rate_text, short, table, time_text

SHOWN = 5


def link_costs(run: Results, times: pd.DataFrame, shown: int = SHOWN) -> list[dict[str, Any]]:
    """Per link what it cost all flows together (ps): waiting for others, and its own slowness.

    Waiting is queueing of the packets that completed flows, or in fluid the sharing of the flows that it held down
    longest. Slowness is serialisation beyond what it takes at the usual rate of such links.
    """
    links = run.frame("links")
    if not len(links):
        return []
    usual = usual_rates(run, links)
    hops = rows_where(run, "hops", [], ["link", "queueing_ps", "serialisation_ps"])
    worst = times["bottleneck"].dropna().astype(str)
    if len(hops):
        sums = hops.groupby(hops["link"].astype(str))[["queueing_ps", "serialisation_ps"]].sum()
        waiting = sums["queueing_ps"].reindex(links["link"], fill_value=0).to_numpy(dtype=np.int64)
        spent = sums["serialisation_ps"].reindex(links["link"], fill_value=0).to_numpy(dtype=np.float64)
        slowness = spent * np.maximum(0.0, 1.0 - links["rate_gbps"].to_numpy() / usual)
    else:
        shared = times["sharing_ps"].groupby(times["bottleneck"].astype(object)).sum()
        waiting = shared.reindex(links["link"], fill_value=0).to_numpy(dtype=np.int64)
        slowness = _slow_ways(run, links, usual, times)
    found = links.assign(usual=usual, waiting=waiting, slowness=np.rint(slowness).astype(np.int64))
    found["cost"] = found["waiting"] + found["slowness"]
    found["flows"] = worst.value_counts().reindex(links["link"], fill_value=0).to_numpy()
    found = found[found["cost"] > 0].sort_values(["cost", "link"], ascending=[False, True], kind="stable")
    return [
        {"link": row.link, "cost_ps": int(row.cost), "waiting_ps": int(row.waiting), "slowness_ps": int(row.slowness)}
        | {"bottleneck_of": int(row.flows), "dropped": int(row.dropped), "utilisation": float(row.utilisation)}
        | {"rate_gbps": float(row.rate_gbps), "usual_rate_gbps": float(row.usual)}
        for row in found.head(shown).itertuples()
    ]


def usual_rates(run: Results, links: pd.DataFrame) -> Any:
    """[links] the most frequent rate of the links between the same two tiers; of several the highest."""
    tier = run.tier_of
    classes = (
        links["src"].map(lambda node: tier.get(node, "host"))
        + ">"
        + links["dst"].map(lambda node: tier.get(node, "host"))
    )
    usual = links["rate_gbps"].groupby(classes).agg(lambda rates: float(rates.mode().max()))
    return classes.map(usual).to_numpy(dtype=np.float64)


def slower_links(run: Results) -> list[dict[str, Any]]:
    """Links whose rate is below the usual one of their class, the slowest first."""
    links = run.frame("links", ["link", "src", "dst", "rate_gbps"])
    if not len(links):
        return []
    links["usual"] = usual_rates(run, links)
    found = links[links["rate_gbps"] < links["usual"]]
    found = found.assign(ratio=found["rate_gbps"] / found["usual"]).sort_values(["ratio", "link"], kind="stable")
    return [{"link": r.link, "rate_gbps": r.rate_gbps, "usual_rate_gbps": r.usual} for r in found.itertuples()]


def _slow_ways(run: Results, links: pd.DataFrame, usual: Any, times: pd.DataFrame) -> Any:
    """[links] ps that flows on one path lost because its slowest link is slower than such links are."""
    lost = np.zeros(len(links))
    if (links["rate_gbps"].to_numpy() >= usual).all():
        return lost
    ends: dict[tuple[str, str], list[int]] = {}
    for number, pair in enumerate(zip(links["src"], links["dst"], strict=True)):
        ends.setdefault(pair, []).append(number)
    rate = links["rate_gbps"].to_numpy()
    paths = rows_where(run, "flows", [("status", "==", "finished")], ["id", "path"])
    spent = times.set_index("id")["serialisation_ps"].reindex(paths["id"]).to_numpy(dtype=np.float64)
    for path, total in pd.Series(spent).groupby(paths["path"].astype(object).to_numpy()).sum().items():
        nodes = str(path).split(">")
        cables = [ends.get(pair, []) for pair in itertools.pairwise(nodes)]
        # of parallel cables the path doesn't say which; a spread or a flow in pieces has no one path
        if not cables or any(len(choice) != 1 for choice in cables):
            continue
        way = np.array([choice[0] for choice in cables])
        slowest = way[rate[way].argmin()]
        lost[slowest] += float(total) * max(0.0, 1.0 - rate[slowest] / usual[way].min())
    return lost


def link_lines(found: list[dict[str, Any]], slower: list[dict[str, Any]]) -> list[str]:
    """Both as text."""
    if not found:
        text = ["  no flow waited for a link"]
    else:
        rows = [
            [
                short(row["link"], 34),
                time_text(row["cost_ps"]),
                time_text(row["slowness_ps"]) if row["slowness_ps"] else "-",
                str(row["bottleneck_of"]),
                str(row["dropped"] or "-"),
                f"{row['utilisation']:.1%}",
                _rate(row),
            ]
            for row in found
        ]
        text = table(["link", "cost", "of it slow", "worst of", "dropped", "used", "rate"], rows)
    listed = {row["link"] for row in found}
    others = [row for row in slower if row["link"] not in listed]
    if others:
        names = ", ".join(f"{row['link']} {_rate(row)}" for row in others[:2])
        more = f" and {len(others) - 2} more" if len(others) > 2 else ""
        text.append(f"  also slower than their class: {names}{more}")
    return text


def _rate(row: dict[str, Any]) -> str:
    mine, usual = row["rate_gbps"], row["usual_rate_gbps"]
    return rate_text(mine) if mine == usual else f"{rate_text(mine)} of {rate_text(usual)}"
