"""The picture of a validation: the strip of its rows' errors, unless its module draws another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validations._row import FOLDER, Found, Row, module

FIGURES = FOLDER.parent / "docs" / "figures"


def figure_path(name: str) -> Path:
    return FIGURES / f"validation_{name}.png"


def draw(name: str, found: Found) -> Path | None:
    """Draw and save the picture; None where the module says that there is nothing to see."""
    from analysis.plots.style import save

    what = module(name)
    own = getattr(what, "draw", None)
    figure = own(found) if own else strip(what.TITLE, found.rows)
    return save(figure, figure_path(name)) if figure is not None else None


def strip(title: str, rows: list[Row]) -> Any:
    """A line a metric: a dot a row at its signed error, the band shaded, misses ringed in red."""
    from analysis.plots.style import colour, settings, sheet

    shown = [row for row in rows if row.error is not None and not row.difference]
    metrics = list(dict.fromkeys(row.metric for row in shown))
    labels = ["a row", "missed", "band"]
    left = 0.35 + 0.068 * max(len(metric) for metric in metrics)
    page = sheet(1, 1, (max(8.2 - left, 4.0), 0.3 * len(metrics) + 0.3), title, labels, left=left)
    axis = page.axes[0, 0]
    with settings():
        for place, metric in enumerate(metrics):
            mine = [row for row in shown if row.metric == metric]
            bands = [row.band for row in mine if row.band is not None]
            low = 0.1 if all(row.expected is None for row in mine) else -100.0 * max(bands, default=0.0)
            if bands:
                width = 100 * max(bands) - low
                axis.barh(place, width, left=low, height=0.8, color="#E3EEF6", label="" if place else "band", zorder=0)
            errors = [100 * float(row.error or 0.0) for row in mine]
            axis.plot(
                errors, [place] * len(mine), "o", ms=4, alpha=0.6, color=colour(0), label="" if place else "a row"
            )
            missed = [error for error, row in zip(errors, mine, strict=True) if row.holds is False]
            axis.plot(missed, [place] * len(missed), "o", ms=8, mfc="none", mew=1.4, color=colour(1))
        axis.plot([], [], "o", ms=8, mfc="none", mew=1.4, color=colour(1), label="missed")
        if all(row.expected is None for row in shown):  # errors themselves, all above 0
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
        else:
            axis.axvline(0, color="#999999", lw=0.8)
        axis.set_yticks(range(len(metrics)), metrics)
        axis.set_ylim(len(metrics) - 0.4, -0.6)
        axis.set_xlabel("error, %")
        axis.grid(axis="y", visible=False)
    page.legend()
    return page.figure
