"""Wires what a replica's step sends through its layers, where collectives are flows on the fabric."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.serving.communication import CHOICE, WIDE
from models.serving.setup import Setup
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.groups import layout_of, schedule_of
from sim.flows import Flows
from sim.processes.plan import Plan, exchange_of, priced, profile_named
from sim.processes.serving.layers import Layers, Sizes
from sim.processes.serving.serving import Replica
from sim.scenario.load import Loaded

_PLANS = 256  # kept, of the latest batches' sizes


class LayersMaker:
    """Of a run: the collective policy's schedules, priced by its message profile."""

    def __init__(self, loaded: Loaded, topology: Topology, clock: Clock, flows: Flows) -> None:
        self._topology, self._clock, self._flows = topology, clock, flows
        policy, params = loaded.dispatch["collective"]
        self._policy: Any = policy.module.Policy(params)
        self._profile = profile_named(getattr(policy.module.Policy, "messages", "none"))
        self.plan_of = lru_cache(_PLANS)(self._plan_of)

    def _plan_of(self, operation: str, hosts: tuple[int, ...], size: int) -> Plan:
        layout = layout_of(self._topology, hosts)
        exchange = exchange_of(*schedule_of(self._policy, operation, len(hosts), size, layout))
        phased = bool(getattr(self._policy, "launches_phases", False))
        return priced(exchange, layout, self._profile, launches_phases=phased)

    def make(self, schedulers: Any, replica: Replica, setup: Setup, cost: NDArray[np.float64]) -> Layers:
        return Layers(self._clock, self._flows, schedulers, replica, cost, _sizes(setup), self.plan_of)


def _sizes(setup: Setup) -> Sizes:
    """The messages of ``models.serving.communication``, one by one."""
    model, ranks = setup.architecture, setup.data_parallel
    hidden = model.hidden * WIDE
    forward = model.matrices * model.hidden * model.dense_inner if model.dense_layers else 0
    return Sizes(
        layers=model.layers,
        with_experts=model.moe_layers,
        hidden=hidden,
        gathered=ranks * (hidden + model.top_k * CHOICE) if setup.lockstep else 0,
        scattered=ranks * hidden if setup.lockstep else 0,
        logits=model.vocabulary * WIDE,
        attention_share=model.attention_parameters / (model.attention_parameters + forward),
    )
