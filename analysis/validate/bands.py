"""Stated bands: ``[METRIC] STATISTIC<LIMIT``, such as ``time median<10%`` or ``fct ks<0.1``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from analysis.validate.kinds import KINDS, Kind
from models.errors import nearest

# of the errors of rows that have a counterpart
OF_ROWS = ("bias", "median", "p90", "worst")
# of two distributions: the difference of their means and quantiles, and Kolmogorov-Smirnov's distance
OF_DISTRIBUTIONS = ("mean", "p50", "p95", "p99", "ks")
CORRELATION = "corr"  # of the measured rows and their counterparts; told, and no band
STATISTICS = (*OF_ROWS, *OF_DISTRIBUTIONS)
_BAND = re.compile(r"^\s*(?:(\w+)\s+)?(\w+)\s*<=?\s*([\d.eE+-]+)\s*(%?)\s*$")


@dataclass(frozen=True)
class Band:
    """The absolute value of a statistic must not be above ``limit``; ``metric`` None: of every metric."""

    text: str
    metric: str | None  # column of the results
    statistic: str
    limit: float


def check_band(band: Band, matched: bool) -> str | None:
    """Why a band can't be told of rows that have no counterparts, or None."""
    if matched or band.statistic not in OF_ROWS:
        return None
    words = ", ".join(OF_DISTRIBUTIONS)
    return f"'{band.text}' is of single rows, which have no ids here; of distributions there are {words}"


def _of_rows() -> str:
    return ", ".join(OF_ROWS)


def parse_band(text: str, kind: Kind | None) -> Band:
    """The band that ``text`` states; ValueError with the reason."""
    match = _BAND.match(text)
    if match is None:
        raise ValueError(f"'{text}' is no band; write [METRIC] STATISTIC<LIMIT, such as 'time median<10%'")
    name, statistic, number, percent = match.groups()
    if statistic not in STATISTICS:
        raise ValueError(f"unknown statistic '{statistic}'{nearest(statistic, STATISTICS)}")
    if kind is not None and kind.keyed and statistic in OF_DISTRIBUTIONS:
        raise ValueError(f"'{statistic}' compares distributions, but {kind.name} are compared row by row: {_of_rows()}")
    metric = None
    if name is not None:
        fields = {one.name: one.column for each in ([kind] if kind else KINDS.values()) for one in each.fields}
        columns = {column for each in ([kind] if kind else KINDS.values()) for column in each.metrics}
        metrics = {field: column for field, column in fields.items() if column in columns}
        metric = metrics.get(name, name if name in columns else None)
        if metric is None:
            raise ValueError(f"unknown metric '{name}'{nearest(name, metrics)}")
    try:
        limit = float(number) / (100 if percent else 1)
    except ValueError:
        raise ValueError(f"'{number}' is not a number") from None
    if not percent and statistic != "ks":
        raise ValueError(f"'{text}' has no unit; errors are per cent, such as {statistic}<10%")
    if limit <= 0:
        raise ValueError(f"the limit of '{text}' must be above 0")
    return Band(" ".join(text.split()), metric, statistic, limit)
