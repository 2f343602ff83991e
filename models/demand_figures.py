"""What became of each class of demands, as figures by name that can be drawn against load."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

TABLE = "demand_classes"
COLUMNS = ("blocking", "not_served", "wait_mean_ms")


def class_figures(table: pd.DataFrame | None) -> dict[str, float]:
    """``demand_classes.blocking.class_3`` and so on, of each class, the most important first; nulls are left out."""
    if table is None:
        return {}
    figures: dict[str, float] = {}
    for row in table.sort_values("priority", ascending=False).to_dict("records"):
        known = {column: row[column] for column in COLUMNS if not isnan(row[column])}
        figures |= {f"{TABLE}.{column}.class_{row['priority']}": float(value) for column, value in known.items()}
    return figures
