"""Double binary tree: two trees, each for half of the buffer; an inner rank of one is a leaf of the other.

Source: Sanders, Speck, Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan", Parallel
Computing 2009; the trees are NCCL's (since 2.4). First tree: rank 0 at the root, odd ranks at the leaves; second: its
mirror image (n-1-r) for even n, shifted by one rank for odd n, where the root of each tree may be inner in both.

Each half goes in chunks of 128 KiB, pipelined. all_reduce: a rank sends a chunk up when it has it from all children,
and down when it has it from its parent. broadcast: rank 0 is the first root and hands the other half to the second.
On each way from a rank to a neighbour at most ``window`` chunks are under way: the next leaves at the instant a
chunk has arrived, as with NCCL's slots (whose credits take their time; here they take none).
"""

from __future__ import annotations

from sim.dispatch.api import Field, Message, PolicyParams, Size
from sim.dispatch.collective._schedule import Schedule, chunks, too_few


class Params(PolicyParams):
    chunk: Size = Field(default=128 * 1024, gt=0, description="Bytes that move through the tree at a time.")
    window: int = Field(default=2, ge=1, le=64, description="Chunks under way from one rank to a neighbour.")


def parents(ranks: int, tree: int) -> list[int]:
    """[ranks] the parent of each rank in tree 0 or 1; -1 at the root."""
    if tree == 0:
        return [_parent(rank, ranks) for rank in range(ranks)]
    if ranks % 2 == 0:
        above = [_parent(ranks - 1 - rank, ranks) for rank in range(ranks)]
        return [-1 if up < 0 else ranks - 1 - up for up in above]
    above = [_parent((rank - 1) % ranks, ranks) for rank in range(ranks)]
    return [-1 if up < 0 else (up + 1) % ranks for up in above]


def _parent(rank: int, ranks: int) -> int:
    """Lowest set bit one place higher (…01 -> …10, …11 -> …10); past the end, that bit cleared."""
    if rank == 0:
        return -1
    bit = rank & -rank
    up = (rank ^ bit) | (bit << 1)
    return up if up < ranks else rank ^ bit


class _Tree:
    """One tree and the chunks that go through it."""

    def __init__(self, plan: Schedule, above: list[int], sizes: list[int], window: int) -> None:
        self.plan = plan
        self.above = above
        self.sizes = sizes
        self.window = window
        self.root = above.index(-1)
        self.below: list[list[int]] = [[] for _ in above]
        for rank, up in enumerate(above):
            if up >= 0:
                self.below[up].append(rank)

    def edge(self, src: int, dst: int, ready: list[int]) -> list[int]:
        """Send every chunk from ``src`` to ``dst``. Gives the gate, at ``dst``, that each chunk's arrival opens.

        ``ready[c]``: the gate at ``src`` that opens when it has chunk c; -1: it has it from the start.
        """
        plan = self.plan
        arrived = [plan.gate(1) for _ in self.sizes]
        for c, size in enumerate(self.sizes):
            has_credit = c < self.window
            if has_credit:
                go = ready[c]
            else:
                go = plan.gate(1 + (ready[c] >= 0))
                if ready[c] >= 0:
                    plan.send(src, src, 0, ready[c], go)
                plan.send(dst, src, 0, arrived[c - self.window], go)
            plan.send(src, dst, size, go, arrived[c])
        return arrived

    def up(self) -> list[int]:
        """The reduction; the gates at the root that open when a chunk is complete."""
        return self._reduced(self.root)

    def _reduced(self, rank: int) -> list[int]:
        """Gates at ``rank`` that open when it has a chunk from all its children. Recursion as deep as the tree."""
        if not self.below[rank]:
            return [-1] * len(self.sizes)
        complete = [self.plan.gate(len(self.below[rank])) for _ in self.sizes]
        for child in self.below[rank]:
            arrived = self.edge(child, rank, self._reduced(child))
            for gate, whole in zip(arrived, complete, strict=True):
                self.plan.send(rank, rank, 0, gate, whole)
        return complete

    def down(self, ready: list[int], source: int = -1) -> None:
        """The broadcast from the root, which has chunk c when ``ready[c]`` opens. ``source`` has all and gets none."""
        waiting = [(self.root, ready)]
        while waiting:
            rank, gates = waiting.pop()
            for child in self.below[rank]:
                waiting.append((child, self.edge(rank, child, gates) if child != source else [-1] * len(gates)))


class Policy:
    operations = frozenset({"all_reduce", "broadcast"})

    def __init__(self, params: Params) -> None:
        self._params = params

    def problem(self, operation: str, ranks: int) -> str | None:
        return too_few(ranks)

    def schedule(self, operation: str, ranks: int, size: int) -> tuple[list[Message], list[int]]:
        plan = Schedule()
        for number, half in enumerate(chunks(size, 2)):
            if half == 0:
                continue
            whole, rest = divmod(half, self._params.chunk)
            sizes = [self._params.chunk] * whole + [rest] * (rest > 0)
            tree = _Tree(plan, parents(ranks, number), sizes, self._params.window)
            if operation == "all_reduce":
                tree.down(tree.up())
            elif tree.root == 0:
                tree.down([-1] * len(sizes))
            else:
                tree.down(tree.edge(0, tree.root, [-1] * len(sizes)), source=0)
        return plan.result()
