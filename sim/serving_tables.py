"""The tables of request serving of a finished world; the columns are described in ``models/served.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.served import REQUEST_STATUSES
from sim.engine.serving import book as words
from sim.processes.serving.serving import SAMPLED, Serving
from sim.record import frame
from sim.served_classes import Judged, class_rows, judge

_PS, _PS_PER_MS = 1e12, 1e9
_NEVER = float("nan")
_STARVED = 0.1  # of its pool's mean number of requests
_ENOUGH = 10  # requests a replica, below which none is called starved
_STATUS = {words.FINISHED: 0, words.REJECTED: 1, words.LOST: 2}  # others are unfinished


def serving_tables(servings: Sequence[Serving], now: int) -> dict[str, Any]:
    """Every one that has rows; ``now``: the end of the run, ps."""
    found: dict[str, list[Any]] = {}
    for serving in servings:
        serving.settle(now)
        rows, ids = injected(serving)
        if not len(rows):
            continue
        judged = judge(serving, rows)
        made = {
            "requests": _requests(serving, rows, ids, judged),
            "request_times": _times(serving, rows, ids),
            "request_classes": class_rows(serving, rows, judged),
            "replicas": _replicas(serving, rows, now),
            "serving_series": _series(serving),
        }
        for name, columns in made.items():
            if np.size(columns["workload"]):
                found.setdefault(name, []).append(frame(name, columns))
    return {name: tables[0] if len(tables) == 1 else _joined(tables) for name, tables in found.items()}


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Texts of few values have other values in each workload: as plain texts they go together."""
    texts = [name for name in tables[0] if any(table[name].dtype == "category" for table in tables)]
    return pd.concat([table.astype(dict.fromkeys(texts, object)) for table in tables], ignore_index=True)


def injected(serving: Serving) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(rows of the book, their numbers) of the requests that have arrived, in order of arrival."""
    rows = serving.book.rows[: serving.book.count]
    ids = np.flatnonzero(rows["status"] != words.NEW)
    arrival = rows["arrival"][ids]
    if len(ids) == len(rows) and (np.diff(arrival) >= 0).all():
        return rows, ids  # as nearly always: nothing is copied
    ids = ids[np.argsort(arrival, kind="stable")]
    return rows[ids], ids


def _requests(serving: Serving, rows: NDArray[Any], ids: NDArray[np.int64], judged: Judged) -> dict[str, Any]:
    """The columns of ``requests``."""
    took = {limit: ps / _PS_PER_MS for limit, ps in judged.times.items()}
    elsewhere = (rows["prefill_replica"] >= 0) & (rows["prefill_replica"] != rows["replica"])
    scheduled = rows["scheduled"]
    return {
        "id": ids,
        "arrival_s": rows["arrival"] / _PS,
        "replica": rows["replica"],
        "prompt_tokens": rows["prompt"],
        "output_tokens": rows["output"],
        "queue_ms": np.where(scheduled >= 0, (scheduled - rows["arrival"]) / _PS_PER_MS, _NEVER),
        "ttft_ms": took["ttft"],
        "tpot_ms": took["tpot"],
        "e2e_ms": took["e2e"],
        "cached_tokens": rows["cached"],
        "status": pd.Categorical.from_codes(_status(rows), list(REQUEST_STATUSES)),
        "workload": np.full(len(ids), serving.number),
        "class": pd.Categorical.from_codes(rows["kind"], [one.name for one in serving.classes]),
        "tenant": rows["tenant"],
        "session": rows["session"],
        "turn": np.where(rows["session"] >= 0, rows["turn"], -1),
        "reason": pd.Categorical.from_codes(rows["reason"], list(serving.book.reasons)),
        "prefill_replica": np.where(elsewhere, rows["prefill_replica"], -1),
        "predicted_tokens": rows["predicted"],
        "generated_tokens": rows["generated"],
        "transfer_ms": np.where(elsewhere, rows["transferred"] / _PS_PER_MS, _NEVER),
        "itl_max_ms": took["itl"],
        "preempted": rows["preempted"],
        "good": judged.good,
        "prefix_hashes": _hashes(serving, rows),
        "arrival_ps": rows["arrival"],
    }


def _status(rows: NDArray[Any]) -> NDArray[np.int64]:
    found = np.full(len(rows), REQUEST_STATUSES.index("unfinished"))
    for status, code in _STATUS.items():
        found[rows["status"] == status] = code
    return found


def _hashes(serving: Serving, rows: NDArray[Any]) -> list[str | None]:
    if not rows["hash_count"].any():
        return [None] * len(rows)
    hashes = serving.book.hashes.tolist()
    spans = zip(rows["hash_start"].tolist(), rows["hash_count"].tolist(), strict=True)
    return ["|".join(map(str, hashes[start : start + count])) if count else None for start, count in spans]


def _times(serving: Serving, rows: NDArray[Any], ids: NDArray[np.int64]) -> dict[str, Any]:
    """The columns of ``request_times``. What the parts don't name is prefill before the first token, decode after."""
    chosen = rows["status"] == words.FINISHED
    done = rows[chosen]
    arrival, first = done["arrival"], done["first"]
    moved, stalled, early = (done[name] for name in ("transferred", "stalled", "stalled_first"))
    return {
        "id": ids[chosen],
        "workload": np.full(len(done), serving.number),
        "total_ps": done["last"] - arrival,
        "held_ps": done["routed"] - arrival,
        "way_ps": done["queued"] - done["routed"],
        "queue_ps": done["scheduled"] - done["queued"],
        "prefill_ps": first - done["scheduled"] - early,
        "transfer_ps": moved,
        "decode_ps": done["last"] - first - moved - (stalled - early),
        "requeue_ps": stalled,
    }


def _replicas(serving: Serving, rows: NDArray[Any], now: int) -> dict[str, Any]:
    """Counts of the schedulers are added up over the ranks of each replica."""
    replicas, counts = serving.replicas, serving.schedulers.counts
    begin = [replica.first for replica in replicas]
    summed = {name: np.add.reduceat(counts[name].astype(np.int64), begin) for name in counts.dtype.names}
    requests = np.bincount(rows["replica"][rows["replica"] >= 0], minlength=len(replicas))
    elsewhere = rows["prefill_replica"][(rows["prefill_replica"] >= 0) & (rows["prefill_replica"] != rows["replica"])]
    requests = requests + np.bincount(elsewhere, minlength=len(replicas))
    pools = np.array([replica.pool for replica in replicas])
    usual = np.array([requests[pools == pool].mean() for pool in pools])
    up = np.array([replica.on_for for replica in replicas], dtype=np.float64)
    busy = np.array([replica.busy for replica in replicas])
    iterations = np.array([replica.iterations for replica in replicas])
    tokens = np.array([replica.tokens for replica in replicas])
    used = np.array([sample[:, SAMPLED.index("used_blocks")] for sample in serving.series.values])
    shares = used.reshape(-1, len(replicas)) / serving.kv_blocks
    seen = len(shares) > 0
    return {
        "replica": np.arange(len(replicas)),
        "workload": np.full(len(replicas), serving.number),
        "pool": [replica.pool_name for replica in replicas],
        "role": [replica.role for replica in replicas],
        "gpus": [len(replica.hosts) for replica in replicas],
        "requests": requests,
        "tokens": tokens,
        "iterations": iterations,
        "busy_share": _ratio(busy, up),
        "batch_mean_tokens": _ratio(tokens, iterations),
        "preemptions": summed["preemptions"],
        "prefix_hit_share": _ratio(summed["hit"], summed["looked"]),
        "kv_blocks": serving.kv_blocks,
        "kv_mean_share": shares.mean(axis=0) if seen else np.full(len(replicas), _NEVER),
        "kv_peak_share": shares.max(axis=0) if seen else np.full(len(replicas), _NEVER),
        "starved": (usual >= _ENOUGH) & (requests < _STARVED * usual) & (up >= now),
    }


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), _NEVER), where=whole > 0)


def _series(serving: Serving) -> dict[str, Any]:
    """A row a sample and replica, in order of time."""
    series, number = serving.series, len(serving.replicas)
    values = np.array(series.values, dtype=np.int64).reshape(len(series.time) * number, len(SAMPLED))
    column = {name: values[:, place] for place, name in enumerate(SAMPLED)}
    return {
        "time_s": np.repeat(np.array(series.time, dtype=np.int64) / _PS, number),
        "replica": np.tile(np.arange(number), len(series.time)),
        "workload": np.full(len(values), serving.number),
        "waiting": column["waiting"],
        "running": column["running"],
        "kv_share": column["used_blocks"] / np.tile(serving.kv_blocks, len(series.time)),
        "batch_tokens": column["batch_tokens"],
    }
