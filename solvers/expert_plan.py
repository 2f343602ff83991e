"""What an expert dispatcher decides for one layer of one step, whether that is possible, and what it sends.

A copy is one (token, expert) pair: a token with top-k experts has k copies. A slot is an expert's work on one rank. A
plan says how many copies of each source rank go to each slot. Which ones: the copies of a source rank for one expert
are taken in the order of its tokens, and fill the expert's slots in the order of the slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]
Choices = NDArray[np.int32]
_NO_TRANSFERS = np.empty((0, 3), dtype=np.int64)


class Traffic(NamedTuple):
    """What the ranks (P) send each other for one layer, and what of it is distinct."""

    copies: Array  # [P, P] copies of source rank s that are computed on rank d
    to_rank: Array  # [P, P] tokens of s with at least one expert on d
    to_node: Array  # [P, nodes] tokens of s with at least one expert on a rank of node n


@dataclass(frozen=True)
class ExpertPlan:
    """One layer's decision. P ranks, S slots, T tokens; ranks and tokens are numbered rank-major.

    ``resident``: (expert, rank) of every weight that stays in memory after this layer; None: each expert on its native
    rank, nowhere else. Weights that are transferred and not resident are dropped after use.
    """

    slot_expert: Array  # [S]
    slot_rank: Array  # [S]
    copies: Array  # [P, S] copies of each source rank that each slot computes
    transfers: Array = field(default_factory=lambda: _NO_TRANSFERS)  # [n, 3] expert, from rank, to rank: before compute
    resident: Array | None = None  # [m, 2]
    choices: Choices | None = None  # [T, W] the experts of each token where the policy changed them; -1: dropped
    dropped: int = 0  # copies that no expert computes
    rerouted: int = 0  # copies computed by another expert than the one chosen
    added: int = 0  # copies beyond the chosen ones (fill-in)
    forced: int = 0  # copies placed past the policy's own bound because nothing else was possible then
    closed: bool = False  # the policy stood aside: plain expert parallelism
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ranks(self) -> int:
        return len(self.copies)

    @property
    def slot_load(self) -> Array:
        """[S] copies of each slot."""
        return np.asarray(self.copies.sum(axis=0), dtype=np.int64)

    @property
    def load(self) -> Array:
        """[P] copies that each rank computes."""
        load = np.zeros(self.ranks, dtype=np.int64)
        np.add.at(load, self.slot_rank, self.slot_load)
        return load

    @property
    def max_over_mean(self) -> float:
        """The busiest rank's copies over the mean; 1 if there are none."""
        load = self.load
        total = int(load.sum())
        return float(load.max()) * len(load) / total if total else 1.0


def expert_counts(choices: Choices, tokens_per_rank: Array, experts: int) -> Array:
    """[P, N] copies of each rank for each expert. ``choices`` [T, K] rank-major; -1 counts nowhere.

    ValueError for an expert outside -1..N-1, or if the tokens of the ranks are not T.
    """
    if int(tokens_per_rank.sum()) != len(choices) or (len(tokens_per_rank) and tokens_per_rank.min() < 0):
        raise ValueError(f"tokens_per_rank sums to {tokens_per_rank.sum()}, but there are {len(choices)} tokens")
    from solvers.expert_kernels import count  # Numba, which a list of policies need not wait for

    counts = np.zeros((len(tokens_per_rank), experts), dtype=np.int64)
    wrong = count(np.ascontiguousarray(choices, dtype=np.int32), np.asarray(tokens_per_rank, dtype=np.int64), counts)
    if wrong >= 0:
        raise ValueError(f"token {wrong} chooses an expert outside 0..{experts - 1}: {choices[wrong].tolist()}")
    return counts


def native_ranks(experts: int, ranks: int) -> Array:
    """[N] the rank that holds each expert: consecutive blocks of N / P. ValueError if P does not divide N."""
    if ranks < 1 or experts % ranks:
        raise ValueError(f"{experts} experts can't be split evenly over {ranks} ranks")
    return np.arange(experts, dtype=np.int64) // (experts // ranks)


def traffic(choices: Choices, tokens_per_rank: Array, plan: ExpertPlan, node: Array) -> Traffic:
    """Copies and distinct tokens between ranks under a plan. ``choices`` [T, K] rank-major; the plan's own go before.

    ``node`` [P] is the node of each rank, from 0. ValueError if the plan's copies are not those of the choices.
    """
    from solvers.expert_kernels import walk

    taken = choices if plan.choices is None else plan.choices
    ranks = plan.ranks
    node = np.ascontiguousarray(node, dtype=np.int64)
    experts = int(max(plan.slot_expert.max(initial=-1), taken.max(initial=-1))) + 1
    order = np.argsort(plan.slot_expert, kind="stable").astype(np.int64)
    first = np.searchsorted(plan.slot_expert[order], np.arange(experts + 1)).astype(np.int64)
    copies = np.zeros((ranks, ranks), dtype=np.int64)
    to_rank = np.zeros((ranks, ranks), dtype=np.int64)
    to_node = np.zeros((ranks, int(node.max(initial=-1)) + 1), dtype=np.int64)
    fault = walk(
        np.ascontiguousarray(taken, dtype=np.int32), np.ascontiguousarray(tokens_per_rank, dtype=np.int64),
        np.ascontiguousarray(plan.copies[:, order]), plan.slot_rank[order], first, node, copies, to_rank, to_node,
    )  # fmt: skip
    if fault >= 0:
        raise ValueError(f"the plan does not serve the choices of token {fault}")
    if int(copies.sum()) != int(plan.copies.sum()):
        raise ValueError("the plan serves more copies than the tokens have")
    return Traffic(copies, to_rank, to_node)


def deal_ranges(counts: Array, slot_expert: Array, slot_copies: Array) -> Array:
    """[P, S] copies of each rank in each slot, where the slots of an expert share its copies in rank-major order.

    ``counts`` [P, N]; ``slot_copies`` [S] is each slot's part of its expert, whose slots follow each other in the order
    of their parts; the parts of an expert sum to its copies.
    """
    from solvers.expert_kernels import ranges

    begin = np.zeros(len(slot_expert), dtype=np.int64)  # where a slot's part begins in its expert's numbering
    given: dict[int, int] = {}
    for slot, (expert, part) in enumerate(zip(slot_expert.tolist(), slot_copies.tolist(), strict=True)):
        begin[slot] = given.get(expert, 0)
        given[expert] = int(begin[slot]) + part
    copies = np.empty((len(counts), len(slot_expert)), dtype=np.int64)
    ranges(*_whole(counts, slot_expert, begin, begin + slot_copies), copies)
    return copies


def deal_evenly(counts: Array, slot_expert: Array) -> Array:
    """[P, S] copies of each rank in each slot, where copy j (rank-major) of an expert goes to its slot j mod slots.

    So every slot of an expert gets the floor or ceiling of an equal part, from every rank alike.
    """
    from solvers.expert_kernels import turns

    number = np.bincount(slot_expert, minlength=counts.shape[1])
    if np.any((number == 0) & (counts.sum(axis=0) > 0)):
        raise ValueError("an expert with copies has no slot")
    order = np.argsort(slot_expert, kind="stable")
    starts = np.cumsum(number) - number
    turn = np.empty(len(slot_expert), dtype=np.int64)
    turn[order] = np.arange(len(slot_expert)) - np.repeat(starts, number)
    copies = np.empty((len(counts), len(slot_expert)), dtype=np.int64)
    turns(*_whole(counts, slot_expert, turn, number), copies)
    return copies


def deal_nearest(counts: Array, slot_expert: Array, slot_rank: Array, node: Array) -> Array:
    """[P, S] copies of each rank in each slot: an expert's slots on the own rank take all, else those on its node.

    Where neither has one, all slots of the expert. Among the slots that take them the copies are shared evenly;
    ``node`` [P] is the node of each rank.
    """
    from solvers.expert_kernels import nearest

    experts = counts.shape[1]
    if np.any((np.bincount(slot_expert, minlength=experts) == 0) & (counts.sum(axis=0) > 0)):
        raise ValueError("an expert with copies has no slot")
    order = np.argsort(slot_expert, kind="stable")
    first = np.searchsorted(slot_expert[order], np.arange(experts + 1))
    copies = np.zeros((len(counts), len(slot_expert)), dtype=np.int64)
    nearest(*_whole(counts, order, first, slot_rank, node), copies)
    return copies


def _whole(*arrays: Array) -> list[Array]:
    """Arrays as kernels take them."""
    return [np.ascontiguousarray(array, dtype=np.int64) for array in arrays]


def native_plan(counts: Array, native: Array, **told: Any) -> ExpertPlan:
    """Plain expert parallelism: every copy on its expert's native rank. ``told``: further fields of the plan."""
    experts = counts.shape[1]
    return ExpertPlan(np.arange(experts, dtype=np.int64), np.asarray(native, dtype=np.int64), counts, **told)
