"""Reads the cells: status, a digest of all tables, and figures, after a warm-up cut where a run is steady."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.compare.metrics import Metric
from analysis.load import Results, load
from analysis.stats import percentile, warm_up, without_null
from models.columns import Column


class Reading:
    """One run."""

    def __init__(self, folder: Path) -> None:
        self.run: Results = load(folder)
        self._figures: dict[tuple[Metric, int], float | None] = {}

    @property
    def status(self) -> str:
        return self.run.status

    @cached_property
    def digest(self) -> str:
        """Of the bytes of the summary and of every table: equal where nothing that was simulated differs."""
        whole = hashlib.sha256()
        for path in sorted([*self.run.folder.glob("*.parquet"), self.run.folder / "summary.json"]):
            whole.update(path.name.encode())
            whole.update(path.read_bytes())
        return whole.hexdigest()

    def figure(self, metric: Metric, cut: int) -> float | None:
        """The metric without the first ``cut`` flows; None where the run has none."""
        key = metric, cut
        if key not in self._figures:
            self._figures[key] = (
                _after(self.run, metric, cut) if cut else self.run.number(metric.table, metric.column, metric.statistic)
            )
        return self._figures[key]

    def steady(self, metric: Metric) -> bool:
        """Whether a figure claims a steady state: of arrivals at a given load, without other work beside them."""
        busy = any(self.run.rows(table) for table in ("collectives", "moe_steps"))
        return metric.table == "flows" and metric.described.steady and bool(self.run.manifest["loads"]) and not busy

    def claims(self, metric: Metric) -> bool:
        """Whether the figure may be used: not before the work is done, and no steady state where it saturates."""
        return self.status == "completed" or (self.status == "saturated" and not metric.described.steady)


def warm_up_of(readings: Sequence[Reading], metric: Metric) -> int:
    """Flows to leave out at the start of every run: MSER-5 on the mean over these runs. 0 where nothing is steady.

    One run alone would be cut where it happens to be high, which makes its mean too low; all arms share the cut, as
    they share the arrivals.
    """
    level = [reading for reading in readings if reading.status == "completed"]
    if not level or not all(reading.steady(metric) for reading in level):
        return 0
    found = [series(reading.run, metric.described) for reading in level]
    shortest = min(map(len, found))
    known = np.array([one[:shortest] / np.nanmean(one) for one in found if np.isfinite(one).any()])
    some = np.isfinite(known).any(axis=0)  # a flow that no run finished says nothing
    if not some.any():
        return 0
    cut = warm_up(np.nanmean(known[:, some], axis=0))
    return int(np.flatnonzero(some)[cut]) if cut else 0


@lru_cache(maxsize=64)
def _column(folder: Path, column: str) -> NDArray[np.float64]:
    return load(folder).frame("flows", [column])[column].to_numpy(dtype=np.float64)


def series(run: Results, column: Column) -> NDArray[np.float64]:
    """A column of the flows in order of their starts; null is NaN."""
    return _column(run.folder, column.name)


def _after(run: Results, metric: Metric, cut: int) -> float | None:
    kept = without_null(series(run, metric.described)[cut:])
    if metric.quantile is not None:
        return percentile(kept, metric.quantile)
    if len(kept) == 0:
        return None
    return float(kept.mean() if metric.statistic == "mean" else kept.max())
