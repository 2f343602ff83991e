"""What the page knows of fabrics and their links: the drawing, totals, and use and queue over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.load import Results
from analysis.report.explore import numbered
from analysis.report.layout import draw, natural
from analysis.report.pack import Packer
from analysis.rows import rows_where

_CELLS = 1_200_000  # samples x links of all runs together; above, neighbours in time are merged
_FULL = 250  # stands for a link that was never idle; 255 is the most that fits


class Fabrics:
    """The different fabrics of the runs: variants mostly share one, which is then told once."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._known: dict[tuple[tuple[str, str, str], ...], int] = {}
        self.told: list[dict[str, Any]] = []
        self.nodes: list[dict[str, int]] = []  # of each: name -> number
        self.links: list[dict[str, int]] = []

    def of(self, run: Results, table: pd.DataFrame) -> int | None:
        """The number of the fabric of ``run``, whose table `links` is given; None without links."""
        if table.empty:
            return None
        key = tuple(zip(table["link"], table["src"], table["dst"], strict=True))
        if key not in self._known:
            self._known[key] = len(self.told)
            self._tell(run, table)
        return self._known[key]

    def _tell(self, run: Results, table: pd.DataFrame) -> None:
        ends = list(zip(table["src"], table["dst"], strict=True))
        drawing = draw(ends, run.tier_of, table["utilisation"].tolist())
        names = sorted({node for pair in ends for node in pair}, key=natural)
        number = {name: index for index, name in enumerate(names)}
        self.nodes.append(number)
        self.links.append({name: index for index, name in enumerate(table["link"])})
        add = self._packer.add
        counts = np.array([len(links) for *_, links in drawing.edges])
        self.told.append(
            {
                "kind": run.manifest.get("fabric", {}).get("kind", ""),
                "hosts": run.manifest.get("fabric", {}).get("hosts", 0),
                "nodes": names,
                "tiers": {name: len(nodes) for name, nodes in run.manifest.get("fabric", {}).get("tiers", {}).items()},
                "link": list(table["link"]),
                "src": add(table["src"].map(number)),
                "dst": add(table["dst"].map(number)),
                "rate_mbps": add(np.rint(table["rate_gbps"].to_numpy() * 1000).astype(np.int64)),
                "drawing": {
                    "tiered": drawing.tiered,
                    "labels": drawing.labels,
                    "classes": drawing.classes,
                    "places": drawing.places,
                    "rows": drawing.rows,
                    "note": drawing.note,
                    "from": add(np.array([edge[0] for edge in drawing.edges])),
                    "to": add(np.array([edge[1] for edge in drawing.edges])),
                    "nth": add(np.array([edge[2] for edge in drawing.edges])),
                    "start": add(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)),
                    "links": add(np.concatenate([np.array(links, dtype=np.int64) for *_, links in drawing.edges])),
                },
            }
        )


def totals(table: pd.DataFrame, packer: Packer) -> dict[str, Any]:
    """The columns of the table `links` beside its names."""
    whole = ("bytes", "packets", "queue_max_bytes", "marked", "dropped", "trimmed")
    told = {name: packer.add(table[name]) for name in whole if name == "bytes" or table[name].any()}
    told["utilisation"] = packer.add(table["utilisation"])
    if table["paused_us"].any():
        told["paused_us"] = packer.add(table["paused_us"])
    return told


def over_time(run: Results, links: dict[str, int], runs: int, packer: Packer) -> dict[str, Any] | None:
    """Use and queue, link after link: use in 1/250, queue in steps of a 60,000th of the longest. None without."""
    table = rows_where(run, "link_series", [])
    if table.empty:
        return None
    times, place = np.unique(table["time_us"].to_numpy(), return_inverse=True)
    use, queue = np.zeros((2, len(links), len(times)))
    number = numbered(table["link"], links)
    use[number, place] = table["utilisation"]
    queue[number, place] = table["queue_bytes"]
    merged = -(-use.size // (_CELLS // runs))
    if merged > 1:
        times, use, queue = _thinned(times, use, queue, merged)
    step = max(1.0, float(queue.max()) / 60_000)
    return {
        "time_ns": packer.add(np.rint(times * 1000).astype(np.int64)),
        "merged": merged,
        "use": packer.add(np.minimum(np.ceil(use * _FULL), 255).astype(np.uint8).ravel()),
        "queue": packer.add(np.ceil(queue / step).astype(np.int64).ravel()),
        "step": step,
    }


def _thinned(
    times: NDArray[Any], use: NDArray[Any], queue: NDArray[Any], merged: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Of ``merged`` samples the last time, the mean use weighted by time, the longest queue."""
    start = np.arange(0, len(times), merged)
    took = np.diff(times, prepend=0)
    mean = np.add.reduceat(use * took, start, axis=1) / np.add.reduceat(took, start)
    last = np.append(start[1:], len(times)) - 1
    return times[last], mean, np.maximum.reduceat(queue, start, axis=1)
