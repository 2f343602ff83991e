"""Events of a Chrome trace: when they start, the lanes that they lie in, the window that is asked for."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

FOREVER = 2**63 - 1
# when it starts (ps), a number for each source, what it is, and the event
Timed = tuple[int, int, str, dict[str, Any]]


@dataclass(frozen=True)
class Window:
    """From ``begin`` to ``end`` in ps; what lies across an edge belongs to it."""

    begin: int = 0
    end: int = FOREVER

    def holds(self, start: int, end: int) -> bool:
        return start < self.end and end >= self.begin


WHOLE = Window()


class Lanes:
    """Threads of a process; each holds one event at a time."""

    def __init__(self) -> None:
        self._busy: list[tuple[int, int]] = []  # (end, lane)
        self._free: list[int] = []
        self._count = 0

    def take(self, start: int, end: int) -> int:
        """The lowest lane that is free from ``start`` on; starts never fall."""
        while self._busy and self._busy[0][0] <= start:
            heapq.heappush(self._free, heapq.heappop(self._busy)[1])
        if self._free:
            lane = heapq.heappop(self._free)
        else:
            self._count += 1
            lane = self._count
        heapq.heappush(self._busy, (end, lane))
        return lane


def event(
    name: str, kind: str, process: int, thread: int, start: int, end: int, more: dict[str, Any]
) -> dict[str, Any]:
    """A complete event; one that did not end only begins."""
    head = {"name": name, "cat": kind, "ph": "B" if end == FOREVER else "X", "pid": process, "tid": thread}
    length = {} if end == FOREVER else {"dur": (end - start) / 1e6}
    return {**head, "ts": start / 1e6, **length, "args": more}


def counter(process: int, name: str, time: int, values: dict[str, float]) -> dict[str, Any]:
    return {"name": name, "ph": "C", "pid": process, "tid": 0, "ts": time / 1e6, "args": values}
