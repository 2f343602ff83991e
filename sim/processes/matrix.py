"""Given flows: a traffic matrix that starts at once, or htsim's connections with start times and triggers.

A trigger is fired by flows that end. ``oneshot`` starts all flows that wait for it, once; ``multishot`` starts the next
of them each time; ``barrier`` starts all when it has been fired ``count`` times. Firings beyond that do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import simpy

from models.connection_matrix import ConnectionMatrix
from sim.processes.collective import Sends


class SendsAndTells(Sends, Protocol):
    """A keeper of flows that can also tell when the sender has its last ACK (``on_end``)."""

    def send(
        self,
        src: int,
        dst: int,
        size: int,
        on_delivered: Callable[[], None] | None = None,
        job: str = "",
        on_end: Callable[[], None] | None = None,
    ) -> int: ...


class Transfer(NamedTuple):
    """One flow: it starts at ``start`` ps, or when ``trigger`` says so. It fires ``send_done`` when the sender knows
    that it has arrived, and ``recv_done`` when it has."""

    src: int  # host
    dst: int  # host
    size: int  # bytes
    start: int = 0
    trigger: int | None = None
    send_done: int | None = None
    recv_done: int | None = None


@dataclass(frozen=True)
class Trigger:
    """``kind``: oneshot, multishot or barrier; ``count``: firings that open a barrier."""

    kind: str
    count: int = 1


def together(pairs: Iterable[tuple[int, int]], size: int, start: int = 0) -> list[Transfer]:
    """All flows of a pattern, each of ``size`` bytes, at ``start`` ps."""
    return [Transfer(src, dst, size, start) for src, dst in pairs]


def of_connections(matrix: ConnectionMatrix) -> tuple[list[Transfer], dict[int, Trigger]]:
    """The flows and triggers of a ``.cm`` file."""
    transfers = [
        Transfer(
            flow.src, flow.dst, flow.size, flow.start or 0, flow.trigger, flow.send_done_trigger, flow.recv_done_trigger
        )
        for flow in matrix.flows
    ]
    return transfers, {trigger.id: Trigger(trigger.kind, trigger.count) for trigger in matrix.triggers}


class Matrix:
    """Starts the transfers. ``done`` comes when all of them have been delivered."""

    def __init__(
        self,
        env: simpy.Environment,
        flows: SendsAndTells,
        transfers: Sequence[Transfer],
        triggers: Mapping[int, Trigger] | None = None,
        *,
        name: str = "matrix",
    ) -> None:
        self._env = env
        self._flows = flows
        self._transfers = transfers
        self._name = name
        self._triggers = dict(triggers or {})
        self._left = {key: trigger.count for key, trigger in self._triggers.items() if trigger.kind == "barrier"}
        self._waiting: dict[int, list[int]] = {key: [] for key in self._triggers}  # transfers, in order
        self._open = len(transfers)
        self._started = 0
        self.done: simpy.Event = env.event()
        times: dict[int, list[int]] = {}
        for index, transfer in enumerate(transfers):
            if transfer.trigger is None:
                times.setdefault(transfer.start, []).append(index)
            else:
                self._waiting[transfer.trigger].append(index)
        env.process(self._run(times))

    def _run(self, times: dict[int, list[int]]) -> Generator[simpy.Event, Any, None]:
        for start in sorted(times):
            if start > self._env.now:
                yield self._env.timeout(start - self._env.now)
            self._send(times[start])
        if self._open == 0 and not self.done.triggered:  # an empty matrix
            self.done.succeed()

    def _send(self, indexes: list[int]) -> None:
        """Start transfers now: neighbours of one source in one go."""
        self._started += len(indexes)
        begin = 0
        while begin < len(indexes):
            first = self._transfers[indexes[begin]]
            end = begin + 1
            while end < len(indexes) and first.send_done is None and self._joins(first, indexes[end]):
                end += 1
            if first.send_done is not None:
                ended = partial(self._fire, first.send_done)
                arrived = partial(self._arrived, first)
                self._flows.send(first.src, first.dst, first.size, arrived, self._name, on_end=ended)
            else:
                batch = [self._transfers[index] for index in indexes[begin:end]]
                self._flows.send_many(
                    first.src,
                    [transfer.dst for transfer in batch],
                    [transfer.size for transfer in batch],
                    [partial(self._arrived, transfer) for transfer in batch],
                    self._name,
                )
            begin = end

    def _joins(self, first: Transfer, index: int) -> bool:
        other = self._transfers[index]
        return other.src == first.src and other.send_done is None

    def _arrived(self, transfer: Transfer) -> None:
        self._open -= 1
        if transfer.recv_done is not None:
            self._fire(transfer.recv_done)
        if self._open == 0:
            self.done.succeed()

    def _fire(self, key: int) -> None:
        waiting, kind = self._waiting[key], self._triggers[key].kind
        if kind == "barrier":
            self._left[key] -= 1
            if self._left[key]:
                return
        released = waiting[:1] if kind == "multishot" else list(waiting)
        del waiting[: len(released)]
        self._send(released)

    def describe_waiting(self) -> list[str]:
        unstarted = sum(map(len, self._waiting.values()))
        lines = []
        if self._started > len(self._transfers) - self._open:
            under_way = self._started - (len(self._transfers) - self._open)
            lines.append(f"{self._name}: {under_way} of {len(self._transfers)} flows are not delivered")
        if unstarted:
            keys = [key for key, waiting in self._waiting.items() if waiting]
            shown = ", ".join(map(str, keys[:8])) + (", ..." if len(keys) > 8 else "")
            lines.append(f"{self._name}: {unstarted} flows wait for triggers that have not fired ({shown})")
        return lines
