"""Numbers and lists as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.compare.metrics import Metric
from analysis.grid import write
from analysis.stats import Interval

_UNITS = {"us": "us", "ms": "ms", "s": "s", "B": "B", "GB/s": "GB/s", "ps": "ps", "packets": "packets"}


def amount(value: float | None, metric: Metric) -> str:
    unit = _UNITS.get(metric.described.unit, "")
    return f"{write(value)} {unit}".strip() if value is not None else "-"


def per_cent(share: float, like: float | None = None) -> str:
    """0.0312 -> '3.1 %': decimals by the size of ``like`` (the number itself), so that an interval is written alike."""
    if math.isinf(share):
        return "unbounded"
    size = abs(100 * (share if like is None else like))
    decimals = 0 if size >= 100 else 1 if size >= 1 else 2 if size >= 0.1 else 3
    return f"{100 * share:.{decimals}f} %"


def span(interval: Interval, sign: int = 1) -> str:
    """'[5.1 %, 5.9 %]', of the interval or of its negative."""
    if interval.low == interval.high:
        return "exactly"
    ends = sorted((sign * interval.low, sign * interval.high))
    return f"[{per_cent(ends[0], _like(interval))}, {per_cent(ends[1], _like(interval))}]"


def value_of(interval: Interval, sign: int = 1) -> str:
    return per_cent(sign * interval.value, _like(interval))


def _like(interval: Interval) -> float:
    """What decides the decimals: the width, but no more than three digits of the value."""
    return max(interval.half_width if math.isfinite(interval.half_width) else 0.0, abs(interval.value) / 10)


def listed(names: Sequence[str], last: str = "and") -> str:
    """a, b and c."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"
