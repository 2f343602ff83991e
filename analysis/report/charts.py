"""The curves and bars of the page as plain data: title, axes, views with lines. The page draws them in its colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.load import Results
from analysis.plots import flows, moe, series
from analysis.report import serving
from analysis.report.pack import Packer

Chart = dict[str, Any]
_FEW = 25  # bins, GPUs: points up to which they are marked
_LONG = 20  # a ratio of values from which an axis is logarithmic


class Charts:
    """Makes charts; lines of a run keep its colour: the run's number."""

    def __init__(self, runs: Mapping[str, Results], packer: Packer) -> None:
        self._runs, self._packer = runs, packer

    def all(self) -> list[Chart]:
        """Those that the runs have data for."""
        made = [self._completion(), self._slowdown(), *self._series(), self._busbw(), self._moe(), self._gpus()]
        made += self._requests()
        return [chart for chart in made if chart is not None]

    def _line(self, name: str, number: int, x: Any, y: Any) -> dict[str, Any]:
        return {"name": name, "number": number, "x": self._packer.add(np.asarray(x)), "y": self._packer.add(y)}

    def _completion(self) -> Chart | None:
        found = {name: flows.completion_times(run) for name, run in self._runs.items()}
        lines = []
        for number, (name, values) in enumerate(found.items()):
            if np.isfinite(values).any():
                times, shares = flows.distribution(values)
                lines.append(self._line(name, number, times * 1e-6, shares))
        every = np.concatenate([*found.values(), []])
        x = axis_of("flow completion time", "s", log=is_long(every))
        y = axis_of("share of started flows", "%")
        return chart_of("fct", "curves", "Flow completion time", x, y, {"": lines}, shape="step")

    def _slowdown(self) -> Chart | None:
        found = {}
        for name, run in self._runs.items():
            table = run.frame("flows", ["bytes", "slowdown"]).dropna()
            if len(table):
                found[name] = (table["bytes"].to_numpy(dtype=float), table["slowdown"].to_numpy(dtype=float))
        if not found:
            return None
        edges = flows.size_bins(np.concatenate([size for size, _ in found.values()]))
        views: dict[str, list[dict[str, Any]]] = {label: [] for _, label in reversed(flows.QUANTILES)}
        numbers = {name: number for number, name in enumerate(self._runs)}
        for name, (size, value) in found.items():
            _, rows = flows.by_bin(size, value, edges)
            for column, (_, label) in enumerate(flows.QUANTILES):
                shown = np.isfinite(rows[:, column])
                if shown.any():
                    line = self._line(name, numbers[name], edges[shown], rows[shown, column])
                    views[label].append(line)
        if len(edges) == 1:  # all flows have one size: a bar a run says more than a point
            views = {label: [_bar(self._packer, line) for line in lines] for label, lines in views.items()}
            x, y = axis_of(f"slowdown; every flow has {edges[0]:,.0f} B", ""), axis_of("", "")
            return chart_of("slowdown", "curves", "Slowdown", x, y, views, shape="bars")
        x, y = axis_of("flow size, up to", "B", log=is_long(edges)), axis_of("slowdown", "")
        return chart_of("slowdown", "curves", "Slowdown by flow size", x, y, views, shape="points")

    def _series(self) -> list[Chart | None]:
        tables = series.sampled(self._runs)
        groups = list(dict.fromkeys(group for table in tables.values() for group in table["group"]))
        # a NIC's own queue is only its backlog: those of switches are shown first
        groups.sort(key=lambda group: group.startswith("host->"))
        queues: dict[str, list[dict[str, Any]]] = {}
        uses: dict[str, list[dict[str, Any]]] = {}
        for group in groups:
            for number, (name, table) in enumerate(tables.items()):
                part = table[table["group"] == group]
                if len(part):
                    time, queue, use = series.thin(part)
                    queues.setdefault(group, []).append(self._line(name, number, time * 1e-6, queue))
                    uses.setdefault(group, []).append(self._line(name, number, time * 1e-6, use))
        x = axis_of("time", "s")
        return [
            chart_of("queues", "curves", "Longest queue over time", x, axis_of("longest queue", "B"), queues),
            chart_of("use", "curves", "Mean use of the links over time", x, axis_of("mean use", "%"), uses),
        ]

    def _busbw(self) -> Chart | None:
        """Lines against size; where there is one size, the table says it all."""
        views: dict[str, list[dict[str, Any]]] = {}
        for number, (name, run) in enumerate(self._runs.items()):
            table = run.frame("collectives").dropna(subset=["time_us"])
            for (op, ranks), part in table.groupby(["op", "ranks"], sort=False):
                means = part.groupby("bytes")["busbw_gbytes"].mean()
                if len(means) > 1:
                    line = self._line(name, number, means.index.to_numpy(), means.to_numpy())
                    views.setdefault(f"{op}, {ranks} ranks", []).append(line)
        x, y = axis_of("size", "B", log=True), axis_of("bus bandwidth", "GB/s")
        return chart_of("busbw", "collectives", "Bus bandwidth by size", x, y, views, shape="points")

    def _moe(self) -> Chart | None:
        """Where the mean time of a layer goes: a stacked bar a run."""
        tables = {name: run.frame("moe_steps").dropna(subset=["time_us"]) for name, run in self._runs.items()}
        parts = {name: moe.stages(table) for name, table in tables.items() if len(table)}
        if not parts:
            return None
        names = list(parts)
        lines = []
        for index, stage in enumerate(moe.STAGES):
            values = np.array([parts[name][index] for name in names]) * 1e-6
            if values.any():
                lines.append({"name": stage, "number": index, "names": names, "x": self._packer.add(values)})
        x = axis_of("mean time of a layer with experts", "s")
        return chart_of(
            "moe", "moe", "Where the time of a layer goes", x, axis_of("", ""), {"": lines}, shape="stacked"
        )

    def _gpus(self) -> Chart | None:
        views: dict[str, list[dict[str, Any]]] = {}
        units = {"busy_us": ("busy time", 1e-6, "s"), "wait_us": ("waiting time", 1e-6, "s")}
        units |= {"tokens": ("tokens", 1.0, ""), "peak_memory_bytes": ("peak memory", 1.0, "B")}
        for column, (label, factor, unit) in units.items():
            for number, (name, run) in enumerate(self._runs.items()):
                table = run.frame("gpus", ["gpu", column])
                if len(table) and table[column].any():
                    line = self._line(name, number, table["gpu"], table[column].to_numpy() * factor)
                    views.setdefault(label, []).append(line | {"unit": unit})
        return chart_of("gpus", "gpus", "Each GPU", axis_of("GPU", ""), axis_of("", ""), views, shape="points")

    def _requests(self) -> list[Chart | None]:
        """How long requests take, and how full their replicas are."""
        runs = {name: run for name, run in self._runs.items() if run.rows("requests")}
        within, over = serving.latency(runs, self._line), serving.loads(runs, self._line)
        x, share = axis_of("time", "s", log=True), axis_of("share of injected requests", "%")
        then, load = axis_of("time", "s"), axis_of("load", "")
        return [
            chart_of("latency", "requests", "Requests served within a time", x, share, within, shape="step"),
            chart_of("replicas", "replicas", "Load of the replicas", then, load, over),
        ]


def _bar(packer: Packer, line: dict[str, Any]) -> dict[str, Any]:
    return {"name": line["name"], "number": line["number"], "names": [line["name"]], "x": line["y"]}


def axis_of(title: str, unit: str, *, log: bool = False) -> dict[str, Any]:
    return {"title": title, "unit": unit, "log": log}


def is_long(values: NDArray[np.float64]) -> bool:
    positive = values[np.isfinite(values) & (values > 0)]
    return bool(len(positive) and positive.max() / positive.min() > _LONG)


def chart_of(
    name: str,
    section: str,
    title: str,
    x: dict[str, Any],
    y: dict[str, Any],
    views: Mapping[str, list[dict[str, Any]]],
    *,
    shape: str = "line",
) -> Chart | None:
    """None where no view has a line. ``shape``: line, step, points (marked where few), dots alone, bars, stacked."""
    shown = [{"label": label, "lines": lines} for label, lines in views.items() if lines]
    head = {"name": name, "section": section, "title": title, "x": x, "y": y, "shape": shape, "few": _FEW}
    return head | {"views": shown} if shown else None
