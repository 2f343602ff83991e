"""What a router knows of its replicas' loads: as they are, or by reports and its own requests that these do not have.

A router's own requests count beside the last report from their decision on, from their arrival at the replica on, or
never (``counted``). A report has what had arrived when it was taken; what has ended since is taken off again.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import DECODE, Incoming

Longs = NDArray[np.int64]
Counted = Literal["decision", "arrival", "report"]


class Report(NamedTuple):
    """The load of a replica at an instant, all its schedulers together."""

    waiting: int  # requests that wait
    running: int  # requests in the batch
    tokens: int  # that its requests still need: prompt left, and output left as far as it is predicted
    prefill_tokens: int  # prompt tokens still to compute
    blocks: int  # KV blocks that requests hold
    number: int  # reports of all replicas that had been taken, with this one


_COLUMNS = ("waiting", "running", "outstanding_tokens", "waiting_tokens", "used_blocks")  # of the schedulers' loads


class Loads(Protocol):
    """Numbers by replica, as one copy of a router believes in them."""

    @property
    def waiting(self) -> Longs: ...

    @property
    def running(self) -> Longs: ...

    @property
    def requests(self) -> Longs: ...

    @property
    def tokens(self) -> Longs: ...

    @property
    def prefill_tokens(self) -> Longs: ...

    @property
    def blocks(self) -> Longs: ...

    def taken(self) -> int:
        """ps of the oldest report among those in use; -1: the loads are seen as they are."""
        ...

    def decided(self, request: Incoming, replica: int) -> None: ...

    def arrived(self, request: int, replica: int) -> None: ...

    def ended(self, request: int, replica: int, now: int) -> None: ...

    def report(self, replica: int, load: Report, taken: int) -> None: ...


class TrueLoads:
    """The loads that the schedulers keep, summed over the schedulers of a replica."""

    def __init__(self, loads: NDArray[Any], first: Longs) -> None:
        """``loads`` [schedulers]: a row each, kept up to date; ``first`` [replicas]: the first one of each replica."""
        self._columns = {name: loads[name] for name in _COLUMNS}
        self._first = first
        self._last = np.append(first[1:], len(loads)).tolist()
        self._plain = len(first) == len(loads)  # a scheduler a replica
        self.reports = 0  # taken so far: what tells, also within an instant, what a report has

    def column(self, name: str) -> Longs:
        """[replicas] a copy."""
        values = self._columns[name]
        if self._plain:
            return values.copy()
        summed: Longs = np.add.reduceat(values, self._first)
        return summed

    def requests(self) -> Longs:
        """[replicas] a copy."""
        values: Longs = self._columns["waiting"] + self._columns["running"]
        return values if self._plain else np.add.reduceat(values, self._first)

    def report(self, replica: int) -> Report:
        rows = slice(self._first[replica], self._last[replica])
        self.reports += 1
        waiting, running, tokens, prefill, blocks = (int(self._columns[name][rows].sum()) for name in _COLUMNS)
        return Report(waiting, running, tokens, prefill, blocks, self.reports)


class LiveLoads:
    """True loads, and with ``counted: decision`` the router's own requests that are still on their way."""

    def __init__(self, true: TrueLoads, block_tokens: Longs, counted: Counted, way: int) -> None:
        """``way``: ps from a decision to the arrival; the decode half of a request may take longer."""
        self._true = true
        self._counts = counted == "decision"
        self._at_once = way == 0
        self._block = block_tokens.tolist()
        self._way: dict[tuple[int, int], _Added] = {}  # (request, replica) -> what it brings
        self._more = np.zeros((len(_Added._fields), len(self._block)), dtype=np.int64)  # of those on their way

    def _with(self, values: Longs, row: int) -> Longs:
        return values + self._more[row] if self._way else values

    @property
    def waiting(self) -> Longs:
        return self._with(self._true.column("waiting"), 0)

    @property
    def running(self) -> Longs:
        return self._true.column("running")

    @property
    def requests(self) -> Longs:
        return self._with(self._true.requests(), 0)

    @property
    def tokens(self) -> Longs:
        return self._with(self._true.column("outstanding_tokens"), 1)

    @property
    def prefill_tokens(self) -> Longs:
        return self._with(self._true.column("waiting_tokens"), 2)

    @property
    def blocks(self) -> Longs:
        return self._with(self._true.column("used_blocks"), 3)

    def taken(self) -> int:
        return -1

    def decided(self, request: Incoming, replica: int) -> None:
        if self._counts and not (self._at_once and request.stage != DECODE):
            added = self._way[request.id, replica] = _added(request, self._block[replica])
            self._more[:, replica] += added

    def arrived(self, request: int, replica: int) -> None:
        added = self._way.pop((request, replica), None) if self._way else None
        if added is not None:
            self._more[:, replica] -= added

    def ended(self, request: int, replica: int, now: int) -> None:
        self.arrived(request, replica)  # one that never arrived

    def report(self, replica: int, load: Report, taken: int) -> None:
        """Of no use here."""


class _Added(NamedTuple):
    """What a request brings to a replica."""

    requests: int
    tokens: int
    prefill_tokens: int
    blocks: int


def _added(request: Incoming, block: int) -> _Added:
    prompt = 0 if request.stage == DECODE else request.prompt
    return _Added(1, prompt + max(request.predicted, 0), prompt, -(-request.prompt // block))


class _Own:
    """One of the router's own requests that the last report does not have."""

    __slots__ = ("added", "arrived")

    def __init__(self, added: _Added) -> None:
        self.added = added
        self.arrived = -1  # reports that had been taken then


class _Gone(NamedTuple):
    """When an own request arrived and ended: reports that had been taken, and ps of the end."""

    arrived: int
    ended: int
    time: int


class _Replica:
    """What a router remembers of one replica."""

    __slots__ = ("gone", "known", "more", "removed", "report", "taken", "unreported")

    def __init__(self) -> None:
        self.report = Report(0, 0, 0, 0, 0, 0)
        self.taken = 0
        self.unreported: dict[int, _Own] = {}
        self.known: dict[int, int] = {}  # own requests in the report that have not ended -> _Own.arrived
        self.gone: deque[_Gone] = deque()  # own requests that have ended, while a report may still have them
        self.removed = 0  # requests of the report that have ended
        self.more = [0, 0, 0, 0]  # counted beside the report, as in _Added


class ReportedLoads:
    """Loads by reports. At time 0 all replicas are known to be empty."""

    def __init__(self, true: TrueLoads, block_tokens: Longs, counted: Counted, delay: int) -> None:
        """``true``: what reports are taken of; ``delay``: ps that a report is under way."""
        self._true = true
        self._counted = counted
        self._delay = delay
        self._block = block_tokens.tolist()
        self._of = [_Replica() for _ in self._block]
        # one memory under two faces: quick to update from Python, arrays for kernels
        self._rows = [array("q", bytes(8 * len(self._block))) for _ in range(6)]
        faces = [np.frombuffer(row, dtype=np.int64) for row in self._rows]
        for face in faces:
            face.flags.writeable = False
        self.waiting, self.running, self.requests, self.tokens, self.prefill_tokens, self.blocks = faces

    def taken(self) -> int:
        return min(known.taken for known in self._of)

    def decided(self, request: Incoming, replica: int) -> None:
        if self._counted != "report":
            added = _added(request, self._block[replica])
            self._of[replica].unreported[request.id] = _Own(added)
            if self._counted == "decision":
                self._count(replica, added, 1)

    def arrived(self, request: int, replica: int) -> None:
        own = self._of[replica].unreported.get(request)
        if own is not None:
            own.arrived = self._true.reports
            if self._counted == "arrival":
                self._count(replica, own.added, 1)

    def ended(self, request: int, replica: int, now: int) -> None:
        known = self._of[replica]
        own = known.unreported.pop(request, None)
        if own is not None:
            arrived = own.arrived
            if self._counted == "decision" or arrived >= 0:
                self._count(replica, own.added, -1)
        else:
            arrived = known.known.pop(request, -1)
            if arrived >= 0:
                known.removed += 1
                self._believe(replica)
        while known.gone and known.gone[0].time + self._delay < now:
            known.gone.popleft()
        if arrived >= 0:
            known.gone.append(_Gone(arrived, self._true.reports, now))

    def report(self, replica: int, load: Report, taken: int) -> None:
        """A report arrives that was taken at ``taken`` ps."""
        known = self._of[replica]
        known.report, known.taken = load, taken
        in_it = [(name, own) for name, own in known.unreported.items() if 0 <= own.arrived < load.number]
        for name, own in in_it:
            del known.unreported[name]
            known.known[name] = own.arrived
            _add(known.more, own.added, -1)
        while known.gone and known.gone[0].ended < load.number:
            known.gone.popleft()
        known.removed = sum(one.arrived < load.number for one in known.gone)
        self._believe(replica)

    def _count(self, replica: int, added: _Added, sign: int) -> None:
        _add(self._of[replica].more, added, sign)
        self._believe(replica)

    def _believe(self, replica: int) -> None:
        known = self._of[replica]
        load, (requests, tokens, prefill_tokens, blocks) = known.report, known.more
        running = load.running - known.removed
        waiting = max(load.waiting + requests + min(running, 0), 0)
        running = max(running, 0)
        rows = self._rows
        rows[0][replica], rows[1][replica], rows[2][replica] = waiting, running, waiting + running
        rows[3][replica] = load.tokens + tokens
        rows[4][replica] = load.prefill_tokens + prefill_tokens
        rows[5][replica] = load.blocks + blocks


def _add(more: list[int], added: _Added, sign: int) -> None:
    requests, tokens, prefill_tokens, blocks = added
    more[0] += sign * requests
    more[1] += sign * tokens
    more[2] += sign * prefill_tokens
    more[3] += sign * blocks
