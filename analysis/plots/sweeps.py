"""The curves of a sweep: latency and congestion, or any figure of its index, against any key that was varied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from analysis.index import Axis, Index
from analysis.plots.admission import blocking_panels
from analysis.plots.curves import LINE, MARKS, QUEUE, SLOWDOWN, USE, Against, Panel, draw, has_values, shown
from analysis.plots.serving_curves import served_panels
from models.errors import InputError, Problem
from models.records import TABLES

_UNITS = {"ps": ("s", 1e-12), "B": ("B", 1.0), "bit/s": ("bit/s", 1.0), "1/s": ("/s", 1.0), "": ("", 1.0)}
_COLUMN_UNITS = {"us": ("s", 1e-6), "ms": ("s", 1e-3), "s": ("s", 1.0), "B": ("B", 1.0), "1/s": ("/s", 1.0)}
_DONE = (
    Panel("Layer with experts: mean time", (("moe_steps.time_us.mean", ""),), "s", 1e-6),
    Panel("Collective: mean time", (("collectives.time_us.mean", ""),), "s", 1e-6),
)
_MOST_LINES = 8  # of other numeric keys; beyond them, points


class Choice(NamedTuple):
    """What is drawn of a sweep: rows with the column ``line``, the x axis, panels; ``joined``: as lines."""

    frame: pd.DataFrame
    against: Against
    panels: list[Panel]
    title: str
    joined: bool


def curves(index: Index, x: str | None = None, figures: Sequence[str] = ()) -> Figure:
    """``choice`` as a figure."""
    chosen = choice(index, x, figures)
    return draw(chosen.frame, chosen.against, chosen.panels, chosen.title, joined=chosen.joined)


def choice(index: Index, x: str | None = None, figures: Sequence[str] = ()) -> Choice:
    """``x``: a varied key, else the first that has numbers; ``figures``: columns of the index, else the usual ones.

    InputError for unknown names, and where nothing was varied or has finished.
    """
    frame = index.frame[index.frame["status"] != "failed"]
    axes = [axis for axis in index.axes if frame[axis.key].nunique() > 1]
    if not axes or frame.empty:
        message = "no cell has finished" if frame.empty else "nothing to draw against: no key has two values"
        raise InputError([Problem(str(index.folder), 0, 0, message)])
    names = [index.figure(name) for name in figures]
    against = index.axis(x) if x else next((axis for axis in axes if axis.numeric), axes[0])
    panels = [_panel(name) for name in names] or _usual(frame)
    lines, joined = _lines(frame, [axis for axis in axes if axis != against])
    unit, factor = _UNITS[against.unit]
    below = Against(against.key, against.key, unit, factor)
    return Choice(frame.assign(**{LINE: lines}), below, panels, f"{index.name}, against {against.key}", joined)


def _usual(frame: pd.DataFrame) -> list[Panel]:
    """Of demands the blocking of each class, of requests latency and goodput; else what the workload is about.

    That is the time of layers or collectives, then slowdown, queues, marks, use. Four at most.
    """
    blocking = blocking_panels(list(frame.columns))
    if blocking:
        return blocking
    served = served_panels(frame)
    if served:
        return served
    panels = [panel for panel in _DONE if has_values(frame, panel)][:1]
    panels += [panel for panel in (SLOWDOWN, QUEUE, USE, MARKS) if has_values(frame, panel)]
    return panels[:4] or [_panel("flows.count")]


def _panel(name: str) -> Panel:
    table, _, rest = name.partition(".")
    column = rest.partition(".")[0]
    described = next((one for one in TABLES.get(table, ()) if one.name == column), None)
    counted = rest in ("count", "unfinished") or name.endswith(".n")
    unit, factor = ("", 1.0)
    if described is not None and not counted:
        unit, factor = _COLUMN_UNITS.get(described.unit, (described.unit, 1.0))
    return Panel(name, ((name, ""),), unit, factor)


def _lines(frame: pd.DataFrame, others: Sequence[Axis]) -> tuple[list[str], bool]:
    """The line of each row: variant and other keys, as short as they are. Of a sample, points without lines."""
    numeric = [axis for axis in others if axis.numeric]
    many = bool(numeric) and len(frame[[axis.key for axis in numeric]].drop_duplicates()) > _MOST_LINES
    kept = [axis for axis in others if not (many and axis.numeric)]
    several = frame["variant"].nunique() > 1
    names = []
    for _, row in frame.iterrows():
        words = [str(row["variant"])] if several else []
        words += [_word(axis, row) for axis in kept]
        names.append(", ".join(words) or "all runs")
    return names, not many


def _word(axis: Axis, row: pd.Series) -> str:  # type: ignore[type-arg]
    """A policy's name says enough; a number needs its key."""
    value = row[axis.key]
    if not axis.numeric:
        return str(value)
    unit, factor = _UNITS[axis.unit]
    return f"{axis.short} {shown(float(value), unit, factor)}"
