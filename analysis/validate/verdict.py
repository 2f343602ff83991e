"""``validate``: measured rows and the results that simulate them -> errors, what each band says, text and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.grid import align
from analysis.load import Results
from analysis.validate.bands import CORRELATION, OF_DISTRIBUTIONS, OF_ROWS, Band
from analysis.validate.errors import matched, table
from analysis.validate.kinds import HELD_OUT, shown
from analysis.validate.measured import Measured
from models.errors import InputError, Problem

SCHEMA = 1
_DECADES = tuple(f"{number} {prefix}" for prefix in ("", "k", "M", "G", "T") for number in (1, 10, 100))


_PLAIN = ("ks", CORRELATION)  # the others are per cent


@dataclass(frozen=True)
class Check:
    """What a band says of one case, group and metric; ``holds`` None: too few rows to tell."""

    band: Band
    case: str
    group: str
    metric: str
    value: float | None

    @property
    def holds(self) -> bool | None:
        return None if self.value is None else bool(abs(self.value) <= self.band.limit)


@dataclass(frozen=True)
class Validation:
    """Errors by case, group, metric, part and size; measured rows beside their counterparts; what the bands say."""

    measured: Measured
    errors: pd.DataFrame
    rows: dict[str, pd.DataFrame]  # by case: measured rows, with sim_ and error_ columns where they have counterparts
    simulated: dict[str, pd.DataFrame]
    checks: list[Check]
    left_out: dict[str, int]  # measured rows that nothing was simulated for, by what they are

    @property
    def part(self) -> str:
        """The part that the verdict rests on: rows held out where there are such."""
        return "held out" if "held out" in set(self.errors["part"]) else "all"

    @property
    def verdict(self) -> str:
        found = [check.holds for check in self.checks]
        if not found:
            return "no band was stated"
        return "misses" if False in found else "can't be told: too few rows" if None in found else "holds"

    def write(self, folder: Path) -> None:
        """``verdict.json`` and ``errors.parquet``."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pandas(self.errors, preserve_index=False), folder / "errors.parquet")
        text = json.dumps(self.facts(), indent=2, allow_nan=False) + "\n"
        (folder / "verdict.json").write_text(text, encoding="utf-8", newline="\n")

    def facts(self) -> dict[str, Any]:
        """What verdict.json says."""
        frame = self.measured.frame
        against = {
            "file": Path(self.measured.file).name,
            "sha256": self.measured.digest,
            "kind": self.measured.kind.name,
            "rows": len(frame),
            "held_out": int(frame[HELD_OUT].sum()),
            "not_simulated": self.left_out,
        }
        whole = self.errors[np.isinf(self.errors["to"])]
        statistics = ["measured", "simulated", *OF_ROWS, CORRELATION, *OF_DISTRIBUTIONS]
        told = [
            {key: row[key] for key in ("case", "group", "metric", "part")}
            | {name: _plain(row[name]) for name in statistics if not pd.isna(row[name])}
            for row in whole.to_dict("records")
        ]
        checks = [
            {"band": one.band.text, "case": one.case, "group": one.group, "metric": one.metric, "value": one.value,
             "holds": one.holds}
            for one in self.checks
        ]  # fmt: skip
        return {"schema": SCHEMA, "verdict": self.verdict, "rests_on": self.part, "against": against, "bands": checks,
                "errors": told}  # fmt: skip

    def text(self) -> str:
        """The table of errors, what the bands say, the verdict."""
        frame, kind = self.measured.frame, self.measured.kind
        held = int(frame[HELD_OUT].sum())
        head = f"{self.measured.file}: {len(frame)} measured {kind.name}" + (f", {held} held out" if held else "")
        lines = [head]
        if self.left_out:
            lost = ", ".join(f"{what} ({number} rows)" for what, number in self.left_out.items())
            lines.append(f"not simulated: {lost}")
        if self.measured.kind.ordered and not self.measured.matched:
            lines.append("compared as distributions: without ids, and not the same prompts in the same order")
        lines += ["", self._error_table(), ""]
        if self.checks:
            lines += [self._band_table(), ""]
        rests = " (on the rows held out)" if self.part == "held out" and self.checks else ""
        lines.append(f"verdict: {self.verdict}{rests}")
        return "\n".join(lines)

    def _error_table(self) -> str:
        errors = self.errors
        names = [name for name in (*OF_ROWS, CORRELATION, *OF_DISTRIBUTIONS) if errors[name].notna().any()]
        several = errors.groupby("case")["group"].nunique().max() > 1
        words = [*(["group"] if several else []), *(["part"] if set(errors["part"]) != {"all"} else [])]
        titles = [
            ("case", ""),
            *((self.measured.kind.group or "" if name == "group" else "rows", "") for name in words),
        ]
        titles += [("metric", ""), ("size", ""), ("measured", "rows"), ("simulated", "rows")]
        titles += [(name, "" if name in _PLAIN else "%") for name in names]
        parts = {key: set(part) for key, part in errors.groupby(["case", "group"])["part"]}
        rows = []
        for row in errors.to_dict("records"):
            # sizes of the part that the verdict rests on; of the others only the whole
            aside = (
                np.isfinite(row["to"]) and self.part != row["part"] and self.part in parts[row["case"], row["group"]]
            )
            if not row["measured"] or not row["simulated"] or aside:
                continue
            cells = [row["case"], *(row[name] for name in words), shown(row["metric"])]
            cells.append(span(row["from"], row["to"], self.measured.kind.size_unit))
            cells += [str(row["measured"]), str(row["simulated"])]
            rows.append([*cells, *(_write(row[name], name) for name in names)])
        return align(titles, rows, left=3 + len(words))

    def _band_table(self) -> str:
        titles = [("band", ""), ("case", ""), ("", ""), ("metric", ""), ("found", ""), ("", "")]
        words = {True: "holds", False: "misses", None: "too few rows"}
        rows = []
        for one in self.checks:
            found = "-" if one.value is None else _write(one.value, one.band.statistic)
            found += "" if one.value is None or one.band.statistic in _PLAIN else " %"
            rows.append([one.band.text, one.case, one.group, shown(one.metric), found, words[one.holds]])
        return align(titles, rows, left=4)


def validate(measured: Measured, cases: Mapping[str, Sequence[Results]]) -> Validation:
    """Each case (its runs together) against the measured rows. InputError where nothing can be compared."""
    kind = measured.kind
    wanted = list(dict.fromkeys([*kind.keys, kind.size, *measured.metrics, *([kind.start] if kind.start else [])]))
    every = {
        name: pd.concat([run.frame(kind.table, wanted) for run in runs], ignore_index=True)
        for name, runs in cases.items()
    }
    if kind.ordered and not measured.matched:
        measured = _in_order(measured, list(every.values()))
    frame, paired = measured.frame, measured.matched
    simulated = {name: ours.dropna(subset=measured.metrics, how="all") for name, ours in every.items()}
    rows = {name: matched(frame, ours, kind) if paired else frame for name, ours in simulated.items() if len(ours)}
    mine = {name: _with_counterpart(one, measured) for name, one in rows.items()}
    mine = {name: one for name, one in mine.items() if len(one)}
    if not mine:
        raise InputError([Problem(measured.file, 0, 0, _nothing(measured, simulated))])
    how = {"paired": paired, "split": bool(frame[HELD_OUT].any())}
    tables = [table(name, frame.loc[one.index], simulated[name], kind, **how) for name, one in mine.items()]
    errors = pd.concat(tables, ignore_index=True)
    known = set().union(*(one.index for one in mine.values()))
    lost = frame[~frame.index.isin(known)]
    return Validation(measured, errors, mine, simulated, _checks(measured, errors), _left_out(lost, measured))


def _in_order(measured: Measured, every: Sequence[pd.DataFrame]) -> Measured:
    """The measured rows with the ids of the simulated ones, if these are the same in the order in which they came."""
    kind, frame = measured.kind, measured.frame
    key, size = kind.keys[0], kind.size
    if kind.start in frame:
        frame = frame.sort_values(kind.start, kind="stable")
    ids = {tuple(ours[key]) for ours in every}
    same = all(np.array_equal(ours[size], frame[size]) for ours in every)
    if len(ids) != 1 or not same:
        return measured
    return replace(measured, frame=frame.assign(**{key: every[0][key].to_numpy()}).sort_index())


def _with_counterpart(rows: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    if not measured.matched:
        return rows
    return rows.dropna(subset=[f"sim_{name}" for name in measured.metrics], how="all")


def _checks(measured: Measured, errors: pd.DataFrame) -> list[Check]:
    part = "held out" if "held out" in set(errors["part"]) else "all"
    whole = errors[np.isinf(errors["to"]) & (errors["part"] == part)]
    found = []
    for band in measured.bands:
        for row in whole.to_dict("records"):
            if band.metric in (None, row["metric"]):
                value = row[band.statistic]
                told = None if pd.isna(value) else float(value)
                found.append(Check(band, row["case"], row["group"], row["metric"], told))
    return found


def _left_out(lost: pd.DataFrame, measured: Measured) -> dict[str, int]:
    if measured.kind.group is None:
        return {f"{measured.kind.name} of other ids": len(lost)} if len(lost) else {}
    pairs = [f"{op} of {ranks} ranks" for op, ranks in zip(lost["op"], lost["ranks"], strict=True)]
    return {what: pairs.count(what) for what in dict.fromkeys(pairs)}


def _nothing(measured: Measured, simulated: Mapping[str, pd.DataFrame]) -> str:
    if not any(map(len, simulated.values())):
        return f"nothing to compare with: the results have no finished {measured.kind.name}"
    if measured.kind.group is None:
        return f"no row has the id of a simulated {measured.kind.single}"
    there = {
        f"{op} of {ranks}" for one in simulated.values() for op, ranks in zip(one["op"], one["ranks"], strict=True)
    }
    return f"has {measured.what()} ranks; simulated are {', '.join(sorted(there))}, or other sizes of these"


def span(low: float, high: float, unit: str = "B") -> str:
    """A bin of sizes in words."""
    if not np.isfinite(high):
        return "all"
    first = round(np.log10(low))
    return f"{_decade(first, unit)} .. {_decade(first + 1, unit)}"


def _decade(power: int, unit: str) -> str:
    text = _DECADES[power] if power < len(_DECADES) else f"1e{power} "
    return f"{text}{unit}".strip()


def _write(value: float, statistic: str) -> str:
    if pd.isna(value):
        return "-"
    if statistic in _PLAIN:
        return f"{value:.3f}"
    return f"{100 * value:+.2f}" if statistic in ("bias", *OF_DISTRIBUTIONS) else f"{100 * value:.2f}"


def _plain(value: Any) -> int | float:
    """A number of a table for JSON."""
    return value.item() if isinstance(value, np.generic) else value
