"""Autoscaling of a pool: replicas are switched on after a startup time, and off when they have nothing left to do.

The rule is that of Kubernetes' horizontal pod autoscaler: ceil(replicas x metric / target), no change within the
tolerance, and down only to the largest number that was wanted within the cooldown.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, NamedTuple

from simpy.events import Event

from sim.clock import Clock
from sim.processes.serving.front import Front
from sim.processes.serving.serving import DRAINING, OFF, STARTING, UP, Replica, Serving


class Rule(NamedTuple):
    """Of one pool. Times in ps."""

    metric: str  # requests, waiting (of a replica), kv (share of its blocks)
    target: float
    minimum: int
    maximum: int
    interval: int
    tolerance: float
    startup: int
    cooldown: int


class Autoscaler:
    """One pool. One event is planned at any time, beside those of replicas that start."""

    def __init__(self, clock: Clock, serving: Serving, front: Front, pool: Sequence[Replica], rule: Rule) -> None:
        self._clock, self._serving, self._front, self._pool, self._rule = clock, serving, front, pool, rule
        self._wanted: deque[tuple[int, int]] = deque()  # ps, replicas: what was wanted within the cooldown
        clock.process(self._run())

    def _run(self) -> Generator[Event, Any, None]:
        while True:
            yield self._clock.timeout(self._rule.interval)
            self._decide()

    def _decide(self) -> None:
        rule, now = self._rule, int(self._clock.now)
        serving = [replica for replica in self._pool if replica.state == UP]
        on = [replica for replica in self._pool if replica.state in (UP, STARTING)]
        wanted = len(on)
        if serving:
            ratio = self._metric(serving) / rule.target
            if abs(ratio - 1.0) > rule.tolerance:
                wanted = math.ceil(len(serving) * ratio)
        wanted = min(max(wanted, rule.minimum), rule.maximum)
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - rule.cooldown:
            self._wanted.popleft()
        if wanted > len(on):
            self._more(wanted - len(on))
        else:
            self._fewer(on, len(on) - max(most for _, most in self._wanted))

    def _metric(self, serving: Sequence[Replica]) -> float:
        """Mean over the replicas in use; what the router holds counts as theirs."""
        rule, loads = self._rule, self._serving.schedulers.loads
        ranks = [rank for replica in serving for rank in range(replica.first, replica.first + replica.ranks)]
        if rule.metric == "kv":
            return float((loads["used_blocks"][ranks] / loads["kv_blocks"][ranks]).mean())
        total = int(loads["waiting"][ranks].sum()) + self._front.holding
        if rule.metric == "requests":
            total += int(loads["running"][ranks].sum())
        return total / len(serving)

    def _more(self, number: int) -> None:
        """Those that still drain first, then those that are off, by number."""
        spare = [replica for replica in self._pool if replica.state == DRAINING]
        spare += [replica for replica in self._pool if replica.state == OFF]
        for replica in spare[:number]:
            if replica.state == DRAINING:
                self._enter(replica, UP)
                continue
            self._enter(replica, STARTING)
            self._serving.count("replicas switched on", f"pool {replica.pool_name}")
            self._clock.at(int(self._clock.now) + self._rule.startup, partial(self._started, replica))

    def _started(self, replica: Replica) -> None:
        if replica.state == STARTING:
            self._enter(replica, UP)

    def _fewer(self, on: Sequence[Replica], number: int) -> None:
        """Those that still start first, then the last ones; a busy one takes no more requests until it is empty."""
        order = sorted(on, key=lambda replica: (replica.state != STARTING, -replica.index))
        for replica in order[: max(number, 0)]:
            self._enter(replica, DRAINING)
            if not self._front.at[replica.index]:
                self.drained(replica)

    def drained(self, replica: Replica) -> None:
        """A replica has nothing left."""
        if replica.state == DRAINING:
            self._serving.count("replicas switched off", f"pool {replica.pool_name}")
            self._enter(replica, OFF)

    def _enter(self, replica: Replica, state: str) -> None:
        replica.enter(state, int(self._clock.now))
        self._front.candidates.changed()
        if state == UP and self._front.holding:
            self._front.retry()
