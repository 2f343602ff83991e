"""The index: one row a cell of the plan, made from the cells alone, and so the same whoever ran them.

Columns: ``cell``, ``status`` (of the run, or ``failed``), ``stage`` and ``reason`` of a failure, ``variant``, ``seed``,
``engine``, ``policy.<level>``, a column for each axis (a number in base units, its unit in the field's metadata, and
``<key>.text`` as it was typed; text where the values are no numbers), ``load``, and every figure of summary.json as
``<table>.<column>.<statistic>``, beside ``congestion.*``, ``demand_classes.<column>.class_<priority>`` and
``request_classes.<column>.all`` or ``.class_<name>``. Wall-clock facts are in timing.csv.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import demand_figures, served_figures
from models.congestion import CONGESTION, congestion
from models.errors import InputError, Problem
from models.records import SCHEMA, TABLES
from models.summary import flat
from sim.dispatch.registry import LEVELS
from sim.sweep.axes import Axis
from sim.sweep.cells import Cell
from sim.sweep.folder import check_folder, read_cell, replace_file, replace_text

if TYPE_CHECKING:
    import pyarrow as pa

_TIMING = ("cell", "wall_s", "cpu_s", "simulated_us", "host", "finished_at")


def write_plan(out: Path, name: str, axes: Sequence[Axis], cells: Sequence[Cell]) -> None:
    """``plan.json``: the cells in order, with their place on the axes."""
    plan = {
        "schema": SCHEMA,
        "name": name,
        "axes": [{"key": axis.key, "unit": axis.unit, "numeric": axis.numeric} for axis in axes],
        "cells": [
            {
                "cell": cell.digest,
                "variant": cell.point.variant,
                "seed": cell.seed,
                "values": cell.point.values,
                "numbers": cell.point.numbers,
            }
            for cell in cells
        ],
    }
    replace_text(out / "plan.json", json.dumps(plan, indent=1) + "\n")


def write_index(out: Path) -> pa.Table:
    """``index.parquet`` and ``timing.csv`` of the plan's cells that are there. InputError where one is damaged."""
    import pyarrow.parquet as pq

    plan = _read_plan(out)
    known: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for entry in plan["cells"]:
        digest = entry["cell"]
        if digest not in known:
            known[digest] = _figures(out / "cells" / digest)
        if known[digest]:
            rows.append({**_head(entry, plan["axes"]), **known[digest]})
    table = _table(rows, plan["axes"], plan["name"])
    write = partial(pq.write_table, table, version="2.6", compression="zstd", compression_level=3)
    replace_file(out / "index.parquet", write)
    _write_timing(out, [digest for digest, figures in known.items() if figures.get("status", "failed") != "failed"])
    return table


def refresh_index(out: Path) -> None:
    """Make the index again if cells came since it was made, as when a sweep runs or was killed."""
    index = out / "index.parquet"
    if not index.exists():
        write_index(out)
    elif index.stat().st_mtime_ns < (out / "cells").stat().st_mtime_ns:
        with suppress(PermissionError):  # somebody else's sweep: its index will do
            write_index(out)


def _read_plan(out: Path) -> dict[str, Any]:
    check_folder(out)
    path = out / "plan.json"
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if plan["schema"] != SCHEMA:
            message = f"has schema {plan['schema']!r}; this version reads {SCHEMA}"
            raise InputError([Problem(str(path), 0, 0, message)])
        return dict(plan)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"can't be read ({type(error).__name__}); run the sweep again, its finished cells are kept"
        raise InputError([Problem(str(path), 0, 0, message)]) from None


def _head(entry: Mapping[str, Any], axes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"cell": entry["cell"], "variant": entry["variant"], "seed": entry["seed"]}
    for axis in axes:
        key = axis["key"]
        row[key] = entry["numbers"][key] if axis["numeric"] else entry["values"][key]
        if axis["numeric"]:
            row[f"{key}.text"] = entry["values"][key]
    return row


def _figures(path: Path) -> dict[str, Any]:
    """What a cell says, in the index's columns; nothing where it is not there."""
    if not path.is_dir():
        return {}
    failure = path / "failure.json"
    if failure.exists():
        try:
            said = json.loads(failure.read_text(encoding="utf-8"))
            return {"status": "failed", "stage": str(said["stage"]), "reason": str(said["reason"])}
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError([Problem(str(failure), 0, 0, "can't be read; the cell is damaged")]) from None
    manifest, summary = read_cell(path)
    row: dict[str, Any] = {"status": summary["status"], "engine": manifest["engine"]}
    row |= {f"policy.{level}": policy["kind"] for level, policy in manifest["policies"].items()}
    row["load"] = max(manifest["loads"], default=None)
    row |= flat(summary)
    links, series = (_read(path, summary, name, columns) for name, columns in CONGESTION.items())
    row |= {f"congestion.{name}": value for name, value in congestion(links, series, manifest).items()}
    demands = _read(path, summary, demand_figures.TABLE, ("priority", *demand_figures.COLUMNS))
    requests = _read(path, summary, served_figures.TABLE, served_figures.COLUMNS)
    return row | demand_figures.class_figures(demands) | served_figures.served_figures(requests)


def _read(path: Path, summary: Mapping[str, Any], name: str, columns: Sequence[str]) -> Any:
    import pyarrow.parquet as pq

    if not summary[name]["count"]:
        return None
    return pq.read_table(path / f"{name}.parquet", columns=list(columns), use_threads=False).to_pandas()


def _table(rows: Sequence[Mapping[str, Any]], axes: Sequence[Mapping[str, Any]], name: str) -> pa.Table:
    """Types by column: a figure that is whole in every cell is a float all the same, counts are whole."""
    import pyarrow as pa

    texts = {"cell", "status", "stage", "reason", "variant", "engine", *(f"policy.{level}" for level in LEVELS)}
    head = ["cell", "status", "stage", "reason", "variant", "seed", "engine", *(f"policy.{level}" for level in LEVELS)]
    units: dict[str, str] = {}
    for axis in axes:
        key = axis["key"]
        head += [key, f"{key}.text"] if axis["numeric"] else [key]
        texts.add(f"{key}.text" if axis["numeric"] else key)
        units[key] = axis["unit"]
    order = {column: place for place, column in enumerate(_figure_order())}
    found = dict.fromkeys(column for row in rows for column in row if column not in head and column != "load")
    rest = sorted(found, key=lambda column: (order.get(column, len(order)), column))
    fields, arrays = [], []
    for column in [*head, "load", *rest]:
        values = [row.get(column) for row in rows]
        whole = column == "seed" or column.endswith((".count", ".unfinished", ".n"))
        kind = pa.string() if column in texts else pa.int64() if whole else pa.float64()
        if column in rest and all(value is None for value in values):
            continue
        fields.append(pa.field(column, kind, metadata={"unit": units[column]} if units.get(column) else None))
        arrays.append(pa.array([float(v) if kind == pa.float64() and v is not None else v for v in values], type=kind))
    marks = {"axes": json.dumps([axis["key"] for axis in axes]), "name": name, "schema": str(SCHEMA)}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=marks))


def _figure_order() -> list[str]:
    """Every figure that may be there: tables, their columns, statistics."""
    statistics = ("n", "mean", "p50", "p95", "p99", "max")
    order: list[str] = []
    for name, table in TABLES.items():
        order += [f"{name}.count", f"{name}.unfinished"]
        order += [f"{name}.{column.name}.{one}" for column in table for one in statistics]
    return order


def _write_timing(out: Path, digests: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_TIMING)
    for digest in digests:
        facts = read_timing(out / "cells" / digest)
        writer.writerow([digest, *(facts.get(name, "") for name in _TIMING[1:])])
    replace_text(out / "timing.csv", text.getvalue())


def read_timing(path: Path) -> dict[str, Any]:
    """run.json of a cell; empty where it can't be read."""
    try:
        return dict(json.loads((path / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
