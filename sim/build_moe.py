"""Wires workloads of the kind ``moe``: GPUs and their cost models, routing sources, expert dispatchers, exchanges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.architectures import Architecture
from models.comms.messages import MessageProfile
from models.compute import GpuModel, gpu_model
from models.hardware import GPUS
from models.moe_layer import DENSE, LayerCosts, token_bytes
from models.routing.source import Source
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.api import Layout
from sim.dispatch.groups import layout_of
from sim.dispatch.views import Batch, ExpertView
from sim.flows import Flows
from sim.processes.gpu import Gpus, GpuSettings
from sim.processes.moe import PS_PER_US, Decision, Job, MoeWorkload, Steps
from sim.processes.plan import Plan, priced, profile_named
from sim.rng import Streams
from sim.scenario.load import Choice, Loaded
from sim.scenario.moe import GpuChange, Moe, ranks_of
from sim.scenario.moe_sources import source_of
from solvers.expert_plan import ExpertPlan, Traffic, native_ranks, traffic

_COUNTS_EXCHANGES = 2  # small collectives that tell every rank the others' counts: their sum, and who has how many


def gpus_of(loaded: Loaded, clock: Clock, streams: Streams) -> Gpus:
    """The run's GPUs, as the scenario describes them."""
    spec = loaded.scenario.gpus
    changes: dict[int, list[GpuChange]] = {}
    for text, change in spec.only.items():
        for rank in ranks_of(text):
            changes.setdefault(rank, []).append(change)

    def settings(gpu: int) -> GpuSettings:
        found: dict[str, Any] = {"kind": spec.kind, "memory": spec.memory}
        found |= {"slowdown": spec.slowdown, "noise": spec.noise}
        for change in changes.get(gpu, ()):
            if change.kind is not None and change.memory is None:
                found["memory"] = None
            found |= {name: getattr(change, name) for name in change.model_fields_set}
        if found["memory"] is None:
            found["memory"] = GPUS[found["kind"]].memory_bytes
        return GpuSettings(**found)

    return Gpus(clock, settings, lambda gpu: streams.generator(f"gpus/{gpu}"))


class MoeWiring:
    """Makes the workloads, and keeps what they count."""

    def __init__(
        self, loaded: Loaded, topology: Topology, clock: Clock, flows: Flows, streams: Streams, gpus: Gpus
    ) -> None:
        self.steps = Steps()
        self.watch: Callable[[Batch, ExpertPlan], None] | None = None  # sees every plan when it is made
        self._loaded, self._topology, self._clock, self._flows = loaded, topology, clock, flows
        self._streams, self._gpus = streams, gpus
        self._models: dict[str, GpuModel] = {}
        self._sources: list[Source] = []
        self._counts: dict[tuple[str, str], int] = {}
        self._work: list[MoeWorkload] = []

    def make(self, index: int, item: Moe) -> MoeWorkload:
        arch = item.architecture()
        groups = item.groups(self._topology.hosts)
        dispatch, combine = item.dispatch_dtype, item.combine_dtype
        profile = self._profile(item)
        job = Job(
            tokens=item.tokens_per_gpu // item.micro_batches,
            top_k=arch.top_k,
            layers=item.layer_kinds(),
            steps=item.steps,
            micro_batches=item.micro_batches,
            shards=item.tensor_parallel,
            costs=partial(self._costs, item, arch),
            memory=item.layer_memory(),
            static=item.weights(len(groups[0])),
            sync=self._sync(profile),
            token_bytes=(token_bytes(arch.hidden, dispatch), token_bytes(arch.hidden, combine)),
            attention=(item.phase, item.sequence) if item.scope == "model" else None,
        )
        key = self._streams.key(f"routing/{index}")
        source = source_of(item, len(groups[0]) // job.shards, self._loaded.beside, key)
        self._sources.append(source)
        deciders = [
            _Decider(self, job, arch, source, layout, profile, f"{index}/{group}")
            for group, layout in enumerate(layout_of(self._topology, hosts[:: job.shards]) for hosts in groups)
        ]
        work = MoeWorkload(
            self._clock, self._flows, self._gpus, self.steps, job, groups, deciders,
            name=f"workload.{index}", number=index,
        )  # fmt: skip
        self._work.append(work)
        return work

    def share(self) -> float:
        """How much of the layers is done, from 0 to 1; 0 without such work."""
        passages = sum(work.passages for work in self._work)
        return sum(work.passed for work in self._work) / passages if passages else 0.0

    def _profile(self, item: Moe) -> MessageProfile:
        policy = self._loaded.dispatch["collective"].policy
        name = getattr(policy.module.Policy, "messages", "none") if item.messages == "auto" else item.messages
        return profile_named(name)

    def _sync(self, profile: MessageProfile) -> int:
        """ps of the exchange of counts before tokens leave."""
        policy = self._loaded.dispatch["collective"].policy.module.Policy
        exchanges = _COUNTS_EXCHANGES if getattr(policy, "needs_counts", True) else 0
        return round(exchanges * profile.launch_us * PS_PER_US)

    def _costs(self, item: Moe, arch: Architecture, kind: str) -> LayerCosts:
        if kind not in self._models:
            self._models[kind] = gpu_model(kind)
        return LayerCosts(self._models[kind], arch, item.expert_dtype, item.kernels, item.tensor_parallel)

    def choice(self, level: str) -> Choice:
        return self._loaded.dispatch[level]

    def generator(self, name: str) -> np.random.Generator:
        return self._streams.generator(name)

    def count(self, what: str, reason: str, number: int) -> None:
        if number:
            self._counts[what, reason] = self._counts.get((what, reason), 0) + number

    def counted(self) -> dict[tuple[str, str], int]:
        """What was dropped, rerouted, forced or extrapolated, by (what, reason)."""
        outside = {
            ("cost model extrapolated", f"{kind} on {name}"): number
            for name, model in self._models.items()
            for kind, number in model.extrapolated.items()
        }
        return self._counts | outside

    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        return [note for source in self._sources for note in source.notes()]


@dataclass
class _Decider:
    """One group's decisions: choices, plan, traffic, messages."""

    wiring: MoeWiring
    job: Job
    arch: Architecture
    source: Source
    layout: Layout
    profile: MessageProfile
    name: str

    def __post_init__(self) -> None:
        ranks = len(self.layout.node)
        self.tokens = np.full(ranks, self.job.tokens * self.job.shards, dtype=np.int64)
        self.native = native_ranks(self.arch.experts, ranks)
        self.held: dict[int, NDArray[np.int64]] = {}  # by layer: (expert, rank) of the weights that stay
        policy, params = self.wiring.choice("expert")
        view = ExpertView(
            ranks=ranks, node=self.layout.node, experts=self.arch.experts, top_k=self.arch.top_k,
            groups=self.arch.expert_groups, native=self.native,
            rng=self.wiring.generator(f"dispatch/expert/{self.name}"),
        )  # fmt: skip
        self.kind = policy.name
        self.policy: Any = policy.module.Policy(params, view)
        chosen = self.wiring.choice("collective")
        self.schedule: Any = chosen.policy.module.Policy(chosen.params)

    def decide(self, micro: int, step: int, layer: int) -> Decision:
        job, source = self.job, self.source
        layer -= sum(kind == DENSE for kind in job.layers[:layer])
        batch_number = step * job.micro_batches + micro
        rng = self.wiring.generator(f"routing/{self.name}/{batch_number}/{layer}")
        choices = scores = None
        if self.policy.gate:
            scores = source.scores(self.tokens, batch_number, layer, rng)
        else:
            choices = source.choices(self.tokens, batch_number, layer, rng)
        batch = Batch(batch_number, layer, self.tokens, choices, scores)
        plan: ExpertPlan = self.policy.plan(batch)
        self._count(plan)
        if self.wiring.watch is not None:
            self.wiring.watch(batch, plan)
        taken = plan.choices if plan.choices is not None else choices
        assert taken is not None
        sent = traffic(taken, self.tokens, plan, self.layout.node)
        if job.shards > 1:
            sent = Traffic(*(-(-part // job.shards) for part in sent))
        there = self.schedule.exchange(sent, self.layout, job.token_bytes[0], False)
        back = self.schedule.exchange(sent, self.layout, job.token_bytes[1], True)
        slots = [plan.slot_load[plan.slot_rank == rank] for rank in range(len(self.tokens))]
        moves = [(int(owner), int(to)) for _, owner, to in plan.transfers.tolist()]
        weights = np.full(len(moves), job.memory.expert_bytes, dtype=np.int64)
        ends = np.array(moves, dtype=np.int64).reshape(-1, 2)
        kinds = self.layout.kinds(ends[:, 0], ends[:, 1])
        return Decision(
            slots=slots,
            extra=self._extra(plan, layer),
            moves=moves,
            move_overhead=self.profile.overhead(weights, np.ones_like(weights), kinds).tolist(),
            dispatch=self._plan(there),
            combine=self._plan(back),
            planner=round(self.policy.planner_us(batch) * PS_PER_US),
            max_over_mean=plan.max_over_mean,
            bytes_moved=job.shards * int(there.bytes.sum() + back.bytes.sum() + weights.sum()),
        )

    def _plan(self, exchange: Any) -> Plan:
        phased = bool(getattr(self.schedule, "launches_phases", False))
        return priced(exchange, self.layout, self.profile, launches_phases=phased, in_step=True)

    def _extra(self, plan: ExpertPlan, layer: int) -> NDArray[np.int64]:
        """[P] experts whose weights a rank holds beyond a native share; where a placement changes, old and new ones."""
        home = np.stack([np.arange(len(self.native)), self.native], axis=1)
        stays = home if plan.resident is None else plan.resident
        used = np.stack([plan.slot_expert, plan.slot_rank], axis=1)
        held = np.unique(np.concatenate([self.held.get(layer, home), stays, used]), axis=0)
        self.held[layer] = stays
        ranks = len(self.tokens)
        number = np.bincount(held[:, 1], minlength=ranks) - np.bincount(self.native, minlength=ranks)
        return np.maximum(number, 0).astype(np.int64)

    def _count(self, plan: Any) -> None:
        for what, number in (
            ("token copies dropped", plan.dropped),
            ("token copies rerouted", plan.rerouted),
            ("token copies added", plan.added),
            ("token copies forced above the bound", plan.forced),
            ("layers without a plan", int(plan.closed)),
        ):
            self.wiring.count(what, f"expert policy {self.kind}", number)
