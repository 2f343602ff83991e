"""Ring algorithms: every message goes to rank+1.

Source: Patarasuk and Yuan, "Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations", JPDC 2009.
reduce_scatter: n-1 steps; in step t rank r sends chunk r-1-t (mod n), to which it has added its own part, so that rank
r ends with chunk r. all_gather: n-1 steps; in step t rank r passes on chunk r-t. all_reduce: both, 2 (n-1) steps. A
message waits for the arrival of the chunk that it passes on, and for nothing else. broadcast: the n chunks of the
buffer run from rank 0 along the chain to rank n-1; chunk c+1 leaves a rank when chunk c has arrived at the next, so
that one chunk at a time uses each hop. Chunks of 0 bytes (fewer bytes than ranks) are not sent.
"""

from __future__ import annotations

from sim.dispatch.api import Message, PolicyParams
from sim.dispatch.collective._schedule import Schedule, chunks, too_few


class Params(PolicyParams):
    pass


class Policy:
    operations = frozenset({"all_reduce", "all_gather", "reduce_scatter", "broadcast"})

    def __init__(self, params: Params) -> None:
        pass

    def problem(self, operation: str, ranks: int) -> str | None:
        return too_few(ranks)

    def schedule(self, operation: str, ranks: int, size: int) -> tuple[list[Message], list[int]]:
        part = chunks(size, ranks)
        if operation == "broadcast":
            return _chain([size for size in part if size], ranks)
        # in step t rank r sends chunk r - t - offset; an all_reduce is one long walk of 2 (n-1) steps
        offset = 0 if operation == "all_gather" else 1
        steps = 2 * (ranks - 1) if operation == "all_reduce" else ranks - 1
        messages = []
        for step in range(steps):
            for rank in range(ranks):
                size = part[(rank - step - offset) % ranks]
                if size:
                    # gate (step - 1) * n + rank: what arrived at this rank in the step before
                    waits_for = (step - 1) * ranks + rank if step else -1
                    opens = step * ranks + (rank + 1) % ranks if step < steps - 1 else -1
                    messages.append(Message(rank, (rank + 1) % ranks, size, waits_for, opens))
        return messages, [1] * ((steps - 1) * ranks)


def _chain(part: list[int], ranks: int) -> tuple[list[Message], list[int]]:
    """A pipeline from rank 0 to the last rank."""
    plan = Schedule()
    # go[hop][c] lets chunk c leave rank `hop`: it has arrived there, and the chunk before it one hop on
    go = [[plan.gate((hop > 0) + (c > 0)) if hop + c else -1 for c in range(len(part))] for hop in range(ranks - 1)]
    for c, size in enumerate(part):
        for hop in range(ranks - 1):
            arrived = plan.gate(1)
            plan.send(hop, hop + 1, size, go[hop][c], arrived)
            if hop + 1 < ranks - 1:
                plan.send(hop + 1, hop + 1, 0, arrived, go[hop + 1][c])
            if c + 1 < len(part):
                plan.send(hop + 1, hop, 0, arrived, go[hop][c + 1])
    return plan.result()
