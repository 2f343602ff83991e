"""``predict``: measured cost models asked about the shapes of a CSV, one row at a time.

A model kind is a module that shows ``COLUMNS``, ``choices(body)``, ``predict(table, body)`` and, where columns
depend on each other, ``check(table)``: see ``models/calibrated``. Everything about files and errors is here.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.shapes import Shapes, Table, check_names, read_shapes, written
from models.calibrated import KINDS, Body, Prediction, fitted, fitted_file
from models.errors import InputError, Problem, Problems, nearest
from models.hardware import GPUS, nearest_gpu


def module_of(kind: str) -> Any:
    """The module of a model kind; ``InputError`` with the nearest name."""
    if kind not in KINDS:
        raise InputError([Problem("predict", 0, 0, f"unknown model '{kind}'{nearest(kind, KINDS)}")])
    return importlib.import_module(KINDS[kind])


def predict_file(kind: str, hardware: str, source: str, output: str | None) -> None:
    """Read shapes, add ``predicted_us`` and ``extrapolated``, write CSV to ``output`` or stdout, print a summary.

    Nothing is written if anything is wrong with the input; the output appears whole or not at all.
    """
    module = module_of(kind)
    bodies = _bodies(kind, hardware)
    path = Path(source)
    problems = Problems(source)
    shapes = read_shapes(path, module.COLUMNS, problems)
    if shapes is not None and problems.found and len(bodies) == 1:
        check_names(shapes, module.choices(next(iter(bodies.values()))), path, problems)
    problems.raise_if_any()
    assert shapes is not None
    answer = _answer(module, bodies, shapes, path, hardware)
    added: dict[str, Sequence[str]] = {name: _texts(values) for name, values in answer.more.items()}
    added = {"predicted_us": _texts(answer.us), **added, "extrapolated": np.where(answer.extrapolated, "true", "false")}
    text = written(shapes, added)
    outside = int(answer.extrapolated.sum())
    said = f"{kind} on {hardware}: {len(answer.us):,} rows, {outside:,} extrapolated"
    if output is None:
        sys.stdout.write(text)
        print(said, file=sys.stderr)
        return
    write_whole(Path(output), text)
    print(f"{said}; written to {output}")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either whole or absent; a folder that is not there is wrong input."""
    if path.is_dir():
        raise InputError([Problem(str(path), 0, 0, "can't be written: it is a folder")])
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError([Problem(str(path), 0, 0, f"can't be written: {error.strerror}")]) from None


def _bodies(kind: str, hardware: str) -> dict[str, Body]:
    """System -> body: one under the preset's name, or those of a fitted file."""
    if hardware in GPUS:
        return {hardware: fitted(hardware, kind)}
    if not Path(hardware).is_file():
        message = f"unknown hardware '{hardware}'{nearest_gpu(hardware)} (a preset or the path of a fitted file)"
        raise InputError([Problem("--hardware", 0, 0, message)])
    systems = fitted_file(hardware)
    found = {system: kinds[kind] for system, kinds in systems.items() if kind in kinds}
    if not found:
        held = sorted({name for kinds in systems.values() for name in kinds})
        raise InputError([Problem(hardware, 0, 0, f"holds no fit of {kind}, only {', '.join(held)}")])
    return found


def _answer(module: Any, bodies: dict[str, Body], shapes: Shapes, path: Path, hardware: str) -> Prediction:
    """The answers of all rows; with several systems, each row by its ``system``."""
    problems = Problems(str(path))
    if len(bodies) == 1:
        (body,) = bodies.values()
        _check(module, body, shapes, path, problems)
        problems.raise_if_any()
        answer: Prediction = module.predict(shapes.table, body)
        return answer
    if "system" not in shapes.header:
        problems.add(1, f"{hardware} holds {', '.join(sorted(bodies))}: a column 'system' must say which")
        problems.raise_if_any()
    at = shapes.header.index("system")
    systems = np.array([row[at] for row in shapes.cells], dtype=object)
    check_names(shapes._replace(table={"system": systems}), {"system": sorted(bodies)}, path, problems)
    problems.raise_if_any()
    us, outside = np.zeros(len(systems)), np.zeros(len(systems), dtype=np.bool_)
    more: dict[str, Any] = {}
    for system, body in bodies.items():
        rows = np.flatnonzero(systems == system)
        if not len(rows):
            continue
        part = _rows(shapes, rows)
        _check(module, body, part, path, problems)
        if problems.found:
            continue
        answer = module.predict(part.table, body)
        us[rows], outside[rows] = answer.us, answer.extrapolated
        for name, values in answer.more.items():
            more.setdefault(name, np.full(len(us), np.nan))[rows] = values
    problems.raise_if_any()
    return Prediction(us, outside, more)


def _rows(shapes: Shapes, rows: Any) -> Shapes:
    table: Table = {name: values[rows] for name, values in shapes.table.items()}
    return Shapes(shapes.header, [shapes.cells[row] for row in rows], [shapes.line[row] for row in rows], table)


def _check(module: Any, body: Body, shapes: Shapes, path: Path, problems: Problems) -> None:
    """Names first; only rows of known names go to the kind's own cross-column checks."""
    check_names(shapes, module.choices(body), path, problems)
    if problems.found or not hasattr(module, "check"):
        return
    for row, column, message in module.check(shapes.table):
        place = shapes.place(row, column, path) if column in shapes.header else (shapes.line[row], 1)
        problems.add(place[0], message, place[1])


def _texts(values: Any) -> list[str]:
    """Numbers with six significant digits; other values as they are; an absent one is empty."""
    if getattr(values, "dtype", None) == np.float64:
        return ["" if np.isnan(value) else f"{value:.6g}" for value in values]
    return [str(value) for value in values]
