"""A ``Plan``: the messages and gates of one collective operation, checked and indexed once, with what messages cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.comms.messages import MessageProfile
from sim.dispatch.api import Exchange, Layout, Message

_PS_PER_US = 10**6


class Plan:
    """A schedule of one operation among ``ranks`` ranks, indexed. ValueError where it can't run.

    ``overheads``: of each message, bytes of link time beyond its payload. ``weights``: its share of a bottleneck in the
    fluid engine, where shares differ. ``launch`` ps go by at a rank from its
    joining to its first message; ``relaunch`` ps from the opening of a gate until its messages leave.
    """

    def __init__(
        self,
        messages: Sequence[Message] | Exchange,
        counts: Sequence[int],
        ranks: int,
        *,
        overheads: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
        launch: int = 0,
        relaunch: int = 0,
    ) -> None:
        rows = messages if isinstance(messages, Exchange) else exchange_of(messages, counts)
        _check(rows, ranks)
        self.ranks = ranks
        self.counts = list(counts)
        self.src, self.dst, self.size = rows.src.tolist(), rows.dst.tolist(), rows.bytes.tolist()
        self.opens = rows.opens.tolist()
        self.overheads = None if overheads is None else list(overheads)
        self.weights = None if weights is None else list(weights)
        self.launch, self.relaunch = launch, relaunch
        free = np.flatnonzero(rows.waits_for < 0)
        bound = np.flatnonzero(rows.waits_for >= 0)
        self.at_once = _grouped(free, rows.src[free], ranks)
        self.at_gate = _grouped(bound, rows.waits_for[bound], len(self.counts))
        owner = np.full(len(self.counts), -1)
        owner[rows.waits_for[bound]] = rows.src[bound]
        self.owner = owner.tolist()  # the rank that waits at each gate
        real = rows.bytes > 0
        ends = np.concatenate([rows.src[real], rows.dst[real]])
        self.due = np.bincount(ends, minlength=ranks).tolist()  # messages to or from each rank, signals left out


def exchange_of(messages: Sequence[Message], counts: Sequence[int]) -> Exchange:
    """The schedule as arrays; every message is one network message."""
    table = np.array(messages, dtype=np.int64).reshape(len(messages), 5)
    src, dst, size, waits_for, opens = np.ascontiguousarray(table.T)
    return Exchange(src, dst, size, (size > 0).astype(np.int64), waits_for, opens, list(counts))


def profile_named(name: str) -> MessageProfile:
    """A profile by the scenario's name for it; ``..._size_only`` leaves the loss across rails to the fabric."""
    short = name.removesuffix("_size_only")
    return MessageProfile.named(short, cross_rail=short == name)


def priced(
    exchange: Exchange, layout: Layout, profile: MessageProfile, *, launches_phases: bool, in_step: bool = False
) -> Plan:
    """The plan of an exchange whose messages cost what the profile says, and each phase a launch at every GPU.

    ``launches_phases``: what waits for a gate is a phase (a kernel) of its own. A phase with a message that leaves its
    node takes the profile's remote launch. ``in_step``: a kernel serves all its peers in turn, so that long and short
    messages end together (weights as their sizes); else each has an equal share.
    """
    kinds = layout.kinds(exchange.src, exchange.dst)
    overheads = profile.overhead(exchange.bytes, exchange.units, kinds)

    def launch(rows: NDArray[np.bool_]) -> int:
        if not rows.any():
            return 0
        return round((profile.remote_launch_us if kinds[rows].any() else profile.launch_us) * _PS_PER_US)

    real, later = exchange.bytes > 0, exchange.waits_for >= 0
    return Plan(
        exchange,
        exchange.counts,
        len(layout.node),
        overheads=overheads.tolist() if overheads.any() else None,
        weights=_as_sizes(exchange.bytes + overheads) if in_step else None,
        launch=launch(real & ~later if launches_phases else real),
        relaunch=launch(real & later) if launches_phases else 0,
    )


def _as_sizes(occupied: NDArray[np.int64]) -> list[float]:
    """Weights in proportion to the bytes, 1 on average; signals have none and get 1."""
    real = occupied > 0
    weights = np.ones(len(occupied))
    weights[real] = occupied[real] / occupied[real].mean() if real.any() else 1.0
    found: list[float] = weights.tolist()
    return found


def _grouped(rows: NDArray[np.int64], group: NDArray[np.int64], groups: int) -> list[list[int]]:
    """[groups] the rows of each, in their order."""
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(groups + 1)).tolist()
    listed = rows[order].tolist()
    return [listed[start:end] for start, end in itertools.pairwise(ends)]


def _check(rows: Exchange, ranks: int) -> None:
    """ValueError for what the clock can't run."""

    def refuse(wrong: NDArray[np.bool_], what: str) -> None:
        if wrong.any():
            at = int(np.argmax(wrong))
            message = Message(
                *(int(column[at]) for column in (rows.src, rows.dst, rows.bytes, rows.waits_for, rows.opens))
            )
            raise ValueError(f"message {at} of the schedule {what}: {message} of {ranks} ranks")

    gates = len(rows.counts)
    lost = (np.minimum(rows.src, rows.dst) < 0) | (np.maximum(rows.src, rows.dst) >= ranks)
    refuse(lost | (rows.bytes < 0) | ((rows.src == rows.dst) & (rows.bytes > 0)), "can't be")
    beyond = np.maximum(rows.waits_for, rows.opens) >= gates
    refuse(beyond | (np.minimum(rows.waits_for, rows.opens) < -1), "names a gate that is not there")
    bound = np.flatnonzero(rows.waits_for >= 0)
    waits, src = rows.waits_for[bound], rows.src[bound]
    owner = np.full(gates, -1)
    owner[waits] = src
    other = np.flatnonzero(owner[waits] != src)
    if len(other):
        gate = waits[other[0]]
        raise ValueError(f"gate {gate} of the schedule has messages of two ranks, {src[other[0]]} and {owner[gate]}")
    opened = np.bincount(rows.opens[rows.opens >= 0], minlength=gates)
    counts = np.array(rows.counts, dtype=np.int64)
    stuck = np.flatnonzero((owner >= 0) & ((counts != opened) | (counts <= 0)))
    if len(stuck):
        gate = stuck[0]
        raise ValueError(f"gate {gate} of the schedule waits for {counts[gate]} arrivals, but {opened[gate]} open it")
