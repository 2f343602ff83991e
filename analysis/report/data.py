"""Everything that the page shows of some runs, as JSON and packed arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.grid import Grid
from analysis.load import Results
from analysis.report.charts import Charts
from analysis.report.explore import FLOWS, flows
from analysis.report.fabric import Fabrics, over_time, totals
from analysis.report.pack import Packer
from analysis.tables import comparable, longest_queue, summary_grids
from models.records import TABLES

EXPLORED = 8  # runs of a folder of many that are in the page
_TABLES = ("collectives", "moe_steps", "request_classes", "replicas", "demands", "decisions", "gpus", "counters")
_ROWS = 2000  # of the other tables of a run


def told(head: Mapping[str, Any], runs: Mapping[str, Results], packer: Packer, quiet: bool) -> dict[str, Any]:
    """``runs`` to explore, and ``head``: what the folder is, how many runs it has, and what else is to be said."""
    from tqdm import tqdm

    fabrics = Fabrics(packer)
    with tqdm(runs.items(), desc="report", unit=" runs", delay=2, disable=quiet, leave=False) as bar:
        listed = [_run(name, run, fabrics, len(runs), packer) for name, run in bar]
    grids = summary_grids(runs)
    return {
        "count": len(runs),
        "cells": None,
        "certificate": None,
        **head,
        "runs": listed,
        "grids": {name: _grid(grid) for name, grid in grids.items()},
        "measures": _measures(runs),
        "charts": Charts(runs, packer).all(),
        "fabrics": fabrics.told,
    }


def _grid(grid: Grid) -> dict[str, Any]:
    """Columns with one title each: an empty one goes on with the group to its left."""
    titles, group = [], ""
    for title, unit in grid.titles:
        group = title or group
        titles.append(f"{group} {unit}".strip().replace("- ", "-").replace("/ ", "/"))
    return {"heading": grid.heading, "titles": titles, "rows": grid.rows, "left": grid.left}


def _measures(runs: Mapping[str, Results]) -> dict[str, Any]:
    """Figures by which the runs are set side by side; smaller is better in all of them."""

    def figure(table: str, column: str, statistic: str, factor: float) -> Callable[[Results], float | None]:
        return lambda run: None if (value := run.number(table, column, statistic)) is None else value * factor

    def queue(run: Results) -> float | None:
        return None if (longest := longest_queue(run)) is None else longest * 1000

    def missed(run: Results) -> float | None:
        return None if (good := run.number("requests", "good", "mean")) is None else 1 - good

    shown = []
    for title, unit, value in (
        ("Mean time of a collective", "s", figure("collectives", "time_us", "mean", 1e-6)),
        ("Mean time of a layer with experts", "s", figure("moe_steps", "time_us", "mean", 1e-6)),
        ("Requests that missed a target or did not finish", "%", missed),
        ("Mean time of a request (E2E)", "s", figure("requests", "e2e_ms", "mean", 1e-3)),
        ("Time to first token, p99", "s", figure("requests", "ttft_ms", "p99", 1e-3)),
        ("Time per output token, p99", "s", figure("requests", "tpot_ms", "p99", 1e-3)),
        ("Flow completion time, mean", "s", figure("flows", "fct_us", "mean", 1e-6)),
        ("Flow completion time, p99", "s", figure("flows", "fct_us", "p99", 1e-6)),
        ("Slowdown, p99", "", figure("flows", "slowdown", "p99", 1.0)),
        ("Demands blocked, mean of the classes", "%", figure("demand_classes", "blocking", "mean", 1.0)),
        ("Longest queue at a switch", "B", queue),
    ):
        values = [value(run) if run.summary else None for run in runs.values()]
        if any(value is not None for value in values):
            shown.append({"title": title, "unit": unit, "values": values})
    return {"names": list(runs), "shown": shown, "comparable": len(runs) > 1 and comparable(runs)}


def _run(name: str, run: Results, fabrics: Fabrics, runs: int, packer: Packer) -> dict[str, Any]:
    manifest = run.manifest
    links = run.frame("links")
    fabric = fabrics.of(run, links)
    content: dict[str, Any] = {
        "name": name,
        "status": run.status,
        "interrupted": bool(manifest.get("interrupted")),
        "reasons": run.summary.get("reasons", []),
        "seed": manifest.get("seed"),
        "engine": manifest.get("engine"),
        "loads": manifest.get("loads", []),
        "policies": manifest.get("policies", {}),
        "versions": manifest.get("versions", {}),
        "inputs": manifest.get("inputs", {}),
        "scenario": _text(run),
        "empty": {table: run.summary.get(table, {}).get("reason", "not in these results") for table in _empty(run)},
        "tables": {table: _table(run, table) for table in _TABLES},
        "fabric": fabric,
        "links": None,
        "series": None,
        "flows": None,
    }
    if fabric is not None:
        nodes, numbers = fabrics.nodes[fabric], fabrics.links[fabric]
        ends: dict[tuple[str, str], int] = {}
        for link, a, b in zip(links["link"], links["src"], links["dst"], strict=True):
            ends.setdefault((a, b), numbers[link])
        content["links"] = totals(links, packer)
        content["series"] = over_time(run, numbers, runs, packer)
        content["flows"] = flows(run, nodes, numbers, ends, FLOWS // runs, packer)
    return content


def _text(run: Results) -> str:
    try:
        return (run.folder / "scenario.yaml").read_text(encoding="utf-8")
    except OSError:
        return ""


def _empty(run: Results) -> list[str]:
    return [table for table in TABLES if run.rows(table) == 0]


def _table(run: Results, name: str) -> dict[str, Any]:
    """The first rows of a table as lists; null where there is no number."""
    frame = run.frame(name).head(_ROWS)
    units = {column.name: column.unit for column in TABLES[name]}
    columns = {
        str(column): [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN
        for column, values in frame.items()
    }
    return {"rows": run.rows(name), "columns": columns, "units": units}
