"""What became of the requests of a run and of each class, as figures by name that can be drawn against anything."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

TABLE = "request_classes"
RATES = ("offered_per_s", "served_per_s", "output_tokens_per_s", "goodput_per_s")
SHARES = ("good_share", "ttft_attained", "tpot_attained", "itl_attained", "e2e_attained")
COLUMNS = ("workload", "class", "pool", "injected", *RATES, *SHARES)


def served_figures(table: pd.DataFrame | None) -> dict[str, float]:
    """``request_classes.goodput_per_s.all``, and ``.class_chat`` and so on where there are classes.

    Over several workloads rates are added, shares weighted by the requests; nulls are left out.
    """
    if table is None:
        return {}
    figures: dict[str, float] = {}
    whole = table[table["pool"] == "all"]
    for name, rows in whole.groupby("class", sort=False):
        kind = "all" if name == "all" else f"class_{name}"
        for column in RATES:
            figures[f"{TABLE}.{column}.{kind}"] = float(rows[column].sum(min_count=1))
        for column in SHARES:
            known = rows.dropna(subset=[column])
            weights = known["injected"].sum()
            share = float((known[column] * known["injected"]).sum() / weights) if weights else float("nan")
            figures[f"{TABLE}.{column}.{kind}"] = share
    return {name: value for name, value in figures.items() if not isnan(value)}
