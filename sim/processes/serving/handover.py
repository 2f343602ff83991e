"""From prefill to decode: a request whose first token is there goes on at another replica, after its KV cache.

The decode replica is chosen when the prompt is computed; or, where the cache leaves layer by layer while that runs,
when its prefill begins. The prefill replica keeps the blocks until all of them have arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from sim.clock import Clock
from sim.dispatch.api import DECODE, HOLD, PREFILL, REJECT
from sim.engine.serving.book import MOVING
from sim.processes.serving.front import Front
from sim.processes.serving.routing import Open
from sim.processes.serving.serving import DOWN, OFF, Replica, Serving


class Moves(Protocol):
    """What carries KV caches."""

    def begin(self, request: int, source: int, target: int, tokens: int, done: Callable[[bool], None]) -> None:
        """All ``tokens`` of a request are computed at the scheduler ``source``; those that have not left yet leave.

        ``done`` is told whether all has arrived, when that is known.
        """
        ...

    def call_off(self, request: int) -> None: ...

    def under_way(self) -> int: ...


class Handover:
    """Of one workload."""

    def __init__(self, clock: Clock, serving: Serving, front: Front, moves: Moves) -> None:
        self._clock, self._serving, self._front, self._moves = clock, serving, front, moves

    def early(self, request: int) -> int:
        """The scheduler that a request will be decoded at, chosen when its prefill begins; -1 if none takes it yet."""
        opened = self._front.open[request]
        if opened.target >= 0 or opened.stage != PREFILL:
            return opened.target_rank
        front = self._front
        front.columns()
        if front.of["generated"][request] + 1 >= front.of["output"][request]:
            return -1
        among = front.among(opened, DECODE)
        incoming = front.incoming(opened)._replace(stage=DECODE)
        answer = opened.copy.router.route(incoming, among) if len(among) else HOLD
        if answer in (HOLD, REJECT):
            return -1
        front.at[answer] += 1
        opened.target, opened.target_rank = answer, self._place(self._serving.replicas[answer])
        return opened.target_rank

    def _place(self, replica: Replica) -> int:
        if replica.ranks == 1:
            return replica.first
        return int(self._serving.schedulers.place(replica.first, replica.ranks))

    def prefilled(self, opened: Open) -> None:
        """The first token is there."""
        front = self._front
        opened.source, opened.source_rank = opened.replica, opened.rank
        opened.stage, opened.there = DECODE, False
        opened.replica, opened.rank = opened.target, opened.target_rank
        opened.target = opened.target_rank = -1
        front.of["status"][opened.number] = MOVING
        if opened.replica >= 0:
            self._begin(opened)
        else:
            front.ask(opened)

    def chosen(self, opened: Open, moved: int) -> None:
        """The router has chosen a decode replica, and the message of it has arrived."""
        if opened.moved != moved:
            return
        replica = self._serving.replicas[opened.replica]
        if replica.state in (DOWN, OFF):
            self._front.leave(opened)
            self._front.ask(opened)
            return
        opened.rank = self._place(replica)
        self._begin(opened)

    def _begin(self, opened: Open) -> None:
        self._front.columns()
        tokens = self._front.of["computed"][opened.number]
        done = partial(self._arrived, opened)
        self._moves.begin(opened.number, opened.source_rank, opened.rank, tokens, done)

    def _arrived(self, opened: Open, whole: bool) -> None:
        """All of the KV cache is at the decode replica; or that computes the prompt itself."""
        front, serving, number, now = self._front, self._serving, opened.number, int(self._clock.now)
        front.columns()
        of = front.of
        computed = of["computed"][number] if whole else 0
        if not whole:
            serving.count("KV caches computed again", "no way to their decode replica")
        self._free(opened)
        of["computed"][number] = computed
        of["transferred"][number] += now - of["last"][number]
        of["limit"][number] = of["output"][number]
        of["replica"][number] = opened.replica
        opened.there = True
        serving.schedulers.add(opened.rank, number, now)
        opened.copy.router.arrived(number, opened.replica)
        front.runners[opened.replica].wake()

    def _free(self, opened: Open) -> None:
        """The prefill replica gives up a request's KV cache."""
        source = opened.source
        self._serving.schedulers.release(opened.source_rank, opened.number)
        self._forget_source(opened)
        self._front.runners[source].wake()

    def _forget_source(self, opened: Open) -> None:
        source = opened.source
        opened.copy.router.left(opened.number, source, int(self._clock.now))
        opened.source = opened.source_rank = -1
        self._front.left(source)

    def forget(self, opened: Open) -> None:
        """A request between prefill and decode is over."""
        self._moves.call_off(opened.number)
        self._free(opened)

    # -- failures

    def lost_target(self, opened: Open) -> None:
        """The decode replica failed; the KV cache is at the prefill replica still."""
        self._moves.call_off(opened.number)
        self._serving.count("KV transfers begun again", "their decode replica failed")
        if opened.target >= 0:  # the prefill still runs
            self.untarget(opened)
            return
        self._front.leave(opened)
        self._front.ask(opened)

    def untarget(self, opened: Open) -> None:
        """The choice of a decode replica that was made early is void."""
        if opened.target < 0:
            return
        self._moves.call_off(opened.number)
        opened.copy.router.left(opened.number, opened.target, int(self._clock.now))
        self._front.left(opened.target)
        opened.target = opened.target_rank = -1

    def lost_source(self, opened: Open) -> None:
        """The prefill replica failed before all of the KV cache had left it."""
        front = self._front
        self._moves.call_off(opened.number)
        if opened.replica >= 0:
            front.leave(opened)
        else:
            front.unhold(opened)
        self._forget_source(opened)

    def describe_waiting(self) -> list[str]:
        moving = self._moves.under_way()
        return [f"{self._serving.name}: {moving} KV caches are on their way to a decode replica"] if moving else []
