"""What all fits share: measured tables, held-out splits, errors per size bin, fitted files."""

from __future__ import annotations

import datetime
import gzip
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.predict import module_of, write_whole
from analysis.shapes import Shapes, Table, read_shapes
from models.calibrated import FORMAT, SCHEMA, Body, Column, path_of
from models.errors import InputError, Problem, Problems, nearest

MEASURED = Path(__file__).resolve().parents[2] / "models" / "measured"
SHARE, SEED = 0.15, 1  # of the shapes held out; the seed of the split that is stated
SHIPPED_DATE = "2026-11-22"
FEWEST = 8  # rows


class Shipped(NamedTuple):
    """Measured rows that the project ships: files of ``models/measured``, where they come from, their licence."""

    files: Sequence[str]
    source: str
    licence: str


class Held(NamedTuple):
    """Answers of a fit for rows that it has not seen; ``mask`` says which rows of the table they are."""

    measured: NDArray[np.float64]
    predicted: NDArray[np.float64]
    extrapolated: NDArray[np.bool_]
    size: NDArray[np.float64]
    mask: NDArray[np.bool_]


def fit_module(kind: str) -> Any:
    """``analysis.calibrate.<kind>``; ``InputError`` if there is no such model kind."""
    module_of(kind)
    return importlib.import_module(f"analysis.calibrate.{kind}")


def columns_of(kind: str) -> tuple[Column, ...]:
    """The columns of a measured table: the model's and its times (microseconds, above zero)."""
    columns: tuple[Column, ...] = module_of(kind).COLUMNS
    names = {column.name for column in columns}
    times = [Column(name, "number", 1e-6, 1e12) for name in fit_module(kind).TIMES if name not in names]
    return (*columns, *times)


def read_measured(path: str | Path, columns: Sequence[Column]) -> Shapes:
    """A measured CSV (.gz too) by path, or by its name in ``models/measured``; ``InputError`` with all faults."""
    place = Path(path) if Path(path).exists() else MEASURED / path
    problems = Problems(str(path))
    shapes = read_shapes(place if place.exists() else Path(path), columns, problems)
    problems.raise_if_any()
    assert shapes is not None
    return shapes


def take(table: Table, rows: NDArray[Any]) -> Table:
    """The rows (indices or a mask) of a table."""
    return {name: values[rows] for name, values in table.items()}


def join(tables: Sequence[Table]) -> Table:
    """Tables of the same columns, one after the other."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def groups(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """A number for each distinct combination of values, in the order of their appearance."""
    seen: dict[tuple[Any, ...], int] = {}
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return np.array([seen.setdefault(row, len(seen)) for row in rows], dtype=np.int64)


def split(module: Any, table: Table, which: str = "random", seed: int = SEED) -> NDArray[np.bool_]:
    """True for the rows held out: 15 % of the shapes at random, or a block by its name."""
    if which != "random":
        mask: NDArray[np.bool_] = module.blocks(table)[which]
        return mask
    shape = module.shape(table)
    chosen = np.random.default_rng(seed).random(int(shape.max()) + 1) < SHARE
    held: NDArray[np.bool_] = chosen[shape]
    return held


def held_out(kind: str, table: Table, system: str, which: str = "random", seed: int = SEED) -> Held:
    """Fit without the rows held out, and predict them."""
    module = fit_module(kind)
    mask = split(module, table, which, seed)
    body = module.fit(take(table, ~mask), system)
    rest = take(table, mask)
    answer = module_of(kind).predict({name: v for name, v in rest.items() if name not in module.TIMES}, body)
    return Held(times(module, rest), answer.us, answer.extrapolated, module.size(rest)[0], mask)


def times(module: Any, table: Table) -> NDArray[np.float64]:
    """The measured time that the prediction is compared with."""
    found: NDArray[np.float64] = module.measured(table) if hasattr(module, "measured") else table[module.TIMES[0]]
    return found


def error_table(measured: Any, predicted: Any, size: Any, bins: int = 6) -> dict[str, Any]:
    """Median and 90th percentile of the absolute relative error, whole and in ``bins`` equal steps of log(size)."""
    error = np.abs(np.asarray(predicted) / np.asarray(measured) - 1.0)
    if not len(error):
        return {"n": 0, "bins": []}
    low, high = float(np.min(size)), float(np.max(size))
    edges = np.geomspace(max(low, 1e-12), max(high, 1e-12) * (1 + 1e-9), bins + 1)
    found = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, bins - 1)
    rows = [
        {"from": _round(edges[one]), "to": _round(edges[one + 1]), **_errors(error[found == one])}
        for one in range(bins)
        if np.any(found == one)
    ]
    return {**_errors(error), "bins": rows}


def _errors(error: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "n": len(error),
        "median": round(float(np.median(error)), 5),
        "p90": round(float(np.quantile(error, 0.9)), 5),
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def stated(kind: str, table: Table, system: str, source: str, licence: str, date: str) -> Body:
    """The body of a fit of all rows, with the errors of fits that had not seen the rows they were tried on."""
    module = fit_module(kind)
    body: Body = {"date": date, "source": source, "licence": licence, "rows": len(next(iter(table.values())))}
    errors: dict[str, Any] = {"size": module.size(table)[1]}
    for which in ("random", *module.blocks(table)):
        mask = split(module, table, which)
        if FEWEST <= mask.sum() <= len(mask) - FEWEST:
            held = held_out(kind, table, system, which)
            errors[which] = error_table(held.measured, held.predicted, held.size)
    return {**body, "errors": errors, **module.fit(table, system)}


def calibrate_file(kind: str, source: str, output: str, system: str | None = None) -> str:
    """Fit a user's measurements and write the file that ``predict --hardware`` takes; the text to print."""
    module = fit_module(kind)
    columns = columns_of(kind)
    table: Table | None = module.read(Path(source)) if hasattr(module, "read") and Path(source).is_file() else None
    systems = table.pop("system", np.array([], dtype=object)) if table is not None else np.array([], dtype=object)
    if table is None:
        shapes = read_measured(source, columns)
        table = shapes.table
        if "system" in shapes.header:
            at = shapes.header.index("system")
            systems = np.array([row[at] for row in shapes.cells], dtype=object)
    if not len(systems):
        systems = np.full(len(next(iter(table.values()))), system or "measured", dtype=object)
    names = sorted(set(systems))
    if system is not None and system not in names:
        raise InputError([Problem(source, 0, 0, f"no rows of system '{system}'{nearest(system, names)}")])
    found: dict[str, dict[str, Body]] = {}
    for name in [system] if system is not None else names:
        part = take(table, systems == name)
        rows = int(np.sum(systems == name))
        if rows < FEWEST:
            raise InputError([Problem(source, 0, 0, f"{name}: {rows} rows; a fit of {kind} needs {FEWEST} or more")])
        date = datetime.date.today().isoformat()
        found[name] = {kind: stated(kind, part, name, Path(source).name, "the user's own", date)}
    write_fitted(Path(output), found)
    return "\n\n".join(describe(name, kind, kinds[kind]) for name, kinds in found.items()) + f"\n\nwritten to {output}"


def write_fitted(path: Path, systems: dict[str, dict[str, Body]]) -> None:
    """The file of fits, compact and in a fixed order."""
    content = {"format": FORMAT, "schema": SCHEMA, "systems": systems}
    write_whole(path, json.dumps(content, separators=(",", ":")) + "\n")


def write_measured(name: str, text: str) -> None:
    """A file of ``models/measured``: gzip of CSV text, the same bytes at every run."""
    (MEASURED / name).write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))


def shipped_table(kind: str, system: str) -> Table:
    """The measured rows behind a shipped fit; a column that one of several files lacks is left out."""
    module = fit_module(kind)
    own = getattr(module, "rows", None)
    if own is not None:
        table: Table = own(system)
        return table
    parts = [read_measured(file, columns_of(kind)).table for file in module.SHIPPED[system].files]
    common = [name for name in parts[0] if all(name in part for part in parts)]
    return join([{name: part[name] for name in common} for part in parts])


def ship(kind: str, system: str) -> str:
    """Fit the shipped rows of a system again and write its file in ``models/calibrated``; the text to print."""
    what = fit_module(kind).SHIPPED[system]
    body = stated(kind, shipped_table(kind, system), system, what.source, what.licence, SHIPPED_DATE)
    for name, one in {system: body, **_stand_ins(kind, system, body)}.items():
        write_fitted(path_of(name, kind), {name: {kind: one}})
    return describe(system, kind, body)


def _stand_ins(kind: str, system: str, body: Body) -> dict[str, Body]:
    make = getattr(fit_module(kind), "shipped_as", None)
    return make({system: body}) if make is not None else {}


def describe(system: str, kind: str, body: Body) -> str:
    """Held-out errors per size bin and the range of a fit, as text."""
    errors = body["errors"]
    lines = [f"{kind} on {system}: {body['rows']:,} rows, errors of held-out rows by {errors['size']}"]
    for which, table in errors.items():
        if which == "size" or not table["n"]:
            continue
        lines.append(f"  {which:<28} {_line(table)}")
        for one in table["bins"]:
            label = f"{one['from']:.3g} .. {one['to']:.3g}"
            lines.append(f"    {label:<26} {_line(one)}")
    lines.append("  range " + ", ".join(f"{name} {_span(span)}" for name, span in body["range"].items()))
    return "\n".join(lines)


def _line(table: dict[str, Any]) -> str:
    return f"{table['n']:>6} rows  median {100 * table['median']:6.2f} %  90th percentile {100 * table['p90']:6.2f} %"


def _span(span: Any) -> str:
    numbers = isinstance(span, list) and len(span) == 2 and all(isinstance(value, int | float) for value in span)
    return f"{span[0]:g} .. {span[1]:g}" if numbers else str(span)
