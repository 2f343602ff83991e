"""A run as a Chrome trace (JSON) for Perfetto or chrome://tracing: who computed, sent and waited when.

A process a host, with its GPU's kernels and its flows; the collectives, the layers with experts, the busiest links and
each replica that serves requests (``request_lanes.py``) are processes of their own. Complete events of one thread never
overlap: each flow gets the first free lane. All but requests is read batch by batch and written in order of time, so
that memory stays flat; beyond the limit, events are counted.

Format: "Trace Event Format", https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import gzip
import heapq
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from analysis.load import Results
from analysis.request_lanes import REPLICAS, name_of, request_lanes
from analysis.rows import batches, picoseconds
from analysis.trace_events import FOREVER, WHOLE, Lanes, Timed, Window, counter, event
from models.errors import InputError, Problem
from models.explained import PARTS
from models.records import TABLES

LIMIT = 200_000  # events
LINKS = 16
_COLLECTIVES, _LAYERS, _LINK_USE, _HOSTS = 1, 2, 3, 10  # process numbers; host i is _HOSTS + i
_KERNELS = 0  # thread of a host; its flows have the lanes from 1 on


@dataclass
class Written:
    """How many events went into the file, and how many beyond the limit did not, by kind."""

    events: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    until: int = -1  # ps of the last event, where some were left out


class _Hosts:
    """Numbers of hosts by rank, and their names."""

    def __init__(self, run: Results) -> None:
        self.names = [run.host_name(host) for host in range(int(run.manifest["fabric"]["hosts"]))]
        self._number = {name: host for host, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """A manifest of an earlier version doesn't have names of a user's own: they come last, as they are met."""
        if name not in self._number:
            self._number[name] = len(self.names)
            self.names.append(name)
        return self._number[name]


def write_timeline(
    run: Results, out: Path, window: Window = WHOLE, limit: int = LIMIT, links: int = LINKS, quiet: bool = True
) -> Written:
    """Writes the trace of ``run``; gzip if the name ends in .gz. The file appears whole or not at all."""
    hosts = _Hosts(run)
    sources = [
        _collectives(run, window),
        _layers(run, window),
        _kernels(run, window),
        _flows(run, window, hosts),
        _link_use(run, window, links),
        request_lanes(run, window),
    ]
    written, named = Written(), set[tuple[int, int]]()
    with _file(out) as file, _bar(run, links, quiet) as advance:
        file.write('{"displayTimeUnit":"ns","otherData":')
        file.write(
            _json({"program": "spillway", "name": run.manifest.get("name"), "variant": run.manifest.get("variant")})
        )
        file.write(',"traceEvents":[\n')
        separator = ""
        for start, _, kind, one in heapq.merge(*sources, key=lambda timed: timed[:2]):
            advance()
            if sum(written.events.values()) >= limit:
                written.left_out[kind] += 1
                continue
            written.until = start
            written.events[kind] += 1
            for entry in (*_names(hosts, one, named), one):
                file.write(separator + _json(entry))
                separator = ",\n"
        file.write("\n]}\n")
    return written


def _collectives(run: Results, window: Window) -> Iterator[Timed]:
    lanes = Lanes()
    for columns in batches(run, "collectives", TABLES["collectives"].names()):
        for row in _rows(columns):
            start, took = _ps(row["start_us"]), _ps(row["time_us"])
            end = FOREVER if took < 0 else start + took
            lane = lanes.take(start, end)
            if window.holds(start, end):
                what = {name: row[name] for name in ("algorithm", "ranks", "bytes", "busbw_gbytes")}
                name = f"collective {row['id']} {row['op']}"
                yield start, 0, "collectives", event(name, "collective", _COLLECTIVES, lane, start, end, what)


def _layers(run: Results, window: Window) -> Iterator[Timed]:
    """The table has no start; a layer ends with the last kernel or flow of its job."""
    frame = run.frame("moe_steps")
    if not len(frame):
        return
    ends: dict[str, int] = {}
    for columns in batches(run, "kernels", ["job", "start_us", "duration_us"]):
        stops = picoseconds(columns["start_us"]) + picoseconds(columns["duration_us"])
        for job, end in zip(columns["job"], stops.tolist(), strict=True):
            ends[job] = max(ends.get(job, 0), end)
    for row in _told_flows(run):
        job = str(row.get("job", "")).rpartition(".")[0]
        ends[job] = max(ends.get(job, 0), _ps(row["delivered_us"]))
    found = []
    for row in frame.to_dict("records"):
        job, took = f"moe:{row['step']}.{row['layer']}", _ps(row["time_us"])
        if took >= 0 and job in ends:
            found.append((ends[job] - took, ends[job], job, row))
    lanes = Lanes()
    for start, end, job, row in sorted(found, key=lambda one: one[:3]):
        lane = lanes.take(start, end)
        if window.holds(start, end):
            what = {str(key): value for key, value in row.items() if key not in ("step", "layer", "time_us")}
            yield start, 1, "layers", event(job, "moe", _LAYERS, lane, start, end, what)


def _kernels(run: Results, window: Window) -> Iterator[Timed]:
    for columns in batches(run, "kernels", TABLES["kernels"].names()):
        starts, durations = (picoseconds(columns[name]).tolist() for name in ("start_us", "duration_us"))
        for gpu, kernel, job, start, took in zip(
            columns["gpu"], columns["kernel"], columns["job"], starts, durations, strict=True
        ):
            if window.holds(start, start + took):
                what = {"job": job}
                yield start, 2, "kernels", event(kernel, "kernel", _HOSTS + gpu, _KERNELS, start, start + took, what)


def _flows(run: Results, window: Window, hosts: _Hosts) -> Iterator[Timed]:
    lanes: dict[int, Lanes] = {}
    for row in _told_flows(run):
        start = _ps(row["start_us"])
        if start >= window.end:
            return
        if row["status"] == "rejected":
            continue
        stop = row["end_us"] if row["end_us"] is not None else row["delivered_us"]
        end = FOREVER if stop is None else _ps(stop)
        host = hosts.number(row["src"])
        lane = lanes.setdefault(host, Lanes()).take(start, end)
        if window.holds(start, end):
            what = {name: row[name] for name in ("id", "bytes", "path")} | {"job": row.get("job", "")}
            what |= {part.replace("_ps", "_us"): row[part] / 1e6 for part in PARTS if row.get(part)}
            name = f"flow {row['id']} to {row['dst']}"
            yield start, 3, "flows", event(name, "flow", _HOSTS + host, lane, start, end, what)


def _told_flows(run: Results) -> Iterator[dict[str, Any]]:
    """Rows of ``flows``, with those of ``flow_times`` where there are any; both are in order of their numbers."""
    times = (row for columns in batches(run, "flow_times", ["id", "job", *PARTS]) for row in _rows(columns))
    told = next(times, None)
    names = ["id", "src", "dst", "bytes", "start_us", "delivered_us", "end_us", "path", "status"]
    for columns in batches(run, "flows", names):
        for row in _rows(columns):
            if told is not None and told["id"] == row["id"]:
                yield row | told
                told = next(times, None)
            else:
                yield row


def _link_use(run: Results, window: Window, most: int) -> Iterator[Timed]:
    """Counters of the links that were used most: their use up to the next sample, and their queue."""
    totals = run.frame("links", ["link", "utilisation"])
    order = totals.sort_values(["utilisation", "link"], ascending=[False, True], kind="stable")
    chosen = set(order["link"].head(most))
    before: dict[str, int] = {}
    for columns in batches(run, "link_series", TABLES["link_series"].names()):
        times = picoseconds(columns["time_us"]).tolist()
        for time, link, use, queue in zip(
            times, columns["link"], columns["utilisation"], columns["queue_bytes"], strict=True
        ):
            if link not in chosen:
                continue
            since, before[link] = before.get(link, 0), time
            if window.holds(since, time):
                yield time, 4, "link samples", counter(_LINK_USE, f"{link} use", since, {"per cent": 100 * use})
                yield time, 4, "link samples", counter(_LINK_USE, f"{link} queue", time, {"bytes": queue})


def _names(hosts: _Hosts, entry: dict[str, Any], named: set[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Metadata: what processes and threads are called, before their first event."""
    process, thread = entry["pid"], entry["tid"]
    if (process, -1) not in named:
        named.add((process, -1))
        common = {_COLLECTIVES: "collectives", _LAYERS: "layers with experts", _LINK_USE: "links"}
        served = process >= REPLICAS
        name = name_of(process) if served else common.get(process) or hosts.names[process - _HOSTS]
        yield {"name": "process_name", "ph": "M", "pid": process, "tid": 0, "args": {"name": name}}
        yield {"name": "process_sort_index", "ph": "M", "pid": process, "tid": 0, "args": {"sort_index": process}}
    if (process, thread) not in named:
        named.add((process, thread))
        name = _lane_name(process, thread)
        if name:
            yield {"name": "thread_name", "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
            yield {
                "name": "thread_sort_index",
                "ph": "M",
                "pid": process,
                "tid": thread,
                "args": {"sort_index": thread},
            }


def _lane_name(process: int, thread: int) -> str:
    """What a lane of a host or replica is called; the others need no name."""
    if process >= REPLICAS:
        return f"requests {thread}" if thread else ""
    if process < _HOSTS:
        return ""
    return "GPU" if thread == _KERNELS else f"flows {thread}"


def _rows(columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _ps(microseconds: float | None) -> int:
    """The exact ps; -1 for null."""
    return -1 if microseconds is None or np.isnan(microseconds) else round(microseconds * 1e6)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(
        value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=lambda number: number.item()
    )


@contextmanager
def _file(out: Path) -> Iterator[IO[str]]:
    partial = out.with_name(out.name + ".partial")
    try:
        with partial.open("wb") as raw:
            if out.suffix == ".gz":
                # no name and no time in it: the same bytes each time
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, io.TextIOWrapper(packed, "utf-8") as file:
                    yield file
            else:
                with io.TextIOWrapper(raw, "utf-8", newline="\n") as file:
                    yield file
        os.replace(partial, out)
    except OSError as error:
        raise InputError([Problem(str(out), 0, 0, f"can't be written: {error.strerror}")]) from None
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _bar(run: Results, links: int, quiet: bool) -> Iterator[Any]:
    """A function to be called for each event; a bar on stderr if it takes more than two seconds."""
    from tqdm import tqdm

    total = sum(run.rows(name) for name in ("collectives", "moe_steps", "kernels", "flows"))
    total += 3 * run.rows("requests") + 2 * run.rows("serving_series")
    total += 2 * run.rows("link_series") * min(links, run.rows("links")) // max(run.rows("links"), 1)
    with tqdm(total=total, desc="timeline", unit=" events", delay=2, disable=quiet, leave=False) as bar:
        yield lambda: bar.update(1)
