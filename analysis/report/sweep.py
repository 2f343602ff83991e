"""The cells of a sweep as a table, and its curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.grid import write
from analysis.index import Index
from analysis.plots.curves import LINE, Curve, positions
from analysis.plots.sweeps import choice
from analysis.report.charts import Chart, axis_of, chart_of, is_long
from analysis.report.pack import Packer
from models.errors import InputError

_FIGURES = (  # title, figure of the index, form
    ("collective us", "collectives.time_us.mean", ""),
    ("layer us", "moe_steps.time_us.mean", ""),
    ("FCT us mean", "flows.fct_us.mean", ""),
    ("FCT us p99", "flows.fct_us.p99", ""),
    ("slowdown p50", "flows.slowdown.p50", ""),
    ("slowdown p99", "flows.slowdown.p99", ""),
    ("link max", "links.utilisation.max", "share"),
)


def cells(index: Index) -> dict[str, Any]:
    """A row a cell: what was varied, how it ended, the usual figures, its folder."""
    frame = index.frame
    columns: list[tuple[str, list[str]]] = []
    if frame["variant"].nunique() > 1:
        columns.append(("variant", [str(name) for name in frame["variant"]]))
    for axis in index.axes:
        values = frame[f"{axis.key}.text"] if axis.numeric else frame[axis.key]
        columns.append((axis.key, [str(value) for value in values]))
    words = len(columns)
    columns.append(("seed", [str(seed) for seed in frame["seed"]]))
    for title, figure, form in _FIGURES:
        if figure in frame and frame[figure].notna().any():
            values = frame[figure].astype(float)
            columns.append((title, [write(None if np.isnan(value) else value, form) for value in values]))
    status = [
        f"failed ({row['stage']}): {row['reason']}" if row["status"] == "failed" else str(row["status"])
        for _, row in frame.iterrows()
    ]
    columns += [("status", status), ("cell", [str(cell) for cell in frame["cell"]])]
    rows = [list(row) for row in zip(*(values for _, values in columns), strict=True)]
    failed = int((frame["status"] == "failed").sum())
    return {"heading": "", "titles": [title for title, _ in columns], "rows": rows, "left": words, "failed": failed}


def curves(index: Index, packer: Packer) -> list[Chart]:
    """The curves that ``plot`` draws; none where nothing was varied."""
    try:
        chosen = choice(index)
    except InputError:
        return []
    frame, against = chosen.frame, chosen.against
    places, words = positions(frame[against.column])
    places = places if words else places * against.factor
    x = axis_of(against.label, against.unit, log=not words and is_long(places)) | {"words": words}
    names = list(dict.fromkeys(frame[LINE]))
    made = []
    for order, panel in enumerate(chosen.panels):
        views: dict[str, list[dict[str, Any]]] = {}
        for column, label in panel.figures:
            lines = [
                _line(frame, places, name, order, column, panel.factor, packer) for order, name in enumerate(names)
            ]
            views[label] = [line for line in lines if line["x"]["n"]]
        y = axis_of("", "%" if panel.kind in ("share", "use") else panel.unit)
        shape = "points" if chosen.joined else "dots"
        chart = chart_of(f"sweep{order}", "curves", panel.title, x, y, views, shape=shape)
        if chart is not None:
            made.append(chart)
    return made


def _line(
    frame: pd.DataFrame, places: Any, name: str, number: int, column: str, factor: float, packer: Packer
) -> dict[str, Any]:
    """Means over seeds, with their interval from three seeds on; which points were saturated."""
    part = frame[LINE] == name
    curve = Curve(frame[part], places[part], column)
    ends = np.array([(one.low, one.high) if one.n > 2 else (one.value, one.value) for one in curve.intervals])
    line = {"name": name, "number": number, "x": packer.add(curve.x), "y": packer.add(curve.mean * factor)}
    if len(ends) and any(one.n > 2 for one in curve.intervals):
        line |= {"low": packer.add(ends[:, 0] * factor), "high": packer.add(ends[:, 1] * factor)}
    return line | {"full": packer.add(curve.full)}
