"""Recursive halving and doubling: log2 n exchanges with peers rank xor 1, 2, 4, ..., for powers of two.

Source: Thakur, Rabenseifner, Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA 2005.
reduce_scatter: in step t the peer is rank xor 2^t and gets the half of what is left that it is to keep: S/2, S/4, ...;
rank r keeps the chunks whose lowest t+1 bits are its own, at last chunk r. all_gather: the same steps backwards, S/n
first. all_reduce: the one, then the other. A rank takes a step when all earlier ones have arrived at it. Parts of 0
bytes (fewer bytes than ranks) are not sent.
"""

from __future__ import annotations

from sim.dispatch.api import Message, PolicyParams
from sim.dispatch.collective._schedule import Schedule, chunks, too_few


class Params(PolicyParams):
    pass


class Policy:
    operations = frozenset({"all_reduce", "all_gather", "reduce_scatter"})

    def __init__(self, params: Params) -> None:
        pass

    def problem(self, operation: str, ranks: int) -> str | None:
        if ranks >= 2 and ranks & (ranks - 1):
            return f"halving_doubling needs a power of two of ranks; the group has {ranks}"
        return too_few(ranks)

    def schedule(self, operation: str, ranks: int, size: int) -> tuple[list[Message], list[int]]:
        part = chunks(size, ranks)
        levels = ranks.bit_length() - 1
        # bytes of the chunks that agree with a residue in their lowest `bits` bits
        kept = [[sum(part[residue :: 1 << bits]) for residue in range(1 << bits)] for bits in range(levels + 1)]
        halving = [(1 << bit, False) for bit in range(levels)]
        doubling = [(1 << bit, True) for bit in reversed(range(levels))]
        steps = {"reduce_scatter": halving, "all_gather": doubling, "all_reduce": halving + doubling}[operation]
        plan = Schedule()
        before = [-1] * ranks  # the gate that each rank's present step waits for
        for at, (bit, gathers) in enumerate(steps):
            bits = bit.bit_length()
            # bytes that a rank sends to its peer: all that it has gathered, or what the peer is to keep
            sent = [kept[bits][(rank if gathers else rank ^ bit) % (1 << bits)] for rank in range(ranks)]
            last = at == len(steps) - 1
            after = [-1] * ranks
            for rank in range(ranks):
                # the step before and the peer's message; a part of 0 bytes does not come
                count = (before[rank] >= 0) + (sent[rank ^ bit] > 0)
                after[rank] = plan.gate(count) if count and not last else -1
            for rank in range(ranks):
                if sent[rank]:
                    plan.send(rank, rank ^ bit, sent[rank], before[rank], after[rank ^ bit])
            for rank in range(ranks):
                if before[rank] >= 0 and not last:
                    plan.send(rank, rank, 0, before[rank], after[rank])
            before = after
        return plan.result()
