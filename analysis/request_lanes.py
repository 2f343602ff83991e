"""Requests in a timeline: a process a replica, where each request lies in a lane from its queue to its last token.

Of a request that one replica prefills and another decodes both have their part. Counters show the load of a replica.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.load import Results
from analysis.rows import batches
from analysis.trace_events import FOREVER, Lanes, Timed, Window, counter, event

REPLICAS = 1_000_000  # process numbers from here on; the replicas of a workload are a thousand apart
_WORKLOAD = 100_000
_SOURCE = 5
_TIMES = ("queue_ms", "ttft_ms", "e2e_ms")
_TOLD = ("prompt_tokens", "cached_tokens", "output_tokens", "class", "status")
_COLUMNS = ["id", "workload", "arrival_s", "replica", "prefill_replica", *_TIMES, *_TOLD]


def request_lanes(run: Results, window: Window) -> Iterator[Timed]:
    """Everything of requests, in order of time."""
    yield from heapq.merge(_stays(run, window), _loads(run, window), key=lambda timed: timed[:2])


def _stays(run: Results, window: Window) -> Iterator[Timed]:
    frame = run.frame("requests", _COLUMNS)
    if not len(frame):
        return
    stays, several = _Stays(frame), frame["workload"].nunique() > 1
    lane = stays.lanes()
    spans = {"queue": (stays.begin, stays.scheduled), "prefill": (stays.scheduled, stays.first)}
    spans["decode"] = (stays.first, stays.end)
    names = list(spans)
    starts, ends = (np.concatenate([span[side] for span in spans.values()]) for side in (0, 1))
    shown = (starts < np.minimum(ends, window.end)) & (ends >= window.begin)
    for place in np.flatnonzero(shown)[np.argsort(starts[shown], kind="stable")].tolist():
        part, stay = divmod(place, len(stays.begin))
        row = frame.iloc[stays.row[stay]]
        number = f"{row['workload']}.{row['id']}" if several else str(row["id"])
        what = {name: row[name] for name in _TOLD} | {"id": number}
        name, start, end = f"{names[part]} {number}", int(starts[place]), int(ends[place])
        about = event(name, "request", int(stays.process[stay]), lane[stay], start, end, what)
        yield start, _SOURCE, "parts of requests", about


class _Stays:
    """A row for each time that a request spends at a replica, ps: from ``begin`` over its first step and first token
    to ``end`` (FOREVER: it never left). What it did not reach is equal to its end.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        arrival = np.rint(frame["arrival_s"].to_numpy(dtype=float) * 1e12).astype(np.int64)
        scheduled, first, last = (self._after(arrival, frame[name]) for name in _TIMES)
        replica, before = (frame[name].to_numpy(dtype=float) for name in ("replica", "prefill_replica"))
        split = ~np.isnan(before)
        here = np.flatnonzero(~np.isnan(replica))
        there = np.flatnonzero(split)
        base = REPLICAS + frame["workload"].to_numpy(dtype=np.int64) * _WORKLOAD
        self.row = np.concatenate([here, there])
        self.process = np.concatenate([(base + np.nan_to_num(replica).astype(np.int64))[here],
                                       (base + np.nan_to_num(before).astype(np.int64))[there]])  # fmt: skip
        self.begin = np.concatenate([np.where(split, first, arrival)[here], arrival[there]])
        self.scheduled = np.concatenate([np.where(split, first, scheduled)[here], scheduled[there]])
        self.first = np.concatenate([first[here], first[there]])
        self.end = np.concatenate([last[here], first[there]])

    def lanes(self) -> list[int]:
        """The lane of each at its replica: the first that is free."""
        found, of = [0] * len(self.begin), dict[int, Lanes]()
        for stay in np.argsort(self.begin, kind="stable").tolist():
            if self.begin[stay] < FOREVER:
                process = of.setdefault(int(self.process[stay]), Lanes())
                found[stay] = process.take(int(self.begin[stay]), int(self.end[stay]))
        return found

    @staticmethod
    def _after(arrival: NDArray[np.int64], column: pd.Series[Any]) -> NDArray[np.int64]:
        """The time of something so many ms after the arrival; FOREVER where it never was."""
        values = column.to_numpy(dtype=float)
        return np.where(np.isnan(values), FOREVER, arrival + np.rint(np.nan_to_num(values) * 1e9).astype(np.int64))


def _loads(run: Results, window: Window) -> Iterator[Timed]:
    columns = ["time_s", "replica", "workload", "waiting", "running", "kv_share"]
    for part in batches(run, "serving_series", columns):
        for time_s, replica, workload, waiting, running, share in zip(*(part[name] for name in columns), strict=True):
            time, process = round(time_s * 1e12), REPLICAS + workload * _WORKLOAD + replica
            if window.holds(time, time):
                load = {"waiting": waiting, "running": running}
                yield time, _SOURCE, "replica samples", counter(process, "requests", time, load)
                used = {"per cent": 100 * share}
                yield time, _SOURCE, "replica samples", counter(process, "KV blocks in use", time, used)


def name_of(process: int) -> str:
    """What a replica's process is called."""
    workload, replica = divmod(process - REPLICAS, _WORKLOAD)
    return f"replica {replica}" + (f" of workload {workload}" if workload else "")
