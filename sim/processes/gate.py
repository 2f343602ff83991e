"""Gates: flows and rounds of a collective that need a reserved path of some rate before they send.

Cast: a ``Door`` stands before the flows of a workload, each of which asks for itself. A ``Round`` stands before the
messages of one round of a collective, whose pairs are admitted all together or not at all. Both stand in for ``Flows``,
and hold what they are given until the controller has answered.

What was admitted goes on its path, no faster than the rate, the messages of one pair one after the other. Who loses the
path, to a failure or to somebody more important, stops: a flow is over then, and a round is called off.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from sim.flows import Flows
from sim.processes.admission import Controller
from sim.processes.bookings import Request

Callback = Callable[[], None]
Path = tuple[int, ...]
_NO_ROOM, _TAKEN = "admission", "the reserved path was taken away"


class Asked(NamedTuple):
    """What is asked for each path, and what to do where there is no room for it."""

    rate: int  # bit/s
    full: Literal["hold", "reject"]
    priority: int
    patience: int | None  # ps

    def request(self, src: int, dst: int) -> Request:
        return Request(src, dst, self.rate, self.priority, patience=self.patience, full=self.full)


class Refused:
    """What gates turned away or had to stop, by (what, why)."""

    def __init__(self) -> None:
        self.count: Counter[tuple[str, str]] = Counter()

    def notes(self) -> list[str]:
        return [f"{count} {what}: {why}" for (what, why), count in sorted(self.count.items())]


class _Held:
    """A flow of a door."""

    __slots__ = ("flow", "number", "on_delivered", "over")

    def __init__(self, on_delivered: Callback | None) -> None:
        self.on_delivered = on_delivered
        self.flow = self.number = -1
        self.over = False


class Door:
    """Each flow asks for a path of its own. ``on_given_up`` is called where one is not, or no longer, sent."""

    def __init__(self, flows: Flows, controller: Controller, asked: Asked, refused: Refused) -> None:
        self._flows, self._controller, self._asked, self._refused = flows, controller, asked, refused
        self.on_given_up: Callback = lambda: None

    def send(self, src: int, dst: int, size: int, on_delivered: Callback | None = None, job: str = "") -> int:
        held = _Held(on_delivered)
        held.flow = self._flows.hold(src, dst, size, partial(self._delivered, held), job)
        request = self._asked.request(src, dst)
        request.on_admitted = partial(self._admitted, held)
        request.on_refused = partial(self._turned_away, held)
        request.on_moved = partial(self._flows.move, held.flow)
        request.on_lost = partial(self._lost, held)
        held.number = self._controller.ask(request)
        return held.flow

    def _admitted(self, held: _Held, path: Path) -> None:
        self._flows.let_go(held.flow, path, self._asked.rate)

    def _delivered(self, held: _Held) -> None:
        if held.over:
            return  # all of it had left when it was stopped
        held.over = True
        self._flows.free(held.flow)
        self._controller.release(held.number)
        if held.on_delivered is not None:
            held.on_delivered()

    def _turned_away(self, held: _Held, reason: str) -> None:
        self._flows.refuse(held.flow, _NO_ROOM)
        self.on_given_up()

    def _lost(self, held: _Held, reason: str) -> None:
        if held.over:
            return
        held.over = True
        self._refused.count["flows stopped", _TAKEN] += 1
        self._flows.stop(held.flow)
        self.on_given_up()


class _Channel:
    """The reserved path of a pair, over which its messages go one by one."""

    __slots__ = ("flow", "path", "waiting")

    def __init__(self) -> None:
        self.path: Path = ()
        self.flow = -1  # under way; -1: none
        self.waiting: deque[int] = deque()  # flows

    def has(self, path: Path) -> None:
        self.path = path


class Round:
    """The paths of all pairs of a round, from its beginning until its last message has arrived."""

    def __init__(
        self,
        flows: Flows,
        controller: Controller,
        asked: Asked,
        refused: Refused,
        pairs: Iterable[tuple[int, int]],
        messages: int,
    ) -> None:
        """``pairs`` of hosts that send to each other; ``messages``: how many there will be in all."""
        self._flows, self._controller, self._asked, self._refused = flows, controller, asked, refused
        self._channels = {pair: _Channel() for pair in pairs}
        self._left = messages
        self._open = self._over = False
        self._numbers: list[int] = []

    def begin(self, call_off: Callback) -> None:
        """Asks for the paths. ``call_off`` is called where the round is not, or no longer, possible."""
        self._call_off = call_off
        requests = []
        for (src, dst), channel in self._channels.items():
            request = self._asked.request(src, dst)
            request.on_admitted = channel.has
            request.on_moved = partial(self._moved, channel)
            request.on_lost = self._lost
            requests.append(request)
        self._numbers = self._controller.ask_all(requests, self._admitted, self._turned_away)

    # -- as Flows

    @property
    def cause(self) -> int:
        return self._flows.cause

    def because_of(self, cause: int) -> AbstractContextManager[None]:
        return self._flows.because_of(cause)

    def send_many(
        self,
        src: int,
        dsts: list[int],
        sizes: list[int],
        callbacks: list[Callback],
        job: str = "",
        overheads: list[int] | None = None,
        weights: list[float] | None = None,
    ) -> None:
        """Messages of a round that is over are not sent."""
        if self._over:
            return
        extra = overheads if overheads is not None else [0] * len(dsts)
        shares = weights if weights is not None else [1.0] * len(dsts)
        for dst, size, callback, overhead, share in zip(dsts, sizes, callbacks, extra, shares, strict=True):
            channel = self._channels[src, dst]
            delivered = partial(self._delivered, channel, callback)
            channel.waiting.append(self._flows.hold(src, dst, size, delivered, job, overhead, share))
            if self._open:
                self._send_next(channel)

    # -- what becomes of it

    def _admitted(self) -> None:
        self._open = True
        for channel in self._channels.values():
            self._send_next(channel)

    def _send_next(self, channel: _Channel) -> None:
        if channel.waiting and channel.flow < 0:
            channel.flow = channel.waiting.popleft()
            self._flows.let_go(channel.flow, channel.path, self._asked.rate)

    def _delivered(self, channel: _Channel, callback: Callback) -> None:
        if self._over:
            return  # it was under way when the round was called off
        self._flows.free(channel.flow)
        channel.flow = -1
        self._left -= 1
        if self._left == 0:
            self._release()
        else:
            self._send_next(channel)
        callback()

    def _release(self) -> None:
        self._over = True
        for number in self._numbers:
            self._controller.release(number)

    def _moved(self, channel: _Channel, path: Path) -> None:
        channel.path = path
        if channel.flow >= 0:
            self._flows.move(channel.flow, path)

    def _turned_away(self, reason: str) -> None:
        self._refused.count["collectives rejected", _NO_ROOM] += 1
        self._give_up(_NO_ROOM)

    def _lost(self, reason: str) -> None:
        if self._over:
            return
        self._refused.count["collectives called off", _TAKEN] += 1
        self._release()
        self._give_up(_TAKEN)

    def _give_up(self, reason: str) -> None:
        self._over = True
        for channel in self._channels.values():
            if channel.flow >= 0:
                self._flows.stop(channel.flow)
            for flow in channel.waiting:
                self._flows.refuse(flow, reason)
        self._call_off()


@dataclass(frozen=True)
class Rounds:
    """Makes what stands before each round of one workload."""

    flows: Flows
    controller: Controller
    asked: Asked
    refused: Refused

    def make(self, pairs: Iterable[tuple[int, int]], messages: int) -> Round:
        return Round(self.flows, self.controller, self.asked, self.refused, pairs, messages)
