"""Wires what goes wrong: the scenario's events, the links that are broken from the start, and the book of failures."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes
from models.topology import Topology
from sim.build_admission import AdmissionWiring
from sim.clock import Clock
from sim.dispatch.views import PathView
from sim.failures import FailureBook
from sim.flows import Flows
from sim.network.protocol import Network
from sim.processes.faults import Fault, Faults
from sim.scenario.events import EventKeys, links_of
from sim.scenario.load import Loaded


def wire_faults(
    loaded: Loaded,
    topology: Topology,
    clock: Clock,
    network: Network,
    view: PathView,
    flows: Flows,
    admission: AdmissionWiring,
    broken: Sequence[int],
    acks: bool,
) -> tuple[Faults, FailureBook] | None:
    """``broken``: links that are down from the start; ``acks``: the transport has them.

    None without events of the network; those of replicas are the workload's.
    """
    scenario = loaded.scenario
    events = [(index, event) for index, event in enumerate(scenario.events) if event.replica is None]
    if not events:
        return None
    found = [fault for index, event in events for fault in _faults(index, event, topology, loaded)]

    def converge(up: NDArray[np.bool_]) -> None:
        # a port without light takes the whole cable out of the tables; ACKs need the other direction, too
        whole = up & up[np.arange(topology.links) ^ 1]
        routes = Routes(topology, whole)
        network.set_routes(routes)
        flows.converge(routes)
        admission.hear(whole)

    book = FailureBook(clock, network, topology, view, flows, acks)
    delay = scenario.fabric.convergence_delay
    return Faults(clock, network, topology.link_rate, found, delay, converge, book, broken), book


def _faults(index: int, event: EventKeys, topology: Topology, loaded: Loaded) -> list[Fault]:
    """The occurrences of one event."""
    links = links_of(event, topology)
    element = str(getattr(event, event.target))
    owner = "" if event.target == "link" else element
    rates = tuple(rate_left(event, int(topology.link_rate[link])) for link in links) if event.rate is not None else ()
    return [
        Fault(index, at, element, owner, links, event.set, until, rates, event.loss or 0.0)
        for at, until in event.occurrences(loaded.scenario.stop.time)
    ]


def rate_left(event: EventKeys, rate: int) -> int:
    """bit/s that a degraded link of ``rate`` keeps: whole ones, at least 1."""
    if isinstance(event.rate, Fraction):
        return max(1, int(event.rate * rate))
    return rate if event.rate is None else min(event.rate, rate)
