"""Flows from a CSV file ``start,src,dst,size`` (quantities with units, hosts by name or rank)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.csv_table import Row, read_table
from models.errors import Problems, nearest
from models.topology import Topology
from models.units import parse


class FlowTable(NamedTuple):
    """Flows by start time, those of one instant in the order of the file."""

    start: NDArray[np.int64]  # ps
    src: NDArray[np.int64]  # host
    dst: NDArray[np.int64]
    size: NDArray[np.int64]  # bytes
    line: NDArray[np.int64]


def read(path: Path, topology: Topology) -> FlowTable:
    """The flows of a file; InputError with every fault at its line and column."""
    problems = Problems(str(path))
    rows = read_table(path, ("start", "src", "dst", "size"), (), problems)
    if not rows and not problems.found:
        problems.add(0, "holds no flows")
    hosts = {name: number for number, name in enumerate(topology.node_name[: topology.hosts])}
    table = np.zeros((len(rows), 5), dtype=np.int64)
    for position, row in enumerate(rows):
        src, dst = _host(row, "src", hosts, problems), _host(row, "dst", hosts, problems)
        if src == dst and src >= 0:
            problems.add(row.line, f"a flow from {row.text['src']} to itself", row.column["dst"])
        size = _amount(row, "size", "size", problems)
        if size == 0:
            problems.add(row.line, "size must be above 0", row.column["size"])
        table[position] = _amount(row, "start", "time", problems), src, dst, size, row.line
    problems.raise_if_any()
    table = table[np.argsort(table[:, 0], kind="stable")]
    return FlowTable(*(np.ascontiguousarray(column) for column in table.T))


def _host(row: Row, column: str, hosts: dict[str, int], problems: Problems) -> int:
    """The rank, -1 with a problem."""
    text = row.text[column]
    if text in hosts:
        return hosts[text]
    if re.fullmatch(r"\d{1,9}", text):
        if int(text) < len(hosts):
            return int(text)
        problems.add(row.line, f"{column}: no host {text}; there are 0..{len(hosts) - 1}", row.column[column])
    else:
        problems.add(row.line, f"{column}: no host '{text}'{nearest(text, hosts)}", row.column[column])
    return -1


def _amount(row: Row, column: str, dimension: str, problems: Problems) -> int:
    """The quantity, -1 with a problem."""
    try:
        return parse(row.text[column], dimension)
    except ValueError as error:
        problems.add(row.line, f"{column}: {error}", row.column[column])
        return -1
