"""Checks of exchanges: random tokens get to the ranks of their experts, once, and their results come back.

An exchange may leave out copies of a token (one to a rank, one to a node) and add up results on the way back, so what
it must carry at least is each distinct token of a rank, and what may end at a rank at most is every copy that is due.
Whether data can get there is a maximum flow through the messages, as for schedules.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.comms.messages import profile_names
from sim.dispatch import api
from sim.dispatch.groups import problem_of
from sim.dispatch.kit.gates import feeding, gate_faults, largest, layouts, sent_order, told
from sim.dispatch.kit.report import Report
from sim.dispatch.registry import Policy
from solvers.expert_plan import Traffic

_RANKS = (2, 4, 6, 8)
_BYTES = 112  # of a token
_TYPES = "exchange: arrays of whole numbers, and the name of a message profile"
_GATES = "exchange: every rank and gate is there, a gate has one owner, every message is sent in the end"
_REACHES = "exchange: every token can get to its ranks, and every result back"
_ONCE = "exchange: no more than the copies that are due end at a rank"
_SAME = "exchange: same question, same answer"
_CHECKS = (_TYPES, _GATES, _REACHES, _ONCE, _SAME)


def check_exchange(report: Report, policy: Policy) -> None:
    """All checks of ``exchange``, over the kit's layouts, for a random, a lopsided and an empty traffic."""
    faults: dict[str, list[str]] = {what: [] for what in _CHECKS}
    instance = policy.module.Policy(policy.Params())
    profile = getattr(instance, "messages", None)
    if profile not in profile_names():
        faults[_TYPES].append(f"'messages' must be one of {', '.join(profile_names())}; it is {profile!r}")
    for ranks in _RANKS:
        for layout in layouts(ranks, True):
            if problem_of(instance, "all_to_all", ranks, layout) is None:
                for kind in ("random", "one rank", "no"):
                    traffic = _traffic(layout, kind)
                    for back in (False, True):
                        label = f"{'results' if back else 'tokens'} of {kind} traffic, {told(layout)}"
                        try:
                            _check_one(policy, traffic, layout, back, label, faults)
                        except Exception as error:  # the policy's code
                            faults[_TYPES].append(f"{label}: {report.explain(error)}")
    for what in _CHECKS:
        report.check(what, faults[what])


def _traffic(layout: api.Layout, kind: str) -> Traffic:
    """Some tokens with up to three experts each: anywhere, or all on the last rank."""
    ranks, rng = len(layout.node), np.random.default_rng(7)
    copies, to_rank = np.zeros((2, ranks, ranks), dtype=np.int64)
    to_node = np.zeros((ranks, int(layout.node.max()) + 1), dtype=np.int64)
    for source in range(ranks if kind != "no" else 0):
        for _ in range(int(rng.integers(12))):
            targets = rng.integers(ranks, size=3) if kind == "random" else np.full(2, ranks - 1)
            np.add.at(copies[source], targets, 1)
            to_rank[source, np.unique(targets)] += 1
            to_node[source, np.unique(layout.node[targets])] += 1
    return Traffic(copies, to_rank, to_node)


def _check_one(
    policy: Policy, traffic: Traffic, layout: api.Layout, back: bool, label: str, faults: dict[str, list[str]]
) -> None:
    exchange = policy.module.Policy(policy.Params()).exchange(traffic, layout, _BYTES, back)
    wrong = list(_type_faults(exchange))
    faults[_TYPES] += [f"{label}: {text}" for text in wrong]
    if wrong:
        return
    again = policy.module.Policy(policy.Params()).exchange(traffic, layout, _BYTES, back)
    if not all(np.array_equal(one, other) for one, other in zip(exchange, again, strict=True)):
        faults[_SAME].append(f"{label}: a fresh policy answered otherwise")
    columns = (exchange.src, exchange.dst, exchange.bytes, exchange.waits_for, exchange.opens)
    messages = [api.Message(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    wrong = list(gate_faults(messages, exchange.counts, len(layout.node)))
    order = [] if wrong else sent_order(messages, exchange.counts)
    if not wrong and len(order) < len(messages):
        stuck = next(message for at, message in enumerate(messages) if at not in set(order))
        wrong.append(f"{len(messages) - len(order)} messages never leave, such as {stuck}")
    faults[_GATES] += [f"{label}: {text}" for text in wrong]
    if wrong:
        return
    feeds = feeding(messages, exchange.counts, order, getattr(policy.module.Policy, "cut_through", False))
    distinct, copies = (part.T if back else part for part in (traffic.to_rank, traffic.copies))
    faults[_REACHES] += [f"{label}: {text}" for text in _lost(messages, feeds, distinct * _BYTES, together=not back)]
    passed_on = {earlier for later in feeds for earlier in later}
    ending = np.zeros(len(layout.node), dtype=np.int64)
    for at, message in enumerate(messages):
        if at not in passed_on:
            ending[message.dst] += message.bytes
    for rank in np.flatnonzero(ending > (copies.sum(axis=0) - copies.diagonal()) * _BYTES):
        due = int(copies[:, rank].sum() - copies[rank, rank]) * _BYTES
        faults[_ONCE].append(f"{label}: {ending[rank]} B end at rank {rank}, which is due at most {due} B")


def _type_faults(exchange: api.Exchange) -> Iterator[str]:
    if type(exchange) is not api.Exchange:
        yield "exchange() must give an Exchange"
        return
    for name, column in zip(exchange._fields[:-1], exchange, strict=False):
        if not isinstance(column, np.ndarray) or column.dtype != np.int64 or column.shape != exchange.src.shape:
            yield f"'{name}' must be an array of int64, as long as 'src'"
            return
    if not all(isinstance(count, int) for count in exchange.counts):
        yield "counts of gates must be integers"
    elif (exchange.units[exchange.bytes > 0] < 1).any():
        yield "a flow must stand for at least one message ('units')"


def _lost(
    messages: list[api.Message],
    feeds: list[list[int]],
    due: NDArray[np.int64],
    together: bool,
) -> Iterator[str]:
    """``due`` [from, to] bytes that must get there at least. ``together``: nothing is added up on the way."""
    most = int(due.sum()) + sum(message.bytes for message in messages) + 1
    for target in range(len(due)):
        supply = {source: int(due[source, target]) for source in range(len(due)) if source != target}
        for part in [{source: size} for source, size in supply.items()] + [supply] * together:
            wanted = sum(part.values())
            flow = largest(messages, feeds, part, target, most) if wanted else 0
            if flow < wanted:
                who = f"rank {next(iter(part))}" if len(part) == 1 else "all others together"
                yield f"rank {target} can get {flow} B from {who}, and is due {wanted} B"
                break
