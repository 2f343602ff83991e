"""Raw nccl-tests logs as measured rows: one log of one collective, or several written one after the other.

A run names its collective ("# Collective test starting: alltoall_perf", or the program's name in a command line), its
ranks with host and device, then a line a size. The out-of-place time is taken, as everywhere in the data.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.comms.collective import COLLECTIVES, TYPES
from models.errors import InputError, Problem, Problems, nearest

_NAME = re.compile(r"\b([a-z_]+)_perf\b")
_RANK = re.compile(r"^#\s+Rank\s+(\d+)\b.*?\bPid\s+\d+\s+on\s+(\S+)\s+device\s+\S+\s+\[[^\]]*\]\s*(.*?)\s*$")
_TAG = re.compile(r"^\[\d+,\d+\]<\w+>:")  # mpirun --tag-output
_FIRST = re.compile(r"^\s*(\d+)(?:\s|$)")
# what a line holds: size count type redop root, then time algbw busbw #wrong out of place and in place
_FIELDS = 13
_DEVICES = (("GB300", "gb300"), ("GB200", "gb200"), ("B300", "b300_sxm"), ("B200", "b200_sxm"), ("H200", "h200_sxm"),
            ("H800", "h800"), ("H100", "h100_sxm"), ("A100", "a100_sxm"), ("L40S", "l40s"))  # fmt: skip


def read(path: str | Path) -> dict[str, NDArray[Any]] | None:
    """The rows of a log as arrays by column (collective, dtype, num_gpus, nodes, bytes, time_us, system).

    None if the file is no nccl-tests log. What is wrong in one is reported with its line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError([Problem(str(path), 0, 0, f"can't be read: {error.strerror}")]) from None
    lines = [_TAG.sub("", line) for line in text.splitlines()]
    marks = [line for line in lines if line.startswith("#")]
    if not any("busbw" in line or "nThread" in line or "Using devices" in line for line in marks):
        return None
    return _Reader(str(path)).table(lines)


class _Reader:
    def __init__(self, name: str) -> None:
        self.problems = Problems(name)
        self.collective = ""
        self.hosts: dict[int, str] = {}
        self.device = ""
        self.rows: list[tuple[str, str, int, int, int, float, str]] = []

    def table(self, lines: list[str]) -> dict[str, NDArray[Any]]:
        told = False
        for number, line in enumerate(lines, 1):
            if line.startswith("#"):
                self._comment(line)
                told = False if "nThread" in line else told
            elif (named := _NAME.search(line)) and _FIRST.match(line) is None:
                self.collective = named[1]
            elif _FIRST.match(line):
                told = self._measured(number, line, told)
        if not self.rows and not self.problems.found:
            self.problems.add(1, "an nccl-tests log without measured lines")
        self.problems.raise_if_any()
        names = ("collective", "dtype", "num_gpus", "nodes", "bytes", "time_us", "system")
        kinds = (object, object, np.int64, np.int64, np.int64, np.float64, object)
        columns = zip(*self.rows, strict=True)
        return {name: np.array(column, kind) for name, kind, column in zip(names, kinds, columns, strict=True)}

    def _comment(self, line: str) -> None:
        if "nThread" in line:  # a new run begins
            self.hosts, self.device = {}, ""
        if named := _NAME.search(line):
            self.collective = named[1]
        if rank := _RANK.match(line):
            self.hosts[int(rank[1])] = rank[2]
            self.device = rank[3]

    def _measured(self, number: int, line: str, told: bool) -> bool:
        """Adds one line; ``told``: that this run lacks its name or ranks has been said."""
        fields = line.split()
        if not told and not self.collective:
            self.problems.add(number, "no line before this one names the collective (like 'alltoall_perf')")
            told = True
        elif not told and self.collective not in COLLECTIVES:
            close = nearest(self.collective, COLLECTIVES)
            self.problems.add(number, f"collective '{self.collective}' is not modelled{close}")
            told = True
        if not told and not self.hosts:
            self.problems.add(number, "no '#  Rank ...' lines before this one: the number of GPUs is unknown")
            told = True
        if len(fields) != _FIELDS:
            self.problems.add(number, f"{len(fields)} fields where an nccl-tests line has {_FIELDS}")
            return told
        size, kind, time, wrong = fields[0], fields[2], fields[5], fields[8]
        column = line.index(time, line.index(fields[4]) + len(fields[4])) + 1
        try:
            microseconds = float(time)
        except ValueError:
            self.problems.add(number, f"time '{time}' is not a number", column)
            return told
        if not (np.isfinite(microseconds) and microseconds > 0):
            self.problems.add(number, f"time '{time}' is not above 0", column)
        if kind not in TYPES:
            self.problems.add(number, f"unknown data type '{kind}'{nearest(kind, TYPES)}", line.index(kind) + 1)
        if wrong.isdigit() and wrong != "0":  # old versions print the largest error instead, like 1e-07
            self.problems.add(number, f"{wrong} wrong values: the run's results are not to be trusted")
        if int(size) > 0:
            nodes = len(set(self.hosts.values())) or 1
            row = (self.collective, kind, len(self.hosts), nodes, int(size), microseconds, _system(self.device))
            self.rows.append(row)
        return told


def _system(device: str) -> str:
    """Preset of a device name as NCCL prints it; an unknown one keeps its own name."""
    return next((name for part, name in _DEVICES if part in device), re.sub(r"\W+", "_", device).strip("_").lower())
