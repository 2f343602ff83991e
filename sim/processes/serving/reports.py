"""Reports of the replicas' loads on their way to the copies of a router."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from simpy.events import Event

from sim.clock import Clock
from sim.dispatch.api import Telemetry
from sim.dispatch.request_loads import Report, TrueLoads
from sim.processes.serving.front import Front
from sim.processes.serving.routing import Copy


class Reports:
    """All replicas report every ``interval``; each report is lost on its way to each copy with a probability.

    One event is planned at any time: the next report taken or heard.
    """

    def __init__(
        self,
        clock: Clock,
        telemetry: Telemetry,
        front: Front,
        copies: Sequence[Copy],
        true: TrueLoads,
        replicas: int,
        rng: np.random.Generator,
    ) -> None:
        self._clock, self._telemetry, self._front, self._copies = clock, telemetry, front, copies
        self._true, self._replicas, self._rng = true, replicas, rng
        clock.process(self._run())

    def _run(self) -> Generator[Event, Any, None]:
        clock, interval, delay = self._clock, self._telemetry.interval, self._telemetry.delay
        under_way: deque[tuple[int, list[Report]]] = deque()  # when they were taken
        taking = interval
        while True:
            due = min(taking, under_way[0][0] + delay) if under_way else taking
            yield clock.timeout(due - clock.now)
            if due == taking:
                under_way.append((due, [self._true.report(replica) for replica in range(self._replicas)]))
                taking += interval
            if under_way and under_way[0][0] + delay == due:
                self._hear(*under_way.popleft())

    def _hear(self, taken: int, reports: list[Report]) -> None:
        loss = self._telemetry.loss
        for copy in self._copies:
            arrives = self._rng.random(len(reports)) >= loss if loss else None
            for replica, report in enumerate(reports):
                if arrives is None or arrives[replica]:
                    copy.router.report(replica, report, taken)
        if self._front.holding:
            self._front.retry()
