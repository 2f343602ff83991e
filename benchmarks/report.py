"""Markdown for the programs of this folder: tables and verdicts."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: str, rows: Sequence[Sequence[object]]) -> None:
    """Print a table; the columns of ``head`` are divided by `` | ``."""
    names = head.split(" | ")
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def verdict(holds: bool) -> str:
    """The word for a bound that holds or not."""
    return "holds" if holds else "**missed**"


def beside(expected: float, ours: float) -> tuple[str, str, str]:
    """Three cells: what is expected, what we have, the difference."""
    return f"{expected:.2f}", f"{ours:.2f}", f"{ours / expected - 1:+.1%}"
