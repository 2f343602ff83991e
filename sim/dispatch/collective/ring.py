"""Ring algorithms: every message goes to the next rank of a ring; with ``channels``, of several rings at once.

Source: Patarasuk and Yuan, "Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations", JPDC 2009.
reduce_scatter: n-1 steps; in step t rank r sends chunk r-1-t (mod n), to which it has added its own part, so that rank
r ends with chunk r. all_gather: n-1 steps; in step t rank r passes on chunk r-t. all_reduce: both, 2 (n-1) steps. A
message waits for the arrival of the chunk that it passes on, and for nothing else. broadcast: the n chunks of the
buffer run from rank 0 along the chain to rank n-1; chunk c+1 leaves a rank when chunk c has arrived at the next, so
that one chunk at a time uses each hop. Chunks of 0 bytes (fewer bytes than ranks) are not sent.

One ring goes through the ranks in their order. Several rings, as NCCL builds them on nodes with a NIC for each GPU,
share the buffer, and each uses NICs of its own: ring c enters the first node at slot c, goes round it and leaves from
slot c-1, enters the next there, goes round backwards and leaves from slot c, and so on. So every hop between nodes
stays on its rail, but for one where the number of nodes is odd.
"""

from __future__ import annotations

from sim.dispatch.api import Field, Layout, Message, PolicyParams
from sim.dispatch.collective._levels import grid, unequal
from sim.dispatch.collective._schedule import Schedule, chunks, too_few


class Params(PolicyParams):
    channels: int = Field(default=1, ge=1, le=64, description="Rings at once; above 1 they spread over the NICs.")


class Policy:
    operations = frozenset({"all_reduce", "all_gather", "reduce_scatter", "broadcast"})
    uses_layout = True

    def __init__(self, params: Params) -> None:
        self._channels = params.channels

    def problem(self, operation: str, ranks: int, layout: Layout | None = None) -> str | None:
        return too_few(ranks) or (unequal(layout) if layout is not None and self._channels > 1 else None)

    def schedule(
        self, operation: str, ranks: int, size: int, layout: Layout | None = None
    ) -> tuple[list[Message], list[int]]:
        if self._channels == 1 or layout is None:
            return _along(list(range(ranks)), operation, size)
        messages: list[Message] = []
        counts: list[int] = []
        for channel, part in enumerate(chunks(size, self._channels)):
            if part:
                own, gates = _along(_order(layout, channel), operation, part)
                shift = len(counts)
                messages += [_shifted(message, shift) for message in own] if shift else own
                counts += gates
        return messages, counts


def _shifted(message: Message, gates: int) -> Message:
    src, dst, size, waits_for, opens = message
    return Message(src, dst, size, waits_for + gates * (waits_for >= 0), opens + gates * (opens >= 0))


def _order(layout: Layout, channel: int) -> list[int]:
    """The ranks along ring ``channel``, from rank 0 on."""
    order: list[int] = []
    for node, members in enumerate(grid(layout).tolist()):
        first = channel % len(members)
        turned = members[first:] + members[:first]
        order += turned if node % 2 == 0 else turned[::-1]
    start = order.index(0)
    return order[start:] + order[:start]


def _along(order: list[int], operation: str, size: int) -> tuple[list[Message], list[int]]:
    """The operation along one ring, ``order`` [places] the rank at each place. Chunk p belongs to place p."""
    ranks = len(order)
    part = chunks(size, ranks)
    if operation == "broadcast":
        return _chain([size for size in part if size], order)
    # in step t place p sends chunk p - t - offset; an all_reduce is one long walk of 2 (n-1) steps
    offset = 0 if operation == "all_gather" else 1
    steps = 2 * (ranks - 1) if operation == "all_reduce" else ranks - 1
    messages = []
    for step in range(steps):
        for place in range(ranks):
            size = part[(place - step - offset) % ranks]
            if size:
                # gate (step - 1) * n + place: what arrived at this place in the step before
                following = (place + 1) % ranks
                waits_for = (step - 1) * ranks + place if step else -1
                opens = step * ranks + following if step < steps - 1 else -1
                messages.append(Message(order[place], order[following], size, waits_for, opens))
    return messages, [1] * ((steps - 1) * ranks)


def _chain(part: list[int], order: list[int]) -> tuple[list[Message], list[int]]:
    """A pipeline from the first place to the last."""
    plan, ranks = Schedule(), len(order)
    # go[hop][c] lets chunk c leave place `hop`: it has arrived there, and the chunk before it one hop on
    go = [[plan.gate((hop > 0) + (c > 0)) if hop + c else -1 for c in range(len(part))] for hop in range(ranks - 1)]
    for c, size in enumerate(part):
        for hop in range(ranks - 1):
            here, there = order[hop], order[hop + 1]
            arrived = plan.gate(1)
            plan.send(here, there, size, go[hop][c], arrived)
            if hop + 1 < ranks - 1:
                plan.send(there, there, 0, arrived, go[hop + 1][c])
            if c + 1 < len(part):
                plan.send(there, here, 0, arrived, go[hop][c + 1])
    return plan.result()
