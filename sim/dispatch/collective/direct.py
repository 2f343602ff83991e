"""Direct algorithms: every rank sends to every other at once, in the order rank+1, rank+2, ...

Source: Thakur, Rabenseifner, Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA 2005 (the
pairwise exchanges, all posted together), as ``direct`` in Astra-Sim. all_to_all: message i -> j is chunk j of S.
reduce_scatter: the same chunks, added up where they arrive. all_gather: rank i sends chunk i to all. all_reduce: first
the one, then the other; a rank goes on as soon as its own chunk is complete. broadcast: rank 0 sends S to all. Chunks
of 0 bytes (fewer bytes than ranks) are not sent; nobody waits for them.

Tokens to their experts: one message a peer, with a copy of a token for each of its experts there, or, with ``dedup:
rank``, with each token once; the results come back added up or not in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sim.dispatch.api import Exchange, Field, Layout, Message, PolicyParams
from sim.dispatch.collective._levels import flat
from sim.dispatch.collective._schedule import chunks, too_few

if TYPE_CHECKING:
    from solvers.expert_plan import Traffic


class Params(PolicyParams):
    dedup: Literal["none", "rank"] = Field(
        default="none", description="Experts: a token goes to a rank once for each expert there (none), or once."
    )


class Policy:
    operations = frozenset({"all_to_all", "all_reduce", "all_gather", "reduce_scatter", "broadcast"})
    messages = "nccl"

    def __init__(self, params: Params) -> None:
        self._params = params

    def problem(self, operation: str, ranks: int) -> str | None:
        return too_few(ranks)

    def schedule(self, operation: str, ranks: int, size: int) -> tuple[list[Message], list[int]]:
        part = chunks(size, ranks)
        pairs = [(rank, (rank + step) % ranks) for rank in range(ranks) for step in range(1, ranks)]
        if operation == "broadcast":
            return [Message(0, other, size) for other in range(1, ranks)], []
        if operation in ("all_to_all", "reduce_scatter"):
            return [Message(src, dst, part[dst]) for src, dst in pairs if part[dst]], []
        if operation == "all_gather":
            return [Message(src, dst, part[src]) for src, dst in pairs if part[src]], []
        reduce = [Message(src, dst, part[dst], opens=dst) for src, dst in pairs if part[dst]]
        gather = [Message(src, dst, part[src], waits_for=src) for src, dst in pairs if part[src]]
        return reduce + gather, [ranks - 1] * ranks

    def exchange(self, traffic: Traffic, layout: Layout, token_bytes: int, back: bool) -> Exchange:
        tokens = traffic.to_rank if self._params.dedup == "rank" else traffic.copies
        return flat(tokens * token_bytes, None, back)
