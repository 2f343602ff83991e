"""Demands for bandwidth between two nodes: from CSV ``id,src,dst,bandwidth,priority[,delay_bound,arrival,hold]``."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.candidates import Candidates
from models.csv_table import Row, read_table
from models.errors import InputError, Problem, Problems, nearest
from models.topology import Topology
from models.units import parse, show

Ints = NDArray[np.int64]
REQUIRED = ("id", "src", "dst", "bandwidth", "priority")
OPTIONAL = ("delay_bound", "arrival", "hold")
_MOST_PRIORITY = 10**9
MOST_RATE = 2**50  # bit/s; sums over thousands of demands stay exact


class Demands(NamedTuple):
    """Arrays by demand, in the order of the file. ``line`` and ``column`` (by name) are its places there."""

    id: list[str]
    src: Ints  # node
    dst: Ints  # node, another one
    bandwidth: Ints  # bit/s, above 0
    priority: Ints  # from 1; larger is more important
    delay_bound: Ints  # ps; -1: none
    arrival: Ints  # ps
    hold: Ints  # ps; -1: until the end
    file: str = ""  # empty: the demands were generated
    line: Sequence[int] = ()
    column: Sequence[dict[str, int]] = ()

    def problem(self, row: int, column: str, message: str) -> Problem:
        """A fault of one demand, at its place in the file."""
        if not self.file:
            return Problem(f"demand {self.id[row]}", 0, 0, message)
        return Problem(self.file, self.line[row], self.column[row].get(column, 1), message)


class Impossible(NamedTuple):
    """A demand that the network could not carry even if it had it to itself. ``column`` says what is to blame."""

    row: int
    reason: str
    column: str


def read(path: Path, topology: Topology) -> Demands:
    """The demands of a file; nodes by name, hosts also by rank. InputError with every fault at its line and column."""
    problems = Problems(str(path))
    rows = read_table(path, REQUIRED, OPTIONAL, problems)
    if not rows and not problems.found:
        problems.add(0, "holds no demands")
    table = np.zeros((len(rows), 7), dtype=np.int64)
    seen: dict[str, int] = {}
    for position, row in enumerate(rows):
        name = row.text["id"]
        if not name:
            problems.add(row.line, "id is empty", row.column["id"])
        elif name in seen:
            problems.add(row.line, f"the id '{name}' is used twice, first in line {seen[name]}", row.column["id"])
        seen.setdefault(name, row.line)
        ends = [_node(row, column, topology, problems) for column in ("src", "dst")]
        if ends[0] == ends[1] >= 0:
            problems.add(row.line, f"a demand from {row.text['src']} to itself", row.column["dst"])
        rate = _amount(row, "bandwidth", "rate", problems)
        if rate == 0 or rate > MOST_RATE:
            limit = "above 0" if rate == 0 else f"at most {MOST_RATE} bit/s"
            problems.add(row.line, f"bandwidth must be {limit}", row.column["bandwidth"])
        times = [_amount(row, column, "time", problems) if row.text.get(column) else -1 for column in OPTIONAL]
        if times[0] == 0 and row.text.get("delay_bound"):
            problems.add(row.line, "delay_bound must be above 0", row.column["delay_bound"])
        if times[2] == 0 and row.text.get("hold"):
            problems.add(row.line, "hold must be above 0", row.column["hold"])
        table[position] = *ends, rate, _priority(row, problems), times[0], max(times[1], 0), times[2]
    problems.raise_if_any()
    src, dst, bandwidth, priority, bound, arrival, hold = (np.ascontiguousarray(column) for column in table.T)
    return Demands(
        [row.text["id"] for row in rows],
        src,
        dst,
        bandwidth,
        priority,
        bound,
        arrival,
        hold,
        str(path),
        [row.line for row in rows],
        [row.column for row in rows],
    )


def write(path: Path, demands: Demands, topology: Topology) -> None:
    """The demands as a file that ``read`` takes. Optional columns are written where a demand uses them."""
    uses = dict(
        zip(
            OPTIONAL,
            ((demands.delay_bound >= 0).any(), (demands.arrival > 0).any(), (demands.hold >= 0).any()),
            strict=True,
        )
    )
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*REQUIRED, *(name for name in OPTIONAL if uses[name])])
    names = topology.node_name
    for name, src, dst, bandwidth, priority, *times in zip(*demands[:8], strict=True):
        cells = [name, names[src], names[dst], show(int(bandwidth), "rate"), str(priority)]
        cells += [show(int(t), "time") if t >= 0 else "" for t, c in zip(times, OPTIONAL, strict=True) if uses[c]]
        lines.writerow(cells)
    path.write_text(text.getvalue(), encoding="utf-8")


def impossible(demands: Demands, candidates: Candidates, capacity: Ints) -> list[Impossible]:
    """The demands between nodes that no path joins, and those whose bandwidth is above every path.

    ``capacity`` [links] is bit/s. What only has no candidate way is not among them, such as a demand without a second
    path where one is due: it is refused when it is decided.
    """
    room: list[int] = capacity.tolist()
    names = candidates.topology.node_name
    plain = candidates
    if candidates.protection != "none":
        plain = Candidates(candidates.topology, 1, candidates.by, up=candidates.up)
    found = []
    widths: dict[int, list[int]] = {}
    for row, (src, dst, bandwidth) in enumerate(
        zip(demands.src.tolist(), demands.dst.tolist(), demands.bandwidth.tolist(), strict=True)
    ):
        ways = plain.ways(src, dst)
        pair = f"from {names[src]} to {names[dst]}"
        if not ways:
            found.append(Impossible(row, f"no path {pair}", "dst"))
        elif not any(all(room[link] >= bandwidth for link in way.links) for way in ways):
            if src not in widths:
                widths[src] = widest(candidates, room, src)
            if widths[src][dst] < bandwidth:
                most = show(widths[src][dst], "rate")
                reason = f"{show(bandwidth, 'rate')} is above every path {pair}; the widest carries {most}"
                found.append(Impossible(row, reason, "bandwidth"))
    return found


def refuse_impossible(demands: Demands, candidates: Candidates, capacity: Ints) -> None:
    """InputError with all ``impossible`` demands at their places."""
    faults = impossible(demands, candidates, capacity)
    if faults:
        raise InputError(demands.problem(row, column, f"{column}: {reason}") for row, reason, column in faults)


def widest(candidates: Candidates, room: list[int], src: int) -> list[int]:
    """[nodes] bit/s of the widest path from ``src``: Dijkstra with the least room of a path in place of its length."""
    topology = candidates.topology
    first = topology.hosts if topology.nodes > topology.hosts else 0  # only these forward
    width = [0] * topology.nodes
    width[src] = max(room, default=0)
    heap = [(-width[src], src)]
    while heap:
        wide, node = heappop(heap)
        if -wide < width[node] or (node < first and node != src):
            continue
        for link in topology.out_link[topology.out_start[node] : topology.out_start[node + 1]].tolist():
            after, new = int(topology.link_dst[link]), min(-wide, room[link])
            if candidates.up[link] and new > width[after]:
                width[after] = new
                heappush(heap, (-new, after))
    return width


def _node(row: Row, column: str, topology: Topology, problems: Problems) -> int:
    """The node by its name, a host also by its rank; -1 with a problem."""
    text = row.text[column]
    found = topology.node_index.get(text)
    if found is not None:
        return found
    if re.fullmatch(r"\d{1,9}", text):
        if int(text) < topology.hosts:
            return int(text)
        problems.add(row.line, f"{column}: no host {text}; there are 0..{topology.hosts - 1}", row.column[column])
    elif not text:
        problems.add(row.line, f"{column} is empty", row.column[column])
    else:
        message = f"{column}: no node '{text}'{nearest(text, topology.node_index)}"
        problems.add(row.line, message, row.column[column])
    return -1


def _amount(row: Row, column: str, dimension: str, problems: Problems) -> int:
    """The quantity, -1 with a problem."""
    text = row.text[column]
    try:
        return parse(text, dimension)
    except ValueError as error:
        problems.add(row.line, f"{column}: {error}" if text else f"{column} is empty", row.column[column])
        return -1


def _priority(row: Row, problems: Problems) -> int:
    text = row.text["priority"]
    if re.fullmatch(r"\d{1,10}", text) and 1 <= int(text) <= _MOST_PRIORITY:
        return int(text)
    message = f"priority: '{text}' is not a whole number from 1 to {_MOST_PRIORITY}"
    problems.add(row.line, message if text else "priority is empty", row.column["priority"])
    return 1
