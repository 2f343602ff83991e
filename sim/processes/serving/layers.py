"""The passage of a batch through the layers of a model whose collectives are flows on the fabric.

All GPUs of a replica compute in step and meet in every collective. With tensor parallelism the shards of a rank reduce
the hidden states after the embedding, after attention and after the feed-forward of every layer, and gather the logits
of sampled rows at the end. Ranks that share experts gather the tokens of all before every layer of experts and
reduce-scatter the results, each shard with its peers. These are the messages that the cost model counts, too; ranks
send as many tokens as the largest of them has.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event

from models.serving import law
from sim.clock import Clock
from sim.processes.collective import Collective, Row, SendsMany
from sim.processes.plan import Plan
from sim.processes.serving.serving import Replica


class Sizes(NamedTuple):
    """What decides the messages. Bytes; a message that is never sent has 0."""

    layers: int
    with_experts: int  # of them: the last ones
    hidden: int  # of a token's hidden state, reduced among the shards of a rank
    gathered: int  # of a token on its way to the experts of all ranks
    scattered: int  # of a token's result on its way back
    logits: int  # of a sampled row
    attention_share: float  # of the dense part of a layer's time: before the feed-forward


class _Operation(NamedTuple):
    """One collective of a step: its algorithm's word, the groups that do it at once, bytes as nccl-tests count."""

    op: str
    groups: list[tuple[int, ...]]
    size: int


class Layers:
    """One replica. ``plan_of(operation, hosts, size)`` gives a collective's messages."""

    def __init__(
        self,
        clock: Clock,
        flows: SendsMany,
        schedulers: Any,
        replica: Replica,
        cost: NDArray[np.float64],
        sizes: Sizes,
        plan_of: Callable[[str, tuple[int, ...], int], Plan],
    ) -> None:
        self._clock, self._flows, self._schedulers, self._replica = clock, flows, schedulers, replica
        self._cost, self._sizes, self._plan_of = cost, sizes, plan_of
        self._name = f"replica:{replica.index}"
        self._shards = [replica.hosts_of(rank) for rank in range(replica.ranks)]
        self._peers = [tuple(hosts[shard] for hosts in self._shards) for shard in range(replica.shards)]
        self._parts = np.zeros(law.PARTS)

    def run(self, duration: int) -> Generator[Event, Any, None]:
        """A step that computes for ``duration`` ps in all."""
        clock = self._clock
        computed, spent = 0.0, 0
        steps = list(self._steps())
        whole = sum(step for step in steps if isinstance(step, float))
        for step in steps:
            if isinstance(step, float):
                computed += step
                until = round(duration * computed / whole) if whole else 0
                if until > spent:
                    yield clock.timeout(until - spent)
                    spent = until
            else:
                yield from self._exchange(step)

    def _steps(self) -> Iterator[float | _Operation]:
        """What one after another is done: computing for some us, or a collective."""
        replica, sizes = self._replica, self._sizes
        totals, chunks = self._schedulers.batches(replica.first, replica.ranks)
        law.parts_us(self._cost, totals, chunks, replica.ranks, self._parts)
        parts = self._parts.tolist()
        tokens, rows = int(totals[:, law.TOKENS].max()), int(totals[:, law.SEQUENCES].max())
        reduce = self._among(self._shards, "all_reduce", tokens * sizes.hidden)
        gather = self._among(self._peers, "all_gather", tokens * sizes.gathered)
        scatter = self._among(self._peers, "reduce_scatter", tokens * sizes.scattered)
        dense, attention = parts[law.PART_DENSE] / sizes.layers, parts[law.PART_ATTENTION] / sizes.layers
        experts = parts[law.PART_EXPERTS] / max(sizes.with_experts, 1)
        yield from reduce
        for layer in range(sizes.layers):
            yield dense * sizes.attention_share + attention
            yield from reduce
            expert = layer >= sizes.layers - sizes.with_experts
            if expert:
                yield from gather
            yield dense * (1.0 - sizes.attention_share) + (experts if expert else 0.0)
            if expert:
                yield from scatter
            yield from reduce
        yield parts[law.PART_HEAD] + parts[law.PART_OVERHEAD]
        yield from self._among(self._shards, "all_gather", rows * sizes.logits)

    @staticmethod
    def _among(groups: Sequence[tuple[int, ...]], op: str, size: int) -> list[_Operation]:
        return [_Operation(op, list(groups), size)] if size and len(groups[0]) > 1 else []

    def _exchange(self, operation: _Operation) -> Generator[Event, Any, None]:
        """All groups at once; the replica goes on when every GPU is done."""
        ends = []
        for hosts in operation.groups:
            plan = self._plan_of(operation.op, hosts, operation.size)
            job = f"{self._name}.{operation.op}"

            def begin(now: int, ranks: int = plan.ranks, job: str = job) -> Row:
                return Row(-1, operation.op, "", ranks, operation.size, now, job, finish=[-1] * ranks)

            collective = Collective(self._clock, self._flows, plan, hosts, begin)
            ends += [collective.join(rank) for rank in range(plan.ranks)]
        yield self._clock.all_of(ends)
