"""What one workload of requests consists of while it runs, and what its tables are made of.

Cast: a ``Replica`` is a group of GPUs that serves one copy of a model; a ``RequestClass`` has the targets of a kind of
request; ``LoadSeries`` are samples of the replicas' loads; ``Serving`` holds them with the book of requests and the
schedulers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIXED, PREFILL, DECODE = "mixed", "prefill", "decode"  # roles of replicas
_RAMP = 3  # times of work that arrivals last before growth is called overload
UP, DOWN, OFF, STARTING, DRAINING = "up", "down", "off", "starting", "draining"  # states of replicas


@dataclass
class Replica:
    """One replica of a workload. Its schedulers are ``first`` to ``first + ranks - 1``."""

    index: int  # through all pools of the workload
    pool: int
    pool_name: str
    role: str
    quality: float  # NaN: not given
    hosts: tuple[int, ...]  # rank after rank, the shards of a rank next to each other
    first: int
    ranks: int  # data parallel
    shards: int  # tensor parallel
    state: str = UP
    busy: int = 0  # ps in iterations
    iterations: int = 0
    tokens: int = 0  # computed in iterations that are over
    on_for: int = 0  # ps powered on, up to `changed`
    changed: int = 0  # ps of the last change of state

    @property
    def up(self) -> bool:
        """Whether it takes requests."""
        return self.state == UP

    def enter(self, state: str, now: int) -> None:
        """Another state from now on."""
        if self.state not in (OFF, DOWN):
            self.on_for += now - self.changed
        self.state, self.changed = state, now

    def hosts_of(self, rank: int) -> tuple[int, ...]:
        """The GPUs of one of its schedulers, counted from 0."""
        return self.hosts[rank * self.shards : (rank + 1) * self.shards]


@dataclass(frozen=True)
class RequestClass:
    """Targets in ps; -1: none."""

    name: str
    ttft: int = -1
    tpot: int = -1
    itl: int = -1
    e2e: int = -1
    priority: int = 0


SAMPLED = ("waiting", "running", "used_blocks", "batch_tokens")  # columns of the schedulers' loads


class LoadSeries:
    """Samples of the replicas' loads, taken with those of the network."""

    def __init__(self, loads: NDArray[Any], replicas: list[Replica]) -> None:
        """``loads`` [schedulers]: kept by the schedulers."""
        self._loads = loads
        self._begin = np.array([replica.first for replica in replicas])
        self.time: list[int] = []  # ps
        self.values: list[NDArray[np.int64]] = []  # [replicas, SAMPLED] each

    def take(self, now: int) -> None:
        self.time.append(now)
        columns = [np.add.reduceat(self._loads[name].astype(np.int64), self._begin) for name in SAMPLED]
        self.values.append(np.stack(columns, axis=1))

    def thin(self) -> None:
        """Keeps every other sample, the later of two."""
        self.time, self.values = self.time[1::2], self.values[1::2]


@dataclass
class Serving:
    """One workload of requests. ``kv_blocks`` [replicas]: blocks of all its schedulers."""

    name: str  # workload.0
    number: int  # of the workload
    book: Any
    schedulers: Any
    replicas: list[Replica]
    pools: list[str]
    classes: list[RequestClass]
    kv_blocks: NDArray[np.int64]
    series: LoadSeries
    total: int | None = None  # requests in all, where it is known
    open_loop: bool = True
    submitted: int = 0
    over: int = 0  # finished, rejected or lost
    first_arrival: int = 0  # ps
    last_arrival: int = 0  # ps
    counts: dict[tuple[str, str], int] = field(default_factory=dict)  # (what, reason) -> how often

    def count(self, what: str, reason: str, number: int = 1) -> None:
        if number:
            self.counts[what, reason] = self.counts.get((what, reason), 0) + number

    def share(self) -> float:
        """How much of the requests is over, from 0 to 1; 0 where there is no known number of them."""
        return self.over / self.total if self.total else 0.0

    def backlog(self) -> int:
        """Requests in the system."""
        return self.submitted - self.over

    def ramped_up(self, now: int) -> bool:
        """Whether arrivals lasted ``_RAMP`` times the mean time that replicas work on a request.

        By Little's law a service fills up for about that time, however little is asked of it: until then the number in
        the system says nothing of overload. Time in queues doesn't count, which overload makes as long as the run; and
        of the arrivals only the first third, so that replicas that slow down under ever more work pass as well.
        """
        from sim.engine.serving import book as words

        rows = self.book.rows[: self.book.count]
        lasted = self.last_arrival - self.first_arrival
        early = (rows["arrival"] <= self.first_arrival + lasted / 3) & (rows["scheduled"] >= 0)
        rows = rows[early & ~np.isin(rows["status"], (words.REJECTED, words.LOST))]
        end = np.where(rows["status"] == words.FINISHED, rows["last"], now)
        work = end - rows["scheduled"] - rows["stalled"]
        return lasted >= _RAMP * (float(work.mean()) if len(work) else 0.0)

    def settle(self, now: int) -> None:
        """Closes the books of the replicas' times."""
        for replica in self.replicas:
            replica.enter(replica.state, now)

    def broken(self) -> list[str]:
        """The laws of the books that do not hold."""
        from sim.engine.serving import book as words

        found = [f"{self.name}: {text}" for text in self.schedulers.check()]
        status = self.book.rows["status"][: self.book.count]
        ended = int(np.isin(status, (words.FINISHED, words.REJECTED, words.LOST)).sum())
        if ended != self.over:
            found.append(f"{self.name}: {ended} requests are over, but {self.over} were told")
        return found
