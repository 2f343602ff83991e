"""Demands that arrive over time: what they ask of the admission controller, and what they send once they are admitted.

Each kind of draw has a random stream of its own and is made in blocks of a fixed length: no policy changes the demands
that arrive, and other holding times leave arrivals, pairs, bandwidths and priorities as they are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from models.demands import Demands
from models.units import PS_PER_SECOND
from sim.processes.admission import Controller
from sim.processes.arrivals import BLOCK, Gaps
from sim.processes.bookings import Path, Request
from sim.processes.pairs import Pairs

Ints = NDArray[np.int64]


class Block(NamedTuple):
    """Demands in order of their arrival, [n] each. -1: stays until the end, no delay bound."""

    start: Ints  # ps
    src: Ints  # node
    dst: Ints  # node
    bandwidth: Ints  # bit/s
    priority: Ints
    hold: Ints  # ps
    delay_bound: Ints  # ps
    name: list[str] | None = None  # where a file names them


class Amounts(Protocol):
    """A distribution of bandwidths or times; whole numbers above 0."""

    def sample(self, rng: np.random.Generator, number: int) -> Ints: ...

    def mean(self) -> float: ...


@dataclass(frozen=True)
class Choice:
    """One of some values, equally likely; a single one is a constant."""

    of: tuple[int, ...]

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        return np.array(self.of, dtype=np.int64)[rng.integers(len(self.of), size=number)]

    def mean(self) -> float:
        return sum(self.of) / len(self.of)


@dataclass(frozen=True)
class Uniform:
    """Any whole number from ``low`` to ``high``."""

    low: int
    high: int

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        return rng.integers(self.low, self.high, size=number, endpoint=True)

    def mean(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class Exponential:
    """Exponential values, rounded up."""

    scale: int

    def sample(self, rng: np.random.Generator, number: int) -> Ints:
        drawn = np.ceil(rng.standard_exponential(number) * self.scale)
        return np.maximum(np.minimum(drawn, 2.0**62), 1.0).astype(np.int64)

    def mean(self) -> float:
        return float(self.scale)


class Rngs(NamedTuple):
    """The generators of one workload."""

    arrivals: np.random.Generator
    pairs: np.random.Generator
    bandwidth: np.random.Generator
    hold: np.random.Generator
    priority: np.random.Generator


def draw_demands(
    rngs: Rngs,
    gaps: Gaps,
    pairs: Pairs,
    bandwidth: Amounts,
    hold: Amounts | None,
    priorities: list[tuple[int, float]],
    *,
    delay_bound: int = -1,
    count: int | None = None,
    until: int | None = None,
) -> Iterator[Block]:
    """At most ``count`` demands, none that arrives after ``until`` ps. ``priorities``: (priority, share)."""
    left = count
    value = np.array([priority for priority, _ in priorities], dtype=np.int64)
    upto = np.cumsum([share for _, share in priorities])
    for start in gaps.starts(rngs.arrivals):
        src, dst = pairs.draw(rngs.pairs, BLOCK)
        asked = bandwidth.sample(rngs.bandwidth, BLOCK)
        stays = np.full(BLOCK, -1, dtype=np.int64) if hold is None else hold.sample(rngs.hold, BLOCK)
        which = np.searchsorted(upto, rngs.priority.random(BLOCK) * upto[-1], side="right")
        number = len(start) if left is None else min(left, len(start))
        if until is not None:
            number = min(number, int(np.searchsorted(start, until, side="right")))
        if number:
            bound = np.full(number, delay_bound, dtype=np.int64)
            columns = (src, dst, asked, value[which], stays)
            yield Block(start[:number], *(column[:number] for column in columns), bound)
        if left is not None:
            left -= number
        if left == 0 or number < len(start):
            return


def listed_demands(table: Demands) -> Iterator[Block]:
    """Those of a file, in order of their arrival (those of one instant in the order of the file)."""
    order = np.argsort(table.arrival, kind="stable")
    columns = (table.arrival, table.src, table.dst, table.bandwidth, table.priority, table.hold, table.delay_bound)
    for begin in range(0, len(order), BLOCK):
        now = order[begin : begin + BLOCK]
        yield Block(*(column[now] for column in columns), [table.id[row] for row in now.tolist()])


@dataclass(frozen=True)
class Terms:
    """What all demands of a workload have in common."""

    patience: int | None  # ps
    full: Literal["reject", "hold"]
    end: int | None  # ps of stop.time: until when demands without a hold send


class Carries(Protocol):
    """The keeper of flows, as far as demands need it."""

    def send(self, src: int, dst: int, size: int, *, job: str, path: Path, cap: int, weight: float) -> int: ...

    def move(self, flow: int, path: Path) -> None: ...

    def stop(self, flow: int) -> None: ...


@dataclass(frozen=True)
class Traffic:
    """How admitted demands send. A packet is ``mtu`` bytes of payload and a ``header``; engines without: mtu 0."""

    flows: Carries
    weight: float
    mtu: int = 0
    header: int = 0

    def payload(self, bandwidth: int, time: int) -> int:
        """Bytes of payload that a demand can send in ``time`` ps: its bandwidth has room for the headers too."""
        size = bandwidth * time // (8 * PS_PER_SECOND)
        if not self.mtu:
            return size
        packets, rest = divmod(size, self.mtu + self.header)
        return packets * self.mtu + max(0, rest - self.header)


class DemandArrivals:
    """Asks for demands when they are due. ``done`` comes when all have ended, been refused or lost.

    ``endless``: there is no end of arrivals, or demands stay for ever; ``done`` never comes then.
    """

    def __init__(
        self,
        env: simpy.Environment,
        controller: Controller,
        blocks: Iterator[Block],
        terms: Terms,
        traffic: Traffic | None,
        *,
        endless: bool = False,
        total: int | None = None,
        name: str = "demands",
        prefix: str = "",
    ) -> None:
        """``total``: demands in all, where it is known. ``prefix`` of their names."""
        self._env, self._controller, self._terms, self._traffic = env, controller, terms, traffic
        self._name, self._prefix = name, prefix
        self.endless, self.total = endless, total
        self.arrived = self.over = 0
        self.last = 0  # ps, when the last one arrived
        self.sending: dict[int, Sender] = {}  # by number of the demand, of all that have sent
        self.under_way = 0  # flows of demands that have not left
        self._all_arrived = False
        self.done: simpy.Event = env.event()
        env.process(self._run(blocks))

    def _run(self, blocks: Iterator[Block]) -> Generator[simpy.Event, Any, None]:
        env, ask, terms = self._env, self._controller.ask, self._terms
        for block in blocks:
            names = block.name or [""] * len(block.start)
            columns = (column.tolist() for column in block[:7])
            for start, src, dst, bandwidth, priority, hold, bound, given in zip(*columns, names, strict=True):
                if start > env.now:
                    yield env.timeout(start - env.now)
                self.last = start
                number = len(self._controller.bookings)
                request = Request(
                    src, dst, bandwidth, priority, hold if hold >= 0 else None, bound, terms.patience, terms.full,
                    on_refused=self._over, on_lost=self._over, on_ended=self._over,
                    name=f"{self._prefix}{given or number}",
                )  # fmt: skip
                if self._traffic is not None:
                    Sender(self, self._traffic, request, number)
                self.arrived += 1
                ask(request)
        self._all_arrived = True
        self._end_if_over()

    def _over(self, reason: str = "") -> None:
        self.over += 1
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._all_arrived and self.over == self.arrived and not self.done.triggered:
            self.done.succeed()

    def length(self, hold: int | None) -> int:
        """ps that a demand sends which is admitted now."""
        if hold is not None:
            return hold
        assert self._terms.end is not None
        return self._terms.end - int(self._env.now)

    def share(self) -> float:
        """How much of the demands is over, from 0 to 1."""
        return self.over / self.total if self.total else 0.0

    def describe_waiting(self) -> list[str]:
        waiting = self.arrived - self.over
        return [f"{self._name}: {waiting} of {self.arrived} demands wait or have not left"] if waiting else []


class Sender:
    """The traffic of one demand: a stream at its bandwidth on its path, from its admission until it leaves."""

    __slots__ = ("_request", "_work", "flow", "number", "traffic")

    def __init__(self, work: DemandArrivals, traffic: Traffic, request: Request, number: int) -> None:
        self._work, self.traffic, self._request = work, traffic, request
        self.number, self.flow = number, -1
        request.on_admitted, request.on_moved = self._start, self._move
        request.on_lost, request.on_ended = self._lost, self._ended

    def _start(self, path: Path) -> None:
        request, traffic = self._request, self.traffic
        size = traffic.payload(request.bandwidth, self._work.length(request.hold))
        if size:  # else it leaves before its first byte is due
            self.flow = traffic.flows.send(
                request.src, request.dst, size, job=f"demand {request.name}", path=path, cap=request.bandwidth,
                weight=traffic.weight,
            )  # fmt: skip
            self._work.sending[self.number] = self
            self._work.under_way += 1

    def _move(self, path: Path) -> None:
        if self.flow >= 0:
            self.traffic.flows.move(self.flow, path)

    def _stop(self) -> None:
        if self.flow >= 0:
            self.traffic.flows.stop(self.flow)
            self._work.under_way -= 1

    def _lost(self, reason: str) -> None:
        self._stop()
        self._work._over(reason)

    def _ended(self) -> None:
        self._stop()
        self._work._over()
