"""Who shared a link with a flow while it waited there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.load import Results
from analysis.rows import picoseconds, rows_where
from analysis.why.ways import Ways

_SHOWN = 8
_COLUMNS = ["id", "src", "dst", "bytes", "start_us", "delivered_us", "end_us", "path"]
# its last packet was ahead in the queue; its path crosses the link; it is spread over paths that do (fluid); each of
# its packets may take the link
AHEAD, CROSSES, SPREADS, MAY = "ahead", "crosses", "spreads", "may"
_FOREVER = 2**62


def sharers(run: Results, link: str, flow: int, begin: int, end: int) -> dict[str, Any]:
    """Other flows over ``link`` from ``begin`` to ``end`` (ps): those surely in the queue, then by time in common.

    Of packets the tables know those that completed a flow; that another flow's earlier packets were there can only be
    told from its path and its time.
    """
    flows = rows_where(
        run, "flows", [("start_us", "<", end / 1e6), ("status", "!=", "rejected"), ("id", "!=", flow)], _COLUMNS
    )
    # the last packet of a flow leaves the link before it is delivered, or lost after a stop
    until = picoseconds(flows["delivered_us"].fillna(flows["end_us"]))
    flows = flows.assign(from_ps=picoseconds(flows["start_us"]), to_ps=np.where(until < 0, _FOREVER, until))
    ahead = _ahead(run, link, begin, end)
    flows = flows[(flows["to_ps"] > begin) & (flows["from_ps"] < end)]
    how = _how(run, link, flows)
    how[flows["id"].isin(ahead).to_numpy()] = AHEAD
    found = flows.assign(how=how)[how != ""]
    together = np.minimum(found["to_ps"], end) - np.maximum(found["from_ps"], begin)
    rank = found["how"].map({AHEAD: 0, CROSSES: 1, SPREADS: 1, MAY: 2})
    found = found.assign(rank=rank.astype(int), together=together)
    order = ["rank", "together", "bytes", "id"]
    found = found.sort_values(order, ascending=[True, False, False, True])
    jobs = _jobs(run, found["id"].head(_SHOWN).tolist())
    return {
        "link": link,
        "from_ps": begin,
        "to_ps": end,
        "count": {str(kind): int(count) for kind, count in found["how"].value_counts(sort=False).items()},
        "flows": [
            {"id": int(row.id), "src": row.src, "dst": row.dst, "bytes": int(row.bytes), "how": row.how}
            | {"job": jobs.get(int(row.id), ""), "together_ps": int(row.together)}
            for row in found.head(_SHOWN).itertuples()
        ],
    }


def _ahead(run: Results, link: str, begin: int, end: int) -> list[int]:
    """Flows whose last packet was in the link's queue when the waiting began."""
    hops = rows_where(
        run,
        "hops",
        [("link", "==", link), ("arrived_us", "<=", end / 1e6)],
        ["flow", "arrived_us", "queueing_ps", "serialisation_ps"],
    )
    arrived = picoseconds(hops["arrived_us"])
    gone = arrived + hops["queueing_ps"].to_numpy(dtype=np.int64) + hops["serialisation_ps"].to_numpy(dtype=np.int64)
    return [int(flow) for flow in hops["flow"].to_numpy()[(arrived <= begin) & (gone > begin)]]


def _how(run: Results, link: str, flows: pd.DataFrame) -> NDArray[Any]:
    """Per flow how it can be on the link, or an empty text."""
    how = np.full(len(flows), "", dtype=object)
    links = run.frame("links", ["link", "src", "dst"])
    if not len(flows) or link not in set(links["link"]):
        return how
    ways = Ways(links)
    path = flows["path"].astype(object).fillna("").to_numpy()
    spray = np.array([cell.startswith("spray:") for cell in path], dtype=np.bool_)
    cells, which = np.unique(path[~spray].astype(str), return_inverse=True)
    how[~spray] = np.where(np.array(ways.fixed(link, cells), dtype=np.bool_)[which], CROSSES, "")
    passes = ways.spread(link, flows["src"][spray].astype(str), flows["dst"][spray].astype(str))
    how[spray] = np.where(passes, SPREADS if run.manifest.get("engine") == "fluid" else MAY, "")
    return how


def _jobs(run: Results, flows: list[int]) -> dict[int, str]:
    rows = rows_where(run, "flow_times", [("id", "in", flows)], ["id", "job"])
    return dict(zip(rows["id"].tolist(), rows["job"].astype(str), strict=True))
