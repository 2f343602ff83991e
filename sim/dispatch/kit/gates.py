"""Messages and gates: whether they can be, in which order they leave, and how much data can go through them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from sim.dispatch import api


def layouts(ranks: int, several: bool) -> list[api.Layout]:
    """Ranks on nodes of their own; if ``several``, also in one node, and in nodes of 2 and 4 with a rail each."""
    number = np.arange(ranks)
    sizes = [1] + [size for size in (2, 4, ranks) if several and size <= ranks and ranks % size == 0]
    return [api.Layout(number // size, number % size) for size in dict.fromkeys(sizes)]


def told(layout: api.Layout) -> str:
    """The layout in words."""
    ranks, nodes = len(layout.node), int(layout.node.max()) + 1
    return f"{ranks} ranks" if nodes == ranks else f"{ranks} ranks in nodes of {ranks // nodes}"


def type_faults(messages: Sequence[api.Message], counts: Sequence[int], ranks: int) -> Iterator[str]:
    for message in messages:
        if type(message) is not api.Message:
            yield f"{message!r} is no Message"
            return
        if not all(isinstance(value, int) for value in message):
            yield f"{message} has values that are no integers"
            return
    if not all(isinstance(count, int) for count in counts):
        yield "counts of gates must be integers"


def gate_faults(messages: Sequence[api.Message], counts: Sequence[int], ranks: int) -> Iterator[str]:
    """What the clock would refuse, and gates that could not work."""
    gates = len(counts)
    owner: dict[int, int] = {}
    opened = [0] * gates
    for index, message in enumerate(messages):
        src, dst, size, waits_for, opens = message
        if not (0 <= src < ranks and 0 <= dst < ranks):
            yield f"message {index} is between ranks that are not there: {message}"
        elif size < 0 or (src == dst and size > 0):
            yield f"message {index} sends {size} B from rank {src} to rank {dst}"
        elif not (-1 <= waits_for < gates and -1 <= opens < gates):
            yield f"message {index} names a gate that is not there: {message}"
        else:
            if opens >= 0:
                opened[opens] += 1
            if waits_for >= 0 and owner.setdefault(waits_for, src) != src:
                yield f"gate {waits_for} has messages of two ranks, {owner[waits_for]} and {src}"
            continue
        return
    for gate in owner:
        if not 0 < counts[gate] == opened[gate]:
            yield f"gate {gate} waits for {counts[gate]} arrivals, but {opened[gate]} messages open it"


def sent_order(messages: Sequence[api.Message], counts: Sequence[int]) -> list[int]:
    """Indices of the messages that leave, each after all that it waits for."""
    left = list(counts)
    behind: list[list[int]] = [[] for _ in counts]
    ready: deque[int] = deque()
    for index, message in enumerate(messages):
        (behind[message.waits_for] if message.waits_for >= 0 else ready).append(index)
    order = []
    while ready:
        index = ready.popleft()
        order.append(index)
        gate = messages[index].opens
        if gate >= 0:
            left[gate] -= 1
            if left[gate] == 0:
                ready.extend(behind[gate])
    return order


def feeding(
    messages: Sequence[api.Message], counts: Sequence[int], order: Sequence[int], cut_through: bool = False
) -> list[list[int]]:
    """Of each message, those that arrived at its sender for sure before it was sent. Bit sets of what came before.

    ``cut_through``: a message that waits for nothing may pass on what is still coming to its sender, if something else
    of the sender waits for that to be complete.
    """
    before = [0] * len(messages)  # messages that have arrived, anywhere, before this one leaves
    opened = [0] * len(counts)  # the same, before a gate opens
    arriving = [0] * (1 + max((message.dst for message in messages), default=0))
    for index, message in enumerate(messages):
        if message.bytes:
            arriving[message.dst] |= 1 << index
    feeds: list[list[int]] = [[] for _ in messages]
    for index in order:
        message = messages[index]
        if message.waits_for >= 0:
            before[index] = opened[message.waits_for]
        if message.opens >= 0:
            opened[message.opens] |= before[index] | 1 << index
        if message.bytes and message.src < len(arriving):
            feeds[index] = list(_bits(before[index] & arriving[message.src]))
    if cut_through:
        owner = {message.waits_for: message.src for message in messages if message.waits_for >= 0}
        coming: dict[int, list[int]] = {}
        for index, message in enumerate(messages):
            if message.bytes and owner.get(message.opens) == message.dst:
                coming.setdefault(message.dst, []).append(index)
        for index, message in enumerate(messages):
            if message.bytes and message.waits_for < 0:
                feeds[index] = coming.get(message.src, [])
    return feeds


def _bits(word: int) -> Iterator[int]:
    while word:
        low = word & -word
        yield low.bit_length() - 1
        word ^= low


def largest(
    messages: Sequence[api.Message], feeds: Sequence[Iterable[int]], supply: dict[int, int], target: int, size: int
) -> int:
    """Bytes that can come from the suppliers to the target: a maximum flow, a message carrying at most its bytes."""
    count = len(messages)
    ranks = 1 + max(max(message.src, message.dst) for message in messages) if messages else target + 1
    inlet, outlet = 0, count  # of message i: i, count + i
    begin, end, first_rank = 2 * count, 2 * count + 1, 2 * count + 2
    edges: list[tuple[int, int, int]] = [(begin, first_rank + rank, own) for rank, own in supply.items() if own]
    for index, message in enumerate(messages):
        if not message.bytes:
            continue
        edges.append((inlet + index, outlet + index, message.bytes))
        if message.src in supply:
            edges.append((first_rank + message.src, inlet + index, size))
        if message.dst == target:
            edges.append((outlet + index, end, size))
        edges += [(outlet + earlier, inlet + index, size) for earlier in feeds[index]]
    if not edges:
        return 0
    nodes = first_rank + max(ranks, target + 1, 1 + max(supply, default=0))
    table: NDArray[np.int32] = np.array(edges, dtype=np.int32)
    graph = coo_array((table[:, 2], (table[:, 0], table[:, 1])), shape=(nodes, nodes)).tocsr()
    return int(maximum_flow(graph, begin, end).flow_value)
