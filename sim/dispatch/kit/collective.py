"""Checks of a collective policy: its schedules can run to their end and can carry what the operation promises.

A schedule says who sends how much and when, not which bytes. So the data is followed as far as that goes: a message can
hold what its sender had for sure when it was sent, that is, its own data and all that arrived before its gate opened.
Whether every contribution can reach every rank that is due it, in full, is then a maximum flow through the messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from sim.dispatch import api
from sim.dispatch.kit.report import GlobalRandomness, Report
from sim.dispatch.registry import Policy

OPERATIONS = ("all_to_all", "all_reduce", "all_gather", "reduce_scatter", "broadcast")
_RANKS = (2, 3, 4, 5, 8, 16)
_DATA_RANKS = 8  # data is followed up to here
_SIZES = (1, 3, 1000, 4096, 65_536, 1_000_003)
_DATA_SIZES = (1000, 65_536)
_TYPES = "schedule: messages and gates of whole numbers"
_GATES = "schedule: every rank and gate is there, a gate has one owner and opens after its arrivals"
_ENDS = "schedule: every message is sent in the end, no deadlock"
_DATA = "data: every rank can end with what the operation promises"
_SAME = "same question, same schedule"
_CHECKS = (_TYPES, _GATES, _ENDS, _DATA, _SAME)


def chunk(size: int, ranks: int, index: int) -> int:
    """Bytes of chunk ``index``: floor((i+1) S / n) - floor(i S / n)."""
    return (index + 1) * size // ranks - index * size // ranks


def check_collective(report: Report, policy: Policy) -> None:
    """All checks of the level, for every operation that the policy declares."""
    shared = GlobalRandomness()
    if not report.run("Policy(params): operations, and problem(operation, ranks)", lambda: _declared_faults(policy)):
        return
    instance = policy.module.Policy(policy.Params())
    faults: dict[str, list[str]] = {what: [] for what in _CHECKS}
    for operation in sorted(instance.operations):
        able = [ranks for ranks in _RANKS if instance.problem(operation, ranks) is None]
        for ranks in able:
            for size in _SIZES:
                try:
                    _check_one(policy, operation, ranks, size, faults)
                except Exception as error:  # the policy's code
                    faults[_TYPES].append(f"{operation} of {size} B, {ranks} ranks: {report.explain(error)}")
        _tell_totals(report, policy, operation, able)
    for what in _CHECKS:
        report.check(what, faults[what])
    report.check("no draw from global generators", shared.faults())


def _declared_faults(policy: Policy) -> Iterator[str]:
    instance = policy.module.Policy(policy.Params())
    operations = getattr(instance, "operations", None)
    if not isinstance(operations, frozenset) or not operations:
        yield f"'operations' must be a frozenset of some of: {', '.join(OPERATIONS)}"
        return
    unknown = sorted(str(name) for name in operations if name not in OPERATIONS)
    if unknown:
        yield f"unknown operations: {', '.join(unknown)}"
        return
    for operation in sorted(operations):
        answers = [instance.problem(operation, ranks) for ranks in (1, *_RANKS)]
        if any(answer is not None and not isinstance(answer, str) for answer in answers):
            yield f"{operation}: problem() must give a text or None"
        elif answers[0] is None:
            yield f"{operation}: problem() must say that one rank is too few"
        elif all(answers):
            yield f"{operation}: problem() refuses every number of ranks up to {_RANKS[-1]}"


def _check_one(policy: Policy, operation: str, ranks: int, size: int, faults: dict[str, list[str]]) -> None:
    label = f"{operation} of {size} B, {ranks} ranks"
    messages, counts = policy.module.Policy(policy.Params()).schedule(operation, ranks, size)
    again = policy.module.Policy(policy.Params()).schedule(operation, ranks, size)
    if (messages, counts) != again:
        faults[_SAME].append(f"{label}: a fresh policy answered otherwise")
    for what, check in ((_TYPES, type_faults), (_GATES, gate_faults)):
        wrong = list(check(messages, counts, ranks))
        faults[what] += [f"{label}: {text}" for text in wrong]
        if wrong:
            return
    order = sent_order(messages, counts)
    if len(order) < len(messages):
        stuck = next(message for at, message in enumerate(messages) if at not in set(order))
        faults[_ENDS].append(f"{label}: {len(messages) - len(order)} messages never leave, such as {stuck}")
    elif ranks <= _DATA_RANKS and size in _DATA_SIZES:
        faults[_DATA] += [f"{label}: {text}" for text in data_faults(messages, counts, order, operation, ranks, size)]


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


def data_faults(
    messages: Sequence[api.Message], counts: Sequence[int], order: Sequence[int], operation: str, ranks: int, size: int
) -> Iterator[str]:
    """Ranks that can't get what they are due."""
    feeds = _feeds(messages, counts, order)
    for target in range(ranks):
        due = _due(operation, ranks, size, target)
        together = [list(due)] if operation in ("all_gather", "all_to_all") else []  # parts that can't be added up
        for sources in [[source] for source in due] + together:
            wanted = sum(due[source] for source in sources)
            flow = _largest(messages, feeds, {source: due[source] for source in sources}, target, size)
            if flow < wanted:
                who = f"rank {sources[0]}" if len(sources) == 1 else "all others together"
                yield f"rank {target} can get {flow} B from {who}, and is due {wanted} B"
                break


def _due(operation: str, ranks: int, size: int, target: int) -> dict[int, int]:
    """Bytes that must come from each other rank, at least. A sum of parts needs no more bytes than one part."""
    others = [rank for rank in range(ranks) if rank != target]
    if operation == "broadcast":
        return {0: size} if target else {}
    if operation == "all_reduce":
        return dict.fromkeys(others, size)
    if operation == "all_gather":
        return {rank: chunk(size, ranks, rank) for rank in others}
    return dict.fromkeys(others, chunk(size, ranks, target))


def _feeds(messages: Sequence[api.Message], counts: Sequence[int], order: Sequence[int]) -> list[list[int]]:
    """Of each message, those that arrived at its sender for sure before it was sent. Bit sets of what came before."""
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
    return feeds


def _bits(word: int) -> Iterator[int]:
    while word:
        low = word & -word
        yield low.bit_length() - 1
        word ^= low


def _largest(
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


def _tell_totals(report: Report, policy: Policy, operation: str, able: Sequence[int]) -> None:
    """How much a rank sends at most and at least, in units of S: to be held against the algorithm's own account."""
    size, texts = 65_536, []
    for ranks in able:
        try:
            messages, _ = policy.module.Policy(policy.Params()).schedule(operation, ranks, size)
            sent = np.zeros(ranks)
            for message in messages:
                sent[message.src] += message.bytes
        except Exception:  # already a fault
            return
        low, high = sent.min() / size, sent.max() / size
        texts.append(f"{ranks} ranks {low:.3g}" + (f"..{high:.3g}" if high > low + 0.001 else ""))
    report.note(f"{operation}: a rank sends, in S", ", ".join(texts))
