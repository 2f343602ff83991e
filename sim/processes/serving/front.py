"""The front door of a workload of requests: a router decides, and every request is followed to its end.

A request that no replica can ever serve is rejected at once. One for which the router finds no place is held, in order,
and asked for again when a report or an end comes, or (where loads are seen as they are) a step ends. When a replica
fails, its requests are lost or routed again, tokens that were given are kept: the prompt is computed again with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.draws import normals
from sim.clock import Clock
from sim.dispatch.api import DECODE, HOLD, PREFILL, REJECT, WHOLE, Incoming, Predictor, RouterParams
from sim.dispatch.router import predictions
from sim.engine.serving.book import FINISHED, HELD, LOST, SENT
from sim.processes.serving.routing import Candidates, Copy, Open, Room
from sim.processes.serving.serving import DOWN, OFF, Replica, Serving

_FIELDS = (
    *("arrival", "prompt", "output", "predicted", "tenant", "session", "kind", "priority", "hash_start", "hash_count"),
    *("status", "replica", "prefill_replica", "routed", "queued", "scheduled", "first", "last", "computed"),
    *("generated", "limit", "transferred", "blocks", "shared", "host"),
)
_IMPOSSIBLE = {"context": "longer than any context", "kv cache": "larger than any KV cache"}


class Wakes(Protocol):
    """A replica's process."""

    def wake(self) -> None: ...

    def fail(self) -> None: ...

    def start(self) -> None: ...


class HandsOver(Protocol):
    """What brings requests from prefill to decode."""

    def prefilled(self, opened: Open) -> None:
        """The first token is there."""
        ...

    def chosen(self, opened: Open, moved: int) -> None:
        """The router has chosen a decode replica, and the message of it has arrived."""
        ...

    def forget(self, opened: Open) -> None:
        """A request that is between the two is over."""
        ...

    def describe_waiting(self) -> list[str]: ...


class Predicted(NamedTuple):
    """How output lengths are predicted, and the key of the errors, each of which belongs to its request."""

    how: Predictor | None
    key: int


class Front:
    """Takes requests by their number in the book. ``on_idle``: called when a replica has nothing left, with it."""

    def __init__(
        self,
        clock: Clock,
        serving: Serving,
        params: RouterParams,
        copies: Sequence[Copy],
        models: Sequence[str],
        predicted: Predicted,
        *,
        reroute: bool,
        sees_live: bool,
    ) -> None:
        """``models`` [pools]: names; ``sees_live``: loads are seen as they are, so that any step may make room."""
        self._clock, self._serving, self._copies = clock, serving, copies
        self._delay = params.latency, params.network
        self._models = models
        self._predicted = predicted
        self._reroute = reroute
        self.sees_live = sees_live
        self._why = _why_rejected(params)
        self.candidates = Candidates(serving.replicas, models)
        self.runners: list[Wakes] = []  # by replica; set by who makes them
        self.handover: HandsOver | None = None  # the same, where prefill and decode are divided
        self.on_idle: Callable[[Replica], None] = lambda replica: None
        self.on_over: list[Callable[[int], None]] = []
        self.open: dict[int, Open] = {}
        self.at = [0] * len(serving.replicas)  # requests that are at each replica or on their way there
        self.holding = 0
        self._turn = 0
        self._known = 0  # requests of the book with a prediction
        self._room = Room(serving, self.candidates, models)
        self._rows: Any = None
        self.columns()

    def columns(self) -> None:
        """The columns of the book, whose memory moves when it grows."""
        rows = self._serving.book.rows
        if rows is not self._rows:
            self._rows = rows
            self.of = {name: memoryview(rows[name]) for name in _FIELDS}  # twice as quick as arrays, one by one

    def _predict(self) -> None:
        book, (how, key) = self._serving.book, self._predicted
        if how is not None:
            new = book.rows[self._known : book.count]
            # a router decides in which order turns come, so numbers in the book are no names of theirs
            talks = new["session"] >= 0
            first = np.where(talks, new["session"], new["number"])
            second = np.where(talks, new["turn"], -1).astype(np.int64)
            new["predicted"] = predictions(new["output"], how, normals(key, first, second))
        self._known = book.count

    # -- arrival and routing

    def submit(self, request: int) -> None:
        """A request arrives."""
        self.columns()
        if request >= self._known:
            self._predict()
        serving = self._serving
        serving.last_arrival = int(self._clock.now)
        if not serving.submitted:
            serving.first_arrival = serving.last_arrival
        serving.submitted += 1
        copy = self._copies[self._turn]
        self._turn = (self._turn + 1) % len(self._copies)
        opened = self.open[request] = Open(request, copy, WHOLE)
        reason = self._impossible(request)
        if reason:
            self._refuse(opened, reason)
        else:
            self.ask(opened)

    def _impossible(self, request: int) -> str:
        """Why no replica can ever serve a request; "" if one can, whole or in two stages."""
        start, tokens = self._lengths(request)
        if tokens <= self._room.surely or self._room.able(WHOLE, start, tokens):
            return ""
        if self.candidates.divided and self._room.able(PREFILL, start, tokens):
            return ""
        serving = self._serving
        reasons = [serving.schedulers.impossible(replica.first, request) for replica in serving.replicas]
        return _IMPOSSIBLE["context" if set(reasons) == {"context"} else "kv cache"]

    def _lengths(self, request: int) -> tuple[int, int]:
        """Tokens of a request with the next one that it is given, and in all."""
        of = self.of
        prompt, tokens = of["prompt"][request], of["prompt"][request] + of["output"][request]
        return min(prompt + of["generated"][request] + 1, tokens), tokens

    def ask(self, opened: Open) -> None:
        """Asks the router, after those that it holds already."""
        held = opened.copy.held[opened.stage == DECODE]
        if not held and self._decide(opened):
            return
        held.append(opened)
        self.holding += 1
        if opened.stage != DECODE:
            self.of["status"][opened.number] = HELD

    def unhold(self, opened: Open) -> None:
        """The router need not look for a place any more."""
        opened.copy.held[opened.stage == DECODE].remove(opened)
        self.holding -= 1

    def retry(self) -> None:
        """The router is asked again for what it holds."""
        for held in [held for copy in self._copies for held in reversed(copy.held)]:
            while held and self._decide(held[0]):
                held.popleft()
                self.holding -= 1

    def _decide(self, opened: Open) -> bool:
        """Whether the router had an answer other than to hold the request."""
        self.columns()
        router, stage = opened.copy.router, opened.stage
        incoming = self.incoming(opened)
        if stage == WHOLE and self.candidates.divided:
            stage = self._way(opened.number, PREFILL if router.splits(incoming) else WHOLE)
            incoming = incoming._replace(stage=stage)
        among = self.among(opened, stage)
        answer = router.route(incoming, among) if len(among) else HOLD
        if answer == HOLD:
            return False
        if answer == REJECT:
            self._refuse(opened, self._why)
        else:
            self._send(opened, stage, answer, among)
        return True

    def among(self, opened: Open, stage: int) -> NDArray[np.int64]:
        """The replicas that may be chosen: up, of the right role, large enough."""
        among = self.candidates.of(stage, self._model(opened) if stage == DECODE else "")
        start, tokens = self._lengths(opened.number)
        if tokens <= self._room.surely:
            return among
        fits = [one for one in among.tolist() if self._room.takes(one, stage, start, tokens)]
        return among if len(fits) == len(among) else np.array(fits, dtype=np.int64)

    def _way(self, request: int, wanted: int) -> int:
        """Whole or in two stages: as wanted, unless only the other way has room for it."""
        start, tokens = self._lengths(request)
        if tokens <= self._room.surely or self._room.able(wanted, start, tokens):
            return wanted
        return PREFILL if wanted == WHOLE else WHOLE

    def _model(self, opened: Open) -> str:
        """Of the replica that prefills, or has prefilled, a request."""
        replica = opened.source if opened.source >= 0 else opened.replica
        return self._models[self._serving.replicas[replica].pool]

    def incoming(self, opened: Open) -> Incoming:
        of, number = self.of, opened.number
        kind = of["kind"][number]
        aims = self._serving.classes[kind]
        start, count = of["hash_start"][number], of["hash_count"][number]
        prompt, predicted = of["prompt"][number], of["predicted"][number]
        given = of["generated"][number]
        if given and opened.stage != DECODE:  # its tokens are computed again with its prompt
            prompt, predicted = prompt + given, max(predicted - given, 1) if predicted >= 0 else -1
        return Incoming(
            number, int(self._clock.now), prompt, predicted, of["tenant"][number], of["session"][number],
            kind, of["priority"][number], self._serving.book.hashes[start : start + count],
            aims.ttft, aims.tpot, aims.e2e, opened.stage,
        )  # fmt: skip

    def _send(self, opened: Open, stage: int, choice: int, among: NDArray[np.int64]) -> None:
        """The router has decided."""
        place = int(among.searchsorted(choice))
        if place == len(among) or among[place] != choice:
            raise ValueError(f"the router chose replica {choice}, which is not among {among.tolist()}")
        of, number, now = self.of, opened.number, int(self._clock.now)
        latency, network = self._delay
        opened.stage, opened.replica, opened.there = stage, choice, False
        self.at[choice] += 1
        if stage == DECODE:
            assert self.handover is not None
            after = partial(self.handover.chosen, opened, opened.moved)
        else:
            after = partial(self._arrive, opened, opened.moved)
            of["status"][number] = SENT
            if of["first"][number] < 0:
                of["routed"][number] = now + latency
            given, wanted = of["generated"][number], of["output"][number]
            of["limit"][number] = min(given + 1, wanted) if stage == PREFILL else wanted
            of["replica"][number] = choice
            if stage == PREFILL:
                of["prefill_replica"][number] = choice
        if latency or network:
            self._clock.at(now + latency + network, after)
        else:
            after()

    def _arrive(self, opened: Open, moved: int) -> None:
        """A request comes to its replica."""
        if opened.moved != moved:
            return
        self.columns()
        serving, number, now = self._serving, opened.number, int(self._clock.now)
        replica = serving.replicas[opened.replica]
        if replica.state in (DOWN, OFF):
            serving.count("requests routed again", "their replica was gone when they came")
            self.leave(opened)
            self.again(opened)
            return
        rank = serving.schedulers.place(replica.first, replica.ranks) if replica.ranks > 1 else replica.first
        opened.rank, opened.there = rank, True
        serving.schedulers.add(rank, number, now)
        opened.copy.router.arrived(number, replica.index)
        self.runners[replica.index].wake()

    # -- what replicas tell

    def reached(self, request: int) -> None:
        """A request has the tokens that it was to generate at its replica."""
        self.columns()
        opened = self.open[request]
        if opened.stage == PREFILL and self.of["generated"][request] < self.of["output"][request]:
            assert self.handover is not None
            self.handover.prefilled(opened)
        else:
            self._finish(opened)

    def _finish(self, opened: Open) -> None:
        of, number, replica = self.of, opened.number, opened.replica
        arrival = of["arrival"][number]
        self.leave(opened)
        first, last = of["first"][number], of["last"][number]
        opened.copy.router.finished(number, replica, first - arrival, last - arrival)
        self.over(opened, FINISHED)

    def leave(self, opened: Open) -> None:
        """A request is no longer at a replica, nor on its way there."""
        replica = opened.replica
        opened.copy.router.left(opened.number, replica, int(self._clock.now))
        self.left(replica)
        opened.replica, opened.rank, opened.there = -1, -1, False
        opened.moved += 1

    def left(self, replica: int) -> None:
        self.at[replica] -= 1
        if not self.at[replica]:
            self.on_idle(self._serving.replicas[replica])

    def over(self, opened: Open, status: int) -> None:
        """The end of a request. Who waits for it is told after this instant's events: it may send the next one."""
        number = opened.number
        self.of["status"][number] = status
        del self.open[number]
        self._serving.over += 1
        for callback in self.on_over:
            self._clock.at(int(self._clock.now), partial(callback, number))
        if self.holding:
            self._clock.at(int(self._clock.now), self.retry)

    def _refuse(self, opened: Open, reason: str) -> None:
        serving, number = self._serving, opened.number
        if opened.source >= 0:
            assert self.handover is not None
            self.handover.forget(opened)
        serving.book.reject(number, reason)
        serving.count("requests rejected", reason)
        self.over(opened, int(self.of["status"][number]))

    def lose(self, opened: Open) -> None:
        """The replica of a request that has left it failed."""
        reason = "their replica failed"
        if self._reroute:
            self._serving.count("requests routed again", reason)
            self.again(opened)
            return
        self._serving.count("requests lost", reason)
        self._serving.book.reject(opened.number, "its replica failed")
        self.over(opened, LOST)

    def again(self, opened: Open) -> None:
        """A request that has left its replica is routed anew, with the tokens that it has."""
        of, number = self.of, opened.number
        for name in ("computed", "blocks", "shared", "host"):
            of[name][number] = 0
        if of["first"][number] < 0:
            for name in ("routed", "queued", "scheduled"):
                of[name][number] = -1
        opened.stage = WHOLE
        self.ask(opened)

    def describe_waiting(self) -> list[str]:
        """What keeps the requests in the system, at most 8 lines."""
        if not self.open:
            return []
        name, replicas = self._serving.name, self._serving.replicas
        lines = []
        if self.holding:
            up = sum(replica.up for replica in replicas)
            lines.append(f"{name}: the router holds {self.holding} requests; {up} of {len(replicas)} replicas are up")
        if self.handover is not None:
            lines += self.handover.describe_waiting()
        for replica in replicas:
            if self.at[replica.index]:
                lines.append(f"{name}: {self.at[replica.index]} requests are at replica {replica.index}")
        return lines if len(lines) <= 8 else [*lines[:7], f"{name}: {len(lines) - 7} more"]


def _why_rejected(params: RouterParams) -> str:
    rule: Any = params.reject
    if rule is None:
        return "the router's choice"
    if rule.kind == "queue":
        return f"early: more than {rule.most} waited at the replica chosen"
    return f"early: predicted TTFT above {rule.factor:g} x its target"
