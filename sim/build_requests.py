"""Wires workloads of the kind ``requests``, and tells what they have to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.topology import Topology
from sim.clock import Clock
from sim.flows import Flows
from sim.processes.gpu import Gpus
from sim.rng import Streams
from sim.scenario.load import Loaded
from sim.scenario.serving import Requests

if TYPE_CHECKING:
    from sim.build_serving import Made, Maker
    from sim.processes.serving.arrivals import RequestArrivals
    from sim.processes.serving.serving import Serving


class ServingWiring:
    """Makes the workloads, and keeps what is to be told of them."""

    def __init__(
        self, loaded: Loaded, topology: Topology, clock: Clock, flows: Flows, streams: Streams, gpus: Gpus
    ) -> None:
        self._world = (loaded, topology, clock, flows, streams, gpus)
        self._clock, self._gpus = clock, gpus
        self._maker: Maker | None = None

    def make(self, index: int, item: Requests) -> RequestArrivals:
        """The workload's arrivals; the rest hangs on them."""
        if self._maker is None:
            from sim.build_serving import Maker

            self._maker = Maker(*self._world)
        return self._maker.make(index, item).work

    @property
    def _made(self) -> list[Made]:
        return self._maker.made if self._maker is not None else []

    @property
    def served(self) -> list[Serving]:
        return [made.serving for made in self._made]

    @property
    def housekeeping(self) -> int:
        """Events that are always planned."""
        return self._maker.housekeeping if self._maker is not None else 0

    @property
    def patience(self) -> int:
        """ps in which reports of loads may let go of what routers hold."""
        return self._maker.patience if self._maker is not None else 0

    def share(self) -> float:
        """How much of the requests is over, from 0 to 1; 0 where there are none, or no known number of them."""
        return min((serving.share() for serving in self.served), default=0.0)

    def backlog(self) -> int:
        """Requests in the system."""
        return sum(serving.backlog() for serving in self.served)

    def open_loop(self) -> bool:
        """Whether some requests come whatever becomes of those before them."""
        return any(serving.open_loop for serving in self.served)

    def last_arrival(self) -> int:
        """ps, of the last request of an open loop."""
        return max((serving.last_arrival for serving in self.served if serving.open_loop), default=0)

    def first_arrival(self) -> int:
        """ps, of the first request of an open loop."""
        return min((serving.first_arrival for serving in self.served if serving.open_loop), default=0)

    def ramped_up(self) -> bool:
        """Whether the arrivals of every open loop lasted long enough to tell growth from filling up."""
        now = int(self._clock.now)
        return all(serving.ramped_up(now) for serving in self.served if serving.open_loop)

    def describe_waiting(self) -> list[str]:
        return [line for made in self._made for line in made.front.describe_waiting()]

    def sample(self, now: int) -> None:
        for serving in self.served:
            serving.series.take(now)

    def thin(self) -> None:
        for serving in self.served:
            serving.series.thin()

    def settle(self) -> None:
        """At the end of a run: what replicas did, also in the books of their GPUs."""
        now = int(self._clock.now)
        for made in self._made:
            for replica, runner, memory in zip(made.serving.replicas, made.runners, made.memory, strict=True):
                runner.settle()
                replica.enter(replica.state, now)
                for host in replica.hosts:
                    device = self._gpus.device(host)
                    device.busy += replica.busy
                    device.wait += now - replica.busy
                    device.tokens += replica.tokens
                    device.memory.peak += memory

    def counted(self) -> dict[tuple[str, str], int]:
        """What was rejected, lost, routed again, clipped, extrapolated, by (what, reason)."""
        if self._maker is None:
            return {}
        from models.serving.law import TABLE
        from models.serving.tables import OUTSIDE

        tables = [cost for made in self._made for cost in made.costs if cost[0] == TABLE]
        beyond = int(sum(cost[OUTSIDE] for cost in tables))
        found = {("cost model extrapolated", "whole iterations"): beyond} if beyond else {}
        for serving in self.served:
            for key, number in serving.counts.items():
                found[key] = found.get(key, 0) + number
        return found

    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        told = ("requests rejected", "requests lost")
        counts = sorted(self.counted().items())
        return [f"{number} {what}: {reason}" for (what, reason), number in counts if what in told]

    def broken(self) -> list[str]:
        """The laws of the books that do not hold."""
        return [text for serving in self.served for text in serving.broken()]
