"""Makes one workload of the kind ``requests``: replicas with their schedulers, routers, arrivals, transfers, outages.

Imported only where a scenario has one: it loads the compiled schedulers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.serving.memory import kv_bytes_per_token
from models.topology import Topology
from sim.build_layers import LayersMaker
from sim.build_replicas import Fleet, fleet_of
from sim.clock import Clock
from sim.dispatch.api import PREFILL, RouterParams, Telemetry
from sim.dispatch.request_loads import TrueLoads
from sim.dispatch.request_view import DECODES, MIXED, PREFILLS, Facts, RequestView
from sim.dispatch.router import Router
from sim.engine.serving.book import Book
from sim.engine.serving.schedule import Schedulers
from sim.flows import Flows
from sim.processes.gpu import Gpus
from sim.processes.serving import serving as states
from sim.processes.serving.arrivals import RequestArrivals
from sim.processes.serving.front import Front, Predicted
from sim.processes.serving.handover import Handover
from sim.processes.serving.layers import Layers
from sim.processes.serving.outages import Outage, Outages
from sim.processes.serving.replica import Runner
from sim.processes.serving.reports import Reports
from sim.processes.serving.routing import Copy
from sim.processes.serving.scaling import Autoscaler, Rule
from sim.processes.serving.serving import LoadSeries, Replica, RequestClass, Serving
from sim.processes.serving.transfers import Cache, Overlap, Transfers
from sim.request_source import asked_of
from sim.rng import Streams
from sim.scenario.load import Loaded
from sim.scenario.serving import Pool, Requests, Targets
from sim.scenario.serving_hosts import place

_ROLES = {states.MIXED: MIXED, states.PREFILL: PREFILLS, states.DECODE: DECODES}


@dataclass
class Made:
    """One workload, wired."""

    work: RequestArrivals

    serving: Serving
    front: Front
    runners: list[Runner]
    memory: list[int]  # bytes on each GPU of a replica
    costs: list[NDArray[np.float64]]  # of a replica's iterations


class Maker:
    """``made``: the workloads so far."""

    def __init__(
        self, loaded: Loaded, topology: Topology, clock: Clock, flows: Flows, streams: Streams, gpus: Gpus
    ) -> None:
        self._loaded, self._topology, self._clock, self._flows = loaded, topology, clock, flows
        self._streams, self._gpus = streams, gpus
        self._placed, _ = place(loaded.scenario.workload, topology)
        self.made: list[Made] = []
        self.housekeeping = 0  # events that are always planned
        self.patience = 0  # ps in which reports of loads may let go of what routers hold
        self._maker: LayersMaker | None = None

    def make(self, index: int, item: Requests) -> Made:
        fleet = fleet_of(self._loaded, self._gpus, item, self._placed[index])
        limits = item.class_targets()
        classes = [_class(*limit) for limit in limits]
        book = Book(len(classes))
        schedulers = Schedulers(book, fleet.settings, fleet.costs, self._streams.key(f"serving/{index}"))
        replicas = fleet.replicas
        serving = Serving(
            f"workload.{index}", index, book, schedulers, replicas, [pool.name for pool in item.pool_list()], classes,
            np.add.reduceat(schedulers.loads["kv_blocks"], [replica.first for replica in replicas]),
            LoadSeries(schedulers.loads, replicas),
        )  # fmt: skip
        front = self._front(index, item, serving, fleet)
        runners = self._runners(item, serving, front, fleet)
        front.runners += runners
        self._scale(item, serving, front)
        work = self._arrivals(index, item, serving, front)
        costs = [fleet.costs[replica.first] for replica in replicas]
        made = Made(work, serving, front, runners, fleet.memory, costs)
        self.made.append(made)
        return made

    def _front(self, index: int, item: Requests, serving: Serving, fleet: Fleet) -> Front:
        """The routers."""
        policy, params = self._loaded.dispatch["request"]
        assert isinstance(params, RouterParams)
        clock, streams, replicas = self._clock, self._streams, serving.replicas
        facts = _facts(serving, fleet)
        true = TrueLoads(serving.schedulers.loads, facts.first)
        copies = []
        for number in range(params.routers):
            view = RequestView(facts, params, serving.schedulers, true, lambda: int(clock.now))
            rng = streams.generator(f"dispatch/request/{index}/{number}")
            copies.append(Copy(Router(policy.module.Policy, params, view, rng)))
        front = Front(
            clock, serving, params, copies, fleet.models,
            Predicted(params.predictor, streams.key(f"predictor/{index}")),
            reroute=item.lost == "reroute", sees_live=params.telemetry.interval == 0,
        )  # fmt: skip
        if params.telemetry.interval:
            rng = streams.generator(f"reports/{index}")
            Reports(clock, params.telemetry, front, copies, true, len(replicas), rng)
            self.housekeeping += 1
            self.patience = max(self.patience, _patience(params.telemetry))
        return front

    def _runners(self, item: Requests, serving: Serving, front: Front, fleet: Fleet) -> list[Runner]:
        """The replicas' processes, and what carries KV caches between them."""
        overlap: Overlap | None = None
        handover: Handover | None = None
        if front.candidates.divided:
            models = [pool.architecture for pool in item.pool_list()]
            caches = [Cache(1 if one.kv_rank else one.kv_heads, kv_bytes_per_token(one)) for one in models]
            parts = item.transfer.parts if item.transfer.layers_overlapped else 1
            moves = Transfers(self._clock, self._flows, serving.replicas, caches, parts)
            front.handover = handover = Handover(self._clock, serving, front, moves)
            if item.transfer.layers_overlapped:
                overlap = Overlap(serving.schedulers, handover.early, moves)
        before = sum(len(made.serving.replicas) for made in self.made)
        outages = _outages(self._loaded, self._topology, serving.replicas, before)
        Outages(self._clock, serving, front, handover, outages)
        prefills = front.candidates.does[PREFILL]
        pools = item.pool_list()
        return [
            Runner(
                self._clock, serving, front, replica, stretch=fleet.stretch[replica.index],
                layers=self._layers(serving, replica, fleet) if _sends(pools[replica.pool]) else None,
                composed=overlap.composed if overlap is not None and replica.role == prefills else None,
            )
            for replica in serving.replicas
        ]  # fmt: skip

    def _layers(self, serving: Serving, replica: Replica, fleet: Fleet) -> Layers:
        """The passage of a replica's batches where its collectives are flows."""
        if self._maker is None:
            self._maker = LayersMaker(self._loaded, self._topology, self._clock, self._flows)
        setup, cost = fleet.setups[replica.index], fleet.costs[replica.first]
        return self._maker.make(serving.schedulers, replica, setup, cost)

    def _scale(self, item: Requests, serving: Serving, front: Front) -> None:
        """Pools whose replicas come and go."""
        scalers: dict[int, Autoscaler] = {}
        for number, pool in enumerate(item.pool_list()):
            auto = pool.autoscale
            if auto is not None:
                rule = Rule(
                    auto.metric, auto.target, auto.minimum, auto.maximum, auto.interval, auto.tolerance, auto.startup,
                    auto.cooldown,
                )  # fmt: skip
                mine = [replica for replica in serving.replicas if replica.pool == number]
                scalers[number] = Autoscaler(self._clock, serving, front, mine, rule)
                self.housekeeping += 1
        if scalers:

            def idle(replica: Replica) -> None:
                if replica.pool in scalers:
                    scalers[replica.pool].drained(replica)

            front.on_idle = idle

    def _arrivals(self, index: int, item: Requests, serving: Serving, front: Front) -> RequestArrivals:
        asked = asked_of(item, index, self._loaded, self._streams)
        serving.total, serving.open_loop = asked.total, asked.open_loop
        return RequestArrivals(self._clock, front, serving.book, asked, serving.count, f"workload.{index}")


def _sends(pool: Pool) -> bool:
    """Whether steps of its replicas send flows."""
    return pool.engine.communication == "flows" and pool.gpus > 1


def _patience(telemetry: Telemetry) -> int:
    """ps in which thirty reports of a replica come; 0 where none does."""
    if telemetry.loss == 1:
        return 0
    return round(30 * telemetry.interval / (1 - telemetry.loss)) + telemetry.delay


def _class(name: str, targets: Targets | None, priority: int) -> RequestClass:
    limits = {field: getattr(targets, field, None) for field in ("ttft", "tpot", "itl", "e2e")}
    return RequestClass(name, *(-1 if limit is None else limit for limit in limits.values()), priority)


def _facts(serving: Serving, fleet: Fleet) -> Facts:
    """What routers know of the replicas; blocks, sequences and budgets of all schedulers of a replica."""
    replicas = serving.replicas

    def column(values: Iterable[int]) -> NDArray[np.int64]:
        return np.array(list(values), dtype=np.int64)

    def summed(name: str) -> NDArray[np.int64]:
        return column(getattr(fleet.settings[one.first], name) * one.ranks for one in replicas)

    def plain(name: str) -> NDArray[np.int64]:
        return column(getattr(fleet.settings[one.first], name) for one in replicas)

    return Facts(
        pools=tuple(serving.pools),
        pool=column(replica.pool for replica in replicas),
        role=column(_ROLES[replica.role] for replica in replicas),
        quality=np.array([replica.quality for replica in replicas]),
        kv_blocks=summed("kv_blocks"),
        block_tokens=plain("block_tokens"),
        hash_tokens=fleet.settings[0].hash_tokens,
        max_sequences=summed("max_sequences"),
        token_budget=summed("token_budget"),
        first=column(replica.first for replica in replicas),
    )


def _outages(loaded: Loaded, topology: Topology, replicas: list[Replica], before: int) -> Iterator[Outage]:
    """What events do to the replicas of a workload: their own, and those of hosts that they have GPUs on.

    ``before``: replicas of the workloads before it.
    """
    for event in loaded.scenario.events:
        if event.set not in ("down", "up"):
            continue
        hit: list[int] = []
        owner, later = "", 0
        if event.replica is not None:
            hit = [one.index for one in replicas if one.index + before == event.replica]
        elif event.host is not None:
            owner, host = event.host, topology.node_index[event.host]
            later = loaded.scenario.fabric.convergence_delay  # until the tables know the host again
            hit = [one.index for one in replicas if host in one.hosts]
        for at, until in event.occurrences(loaded.scenario.stop.time):
            for number in hit:
                up = event.set == "up"
                yield Outage(at + later if up else at, number, owner, up, None if until is None else until + later)
