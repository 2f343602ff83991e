"""Figures of runs that the claims about scenarios are made of."""

from __future__ import annotations

import pandas as pd

from analysis.load import Results

Runs = dict[str, Results]


def mean(run: Results, column: str = "fct_us") -> float:
    value = run.number("flows", column, "mean")
    assert value is not None
    return value


def took(run: Results) -> float:
    return float(run.frame("collectives")["time_us"].mean())


def total(run: Results, column: str) -> int:
    table = "flows" if column in {"retransmitted", "reordered"} else "links"
    return int(run.frame(table)[column].sum())


def between(run: Results, src: str, dst: str) -> pd.DataFrame:
    """Links from nodes whose names begin with ``src`` to such with ``dst``."""
    links = run.frame("links")
    return links[links["src"].str.startswith(src) & links["dst"].str.startswith(dst)]


def times(run: Results) -> tuple[float, ...]:
    return tuple(run.frame("flows")["fct_us"])
