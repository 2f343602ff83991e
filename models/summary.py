"""What summary.json says of a set of tables: counts and percentiles, none of them claimed from too few samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.columns import Column
from models.records import SCHEMA, STATUSES, TABLES, empty_reason

if TYPE_CHECKING:
    import pandas as pd

MINIMUM = {0.95: 20, 0.99: 100}  # samples below which a percentile is null
_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def percentiles(values: NDArray[Any], quantiles: Sequence[float]) -> list[float | None]:
    """Linear quantiles of ``values`` (nulls must be gone), each None below its minimum number of samples."""
    size = len(values)
    allowed = [q for q in quantiles if size >= max(1, MINIMUM.get(q, 1))]
    found = dict(zip(allowed, np.quantile(values, allowed).tolist(), strict=True)) if allowed else {}
    return [found.get(q) for q in quantiles]


def describe(values: NDArray[Any], *, steady: bool = True) -> dict[str, int | float | None]:
    """n, mean, p50, p95, p99, max of a numeric column. NaN is null and skipped. ``steady=False``: no mean."""
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
    size = len(values)
    result: dict[str, int | float | None] = {"n": size, "mean": float(values.mean()) if size and steady else None}
    found = percentiles(values, [q for _, q in _QUANTILES])
    result |= {name: value for (name, _), value in zip(_QUANTILES, found, strict=True)}
    result["max"] = values.max().item() if size else None
    return result


def summarise(
    tables: Mapping[str, pd.DataFrame], status: str, reasons: Sequence[str], empty: Mapping[str, str]
) -> dict[str, Any]:
    """The content of summary.json. ``empty``: why a table has no rows, where the run knows better than records.py."""
    if status not in STATUSES:
        raise ValueError(f"no status '{status}'; there are {', '.join(STATUSES)}")
    summary: dict[str, Any] = {"schema": SCHEMA, "status": status, "reasons": list(reasons)}
    for name, table in TABLES.items():
        frame = tables.get(name)
        if frame is None or len(frame) == 0:
            summary[name] = {"count": 0, "reason": empty.get(name) or empty_reason(name)}
            continue
        entry: dict[str, Any] = {"count": len(frame)}
        if table.unfinished:
            entry["unfinished"] = int(frame[table.unfinished].isna().sum())
        for column in table:
            if column.type != "text" and column.statistics:
                entry[column.name] = describe(frame[column.name].to_numpy(), steady=_steady(column, status))
        summary[name] = entry
    return summary


def _steady(column: Column, status: str) -> bool:
    return not (column.steady and status == "saturated")


def flat(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Every figure of a summary by its dotted name: ``flows.count``, ``flows.fct_us.p99``."""
    figures: dict[str, Any] = {}
    for name in TABLES:
        for column, value in summary.get(name, {}).items():
            if isinstance(value, Mapping):
                figures |= {f"{name}.{column}.{statistic}": figure for statistic, figure in value.items()}
            elif column != "reason":
                figures[f"{name}.{column}"] = value
    return figures
