"""Why a collective took its time: back from the flow that ended it, over what released each flow, to its start."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.load import Results
from analysis.rows import picoseconds, rows_where
from analysis.why.chain import Chain, chain_lines
from analysis.why.finished import flows_of
from analysis.why.parts import part_lines
from analysis.why.text import size_text, time_text


def facts(run: Results, number: int) -> dict[str, Any]:
    (row,) = rows_where(run, "collectives", [("id", "==", number)]).to_dict("records")
    start, took = int(picoseconds(row["start_us"])), int(picoseconds(row["time_us"]))
    known: dict[str, Any] = {"kind": "collective", "id": number, "start_ps": start}
    known |= {str(name): row[name] for name in ("op", "algorithm", "ranks", "bytes")}
    if took < 0:
        return {**known, "status": "unfinished"}
    flows = flows_of(run, [f"collective:{number}"])
    end = start + took
    chain = Chain(end)
    ranks: dict[str, Any] = {}
    if len(flows):
        host = _walk(chain, flows).src
        # the first rank joined at the start, so the launch of each is what passed until the first flow
        joined = chain.reached - (int(flows["from_ps"].min()) - start)
        chain.before("launch", joined, host)
        chain.before("compute", max(start, _computes_from(run, host, joined)), host)
        chain.before("join", start, host)
        ranks = _ranks(flows, start)
    chain.before("launch", start, "no flows")
    return {**known, "status": "finished", "total_ps": took, **chain.facts(start), "ranks_seen": ranks}


def _computes_from(run: Results, host: str, until: int) -> int:
    """Since when the host's GPU was computing before it joined; ``until`` where it was not."""
    rows = rows_where(run, "kernels", [("kernel", "==", "compute"), ("start_us", "<", until / 1e6)])
    rows = rows[rows["gpu"].map(run.host_name) == host]
    begin = picoseconds(rows["start_us"])
    found = begin[begin + picoseconds(rows["duration_us"]) == until]
    return int(found[-1]) if len(found) else until


def _walk(chain: Chain, flows: pd.DataFrame) -> Any:
    """From the last delivery back to a flow that no other released; returns that one."""
    by_id = {row.id: row for row in flows.itertuples()}
    row = by_id[int(flows["id"].to_numpy()[flows["to_ps"].to_numpy().argmax()])]
    chain.before("join", int(row.to_ps), "a rank that came last")
    while True:
        chain.flow_before(row, f"{row.src} -> {row.dst}")
        earlier = by_id.get(row.released_by)
        if earlier is None:
            return row
        chain.before("launch", int(earlier.to_ps), str(row.src))
        row = earlier


def _ranks(flows: pd.DataFrame, start: int) -> dict[str, Any]:
    """When ranks began to send, and were done, from the collective's start: who was last, and how far apart."""
    first = flows.groupby(flows["src"])["from_ps"].min() - start
    ends = pd.concat([flows.groupby(flows[end])["to_ps"].max() for end in ("src", "dst")])
    done = ends.groupby(level=0).max() - start
    return {
        "sent_first_ps": int(first.min()),
        "sent_last_ps": int(first.max()),
        "sent_last": str(first.idxmax()),
        "done_first_ps": int(done.min()),
        "done_median_ps": int(done.median()),
        "done_last_ps": int(done.max()),
        "done_last": str(done.idxmax()),
    }


def lines(known: dict[str, Any]) -> list[str]:
    """The facts as text."""
    what = f"{known['op']} by {known['algorithm']}, {known['ranks']} ranks, {size_text(known['bytes'])}"
    text = [f"collective {known['id']}: {what}"]
    if known["status"] != "finished":
        return [*text, f"  unfinished; it started at {time_text(known['start_ps'])}. Only finished ones are split"]
    text += [f"  took {time_text(known['total_ps'])} from {time_text(known['start_ps'])} on"]
    text += ["", "Where its time went, along its critical path", *part_lines(known["parts"], known["total_ps"])]
    text += ["", "The critical path (from the collective's start)", *chain_lines(known["chain"])]
    ranks = known["ranks_seen"]
    if ranks:
        spread = time_text(ranks["done_last_ps"] - ranks["done_first_ps"])
        text += [
            "",
            f"Ranks were done from {time_text(ranks['done_first_ps'])} to {time_text(ranks['done_last_ps'])} (median "
            f"{time_text(ranks['done_median_ps'])}); {ranks['done_last']} last, a spread of {spread}.",
        ]
        if ranks["sent_last_ps"] > ranks["sent_first_ps"]:
            text.append(
                f"They first sent from {time_text(ranks['sent_first_ps'])} to {time_text(ranks['sent_last_ps'])}; "
                f"{ranks['sent_last']} last."
            )
    return text
