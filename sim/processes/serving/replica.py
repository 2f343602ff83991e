"""A replica as a process: step after step of its engine, asleep while it has nothing to do.

A step is one event: the compiled schedulers end the batch under way and compose the next one, whose time they say. A
replica whose collectives are flows passes through the layers instead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

import simpy
from simpy.events import Event

from sim.clock import Clock
from sim.processes.serving.front import Front
from sim.processes.serving.serving import Replica, Serving


class Layers(Protocol):
    """The passage of a batch through the layers, where it is more than a time."""

    def run(self, duration: int) -> Generator[Event, Any, None]:
        """``duration`` ps of computing, and the messages between."""
        ...


class Runner:
    """``stretch``: from the nominal time of a step to what its GPUs take; None: the same."""

    def __init__(
        self,
        clock: Clock,
        serving: Serving,
        front: Front,
        replica: Replica,
        *,
        stretch: Callable[[int], int] | None = None,
        layers: Layers | None = None,
        composed: Callable[[Replica, int], None] | None = None,
    ) -> None:
        """``composed``: called when a step has begun, with its time in ps."""
        self._clock, self._serving, self._front, self._replica = clock, serving, front, replica
        self._stretch, self._layers, self._composed = stretch, layers, composed
        self._sleep: Event | None = None
        self._woken = False
        self._begun = -1  # ps of the step under way; -1: none
        self._life: simpy.Process = clock.process(self._run())

    def _run(self) -> Generator[Event, Any, None]:
        clock, front, replica, schedulers = self._clock, self._front, self._replica, self._serving.schedulers
        turn, told, reached, timeout = schedulers.turn, schedulers.told, front.reached, clock.timeout
        first, ranks, stretch, layers, composed = (
            replica.first, replica.ranks, self._stretch, self._layers, self._composed,
        )  # fmt: skip
        try:
            while True:
                self._woken = False
                duration = turn(first, ranks, clock.now)
                for request in told():
                    reached(request)
                if front.holding and front.sees_live:
                    front.retry()
                if duration:
                    if stretch is not None:
                        duration = stretch(duration)
                    self._begun = clock.now
                    if composed is not None:
                        composed(replica, duration)
                    if layers is None:
                        yield timeout(duration)
                    else:
                        yield from layers.run(duration)
                    replica.busy += clock.now - self._begun
                    self._begun = -1
                elif self._woken:
                    yield timeout(0)  # others of this instant come first
                else:
                    self._sleep = clock.event()
                    yield self._sleep
        except simpy.Interrupt:
            if self._begun >= 0:
                replica.busy += clock.now - self._begun
                self._begun = -1

    def wake(self) -> None:
        """There may be something to do."""
        self._woken = True
        if self._sleep is not None:
            self._sleep.succeed()
            self._sleep = None

    def fail(self) -> None:
        """The step under way will not end."""
        self._sleep = None
        if self._life.is_alive:
            self._life.interrupt()

    def start(self) -> None:
        """The replica is there again."""
        if not self._life.is_alive:
            self._life = self._clock.process(self._run())

    def settle(self) -> None:
        """At the end of a run: what the schedulers counted, and the time of the step under way."""
        replica, counts = self._replica, self._serving.schedulers.counts
        mine = counts[replica.first : replica.first + replica.ranks]
        replica.iterations = int(mine["iterations"][0] + mine["padded"][0])  # the same of all its schedulers
        replica.tokens = int(mine["tokens"].sum())
        if self._begun >= 0:
            replica.busy += self._clock.now - self._begun
