"""All_reduce in three stages: reduce-scatter inside each node, a ring along each rail, all-gather inside each node.

Source: Jia et al., "Highly Scalable Deep Learning Training System with Mixed-Precision", arXiv 1807.11205 (hierarchical
all-reduce), with all ranks of a node at work: each reduces its share of the buffer with its peers on its own rail, as
in BlueConnect (Cho et al., MLSys 2019). So every NIC carries 2 (nodes - 1) / nodes of its share. The buffer goes in
``chunks`` parts; a rank has one part at a time in each stage, so that links inside and between nodes work together.
Inside a node all ranks send to all at once; the ring's steps are those of ``ring``. Parts of 0 bytes are not sent.
"""

from __future__ import annotations

from sim.dispatch.api import Field, Layout, Message, PolicyParams
from sim.dispatch.collective._levels import grid, unequal
from sim.dispatch.collective._schedule import Schedule, chunks, too_few


class Params(PolicyParams):
    chunks: int = Field(default=4, ge=1, le=256, description="Parts that are pipelined through the three stages.")


class Policy:
    operations = frozenset({"all_reduce"})
    uses_layout = True

    def __init__(self, params: Params) -> None:
        self._chunks = params.chunks

    def problem(self, operation: str, ranks: int, layout: Layout | None = None) -> str | None:
        return too_few(ranks) or (unequal(layout) if layout is not None else None)

    def schedule(self, operation: str, ranks: int, size: int, layout: Layout) -> tuple[list[Message], list[int]]:
        rank: list[list[int]] = grid(layout).tolist()
        plan = Schedule()
        reduced = complete = [-1] * ranks  # gates of the part before, by rank
        for part in chunks(size, self._chunks):
            share = chunks(part, len(rank[0])) if part else [0] * len(rank[0])
            own = [_exchanged(plan, node, share, reduced) for node in rank]
            reduced = _merged(rank, own, ranks)
            start = [_both(plan, place, reduced[place], complete[place]) for place in range(ranks)]
            rails = [list(rail) for rail in zip(*rank, strict=True)]
            ends = [_ring(plan, rail, size, start) for rail, size in zip(rails, share, strict=True)]
            complete = _merged(rails, ends, ranks)
            for node in rank:
                for at, here in enumerate(node):
                    for step in range(1, len(node)):
                        if share[at]:
                            plan.send(here, node[(at + step) % len(node)], share[at], complete[here])
        return plan.result()


def _merged(groups: list[list[int]], values: list[list[int]], ranks: int) -> list[int]:
    """[ranks] from values by group and place."""
    result = [-1] * ranks
    for group, own in zip(groups, values, strict=True):
        for place, value in zip(group, own, strict=True):
            result[place] = value
    return result


def _both(plan: Schedule, rank: int, first: int, second: int) -> int:
    """A gate of ``rank`` that opens when both have opened; -1 is open from the start."""
    if first < 0 or second < 0:
        return max(first, second)
    gate = plan.gate(2)
    plan.send(rank, rank, 0, first, gate)
    plan.send(rank, rank, 0, second, gate)
    return gate


def _exchanged(plan: Schedule, node: list[int], share: list[int], before: list[int]) -> list[int]:
    """Everybody sends each other rank of the node its share; the gates that open when a rank has its own from all."""
    count = len(node) - 1
    ready = [plan.gate(count) if count and size else -1 for size in share]
    for at, here in enumerate(node):
        for step in range(1, len(node)):
            to = (at + step) % len(node)
            if share[to]:
                plan.send(here, node[to], share[to], before[here], ready[to])
    return ready


def _ring(plan: Schedule, rail: list[int], size: int, start: list[int]) -> list[int]:
    """An all_reduce along the ranks of a rail; the gates that open when a rank has the whole result."""
    ranks = len(rail)
    if ranks == 1 or size == 0:
        return [start[rank] for rank in rail]
    part = chunks(size, ranks)
    # what completes place p: the sum of its own chunk, and the other sums as they are passed on to it
    complete = [plan.gate(sum(own > 0 for own in part)) for _ in rail]
    arrived = [start[rank] for rank in rail]  # the gate at each place that lets its next message leave
    last = 2 * (ranks - 1) - 1
    for step in range(last + 1):
        after = [-1] * ranks
        for place, here in enumerate(rail):
            amount, to = part[(place - step - 1) % ranks], (place + 1) % ranks
            if not amount:
                continue
            adds = step <= ranks - 2 and start[rail[to]] >= 0  # its own part goes into what has come
            after[to] = complete[to] if step == last else plan.gate(1 + adds)
            plan.send(here, rail[to], amount, arrived[place], after[to])
            if adds:
                plan.send(rail[to], rail[to], 0, start[rail[to]], after[to])
            if ranks - 2 <= step < last:
                plan.send(rail[to], rail[to], 0, after[to], complete[to])
        arrived = after
    return complete
