"""The reserved links that matter: those between switches, or where there are none, all."""

from __future__ import annotations

import pandas as pd

from analysis.load import Results


def booked(run: Results) -> pd.DataFrame:
    """The table ``reservations`` with the ends ``src`` and ``dst`` of each link."""
    ends = run.frame("links", ["link", "src", "dst"])
    table = run.frame("reservations").merge(ends, on="link")
    switches = list(run.tier_of)
    inner = table["src"].isin(switches) & table["dst"].isin(switches)
    return table[inner] if inner.any() else table
