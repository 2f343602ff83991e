"""The charts of requests: shares within a time, and the load of the replicas over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from analysis.load import Results
from analysis.plots.flows import distribution

Line = Callable[[str, int, Any, Any], dict[str, Any]]  # (name, number, x, y) packed
Views = dict[str, list[dict[str, Any]]]

_TIMES = (("ttft_ms", "TTFT"), ("tpot_ms", "TPOT"), ("itl_max_ms", "longest ITL"), ("e2e_ms", "E2E"))
_LOADS = (("waiting", "waiting"), ("running", "running"), ("kv_share", "KV blocks in use"))
_REPLICAS = 8  # of a single run that have a line
_POINTS = 300


def latency(runs: Mapping[str, Results], line: Line) -> Views:
    """By time: a line a run, of a single run a line a class; the share of injected requests that had it by then."""
    views: Views = {}
    for column, label in _TIMES:
        for number, (name, frame) in enumerate(_groups(runs, column)):
            values = frame[column].to_numpy(dtype=float)
            if np.isfinite(values).any():
                times, shares = distribution(values)
                views.setdefault(label, []).append(line(name, number, times * 1e-3, shares))
    return views


def _groups(runs: Mapping[str, Results], column: str) -> list[tuple[str, Any]]:
    frames = {name: run.frame("requests", ["class", "output_tokens", column]) for name, run in runs.items()}
    if column in ("tpot_ms", "itl_max_ms"):
        frames = {name: frame[frame["output_tokens"] > 1] for name, frame in frames.items()}
    if len(frames) == 1:
        (frame,) = frames.values()
        if frame["class"].nunique() > 1:
            return [(str(name), part) for name, part in frame.groupby("class", sort=False)]
    return list(frames.items())


def loads(runs: Mapping[str, Results], line: Line) -> Views:
    """By load: a line a replica of a single run; of several runs, and of many replicas, the fullest one's at a time.

    Without the loads that were 0 all the time.
    """
    views: Views = {}
    frames = {name: run.frame("serving_series") for name, run in runs.items()}
    seen = [(column, label) for column, label in _LOADS if any(frame[column].any() for frame in frames.values())]
    for number, (name, frame) in enumerate(frames.items()):
        for column, label in seen:
            if not len(frame):
                continue
            table = frame.pivot_table(index="time_s", columns=["workload", "replica"], values=column)
            table = table.iloc[:: -(-len(table) // _POINTS)]
            values, time = table.to_numpy(dtype=float), table.index.to_numpy(dtype=float)
            if len(runs) == 1 and values.shape[1] <= _REPLICAS:
                made = [line(f"replica {place}", place, time, values[:, place]) for place in range(values.shape[1])]
            else:
                made = [line(name, number, time, np.nanmax(values, axis=1))]
            shown = label if len(made) > 1 else f"{label}, at the fullest replica"
            views.setdefault(shown, []).extend(made)
    return views
