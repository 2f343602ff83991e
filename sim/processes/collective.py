"""Collective operations as processes: GPUs compute, join, and wait until their rank is done.

Cast: a ``Collective`` is one operation that runs a ``Plan``; a ``CollectiveWorkload`` repeats it, with a process a GPU;
``Collectives`` notes what happened.

The messages of a rank that wait for nothing are sent when the rank joins, after the plan's launch. An arrival counts
down its gate; an open gate releases its messages in their order, but not before the rank that they belong to has joined
and launched. A rank is done when all messages to it have arrived and all of its own have been delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import simpy

from sim.processes.gate import Rounds
from sim.processes.gpu import Gpu, Gpus
from sim.processes.plan import Plan


class SendsOne(Protocol):
    """What a source of single flows needs of the keeper of the flows. ``job``: what the flows are for."""

    def send(
        self, src: int, dst: int, size: int, on_delivered: Callable[[], None] | None = None, job: str = ""
    ) -> int: ...


class SendsMany(Protocol):
    """What an operation needs of the keeper of the flows, or of what stands in for it.

    ``cause``: the flow whose arrival is being heard; whatever is sent meanwhile was released by it, and what is sent
    later because of it, within ``because_of``.
    """

    @property
    def cause(self) -> int: ...

    def because_of(self, cause: int) -> AbstractContextManager[None]: ...

    def send_many(
        self,
        src: int,
        dsts: list[int],
        sizes: list[int],
        callbacks: list[Callable[[], None]],
        job: str = "",
        overheads: list[int] | None = None,
        weights: list[float] | None = None,
    ) -> Any: ...


class Sends(SendsOne, SendsMany, Protocol):
    """What a source of work needs of the keeper of the flows."""


@dataclass
class Row:
    """One operation. Times in ps; -1: not yet."""

    id: int
    op: str
    algorithm: str
    ranks: int
    bytes: int
    start: int  # the first rank joined
    job: str  # what its flows are for
    time: int = -1  # until the last rank was done
    finish: list[int] = field(default_factory=list)  # per rank


class Collectives:
    """All operations of a run, in order of their start."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def begin(self, op: str, algorithm: str, ranks: int, size: int, now: int) -> Row:
        number = len(self.rows)
        row = Row(number, op, algorithm, ranks, size, now, f"collective:{number}", finish=[-1] * ranks)
        self.rows.append(row)
        return row


class Collective:
    """One operation. ``hosts``: where each rank is; ``begin(now)`` gives the row to fill when the first rank joins."""

    def __init__(
        self,
        env: simpy.Environment,
        flows: SendsMany,
        plan: Plan,
        hosts: Sequence[int],
        begin: Callable[[int], Row],
    ) -> None:
        self._env = env
        self._flows = flows
        self._plan = plan
        self._hosts = hosts
        self._begin = begin
        self._row: Row | None = None
        self._count = list(plan.counts)
        self.due = list(plan.due)
        self._left = plan.ranks
        self._finished: list[simpy.Event | None] = [None] * plan.ranks  # of the ranks that have joined
        self._going = [False] * plan.ranks  # those whose launch is over
        self._called_off = False
        self._held: list[list[int]] = [[] for _ in range(plan.ranks)]  # gates that opened before their rank was going

    def joined(self, rank: int) -> bool:
        return self._finished[rank] is not None

    @property
    def over(self) -> bool:
        """Whether every rank is done with it."""
        return self._left == 0 or (self._called_off and None not in self._finished)

    def call_off(self) -> None:
        """It will not be finished: its ranks go on, those that join later at once."""
        self._called_off = True
        for done in self._finished:
            if done is not None and not done.triggered:
                done.succeed()

    def join(self, rank: int) -> simpy.Event:
        """Rank takes part from now on; the event comes when it is done."""
        if self._row is None:
            self._row = self._begin(self._env.now)
        done = self._finished[rank] = self._env.event()
        if self._called_off:
            return done.succeed()
        if self._plan.launch:
            self._after(self._plan.launch, partial(self._go, rank))
        else:
            self._go(rank)
        return done

    def _after(self, delay: int, act: Callable[[], None]) -> None:
        timer = self._env.timeout(delay)
        assert timer.callbacks is not None
        timer.callbacks.append(lambda event: act())

    def _go(self, rank: int) -> None:
        """The rank sends from now on."""
        self._going[rank] = True
        work = deque([self._plan.at_once[rank]] if self._plan.at_once[rank] else [])
        for gate in self._held[rank]:
            self._pass(gate, work)
        self._release(work)
        if self.due[rank] == 0:
            self._finish(rank)

    def _release(self, work: deque[list[int]]) -> None:
        """Send lists of messages, each of one rank; signals open further gates in the same instant."""
        plan, hosts, size = self._plan, self._hosts, self._plan.size
        job = self._row.job if self._row is not None else ""
        while work:
            batch = work.popleft()
            sent = [index for index in batch if size[index]]
            if sent:
                extra: tuple[Any, ...] = ()
                if plan.overheads is not None:
                    extra = ([plan.overheads[index] for index in sent],)
                    if plan.weights is not None:
                        extra += ([plan.weights[index] for index in sent],)
                self._flows.send_many(
                    hosts[plan.src[sent[0]]],
                    [hosts[plan.dst[index]] for index in sent],
                    [size[index] for index in sent],
                    [partial(self._arrived, index) for index in sent],
                    job,
                    *extra,
                )
            if len(sent) < len(batch):
                for index in batch:
                    if size[index] == 0:
                        self._count_down(plan.opens[index], work)

    def _count_down(self, gate: int, work: deque[list[int]]) -> None:
        if gate < 0:
            return
        self._count[gate] -= 1
        if self._count[gate] or not self._plan.at_gate[gate]:
            return
        owner = self._plan.owner[gate]
        if self._going[owner]:
            self._pass(gate, work)
        else:
            self._held[owner].append(gate)

    def _pass(self, gate: int, work: deque[list[int]]) -> None:
        """What waits at an open gate goes to work, at once or after its launch."""
        batch = self._plan.at_gate[gate]
        if self._plan.relaunch:
            self._after(self._plan.relaunch, partial(self._relaunch, batch, self._flows.cause))
        else:
            work.append(batch)

    def _relaunch(self, batch: list[int], cause: int) -> None:
        with self._flows.because_of(cause):
            self._release(deque([batch]))

    def _arrived(self, index: int) -> None:
        plan = self._plan
        src, dst, opens = plan.src[index], plan.dst[index], plan.opens[index]
        self.due[src] -= 1
        self.due[dst] -= 1
        if opens >= 0:
            work: deque[list[int]] = deque()
            self._count_down(opens, work)
            self._release(work)
        for rank in (src, dst):
            if self.due[rank] == 0 and self._going[rank]:
                self._finish(rank)

    def _finish(self, rank: int) -> None:
        if self._called_off:
            return
        row, done = self._row, self._finished[rank]
        if row is None or done is None:
            raise RuntimeError(f"rank {rank} is done before it has joined")
        row.finish[rank] = self._env.now
        self._left -= 1
        if self._left == 0:
            row.time = self._env.now - row.start
        done.succeed()


class CollectiveWorkload:
    """An operation that a group of GPUs repeats; each GPU computes for ``gap`` ps between two of them.

    ``hosts`` [ranks] in order of rank; ``root`` is the rank that the schedule calls 0 (broadcast). ``rounds``: each
    round asks for its paths first.
    """

    def __init__(
        self,
        env: simpy.Environment,
        flows: Sends,
        gpus: Gpus,
        records: Collectives,
        plan: Plan,
        hosts: Sequence[int],
        *,
        op: str,
        algorithm: str,
        size: int,
        repeat: int = 1,
        gap: int = 0,
        start: int = 0,
        root: int = 0,
        name: str = "collective",
        rounds: Rounds | None = None,
    ) -> None:
        self._env = env
        self._flows = flows
        self._plan = plan
        self._hosts = [*hosts[root:], *hosts[:root]]
        self._begin = partial(records.begin, op, algorithm, plan.ranks, size)
        self._repeat, self._gap, self._start = repeat, gap, start
        self._name = name
        self._rounds = rounds
        self._label = f"{name} ({op}, {algorithm})"
        self._running: dict[int, Collective] = {}
        self._turn = [0] * plan.ranks  # the repeat that each rank is in, or computes for
        self.done: simpy.Event = env.all_of([env.process(self._gpu(rank, gpus)) for rank in range(plan.ranks)])

    def _gpu(self, rank: int, gpus: Gpus) -> Generator[simpy.Event, Any, None]:
        gpu = Gpu(self._env, gpus, self._hosts[rank])
        if self._start:
            yield self._env.timeout(self._start)
        for turn in range(self._repeat):
            self._turn[rank] = turn
            if turn and self._gap:
                yield from gpu.compute(self._gap, "compute", self._name)
            operation = self._running.get(turn)
            if operation is None:
                operation = self._running[turn] = self._operation()
            yield from gpu.wait(operation.join(rank))
            if operation.over:
                self._running.pop(turn, None)
        self._turn[rank] = self._repeat

    def _operation(self) -> Collective:
        """The next round; behind a gate it asks for its paths when the first rank joins."""
        if self._rounds is None or not any(self._plan.size):
            return Collective(self._env, self._flows, self._plan, self._hosts, self._begin)
        sent = [index for index, size in enumerate(self._plan.size) if size]
        ends = {(self._hosts[self._plan.src[index]], self._hosts[self._plan.dst[index]]) for index in sent}
        gate = self._rounds.make(sorted(ends), len(sent))

        def begin(now: int) -> Row:
            row = self._begin(now)
            gate.begin(operation.call_off)
            return row

        operation = Collective(self._env, gate, self._plan, self._hosts, begin)
        return operation

    def describe_waiting(self) -> list[str]:
        """Which rank waits for what, at most 8 lines."""
        lines = []
        for rank, turn in enumerate(self._turn):
            operation = self._running.get(turn)
            where = f"{self._label}, repeat {turn}: rank {rank} on host {self._hosts[rank]}"
            if turn < self._repeat and operation is not None and operation.joined(rank) and operation.due[rank]:
                lines.append(f"{where} waits for {operation.due[rank]} messages to or from it")
        if len(lines) > 8:
            return [*lines[:7], f"{self._label}: {len(lines) - 7} more ranks wait"]
        return lines
