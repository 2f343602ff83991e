"""Answers as text for a terminal of 100 columns: times and sizes in SI units, shares as bars, tables."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.grid import align

WIDTH = 100
BAR = 16  # characters of a bar for all of the time
_TIMES = (("s", 10**12), ("ms", 10**9), ("us", 10**6), ("ns", 10**3))


def time_text(ps: float | None) -> str:
    """Four digits that matter: 12.35 us; whole picoseconds below a nanosecond; - for None."""
    if ps is None:
        return "-"
    if ps == 0:
        return "0 s"
    for unit, factor in _TIMES:
        if abs(ps) >= factor:
            return f"{_digits(ps / factor)} {unit}"
    return f"{ps:.0f} ps"


def size_text(size: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= factor:
            return f"{_digits(size / factor)} {unit}"
    return f"{size:.0f} B"


def rate_text(gbps: float) -> str:
    return f"{_digits(gbps)} Gbps"


def share_text(share: float) -> str:
    return f"{share:.1%}"


def bar(share: float) -> str:
    """``share`` of 1 in signs; whatever is not 0 shows."""
    return "#" * max(round(share * BAR), 1 if share > 0 else 0)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, *, remark: bool = False) -> list[str]:
    """Lines of a table, indented; the first ``left`` columns hold text, and with ``remark`` the last one too."""
    if remark and rows:
        width = max(len(row[-1]) for row in rows)
        titles = [*titles[:-1], titles[-1].ljust(width)]
        rows = [[*row[:-1], row[-1].ljust(width)] for row in rows]
    return [f"  {line}" for line in align([(title, "") for title in titles], rows, left).split("\n") if line.strip()]


def short(text: str, most: int) -> str:
    """A text that is too long loses its middle."""
    if len(text) <= most:
        return text
    tail = (most - 3) // 2
    return text[: most - 3 - tail] + "..." + text[len(text) - tail :]


def _digits(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
