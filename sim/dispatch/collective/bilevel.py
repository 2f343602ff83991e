"""Two All2Alls: between nodes along the rails, then inside each node; on the way back first inside, then between.

Source: He et al., "SMILE: Scaling Mixture-of-Experts with Efficient Bi-level Routing", arXiv 2212.05191. A rank sends
one message to its peer in each other node, with all that goes to that node; the peer waits until everything between
nodes that is for it has arrived, and sends one message to each other rank of its node, its own tokens included. So a
rank sends (nodes - 1) + (slots - 1) messages instead of ranks - 1, none of them from rail to rail; the bytes between
nodes stay the same. The two All2Alls are two launches. Every copy of a token is carried, as in the flat All2All.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.dispatch.api import Exchange, Layout, Message, PolicyParams
from sim.dispatch.collective._levels import Ints, Rows, grid, listed, ones, others, unequal, uniform
from sim.dispatch.collective._schedule import too_few

if TYPE_CHECKING:
    from solvers.expert_plan import Traffic


class Params(PolicyParams):
    pass


class Policy:
    operations = frozenset({"all_to_all"})
    uses_layout = True
    launches_phases = True
    messages = "nccl"

    def __init__(self, params: Params) -> None:
        pass

    def problem(self, operation: str, ranks: int, layout: Layout | None = None) -> str | None:
        return too_few(ranks) or (unequal(layout) if layout is not None else None)

    def schedule(self, operation: str, ranks: int, size: int, layout: Layout) -> tuple[list[Message], list[int]]:
        return listed(_two_phases(uniform(ranks, size), layout, back=False))

    def exchange(self, traffic: Traffic, layout: Layout, token_bytes: int, back: bool) -> Exchange:
        return _two_phases(traffic.copies * token_bytes, layout, back)


def _two_phases(amount: Ints, layout: Layout, back: bool) -> Exchange:
    """``amount`` [src, dst]: bytes that go out, or that come back from dst to src."""
    rank = grid(layout)
    nodes, slots = rank.shape
    placed = amount[np.ix_(rank.ravel(), rank.ravel())].reshape(nodes, slots, nodes, slots)
    between, inside = placed.sum(axis=3), placed.sum(axis=0)  # [node, slot, node], [slot, node, slot]
    far, near = others(nodes), others(slots)
    # rows of the two phases: (home, away, slot) and (node, slot, other slot); the gateway of both is rank[away, slot]
    home, away, lane = (np.repeat(far.src, slots), np.repeat(far.dst, slots), np.tile(np.arange(slots), len(far.src)))
    node, slot, other = (np.repeat(np.arange(nodes), len(near.src)), np.tile(near.src, nodes), np.tile(near.dst, nodes))
    far_bytes, near_bytes = between[home, lane, away], inside[slot, node, other]
    first = (far_bytes, rank[away, lane]) if not back else (near_bytes, rank[node, slot])
    # one gate a rank: it opens when all messages of the first phase that are for the rank have arrived; a signal of its
    # own opens it where there are none, so that the second phase is a launch of its own everywhere
    counts = np.bincount(first[1][first[0] > 0], minlength=rank.size)
    idle = np.flatnonzero(counts == 0)
    rows = Rows()
    if not back:
        rows.send(rank[home, lane], rank[away, lane], far_bytes, ones(home), -1, rank[away, lane])
        rows.send(rank[node, slot], rank[node, other], near_bytes, ones(node), rank[node, slot], -1)
    else:
        rows.send(rank[node, other], rank[node, slot], near_bytes, ones(node), -1, rank[node, slot])
        rows.send(rank[away, lane], rank[home, lane], far_bytes, ones(home), rank[away, lane], -1)
    rows.signal(idle, idle, np.full(len(idle), -1), idle)
    return rows.result(np.maximum(counts, 1))
