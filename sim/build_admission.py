"""Wires admission: the controller with its policy, where somebody asks for it, workloads ``demands``, and gates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim import sources
from sim.clock import Clock
from sim.dispatch.api import ControllerParams
from sim.flows import Flows
from sim.processes.admission import Controller
from sim.processes.demands import DemandArrivals, Sender, Terms, Traffic
from sim.processes.gate import Asked, Door, Refused, Rounds
from sim.rng import Streams
from sim.scenario.demands import Demands
from sim.scenario.gates import Gate
from sim.scenario.load import Loaded


class AdmissionWiring:
    """Makes the controller when it is first needed, and keeps what is to be told of it."""

    def __init__(
        self,
        loaded: Loaded,
        topology: Topology,
        clock: Clock,
        flows: Flows,
        streams: Streams,
        up: NDArray[np.bool_],
    ) -> None:
        """``up`` [links]: those that work at the start."""
        self._loaded, self._topology, self._clock, self._flows = loaded, topology, clock, flows
        self._streams, self._up = streams, up
        self.asked: Controller | None = None
        self._work: list[DemandArrivals] = []
        self.refused = Refused()

    def controller(self) -> Controller:
        """The one controller of the run."""
        if self.asked is None:
            policy, params = self._loaded.dispatch["admission"]
            assert isinstance(params, ControllerParams)

            def generator(agent: int) -> np.random.Generator:
                return self._streams.generator(f"dispatch/admission/{agent}")

            self.asked = Controller(
                self._clock, self._topology, params, lambda view: policy.module.Policy(params, view), generator,
                self._up,
            )  # fmt: skip
        return self.asked

    def make(self, index: int, item: Demands) -> tuple[DemandArrivals, sources.DrawnDemands]:
        loaded = self._loaded
        drawn = sources.demands_of(item, index, loaded, self._topology, self._streams)
        several = sum(isinstance(other, Demands) for other in loaded.scenario.workload) > 1
        work = DemandArrivals(
            self._clock, self.controller(), drawn.blocks, Terms(item.patience, item.full, loaded.scenario.stop.time),
            self._traffic(item), endless=drawn.endless, total=drawn.total, name=f"workload.{index}",
            prefix=f"{index}/" if several else "",
        )  # fmt: skip
        self._work.append(work)
        return work, drawn

    def door(self, item: Gate) -> Door:
        """What stands before the flows of a workload."""
        return Door(self._flows, self.controller(), _asked(item), self.refused)

    def rounds(self, item: Gate) -> Rounds:
        """What stands before the rounds of a collective."""
        return Rounds(self._flows, self.controller(), _asked(item), self.refused)

    def _traffic(self, item: Demands) -> Traffic | None:
        if not item.traffic:
            return None
        if not self._loaded.scenario.packets:
            return Traffic(self._flows, item.share)
        transport = self._loaded.scenario.fabric.transport
        return Traffic(self._flows, item.share, transport.payload, transport.header)

    def hear(self, up: NDArray[np.bool_]) -> None:
        """The tables know of other links now."""
        if self.asked is not None:
            self.asked.hear(up)

    def senders(self) -> dict[int, Sender]:
        """By number of the demand, those that have sent something."""
        return {number: sender for work in self._work for number, sender in work.sending.items()}

    def backlog(self) -> int:
        """Flows under way that wait for nothing but their demand's time, to be taken off, and demands that wait."""
        waiting = self.asked.waiting() if self.asked is not None else 0
        return waiting - sum(work.under_way for work in self._work)

    def last_arrival(self) -> int:
        """ps, of the last demand."""
        return max((work.last for work in self._work), default=0)

    def share(self) -> float:
        """How much of the demands is over, from 0 to 1; 0 where there are none, or no known number of them."""
        return min((work.share() for work in self._work), default=0.0)

    def broken(self) -> list[str]:
        """The laws of the books that do not hold."""
        return [] if self.asked is None else self.asked.broken()

    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        if self.asked is None:
            return []
        notes = [f"{note} ({count} decisions)" for note, count in sorted(self.asked.notes.items())]
        notes += self.refused.notes()
        if self.asked.params.time == "measured":
            notes.append("the controller is charged measured times: two runs differ")
        return notes


def _asked(item: Gate) -> Asked:
    return Asked(item.rate, item.full, item.priority, item.patience)
