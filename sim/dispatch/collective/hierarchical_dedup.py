"""A token crosses to a node once, along the rail of its source, and is copied there to each rank that needs it.

Source: DeepEP, https://github.com/deepseek-ai/DeepEP, normal kernels (used with DeepSeek-V3's group-limited routing).
Dispatch: tokens go between nodes to the peer of their source, once a node however many experts they have there; the
peer sends each on, once to each other rank of its node that has experts for it. Combine is the same backwards: the
results of a token are added up in the rank, then in the node at the peer of its source, and cross once.

Both halves run at the same time, in ``chunks`` parts, the second half one part behind the first. As flows: a pair of
the first half has one; a pair of the second has one of all parts but the last, which runs beside the first half, and
one of the last part, which leaves when all of the first half has arrived at the rank that goes on with it. So the end
comes one part after that of the slower half. Tokens that stay in their node go with the others. Reductions take no
time. In an all_to_all of buffers nothing can be left out: the two levels and the parts remain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.dispatch.api import Exchange, Field, Layout, Message, PolicyParams
from sim.dispatch.collective._levels import Ints, Rows, grid, listed, ones, others, unequal, uniform
from sim.dispatch.collective._schedule import too_few

if TYPE_CHECKING:
    from solvers.expert_plan import Traffic


class Params(PolicyParams):
    chunks: int = Field(default=8, ge=1, le=256, description="Parts in which both halves are pipelined.")


class Policy:
    operations = frozenset({"all_to_all"})
    uses_layout = True
    cut_through = True
    messages = "deepep_normal"

    def __init__(self, params: Params) -> None:
        self._chunks = params.chunks

    def problem(self, operation: str, ranks: int, layout: Layout | None = None) -> str | None:
        return too_few(ranks) or (unequal(layout) if layout is not None else None)

    def schedule(self, operation: str, ranks: int, size: int, layout: Layout) -> tuple[list[Message], list[int]]:
        to_rank = uniform(ranks, size)
        to_node = np.stack([to_rank[:, members].sum(axis=1) for members in grid(layout)], axis=1)
        return listed(_pipeline(to_rank, to_node, layout, 1, self._chunks, back=False))

    def exchange(self, traffic: Traffic, layout: Layout, token_bytes: int, back: bool) -> Exchange:
        return _pipeline(traffic.to_rank, traffic.to_node, layout, token_bytes, self._chunks, back)


def _pipeline(to_rank: Ints, to_node: Ints, layout: Layout, token_bytes: int, chunks: int, back: bool) -> Exchange:
    """``to_rank`` [ranks, ranks] and ``to_node`` [ranks, nodes]: tokens of each source, in the sense of dispatch."""
    rank = grid(layout)
    nodes, slots = rank.shape
    far, near = others(nodes), others(slots)
    # between nodes: (home, away, slot); inside: (node, slot, other slot). rank[away, slot] stands between the two
    home, away, slot = (np.repeat(far.src, slots), np.repeat(far.dst, slots), np.tile(np.arange(slots), len(far.src)))
    crossing = to_node[rank[home, slot], away]
    placed = to_rank[np.ix_(rank.ravel(), rank.ravel())].reshape(nodes, slots, nodes, slots)
    stays = placed[np.arange(nodes), :, np.arange(nodes), :]  # [node, slot, other slot] of tokens that stay in the node
    passes = placed.sum(axis=0).transpose(1, 0, 2) - stays  # of tokens from other nodes
    node = np.repeat(np.arange(nodes), len(near.src))
    inner, outer = np.tile(near.src, nodes), np.tile(near.dst, nodes)
    own, passed = stays[node, inner, outer], passes[node, inner, outer]
    here, there, rail, peer = rank[node, inner], rank[node, outer], rank[home, slot], rank[away, slot]
    rows = Rows()
    # one half feeds the other, at a gate of each rank; the way back is the way out in a mirror
    if back:
        fed = _first(rows, there, here, (own + passed) * token_bytes, rank.size)
        _second(rows, peer, rail, _last(crossing, chunks) * token_bytes, crossing * token_bytes, fed)
    else:
        fed = _first(rows, rail, peer, crossing * token_bytes, rank.size)
        _second(rows, here, there, _last(passed, chunks) * token_bytes, (own + passed) * token_bytes, fed)
    return rows.result(fed)


def _last(tokens: Ints, chunks: int) -> Ints:
    """Tokens of the last of the parts, which is not smaller than the others."""
    return tokens - tokens * (chunks - 1) // chunks


def _first(rows: Rows, src: Ints, dst: Ints, size: Ints, ranks: int) -> Ints:
    """The half that feeds the other; gives the arrivals at each rank."""
    rows.send(src, dst, size, ones(src), -1, dst)
    return np.bincount(dst[size > 0], minlength=ranks).astype(np.int64)


def _second(rows: Rows, src: Ints, dst: Ints, last: Ints, whole: Ints, fed: Ints) -> None:
    """The last part waits for all that feeds its rank, if anything does; the rest does not."""
    rows.send(src, dst, last, ones(src), np.where(fed[src] > 0, src, -1), -1)
    rows.send(src, dst, whole - last, ones(src), -1, -1)
