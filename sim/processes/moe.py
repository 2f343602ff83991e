"""Layers of a mixture of experts as processes: every GPU gates, dispatches, computes, combines.

Cast: a ``Job`` is what all GPUs of a workload have in common; a ``Decision`` is one layer's routing (who computes what,
which weights move, which messages carry the tokens), made once for a group when its last GPU knows its counts; a
``Layer`` is one group's passage through one layer, shared by its GPUs; ``Steps`` notes times and loads; a
``MoeWorkload`` runs a process for each GPU and micro-batch. GPUs of a group are numbered rank by rank, the shards of a
rank (tensor parallelism) next to each other.

A GPU passes a layer so: gate; counts are exchanged, which waits for the slowest of the group; the planner thinks;
weights that must move and tokens leave together; the shared experts run meanwhile; the experts run when the tokens of
this GPU and the weights it needs are here; results go back; they are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from models.moe_layer import DENSE, LayerCosts, LayerMemory
from sim.dispatch.api import Message
from sim.processes.collective import Collective, Row, Sends
from sim.processes.gpu import Gpu, Gpus
from sim.processes.plan import Plan

PS_PER_US = 1_000_000


@dataclass(frozen=True)
class Decision:
    """One layer's routing in a group of P ranks."""

    slots: Sequence[NDArray[np.int64]]  # per rank: copies of tokens in each of its slots
    extra: NDArray[np.int64]  # [P] experts beyond its native ones whose weights a rank holds
    moves: Sequence[tuple[int, int]]  # weights that go from rank to rank before they can be used
    move_overhead: Sequence[int]  # bytes of link time that each of them costs beyond its payload
    dispatch: Plan
    combine: Plan
    planner: int  # ps that the planner thinks, on every rank
    max_over_mean: float
    bytes_moved: int  # payload of tokens and weights, all shards


class Decider(Protocol):
    """What decides for one group: called once for each (micro-batch, step, layer), in the order of need."""

    def decide(self, micro: int, step: int, layer: int) -> Decision: ...


@dataclass(frozen=True)
class Job:
    """What the GPUs of a workload have in common. Times in ps, sizes in bytes."""

    tokens: int  # on each GPU and micro-batch
    top_k: int
    layers: Sequence[str]  # DENSE or EXPERTS, in order of one step
    steps: int
    micro_batches: int
    shards: int  # GPUs that share an expert's inner dimension
    costs: Callable[[str], LayerCosts]  # of a kind of GPU
    memory: LayerMemory
    static: int  # bytes that stay on every GPU: weights
    sync: int  # ps that the exchange of counts costs
    token_bytes: tuple[int, int]  # of one token on its way to the experts, and back
    attention: tuple[str, int] | None = None  # (phase, sequence): attention and dense blocks are computed too


@dataclass
class Step:
    """One (step, layer) over all groups and micro-batches. ps; -1: not yet."""

    start: int
    end: int = -1
    left: int = 0  # passages that have not ended
    dispatch: int = 0
    experts: int = 0
    combine: int = 0
    weights: int = 0
    planner: int = 0
    max_over_mean: float = 0.0
    transfers: int = 0
    bytes: int = 0
    peak: int = 0


class Steps:
    """The steps of a run, by (workload, step, layer)."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int, int], Step] = {}

    def enter(self, key: tuple[int, int, int], now: int) -> Step:
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = Step(now)
        row.left += 1
        return row


@dataclass
class Layer:
    """One group's passage through one layer with experts."""

    env: simpy.Environment
    name: str  # whom its kernels serve, and its flows by what they carry
    row: Step
    members: int
    decide: Callable[[], Decision]
    met: simpy.Event
    waiting: int = 0
    left: int = 0
    decision: Decision | None = None
    dispatch: list[Collective] = field(default_factory=list)  # by shard
    combine: list[Collective] = field(default_factory=list)
    shares: dict[tuple[int, bool], Collective] = field(default_factory=dict)  # of a rank's shards, by direction
    weights: list[simpy.Event] = field(default_factory=list)  # by GPU: all weights it needs are here
    missing: list[int] = field(default_factory=list)  # by GPU: weights under way to it
    begun: int = -1  # first dispatch
    moved: int = -1  # first weight left
    computed: int = 0  # last GPU's experts were done

    def meet(self) -> simpy.Event:
        """This GPU knows its counts; the event comes when all do."""
        self.waiting += 1
        if self.waiting == self.members:
            self.decision = self.decide()
            self.met.succeed()
        return self.met


class MoeWorkload:
    """``groups`` [groups] hosts of each group's GPUs; ``deciders`` one for each group."""

    def __init__(
        self,
        env: simpy.Environment,
        flows: Sends,
        gpus: Gpus,
        steps: Steps,
        job: Job,
        groups: Sequence[Sequence[int]],
        deciders: Sequence[Decider],
        *,
        name: str = "moe",
        number: int = 0,
    ) -> None:
        self._env, self._flows, self._gpus, self._steps = env, flows, gpus, steps
        self._job, self._groups, self._deciders = job, groups, deciders
        self._name, self._number = name, number
        self._running: dict[tuple[int, int, int, int], Layer] = {}
        self.passed = 0  # layers with experts that a group and micro-batch has left behind
        self.passages = len(groups) * job.micro_batches * job.steps * sum(kind != DENSE for kind in job.layers)
        # (group, member, micro-batch) -> step, layer, what it does
        self._where: dict[tuple[int, int, int], tuple[int, int, str]] = {}
        processes = []
        for group, hosts in enumerate(groups):
            for member, host in enumerate(hosts):
                gpus.device(host).memory.take(job.static, env.now)
                for micro in range(job.micro_batches):
                    processes.append(env.process(self._run(group, member, host, micro)))
        self.done: simpy.Event = env.all_of(processes)

    def _run(self, group: int, member: int, host: int, micro: int) -> Generator[simpy.Event, Any, None]:
        job = self._job
        gpu = Gpu(self._env, self._gpus, host)
        costs = job.costs(gpu.device.settings.kind)
        me = (group, member, micro)
        attention = dense = 0
        if job.attention is not None:
            attention = _ps(costs.attention(job.tokens, *job.attention))
            dense = _ps(costs.dense(job.tokens)) if DENSE in job.layers else 0
        for step in range(job.steps):
            for layer, kind in enumerate(job.layers):
                self._where[me] = (step, layer, "computes")
                name = _name(step, layer)
                yield from gpu.compute(attention, "attention", name)
                if kind == DENSE:
                    yield from gpu.compute(dense, "dense", name)
                    continue
                yield from self._layer(gpu, costs, self._enter(group, micro, step, layer), me)
        del self._where[me]

    def _enter(self, group: int, micro: int, step: int, layer: int) -> Layer:
        """The passage that the GPUs of a group share; the first one there begins it."""
        key = (group, micro, step, layer)
        passage = self._running.get(key)
        if passage is None:
            row = self._steps.enter((self._number, step, layer), self._env.now)
            members = len(self._groups[group])
            decide = partial(self._deciders[group].decide, micro, step, layer)
            passage = Layer(self._env, _name(step, layer), row, members, decide, self._env.event(), left=members)
            self._running[key] = passage
        return passage

    def _layer(
        self, gpu: Gpu, costs: LayerCosts, layer: Layer, me: tuple[int, int, int]
    ) -> Generator[simpy.Event, Any, None]:
        env, job, memory = self._env, self._job, gpu.device.memory
        group, member, _ = me
        rank, shard = divmod(member, job.shards)
        step, number, _ = self._where[me]

        def now_in(what: str) -> None:
            self._where[me] = (step, number, what)

        inputs = job.memory.inputs(job.tokens)
        memory.take(inputs, env.now)
        yield from gpu.compute(_ps(costs.gate(job.tokens)), "gate", layer.name)
        now_in("waits for the counts of the other GPUs")
        yield from gpu.wait(layer.meet())
        decision = layer.decision
        assert decision is not None
        self._open(group, layer, decision)
        yield from gpu.wait(env.timeout(job.sync + decision.planner))
        slots = decision.slots[rank]
        copies, largest = int(slots.sum()), int(slots.max(initial=0))
        held = int(decision.extra[rank]) * job.memory.expert_bytes + job.memory.buffers(copies, largest)
        memory.take(held, env.now)
        layer.row.peak = max(layer.row.peak, memory.used)

        self._send_weights(gpu, group, layer, decision, rank, shard)
        yield from gpu.compute(_ps(costs.send(job.tokens * job.top_k)), "send", layer.name)
        if layer.begun < 0:
            layer.begun = env.now
        arrived = layer.dispatch[shard].join(rank)
        now_in("dispatches")
        yield from gpu.compute(_ps(costs.shared(job.tokens)), "shared", layer.name)
        yield from gpu.wait(arrived)
        if job.shards > 1:
            yield from gpu.wait(self._share(group, layer, rank, copies, back=False).join(shard))
        layer.row.dispatch = max(layer.row.dispatch, env.now - layer.begun)
        now_in("waits for weights")
        yield from gpu.wait(layer.weights[member])
        now_in("computes experts")
        before = env.now
        yield from gpu.compute(_ps(costs.experts(slots)), "experts", layer.name)
        gpu.device.tokens += copies
        layer.row.experts = max(layer.row.experts, env.now - before)
        layer.computed = max(layer.computed, env.now)
        if job.shards > 1:
            yield from gpu.wait(self._share(group, layer, rank, copies, back=True).join(shard))
        now_in("combines")
        yield from gpu.wait(layer.combine[shard].join(rank))
        yield from gpu.compute(_ps(costs.receive(job.tokens * job.top_k)), "receive", layer.name)
        memory.give(inputs + held)
        self._leave(layer, me, step, number)

    def _open(self, group: int, layer: Layer, decision: Decision) -> None:
        """The group's operations, made when the first GPU goes on."""
        if layer.dispatch:
            return
        shards, hosts = self._job.shards, self._groups[group]
        begin = partial(_row, len(hosts) // shards, f"{layer.name}.dispatch")
        back = partial(_row, len(hosts) // shards, f"{layer.name}.combine")
        for shard in range(shards):
            members = [hosts[index] for index in range(shard, len(hosts), shards)]
            layer.dispatch.append(Collective(self._env, self._flows, decision.dispatch, members, begin))
            layer.combine.append(Collective(self._env, self._flows, decision.combine, members, back))
        layer.missing = [0] * len(hosts)
        for _, to in decision.moves:
            for shard in range(shards):
                layer.missing[to * shards + shard] += 1
        layer.weights = [self._env.event() for _ in hosts]
        for member, missing in enumerate(layer.missing):
            if not missing:
                layer.weights[member].succeed()
        row = layer.row
        row.planner = max(row.planner, decision.planner)
        row.max_over_mean = max(row.max_over_mean, decision.max_over_mean)
        row.transfers += len(decision.moves)
        row.bytes += decision.bytes_moved

    def _send_weights(self, gpu: Gpu, group: int, layer: Layer, decision: Decision, rank: int, shard: int) -> None:
        """Weights leave by the copy stream: those of a later layer or micro-batch wait for those before."""
        mine = [index for index, (owner, _) in enumerate(decision.moves) if owner == rank]
        if mine:
            self._env.process(self._copy(gpu, group, layer, decision, mine, shard))

    def _copy(
        self, gpu: Gpu, group: int, layer: Layer, decision: Decision, mine: list[int], shard: int
    ) -> Generator[simpy.Event, Any, None]:
        env, shards, hosts = self._env, self._job.shards, self._groups[group]
        with gpu.device.copy.request() as turn:
            yield turn
            if layer.moved < 0:
                layer.moved = env.now
            left, sent = [len(mine)], env.event()
            targets = [decision.moves[index][1] * shards + shard for index in mine]

            def arrived(member: int) -> None:
                layer.row.weights = max(layer.row.weights, env.now - layer.moved)
                layer.missing[member] -= 1
                if not layer.missing[member]:
                    layer.weights[member].succeed()
                left[0] -= 1
                if not left[0]:
                    sent.succeed()

            self._flows.send_many(
                gpu.host,
                [hosts[member] for member in targets],
                [self._job.memory.expert_bytes] * len(mine),
                [partial(arrived, member) for member in targets],
                f"{layer.name}.weights",
                [decision.move_overhead[index] for index in mine],
            )
            yield sent

    def _share(self, group: int, layer: Layer, rank: int, copies: int, *, back: bool) -> Collective:
        """The shards of a rank exchange tokens: all-gather before the experts, reduce-scatter of results after."""
        found = layer.shares.get((rank, back))
        if found is None:
            shards = self._job.shards
            size = copies // shards * self._job.token_bytes[back]
            pairs = [(a, b) for a in range(shards) for b in range(shards) if a != b and size]
            plan = Plan([Message(a, b, size) for a, b in pairs], [], shards)
            hosts = self._groups[group][rank * shards : (rank + 1) * shards]
            found = Collective(self._env, self._flows, plan, hosts, partial(_row, shards, f"{layer.name}.shards"))
            layer.shares[rank, back] = found
        return found

    def _leave(self, layer: Layer, me: tuple[int, int, int], step: int, number: int) -> None:
        layer.left -= 1
        if layer.left:
            return
        self.passed += 1
        group, _, micro = me
        row, now = layer.row, self._env.now
        row.combine = max(row.combine, now - layer.computed)
        row.left -= 1
        row.end = now
        del self._running[group, micro, step, number]

    def describe_waiting(self) -> list[str]:
        """Which GPU waits for what, at most 8 lines."""
        lines = [
            f"{self._name}: GPU {self._groups[group][member]}, step {step}, layer {layer}: {what}"
            for (group, member, _), (step, layer, what) in sorted(self._where.items())
        ]
        return lines if len(lines) <= 8 else [*lines[:7], f"{self._name}: {len(lines) - 7} more GPUs"]


def _row(ranks: int, job: str, now: int) -> Row:
    """Dispatch and combine have rows in their own table, not in the collectives'."""
    return Row(-1, "all_to_all", "", ranks, 0, now, job, finish=[-1] * ranks)


def _name(step: int, layer: int) -> str:
    return f"moe:{step}.{layer}"


def _ps(microseconds: float) -> int:
    return round(microseconds * PS_PER_US)
