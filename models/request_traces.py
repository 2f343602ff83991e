"""Traces of requests: when they came and how long they were, from files of four formats.

``plain``: CSV ``arrival_s,prompt_tokens,output_tokens[,session,tenant,class,prefix_hashes]``; hashes are whole numbers
joined by ``|``. ``azure``: CSV ``TIMESTAMP,ContextTokens,GeneratedTokens`` (Azure LLM inference traces 2023 and 2024).
``mooncake``: JSON lines with ``timestamp`` (ms), ``input_length``, ``output_length``, ``hash_ids`` of 512 tokens each
(Mooncake, FAST 2025). ``results``: the table ``requests`` of a run, as Parquet or CSV.

Equal hashes stand for equal prompts up to and with their tokens. All but Parquet may be packed (``.gz``).
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.csv_table import Columns, columns_of, read_text
from models.errors import Problems
from models.request_cells import MOST_LISTED, codes, hash_lists, moments, seconds, wholes
from models.units import CLOCK_END

Ints = NDArray[np.int64]
FORMATS = ("plain", "azure", "mooncake", "results")
MOONCAKE_TOKENS = 512  # that one hash covers
MOST_TOKENS = 2**24  # of one prompt or answer
_PLAIN = ("arrival_s", "prompt_tokens", "output_tokens")
_PLAIN_MORE = ("session", "tenant", "class", "prefix_hashes")
_EXACT = "arrival_ps"  # of a run's table; arrival_s is the nearest float
_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_PS_PER_MS = 10**9


class RequestTrace(NamedTuple):
    """Requests in order of their arrival, [n] each; None where the file says nothing of it."""

    arrival: Ints  # ps, not falling
    prompt: Ints  # tokens
    output: Ints  # 0 where Azure's or Mooncake's trace says so
    session: Ints | None = None  # -1: none
    tenant: Ints | None = None
    kind: list[str] | None = None  # name of the class
    hashes: Ints | None = None  # of all requests, one after another
    hash_start: Ints | None = None  # [n] where a request's begin
    hash_count: Ints | None = None
    hash_tokens: int | None = None  # that one hash covers, where the format says it

    def cut(self, first: int, count: int | None, speed: float) -> RequestTrace:
        """``count`` requests from number ``first`` on, the clock starting with the first one unless it is number 0."""
        rows = slice(first, None if count is None else first + count)
        arrival = self.arrival[rows]
        if first and len(arrival):
            arrival = arrival - arrival[0]
        if speed != 1.0:
            arrival = np.floor(arrival / speed).astype(np.int64)

        def part(column: Any) -> Any:
            return None if column is None else column[rows]

        return self._replace(
            arrival=arrival, prompt=part(self.prompt), output=part(self.output), session=part(self.session),
            tenant=part(self.tenant), kind=part(self.kind), hash_start=part(self.hash_start),
            hash_count=part(self.hash_count),
        )  # fmt: skip

    @property
    def turn(self) -> Ints:
        """[n] how many requests of its session came before; 0 without one."""
        if self.session is None:
            return np.zeros(len(self.arrival), dtype=np.int64)
        order = np.argsort(self.session, kind="stable")
        sorted_ids = self.session[order]
        begin = np.flatnonzero(np.concatenate([[True], sorted_ids[1:] != sorted_ids[:-1]]))
        length = np.diff(np.append(begin, len(order)))
        turn = np.empty(len(order), dtype=np.int64)
        turn[order] = np.arange(len(order)) - np.repeat(begin, length)
        return np.where(self.session >= 0, turn, 0)


def read(path: Path, form: str = "auto") -> RequestTrace:
    """The requests of a file. InputError with every fault at its line and column."""
    problems = Problems(str(path))
    if path.suffix == ".parquet":
        trace = _parquet(path, form, problems)
    else:
        text = read_text(path, problems)
        trace = None if text is None else _of_text(text, form, problems)
    if trace is None and not problems.found:
        problems.add(0, "holds no requests")
    problems.raise_if_any()
    assert trace is not None
    return trace


def _of_text(text: str, form: str, problems: Problems) -> RequestTrace | None:
    """None with problems, or where there is no request."""
    if form == "auto":
        form = _form(text)
    if form == "mooncake":
        return _mooncake(text, problems)
    required, optional = (_AZURE, ()) if form == "azure" else (_PLAIN, _PLAIN_MORE)
    if form == "results":
        optional = (*optional, _EXACT)
    table = columns_of(text, required, optional, problems, others=form == "results")
    if table is None:
        return None
    return _azure(table, problems) if form == "azure" else _plain(table, problems)


def _form(text: str) -> str:
    """By the first line that is not blank and no comment."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if first.startswith("{"):
        return "mooncake"
    names = {name.strip() for name in first.split(",")}
    if names & set(_AZURE):
        return "azure"
    return "results" if {"id", "status", "prompt_tokens"} <= names else "plain"


def _plain(table: Columns, problems: Problems) -> RequestTrace | None:
    faults = len(problems.found)
    when = _EXACT if _EXACT in table.cells else "arrival_s"
    arrival = wholes(table, when, problems, 0, CLOCK_END - 1) if when == _EXACT else seconds(table, when, problems)
    prompt = wholes(table, "prompt_tokens", problems, 1, MOST_TOKENS)
    output = wholes(table, "output_tokens", problems, 1, MOST_TOKENS)
    session = codes(table, "session", problems) if "session" in table.cells else None
    tenant = codes(table, "tenant", problems) if "tenant" in table.cells else None
    lists = hash_lists(table, "prefix_hashes", problems) if "prefix_hashes" in table.cells else None
    _sorted(arrival, table, when, problems)
    if len(problems.found) > faults:
        return None
    if tenant is not None:
        tenant = np.maximum(tenant, 0)  # an empty cell is the first one's
    return RequestTrace(arrival, prompt, output, session, tenant, table.cells.get("class"), *_joined(lists))


def _joined(lists: list[list[int]] | None) -> tuple[Ints | None, Ints | None, Ints | None]:
    """(all hashes, where each request's begin, how many); None without any."""
    if lists is None or not any(lists):
        return None, None, None
    count = np.array([len(one) for one in lists], dtype=np.int64)
    hashes = np.array([number for one in lists for number in one], dtype=np.int64)
    return hashes, np.cumsum(count) - count, count


def _azure(table: Columns, problems: Problems) -> RequestTrace | None:
    """The clock starts with the first request."""
    faults = len(problems.found)
    arrival = moments(table, "TIMESTAMP", problems)
    prompt = wholes(table, "ContextTokens", problems, 1, MOST_TOKENS)
    output = wholes(table, "GeneratedTokens", problems, 0, MOST_TOKENS)
    _sorted(arrival, table, "TIMESTAMP", problems)
    if len(problems.found) > faults:
        return None
    return RequestTrace(arrival - arrival[0], prompt, output)


def _sorted(arrival: Ints, table: Columns, name: str, problems: Problems) -> None:
    """Times that fall; faulty ones (-1) are not compared."""
    valid = np.flatnonzero(arrival >= 0)
    for place in np.flatnonzero(np.diff(arrival[valid]) < 0)[:MOST_LISTED].tolist():
        before, row = valid[place], valid[place + 1]
        text = f"{name}: {table.cells[name][row]} comes after {table.cells[name][before]}"
        problems.add(table.line[row], f"{text}; a trace is sorted by arrival", table.column(row, name))


def _mooncake(text: str, problems: Problems) -> RequestTrace | None:
    faults = len(problems.found)
    rows: list[tuple[int, int, int]] = []
    lists: list[list[int]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if len(problems.found) - faults >= MOST_LISTED:
            break
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            problems.add(number, f"not JSON: {error.msg}", error.colno)
            continue
        wrong = _mooncake_fault(data)
        if wrong is not None:
            problems.add(number, wrong)
            continue
        arrival = round(Decimal(str(data["timestamp"])) * _PS_PER_MS)
        if rows and arrival < rows[-1][0]:
            problems.add(number, f"timestamp {data['timestamp']} falls; a trace is sorted by arrival")
        rows.append((arrival, data["input_length"], data["output_length"]))
        lists.append(data.get("hash_ids", []))
    if len(problems.found) > faults or not rows:
        return None
    table = np.array(rows, dtype=np.int64)
    arrivals, prompt, output = (np.ascontiguousarray(column) for column in table.T)
    hashes, start, count = _joined(lists)
    tokens = None if hashes is None else MOONCAKE_TOKENS
    return RequestTrace(arrivals, prompt, output, None, None, None, hashes, start, count, tokens)


def _mooncake_fault(data: Any) -> str | None:
    """What is wrong with one line, or None."""
    if not isinstance(data, dict):
        return "a request is a JSON object with timestamp, input_length and output_length"
    for name, least in (("timestamp", 0), ("input_length", 1), ("output_length", 0)):
        value = data.get(name)
        kinds = (int, float) if name == "timestamp" else (int,)
        if name not in data:
            return f"key '{name}' is missing"
        if isinstance(value, bool) or not isinstance(value, kinds):
            return f"{name}: a {'number of ms' if name == 'timestamp' else 'whole number'} is due, not {value!r:.40}"
        most = CLOCK_END // _PS_PER_MS if name == "timestamp" else MOST_TOKENS
        if not least <= value <= most:  # NaN too
            return f"{name}: {value} is not from {least} to {most}"
    ids = data.get("hash_ids", [])
    if not isinstance(ids, list) or not all(type(one) is int and 0 <= one < 2**62 for one in ids):
        return "hash_ids: a list of whole numbers from 0 to 2^62 is due"
    most_ids = -(-data["input_length"] // MOONCAKE_TOKENS)
    if len(ids) > most_ids:
        return f"hash_ids: {len(ids)} are more than the {most_ids} blocks of {data['input_length']} tokens"
    return None


def _parquet(path: Path, form: str, problems: Problems) -> RequestTrace | None:
    """The table ``requests`` of a results folder."""
    import pandas as pd

    if form not in ("auto", "results"):
        problems.add(0, f"is Parquet, which has the format results, not {form}")
        return None
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (ValueError, OSError) as error:  # Arrow's own errors are among these
        problems.add(0, f"can't be read as Parquet: {str(error).splitlines()[0]}")
        return None
    lacks = [name for name in _PLAIN if name not in frame]
    if lacks:
        problems.add(0, f"lacks the columns {', '.join(lacks)}; a run's table requests is due")
        return None
    if "workload" in frame and frame["workload"].nunique() > 1:
        listed = ", ".join(str(number) for number in sorted(frame["workload"].unique()))
        problems.add(0, f"holds the requests of workloads {listed}; a trace is of one")
        return None
    cells: dict[str, list[str]] = {}
    for name in (*_PLAIN, *_PLAIN_MORE, _EXACT):
        if name in frame and (name in (*_PLAIN, _EXACT) or frame[name].notna().any()):
            cells[name] = ["" if absent else _shown(value) for value, absent in _values(frame[name])]
    count = len(frame)
    if not count:
        return None
    rows = [",".join(row) for row in zip(*cells.values(), strict=True)]
    return _plain(Columns(cells, list(range(1, count + 1)), rows, list(cells)), problems)


def _values(column: Any) -> Any:
    """(value, whether it is absent) of each row."""
    return zip(column.tolist(), column.isna().tolist(), strict=True)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)
