"""What a run prints of its requests: a row a run, and a row a class where there are several."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from analysis.grid import Cell, Column, Grid, Shown, lay_out, over, write
from analysis.load import Results

_HEADING = "Requests; goodput: those that met every target, a second of injection and as a share of all injected"
_CLASSES = 8  # of a run that have a row
_CLASS_COLUMNS = (
    ("TTFT ms", "p50", "ttft_p50_ms"),
    ("", "p99", "ttft_p99_ms"),
    ("TPOT ms", "p50", "tpot_p50_ms"),
    ("", "p99", "tpot_p99_ms"),
    ("ITL ms", "p99", "itl_p99_ms"),
    ("E2E ms", "p50", "e2e_p50_ms"),
    ("", "p99", "e2e_p99_ms"),
)
_MET = (("met", "TTFT", "ttft"), ("", "TPOT", "tpot"), ("", "ITL", "itl"), ("", "E2E", "e2e"))


def request_grid(runs: Mapping[str, Results]) -> Grid:
    """A row a run. ``vs best``: of the share of good ones, else of the mean E2E, where all had the same to serve."""
    runs = {name: run for name, run in runs.items() if run.rows("requests")}
    columns: list[Shown] = [(t, unit, [value(run) for run in runs.values()], form) for t, unit, value, form in _COLUMNS]
    against = _against(runs)
    if against is not None:
        columns.append(against)
    return lay_out(runs, columns, left=1)._replace(heading=_HEADING)


def _against(runs: Mapping[str, Results]) -> Shown | None:
    """The column ``vs best``; None for a single run, and where the runs had other requests to serve."""
    if len(runs) < 2 or len({(run.rows("requests"), *_asked(run)) for run in runs.values()}) > 1:
        return None
    good = [_good(run) for run in runs.values()]
    known = [value for value in good if value is not None]
    if known:
        return ("good vs", "best", [over(value, max(known)) for value in good], "ratio") if max(known) else None
    mean = [run.number("requests", "e2e_ms", "mean") for run in runs.values()]
    best = min((value for value in mean if value), default=None)
    return ("E2E vs", "best", [over(value, best) for value in mean], "ratio") if best else None


def _asked(run: Results) -> tuple[float | None, float | None]:
    return run.number("requests", "prompt_tokens", "mean"), run.number("requests", "output_tokens", "mean")


def class_grid(runs: Mapping[str, Results]) -> Grid | None:
    """A row a run, class and pool; None where each run has one of both."""
    rows, titles = [], [("variant", ""), ("class", ""), ("pool", ""), ("requests", "in"), ("", "done")]
    titles += [(title, unit) for title, unit, _ in _CLASS_COLUMNS]
    titles += [(title, unit) for title, unit, _ in _MET] + [("good", "share")]
    for name, run in runs.items():
        table = run.frame("request_classes")
        several = table[(table["class"] != "all") | (table["pool"] != "all")].head(_CLASSES)
        for row in several.to_dict("records"):
            cells = [name, row["class"], row["pool"], str(row["injected"]), str(row["finished"])]
            cells += [write(_known(row[column])) for _, _, column in _CLASS_COLUMNS]
            cells += [write(_known(row[f"{limit}_attained"]), "share") for *_, limit in _MET]
            rows.append([*cells, write(_known(row["good_share"]), "share")])
    if not rows:
        return None
    kept = [place for place in range(len(titles)) if any(row[place] not in ("-", "all") for row in rows)]
    kept = [place for place in kept if place or len(runs) > 1]
    left = sum(place < 3 for place in kept)
    return Grid("", _led([titles[place] for place in kept]), [[row[place] for place in kept] for row in rows], left)


def _led(titles: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A group whose first column is left out begins with its next one."""
    heads = {unit: title for group in (_MET,) for title, unit, _ in group}
    if not any(title == "met" for title, _ in titles):
        first = next((place for place, (title, unit) in enumerate(titles) if not title and unit in heads), None)
        if first is not None:
            titles[first] = ("met", titles[first][1])
    return titles


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _whole(column: str) -> Callable[[Results], Cell]:
    """Of all requests of all workloads; nothing to show where it is 0."""

    def value(run: Results) -> Cell:
        table = run.frame("request_classes", ["class", "pool", column])
        return int(table.loc[(table["class"] == "all") & (table["pool"] == "all"), column].sum()) or None

    return value


def _rate(column: str) -> Callable[[Results], Cell]:
    def value(run: Results) -> Cell:
        table = run.frame("request_classes", ["class", "pool", column])
        rates = table.loc[(table["class"] == "all") & (table["pool"] == "all"), column].dropna()
        return float(rates.sum()) if len(rates) else None

    return value


def _good(run: Results) -> float | None:
    return run.number("requests", "good", "mean")


def _of(column: str, statistic: str) -> Callable[[Results], Cell]:
    return lambda run: run.number("requests", column, statistic)


def _found(run: Results) -> float | None:
    """Share of prompt tokens that were in the prefix cache; nothing to show where it is 0."""
    cached, prompt = (run.number("requests", name, "mean") or 0.0 for name in ("cached_tokens", "prompt_tokens"))
    return cached / prompt if cached and prompt else None


def _preempted(run: Results) -> int | None:
    return int(run.frame("replicas", ["preemptions"])["preemptions"].sum()) or None


_COLUMNS: list[Column] = [
    ("status", "", lambda run: run.status, ""),
    ("requests", "in", _whole("injected"), ""),
    ("", "done", _whole("finished"), ""),
    ("", "rejected", _whole("rejected"), ""),
    ("", "lost", _whole("lost"), ""),
    ("", "open", _whole("unfinished"), ""),
    ("TTFT ms", "p50", _of("ttft_ms", "p50"), ""),
    ("", "p99", _of("ttft_ms", "p99"), ""),
    ("TPOT ms", "p50", _of("tpot_ms", "p50"), ""),
    ("", "p99", _of("tpot_ms", "p99"), ""),
    ("E2E ms", "p50", _of("e2e_ms", "p50"), ""),
    ("", "mean", _of("e2e_ms", "mean"), ""),
    ("", "p99", _of("e2e_ms", "p99"), ""),
    ("tokens", "/s", _rate("output_tokens_per_s"), ""),
    ("cached", "share", _found, "share"),
    ("pre-", "empted", _preempted, ""),
    ("goodput", "/s", _rate("goodput_per_s"), ""),
    ("", "share", _good, "share"),
]
