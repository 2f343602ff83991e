"""docs/validation.md from the results: a summary, every miss, then each validation with its figure and rows."""

from __future__ import annotations

import numpy as np

from validations._figure import figure_path
from validations._row import KINDS, Found, Row, module, names, read

HEAD = """# Validation

Written by `python -m validations > docs/validation.md` from `validations/rows/`; `python -m validations NAME`
computes one again, `--quick` a part of it. Shorter versions of all of it run in the tests. To set your own measurements
beside a simulation, see [Validate](validate.md). A row is held if its error is within the band that was stated for it,
missed if not, and reported where nothing was stated."""


def page() -> str:
    """The whole page, from the committed results."""
    found = {name: read(name) for kind in KINDS for name in names() if kind == module(name).KIND}
    parts = [HEAD, _summary(found), _misses(found)]
    parts += [_section(name, one) for name, one in found.items()]
    return "\n\n".join(parts) + "\n"


def _summary(found: dict[str, Found]) -> str:
    lines = [
        "| validation | against | rows | median error | largest | held | missed |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, one in found.items():
        rows = [
            row for row in one.rows if not row.metric.startswith("90th")
        ]  # of rows that are counted by their median
        judged = [row for row in rows if row.error is not None and not row.difference]
        errors, weights = [abs(float(row.error or 0.0)) for row in judged], [row.count for row in judged]
        middle, most = (_percent(_median(errors, weights)), _percent(max(errors))) if errors else ("-", "-")
        held, missed = (sum(row.holds is value for row in one.rows) for value in (True, False))
        what, number = module(name), sum(row.count for row in rows)
        title = f"[{what.TITLE}](#{_anchor(what.TITLE)})"
        shown = f"**{missed}**" if missed else 0
        lines.append(f"| {title} | {what.KIND} | {number:,} | {middle} | {most} | {held} | {shown} |")
    note = """Errors are shares of what was expected, reported rows included. Where a line stands for many
rows that a fit had not seen (kernels, communication laws), its error is their median, and lines are weighted by their
rows."""
    return "\n".join(lines) + f"\n\n{note}"


def _percent(share: float) -> str:
    return (
        f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1g} %" if share < 0.01 else f"{100 * share:.1f} %"
    )


def _median(errors: list[float], weights: list[int]) -> float:
    order = np.argsort(errors)
    below = np.cumsum(np.array(weights)[order])
    return float(np.array(errors)[order][np.searchsorted(below, below[-1] / 2)])


def _misses(found: dict[str, Found]) -> str:
    lines = []
    for name, one in found.items():
        for row in one.rows:
            if row.holds is False:
                lines.append(f"| {module(name).TITLE} | {row.case} | {row.metric} | {' | '.join(_cells(row)[:4])} |")
    head = "| validation | case | metric | expected | ours | error | band |\n|---|---|---|---:|---:|---:|---:|\n"
    return "## Misses\n\n" + (head + "\n".join(lines) if lines else "None.")


def _section(name: str, found: Found) -> str:
    what = module(name)
    parts = [f"## {what.TITLE}", f"{what.KIND.capitalize()}: {what.SOURCE}.", what.ABOUT.strip()]
    own = [figure_path(name).name] if figure_path(name).exists() else []
    parts += [f"![{what.TITLE}](figures/{path})" for path in [*own, *getattr(what, "FIGURES", ())]]
    return "\n\n".join([*parts, table(found)])


def table(found: Found) -> str:
    """The rows as Markdown, a table a metric."""
    tables = []
    for metric in dict.fromkeys(row.metric for row in found.rows):
        rows = [row for row in found.rows if row.metric == metric]
        counts = any(row.count > 1 for row in rows)
        lines = [
            f"| {metric} | " + ("rows | " if counts else "") + "expected | ours | error | band | verdict |",
            "|---|" + ("---:|" if counts else "") + "---:|---:|---:|---:|---|",
        ]
        for row in rows:
            cells = [row.case, *([f"{row.count:,}"] if counts else []), *_cells(row)]
            lines.append("| " + " | ".join(cells) + " |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _cells(row: Row) -> list[str]:
    """Expected, ours, error, band, verdict."""
    unit = f" {row.unit}" if row.unit else ""
    expected = "-" if row.expected is None else f"{_number(row.expected)}{unit}"
    ours = f"{100 * row.ours:.2f} %" if row.expected is None else f"{_number(row.ours)}{unit}"
    if row.expected is None:
        error = ""
    elif row.error is None:
        error = "-"
    else:
        error = f"{row.error:+.3g}" if row.difference else f"{100 * row.error:+.2f} %"
    if row.side != "within":
        band = str(row.side)
    elif row.band is None:
        band = ""
    else:
        band = f"{row.band:.3g}" if row.difference else f"{100 * row.band:.3g} %"
    word = {True: "held", False: "**missed**", None: "reported"}[row.holds]
    return [expected, ours, error, band, word]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def verdict(found: Found) -> str:
    held, missed = (sum(row.holds is value for row in found.rows) for value in (True, False))
    return f"{held} held, {missed} missed"


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
