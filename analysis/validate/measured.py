"""Reads what was measured: a CSV (.gz too) with its mapping, or a raw nccl-tests log."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calibrate import nccl_log
from analysis.validate.bands import Band, check_band, parse_band
from analysis.validate.kinds import COLLECTIVES, HELD_OUT, Field, Kind
from analysis.validate.mapping import Mapping, Source, read_mapping, says
from models.csv_table import lines_of, read_text
from models.errors import InputError, Problem, Problems, nearest

# nccl-tests' names of operations that have another name here
_OPS = {
    "alltoall": "all_to_all", "allreduce": "all_reduce", "allgather": "all_gather", "reducescatter": "reduce_scatter",
}  # fmt: skip
OPS = ("all_to_all", "all_reduce", "all_gather", "reduce_scatter", "broadcast")
_FOREIGN = ("sendrecv", "send_recv")  # which nccl-tests measures and no scenario has
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no", "")


@dataclass(frozen=True)
class Measured:
    """Measured rows in the columns and units of our results, with ``line`` of the file and ``held_out``."""

    file: str
    digest: str  # SHA-256 of the file
    kind: Kind
    frame: pd.DataFrame
    bands: tuple[Band, ...]

    @property
    def metrics(self) -> list[str]:
        return [name for name in self.kind.metrics if name in self.frame]

    @property
    def matched(self) -> bool:
        """Whether each row has a counterpart of its own in the simulation."""
        return all(name in self.frame for name in self.kind.keys)

    def sizes(self, op: str, ranks: int) -> list[int]:
        """The sizes in bytes that were measured of a collective operation."""
        mine = self.frame[(self.frame["op"] == op) & (self.frame["ranks"] == ranks)]
        return sorted({int(size) for size in mine["bytes"]})

    def place(self, op: str, ranks: int, size: int) -> tuple[str, int]:
        """File and line of a measured collective."""
        frame = self.frame
        mine = frame[(frame["op"] == op) & (frame["ranks"] == ranks) & (frame["bytes"] == size)]
        return self.file, int(mine["line"].iloc[0])

    def what(self) -> str:
        """The operations and numbers of ranks that the file has rows of."""
        pairs = self.frame[["op", "ranks"]].drop_duplicates().itertuples(index=False)
        return ", ".join(f"{op} of {ranks}" for op, ranks in pairs)


def read(
    path: str | Path, mapping: str | Path | None = None, bands: Sequence[str] = (), hold_out: str | None = None
) -> Measured:
    """The measured file. ``bands`` are stated beside the file's; ``hold_out`` such as ``30%`` picks rows by their hash.

    InputError with every fault at its line and column.
    """
    problems = Problems(str(path))
    text = read_text(Path(path), problems)
    problems.raise_if_any()
    assert text is not None
    if not text.strip():
        raise InputError([Problem(str(path), 0, 0, "is empty")])
    log = nccl_log.read(path) if mapping is None and not says(text) and Path(path).suffix != ".gz" else None
    found = _of_log(log) if log is not None else _of_table(text, problems, mapping)
    given = _given_bands(bands, found.kind)
    frame = found.frame
    if hold_out is not None:
        if frame[HELD_OUT].any():
            raise InputError([Problem("--hold-out", 0, 0, f"{path} marks its own rows; leave one of the two out")])
        frame = frame.assign(**{HELD_OUT: _drawn(frame, found.kind, hold_out)})
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    whole = replace(found, file=str(path), digest=digest, frame=frame, bands=(*found.bands, *given))
    for band in whole.bands:
        if fault := check_band(band, whole.matched or found.kind.ordered):
            problems.add(0, fault)
    problems.raise_if_any()
    return whole


def _of_log(table: dict[str, NDArray[Any]]) -> Measured:
    """A raw log's rows; it says the number of ranks and the operation itself."""
    ops = [_OPS.get(name, name) for name in table["collective"]]
    frame = pd.DataFrame(
        {"op": ops, "ranks": table["num_gpus"], "bytes": table["bytes"], "time_us": table["time_us"], "line": 0}
    )
    return Measured("", "", COLLECTIVES, frame.assign(**{HELD_OUT: False}), ())


def _of_table(text: str, problems: Problems, mapping: str | Path | None) -> Measured:
    if mapping is None:
        said = read_mapping(text, problems, comments=True)
    else:
        there = Problems(str(mapping))
        words = read_text(Path(mapping), there)
        there.raise_if_any()
        said = read_mapping(words or "", there, comments=False)
        there.raise_if_any()
    problems.raise_if_any()
    assert said.kind is not None
    frame = _Table(said, said.kind, problems).read(text)
    problems.raise_if_any()
    return Measured("", "", said.kind, frame, tuple(said.bands))


class _Table:
    """The rows of a CSV as columns of our results."""

    def __init__(self, said: Mapping, kind: Kind, problems: Problems) -> None:
        self.said, self.kind, self.problems = said, kind, problems
        self.columns: list[tuple[Field, int, float]] = []  # field, place in the header, factor

    def read(self, text: str) -> pd.DataFrame:
        header: list[tuple[str, int]] | None = None
        rows: list[dict[str, Any]] = []
        before = 0
        for number, found in lines_of(text, self.problems):
            if header is None:
                header = found
                self._columns(header, number)
                if self.problems.found:
                    return pd.DataFrame()
            elif len(found) != len(header):
                self.problems.add(number, f"{len(found)} cells, but the header has {len(header)}")
            else:
                before += 1
                row = self._row(found, number)
                if row is not None:
                    rows.append(row)
        if header is None:
            self.problems.add(0, f"has no header; a line with the names of columns is due, for {self._due()}")
        elif not before and not self.problems.found:
            self.problems.add(0, "has a header and no rows")
        elif not rows and not self.problems.found:
            self.problems.add(0, "has no row with a value to compare")
        return pd.DataFrame(rows)

    def _due(self) -> str:
        metrics = " or ".join(one.name for one in self.kind.fields if one.column in self.kind.metrics)
        keys = [one.name for one in self.kind.fields if one.column in self.kind.keys and self.kind.keyed]
        return ", ".join([*(keys or ["size"]), metrics])

    def _columns(self, header: list[tuple[str, int]], line: int) -> None:
        """Find each field's column: as mapped, or by the name that it has in our results."""
        names = [name for name, _ in header]
        for name, column in header:
            if name and names.count(name) > 1:
                self.problems.add(line, f"column '{name}' twice", column)
        for one in self.kind.fields:
            source = self.said.columns.get(one.name)
            if source is not None:
                self._mapped(one, source, names)
            elif one.column in names:
                self.columns.append((one, names.index(one.column), 1.0))
        found = {one.column for one, *_ in self.columns} | {
            self.kind.field(name).column for name in self.said.columns
        }  # a faulty map line has been told
        keys = {*self.kind.keys} if self.kind.keyed else {self.kind.size}
        for one in self.kind.fields:
            if one.column in keys and one.column not in found:
                self._lacks(one, names, line)
        if not found & {*self.kind.metrics}:
            metrics = [one for one in self.kind.fields if one.column in self.kind.metrics]
            words = " or ".join(one.name for one in metrics)
            text = f"no column to compare ({words}), as in '# map: {_example(metrics[0])}'"
            self.problems.add(line, f"{text}; the columns are: {', '.join(names)}")

    def _mapped(self, one: Field, source: Source, names: list[str]) -> None:
        problems = Problems(self.said.file)
        if source.column not in names:
            close = nearest(source.column, names)
            problems.add(source.line, f"the table has no column '{source.column}'{close}", source.at)
        elif source.factor is None and one.dimension in ("time", "size", "bandwidth") and source.column != one.column:
            problems.add(source.line, f"'{one.name}' has no unit; write {_example(one, source.column)}", source.at)
        else:
            self.columns.append(
                (one, names.index(source.column), 1.0 if source.factor is None else source.factor * one.scale)
            )
        self.problems.found += problems.found

    def _lacks(self, one: Field, names: list[str], line: int) -> None:
        close = nearest(one.column, names).replace("; valid", "; the columns are")
        self.problems.add(line, f"no column for '{one.name}', as in '# map: {_example(one)}'{close}")

    def _row(self, found: list[tuple[str, int]], line: int) -> dict[str, Any] | None:
        row: dict[str, Any] = {"line": line, HELD_OUT: False}
        faulty = False
        for one, at, scale in self.columns:
            text, column = found[at]
            try:
                row[one.column] = self._value(one, text, scale)
            except ValueError as error:
                self.problems.add(line, str(error), column)
                faulty = True
        compared = [row[name] for name in self.kind.metrics if name in row]
        return None if faulty or not any(value is not None for value in compared) else row

    def _value(self, one: Field, text: str, scale: float) -> Any:
        """A cell in the unit of our results; an empty metric is None."""
        if one.dimension == "text":
            name = _OPS.get(text, text)
            if name not in (*OPS, *_FOREIGN):
                raise ValueError(f"unknown operation '{text}'{nearest(text, (*OPS, *_OPS))}")
            return name
        if one.dimension == "flag":
            if text.lower() not in (*_TRUE, *_FALSE):
                raise ValueError(f"'{text}' is neither 1 nor 0 (true, false, yes, no)")
            return text.lower() in _TRUE
        if not text and one.column in self.kind.metrics:
            return None
        try:
            number = float(text) * scale
        except ValueError:
            raise ValueError(f"'{text}' in the column of '{one.name}' is not a number") from None
        lowest_is_0 = one.column in (self.kind.start, "id")
        if not math.isfinite(number) or number < 0 or (number == 0 and not lowest_is_0):
            raise ValueError(f"{one.name} '{text}' is not {'at least' if lowest_is_0 else 'above'} 0")
        if one.dimension in ("count", "size"):
            if abs(number - round(number)) > 1e-9 * max(number, 1):
                raise ValueError(f"{one.name} '{text}' is not whole{' in bytes' if one.dimension == 'size' else ''}")
            return round(number)
        return number


def _example(one: Field, column: str = "COLUMN") -> str:
    unit = {"time": "[us]", "size": "[B]", "bandwidth": "[GB/s]"}.get(one.dimension, "")
    return f"{one.name}={column}{unit}"


def _given_bands(texts: Sequence[str], kind: Kind) -> list[Band]:
    problems, found = [], []
    for text in texts:
        try:
            found.append(parse_band(text, kind))
        except ValueError as error:
            problems.append(Problem("--band", 0, 0, str(error)))
    if problems:
        raise InputError(problems)
    return found


def _drawn(frame: pd.DataFrame, kind: Kind, share: str) -> NDArray[np.bool_]:
    """Rows held out by the hash of their keys (all repeats of one measurement alike), or of all they say."""
    try:
        if not share.strip().endswith("%"):
            raise ValueError
        part = float(share.strip().removesuffix("%")) / 100
    except ValueError:
        part = -1.0
    if not 0 < part < 1:
        raise InputError([Problem("--hold-out", 0, 0, f"'{share}' is no share of the rows; write one such as 30%")])
    columns = [name for name in kind.keys if name in frame]
    columns = columns or [str(name) for name in frame if name not in ("line", HELD_OUT)]
    texts = ["|".join(map(str, row)) for row in frame[columns].itertuples(index=False, name=None)]
    hashed = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") for text in texts]
    held = np.array(hashed, dtype=np.float64) / 2**64 < part
    if held.all() or not held.any():
        raise InputError([Problem("--hold-out", 0, 0, f"{share} of these {len(held)} rows are {int(held.sum())}")])
    return held
