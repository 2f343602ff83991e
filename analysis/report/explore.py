"""What the page knows of flows: all of them, or the slowest and a sample; their ways, hops, and where time went."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.load import Results
from analysis.report.pack import Packer
from analysis.rows import rows_where
from models.explained import PARTS

FLOWS = 80_000  # of all runs together
_SLOWEST = 0.25  # share of the kept flows that are the slowest; the others are spread evenly over the run
_PS = 1_000_000  # in a us


def flows(
    run: Results,
    nodes: dict[str, int],
    links: dict[str, int],
    ends: dict[tuple[str, str], int],
    most: int,
    packer: Packer,
) -> dict[str, Any] | None:
    """At most ``most`` flows of ``run``. ``ends``: (src, dst) -> link. None where no flow started."""
    table = run.frame("flows")
    if table.empty:
        return None
    started = len(table)
    table = table.iloc[_kept(table, most)].reset_index(drop=True)
    add = packer.add
    told: dict[str, Any] = {
        "started": started,
        "kept": len(table),
        "id": add(table["id"]),
        "src": add(table["src"].map(nodes)),
        "dst": add(table["dst"].map(nodes)),
        "bytes": add(table["bytes"]),
        "start_ps": packer.exact(table["start_us"] * _PS),
        "fct_ps": packer.exact(table["fct_us"] * _PS),
        "ideal_ps": packer.exact(table["ideal_us"] * _PS),
        "status": packer.words(table["status"]),
    }
    told |= {name: add(table[name]) for name in ("retransmitted", "reordered") if table[name].any()}
    times, hops = _times(run, table["id"], links, packer), _hops(run, table["id"], links, packer)
    told["times"], told["hops"] = times, hops and hops[0]
    told["why_no_times"] = "" if times else run.summary.get("flow_times", {}).get("reason", "not in these results")
    told["why_no_hops"] = "" if hops else run.summary.get("hops", {}).get("reason", "not in these results")
    told["ways"] = _ways(table["path"], ends, hops and hops[1], packer)
    return told


def _kept(table: pd.DataFrame, most: int) -> NDArray[np.int64]:
    """Rows that are told: the slowest (unfinished ones first, stopped ones last), and others evenly."""
    if len(table) <= most:
        return np.arange(len(table))
    slowdown = table["slowdown"].fillna(np.inf).mask(table["status"] == "stopped", 0.0)
    slow = np.argsort(-slowdown.to_numpy(), kind="stable")[: int(most * _SLOWEST)]
    rest = np.setdiff1d(np.arange(len(table)), slow)
    sample = rest[np.linspace(0, len(rest) - 1, most - len(slow)).astype(np.int64)]
    return np.sort(np.concatenate([slow, sample]))


def _times(run: Results, ids: pd.Series, links: dict[str, int], packer: Packer) -> dict[str, Any] | None:
    table = rows_where(run, "flow_times", _of(run, "id", ids))
    if table.empty:
        return None
    table = table.set_index("id").reindex(ids)
    told = {"job": packer.words(table["job"]), "released_by": packer.exact(table["released_by"].astype(float))}
    told["bottleneck"] = packer.add(numbered(table["bottleneck"], links))
    told["parts"] = {part: packer.exact(table[part]) for part in PARTS if table[part].any()}
    return told


def _hops(
    run: Results, ids: pd.Series, links: dict[str, int], packer: Packer
) -> tuple[dict[str, Any], list[list[int]]] | None:
    """Hops flow after flow; also the links of each flow's hops."""
    table = rows_where(run, "hops", _of(run, "flow", ids))
    if table.empty:
        return None
    place = pd.Series(np.arange(len(ids)), index=ids)
    table = table.assign(row=table["flow"].map(place)).dropna(subset=["row"]).sort_values(["row", "hop"], kind="stable")
    counts = np.bincount(table["row"].astype(np.int64), minlength=len(ids))
    start = np.concatenate([[0], np.cumsum(counts)])
    number = numbered(table["link"], links)
    first = table["hop"].to_numpy() == 0
    told = {
        "start": packer.add(start),
        "link": packer.add(number),
        # at the next one it arrives when the parts of this one are over
        "arrived_ps": packer.exact(table["arrived_us"].to_numpy()[first] * _PS),
    }
    told |= {name: packer.add(table[name]) for name in ("queueing_ps", "serialisation_ps", "propagation_ps")}
    every = number.tolist()
    return told, [every[a:b] for a, b in pairwise(start.tolist())]


def _of(run: Results, column: str, ids: pd.Series) -> list[tuple[str, str, Any]]:
    """Only the rows of these flows, where they are not all."""
    return [] if len(ids) == run.rows("flows") else [(column, "in", ids.tolist())]


def numbered(names: pd.Series, known: dict[str, int]) -> NDArray[np.int64]:
    """The numbers of names; -1 for null. Fast where they are categories."""
    codes, found = pd.factorize(names)
    return np.array([*(known[name] for name in found), -1], dtype=np.int64)[codes]


def _ways(
    paths: pd.Series, ends: dict[tuple[str, str], int], hops: list[list[int]] | None, packer: Packer
) -> dict[str, Any]:
    """Links that each flow was given: of all its pieces; empty where they are those of its hops.

    ``sprayed``: over so many paths, 0 for flows with paths of their own. Of parallel cables a path names none: hops
    tell which it was, else the first stands for them.
    """
    codes, different = pd.factorize(paths)
    found, sprayed = [], []
    for path in different:
        nodes = [] if path.startswith("spray:") else path.split(" ")
        pieces = [ends[pair] for piece in nodes for pair in pairwise(piece.split(">")) if pair in ends]
        found.append(list(dict.fromkeys(pieces)))
        sprayed.append(int(path[6:]) if path.startswith("spray:") else 0)
    found, sprayed = [*found, []], [*sprayed, 0]  # the last for flows that never had a path
    rows = [found[code] for code in codes]
    if hops is not None:
        single = [" " not in path for path in different] + [False]
        rows = [
            [] if row == hop or (single[code] and len(row) == len(hop)) else row
            for code, row, hop in zip(codes, rows, hops, strict=True)
        ]
    return {
        "start": packer.add(np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)),
        "link": packer.add(np.array([link for row in rows for link in row], dtype=np.int64)),
        "sprayed": packer.add(np.array(sprayed)[codes]),
    }
