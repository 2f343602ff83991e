"""Checks of a collective policy: its schedules can run to their end and can carry what the operation promises.

A schedule says who sends how much and when, not which bytes. So the data is followed as far as that goes: a message can
hold what its sender had for sure when it was sent, that is, its own data and all that arrived before its gate opened.
Whether every contribution can reach every rank that is due it, in full, is then a maximum flow through the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sim.dispatch import api
from sim.dispatch.groups import problem_of, schedule_of
from sim.dispatch.kit.exchange import check_exchange
from sim.dispatch.kit.gates import feeding, gate_faults, largest, layouts, sent_order, told, type_faults
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
        able = [
            layout
            for ranks in _RANKS
            for layout in layouts(ranks, bool(getattr(instance, "uses_layout", False)))
            if problem_of(instance, operation, ranks, layout) is None
        ]
        for layout in able:
            for size in _SIZES:
                try:
                    _check_one(policy, operation, layout, size, faults)
                except Exception as error:  # the policy's code
                    faults[_TYPES].append(f"{operation} of {size} B, {told(layout)}: {report.explain(error)}")
        _tell_totals(report, policy, operation, able)
    for what in _CHECKS:
        report.check(what, faults[what])
    if hasattr(instance, "exchange"):
        check_exchange(report, policy)
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
    for name in ("uses_layout", "launches_phases"):
        if not isinstance(getattr(instance, name, False), bool):
            yield f"'{name}' must be True or False"
            return
    for operation in sorted(operations):
        answers = [instance.problem(operation, ranks) for ranks in (1, *_RANKS)]
        if getattr(instance, "uses_layout", False):
            answers += [
                instance.problem(operation, ranks, layout) for ranks in _RANKS for layout in layouts(ranks, True)
            ]
        if any(answer is not None and not isinstance(answer, str) for answer in answers):
            yield f"{operation}: problem() must give a text or None"
        elif answers[0] is None:
            yield f"{operation}: problem() must say that one rank is too few"
        elif all(answers[1 : 1 + len(_RANKS)]):
            yield f"{operation}: problem() refuses every number of ranks up to {_RANKS[-1]}"


def _check_one(policy: Policy, operation: str, layout: api.Layout, size: int, faults: dict[str, list[str]]) -> None:
    ranks = len(layout.node)
    label = f"{operation} of {size} B, {told(layout)}"
    messages, counts = schedule_of(policy.module.Policy(policy.Params()), operation, ranks, size, layout)
    again = schedule_of(policy.module.Policy(policy.Params()), operation, ranks, size, layout)
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
        feeds = feeding(messages, counts, order, getattr(policy.module.Policy, "cut_through", False))
        faults[_DATA] += [f"{label}: {text}" for text in data_faults(messages, feeds, operation, ranks, size)]


def data_faults(
    messages: Sequence[api.Message], feeds: Sequence[Sequence[int]], operation: str, ranks: int, size: int
) -> Iterator[str]:
    """Ranks that can't get what they are due; ``feeds`` of ``feeding``."""
    for target in range(ranks):
        due = _due(operation, ranks, size, target)
        together = [list(due)] if operation in ("all_gather", "all_to_all") else []  # parts that can't be added up
        for sources in [[source] for source in due] + together:
            wanted = sum(due[source] for source in sources)
            flow = largest(messages, feeds, {source: due[source] for source in sources}, target, size)
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


def _tell_totals(report: Report, policy: Policy, operation: str, able: Sequence[api.Layout]) -> None:
    """How much a rank sends at most and at least, in units of S: to be held against the algorithm's own account."""
    size, texts = 65_536, []
    for layout in able:
        ranks = len(layout.node)
        try:
            messages, _ = schedule_of(policy.module.Policy(policy.Params()), operation, ranks, size, layout)
            sent = np.zeros(ranks)
            for message in messages:
                sent[message.src] += message.bytes
        except Exception:  # already a fault
            return
        low, high = sent.min() / size, sent.max() / size
        texts.append(f"{told(layout)} {low:.3g}" + (f"..{high:.3g}" if high > low + 0.001 else ""))
    report.note(f"{operation}: a rank sends, in S", ", ".join(texts))
