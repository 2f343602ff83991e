"""How congested the switches of a run were, in five figures that can be drawn against load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# the columns that it looks at, by table
CONGESTION = {
    "links": ("src", "dst", "packets", "utilisation", "queue_max_bytes", "marked", "dropped"),
    "series": ("time_us", "group", "queue_max_bytes"),
}


def congestion(
    links: pd.DataFrame | None, series: pd.DataFrame | None, manifest: Mapping[str, Any]
) -> dict[str, float | None]:
    """Figures of a run's tables ``links`` and ``series`` (None: without rows); None where there is nothing to tell.

    ``queue_p99_bytes``: of the longest queue, over time where there are samples, else over links; ``marked_share`` and
    ``dropped_share`` of all packets; ``use_max`` and ``use_mean`` of the links between switches, or from them. A host's
    own queue is only its backlog and does not count.
    """
    if links is None or not len(links):
        return dict.fromkeys(("queue_p99_bytes", "marked_share", "dropped_share", "use_max", "use_mean"))
    tiers = manifest.get("fabric", {}).get("tiers", {})
    switches = [node for nodes in tiers.values() for node in nodes]
    at_switch = links["src"].isin(switches) if switches else np.ones(len(links), dtype=bool)
    inner = at_switch & links["dst"].isin(switches)
    use = links.loc[inner if inner.any() else at_switch, "utilisation"]
    if series is not None and len(series):
        sampled = ~series["group"].str.startswith("host->") if switches else np.ones(len(series), dtype=bool)
        queues = series[sampled].groupby("time_us")["queue_max_bytes"].max()
    else:
        queues = links.loc[at_switch, "queue_max_bytes"]
    packets = int(links["packets"].sum())
    return {
        "queue_p99_bytes": float(np.quantile(queues, 0.99)) if len(queues) else None,
        "marked_share": float(links["marked"].sum()) / packets if packets else None,
        "dropped_share": float(links["dropped"].sum()) / packets if packets else None,
        "use_max": float(use.max()) if len(use) else None,
        "use_mean": float(use.mean()) if len(use) else None,
    }
