"""Replicas that fail and come back.

A replica is down while an event holds it: its own, or that of a host that it has a GPU on. What it holds is lost: its
requests are routed again or given up, its prefix cache is empty when it comes back.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

from simpy.events import Event

from sim.clock import Clock
from sim.processes.serving.front import Front
from sim.processes.serving.handover import Handover
from sim.processes.serving.serving import DOWN, DRAINING, OFF, UP, Replica, Serving


class Outage(NamedTuple):
    """An event sets a replica down at ``at`` ps, up to ``until`` or until it is set up; or (``up``) sets it up.

    ``owner``: what the event is about: the replica, or a host. Setting it up ends all that was set for it.
    """

    at: int
    replica: int
    owner: str
    up: bool = False
    until: int | None = None


class Outages:
    """Applies outages in order of time; of one instant those that begin, in the order given, then those that end."""

    def __init__(
        self, clock: Clock, serving: Serving, front: Front, handover: Handover | None, outages: Iterable[Outage]
    ) -> None:
        self._clock, self._serving, self._front, self._handover = clock, serving, front, handover
        self._outages = sorted(outages, key=lambda outage: outage.at)
        self._held: list[dict[int, str]] = [{} for _ in serving.replicas]  # by replica: outage -> owner
        self._before: dict[int, str] = {}  # states of replicas that are down
        if self._outages:
            clock.process(self._run())

    def _run(self) -> Generator[Event, Any, None]:
        plan = [(one.at, 0, number) for number, one in enumerate(self._outages)]
        plan += [(one.until, 1, number) for number, one in enumerate(self._outages) if one.until is not None]
        for time, ends, number in sorted(plan):
            if time > self._clock.now:
                yield self._clock.timeout(time - self._clock.now)
            outage = self._outages[number]
            held, replica = self._held[outage.replica], self._serving.replicas[outage.replica]
            if ends:
                held.pop(number, None)
            elif outage.up:
                for other in [one for one, owner in held.items() if owner == outage.owner]:
                    del held[other]
            else:
                held[number] = outage.owner
            if held and replica.state != DOWN:
                self._fail(replica)
            elif not held and replica.state == DOWN:
                self._repair(replica)

    def _fail(self, replica: Replica) -> None:
        """It is gone with all that it holds."""
        front, serving, index = self._front, self._serving, replica.index
        front.columns()
        self._before[index] = replica.state
        front.runners[index].fail()
        replica.enter(DOWN, int(self._clock.now))
        serving.count("replicas failed", f"pool {replica.pool_name}")
        front.candidates.changed()
        for rank in range(replica.first, replica.first + replica.ranks):
            serving.schedulers.drop(rank)
        for opened in [one for one in front.open.values() if index in (one.replica, one.source, one.target)]:
            if opened.source == index:
                assert self._handover is not None
                self._handover.lost_source(opened)
                front.lose(opened)
            elif opened.there and opened.replica == index:
                if self._handover is not None:
                    self._handover.untarget(opened)
                front.leave(opened)
                front.lose(opened)
            elif opened.target == index or opened.source >= 0:
                assert self._handover is not None
                self._handover.lost_target(opened)

    def _repair(self, replica: Replica) -> None:
        """It goes on empty; what an autoscaler had switched off stays off."""
        before = self._before.pop(replica.index)
        replica.enter(OFF if before in (OFF, DRAINING) else UP, int(self._clock.now))
        self._front.candidates.changed()
        self._front.runners[replica.index].start()
        if self._front.holding:
            self._front.retry()
