"""Finished flows: the columns of both their tables, and ``from_ps`` and ``to_ps``, from the start to the delivery."""

from __future__ import annotations

import pandas as pd

from analysis.load import Results
from analysis.rows import Filter, picoseconds, rows_where

_ENDS = ["id", "src", "dst", "bytes", "start_us", "delivered_us"]


def flows_of(run: Results, jobs: list[str]) -> pd.DataFrame:
    """Those of the jobs."""
    times = rows_where(run, "flow_times", [("job", "in", jobs)])
    return _joined(times, rows_where(run, "flows", _range(times), _ENDS))


def flows_between(run: Results, begin: int, end: int) -> pd.DataFrame:
    """Those that started from ``begin`` to ``end`` (ps)."""
    ends = rows_where(run, "flows", [("start_us", ">=", begin / 1e6), ("start_us", "<=", end / 1e6)], _ENDS)
    return _joined(rows_where(run, "flow_times", _range(ends)), ends)


def _range(rows: pd.DataFrame) -> list[Filter]:
    """Flows are numbered in the order of their starts, so a range of numbers spares reading most of the others."""
    return [("id", ">=", int(rows["id"].min())), ("id", "<=", int(rows["id"].max()))] if len(rows) else [("id", "<", 0)]


def _joined(times: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    flows = times.merge(ends, on="id").astype({"src": str, "dst": str, "job": str})
    flows["released_by"] = flows["released_by"].fillna(-1).astype("int64")
    return flows.assign(from_ps=picoseconds(flows["start_us"]), to_ps=picoseconds(flows["delivered_us"]))
