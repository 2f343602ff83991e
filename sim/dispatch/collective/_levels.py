"""What the policies of two levels share: nodes and slots of a layout, and exchanges in the making.

A rank's slot is its place in its node in order of rail (and of rank, where ranks share a rail). Ranks of one slot are
peers: messages between nodes go from peer to peer, so that they stay on their rail.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import Exchange, Layout, Message
from sim.dispatch.collective._schedule import chunks

Ints = NDArray[np.int64]


def grid(layout: Layout) -> Ints:
    """[nodes, slots] the rank at each place. ValueError where the nodes differ."""
    fault = unequal(layout)
    if fault:
        raise ValueError(fault)
    order = np.lexsort((np.arange(len(layout.node)), layout.rail, layout.node))
    return order.reshape(int(layout.node.max()) + 1, -1)


def unequal(layout: Layout) -> str | None:
    """Why ranks of different nodes can't be paired along rails, or None."""
    sizes = np.bincount(layout.node)
    odd = np.flatnonzero(sizes != sizes[0])
    if len(odd):
        there = f"node 0 has {sizes[0]} of the group's ranks, node {odd[0]} has {sizes[odd[0]]}"
        return f"two levels need nodes of the same size; {there}"
    order = np.lexsort((layout.rail, layout.node))
    rails = layout.rail[order].reshape(len(sizes), -1)
    odd = np.flatnonzero((rails != rails[0]).any(axis=1))
    if len(odd):
        there = f"node 0 has ranks on rails {_listed(rails[0])}, node {odd[0]} on {_listed(rails[odd[0]])}"
        return f"two levels need the same rails in every node; {there}"
    return None


def _listed(rails: Ints) -> str:
    shown = [str(rail) for rail in rails[:8].tolist()]
    return ", ".join(shown) + (", ..." if len(rails) > 8 else "")


class Pairs(NamedTuple):
    """Ordered pairs of different places, each source's in the order of the next place, the one after, ..."""

    src: Ints
    dst: Ints


def others(count: int) -> Pairs:
    """All ordered pairs of 0..count-1, but those of one with itself."""
    src, step = np.divmod(np.arange(count * max(0, count - 1)), max(1, count - 1))
    return Pairs(src, (src + step + 1) % max(1, count))


class Rows:
    """An exchange in the making: columns in pieces. Rows of 0 bytes are left out, but for signals."""

    def __init__(self) -> None:
        self._pieces: list[tuple[Ints, ...]] = []

    def send(self, src: Ints, dst: Ints, size: Ints, units: Ints, waits_for: Ints | int, opens: Ints | int) -> None:
        """Messages; all arguments of one length, or one gate for all (-1: none)."""
        shape = (len(src),)
        waits, opened = np.broadcast_to(waits_for, shape), np.broadcast_to(opens, shape)
        self._pieces.append(tuple(column[size > 0] for column in (src, dst, size, units, waits, opened)))

    def signal(self, src: Ints, dst: Ints, waits_for: Ints, opens: Ints) -> None:
        nothing = np.zeros(len(src), dtype=np.int64)
        self._pieces.append((src, dst, nothing, nothing, waits_for, opens))

    def result(self, counts: Ints) -> Exchange:
        """``counts`` [gates]."""
        src, dst, size, units, waits_for, opens = (np.concatenate(column) for column in zip(*self._pieces, strict=True))
        return Exchange(src, dst, size, units, waits_for, opens, counts.tolist())


def ones(like: Ints) -> Ints:
    """Units of flows that are one message each."""
    return np.ones(len(like), dtype=np.int64)


def flat(amount: Ints, units: Ints | None, back: bool) -> Exchange:
    """Every rank sends to every other at once. ``amount`` [src, dst] bytes, ``units`` messages (None: one a peer)."""
    here, there = others(len(amount))
    rows = Rows()
    size = amount[there, here] if back else amount[here, there]
    if units is None:
        count = ones(here)
    else:
        count = units[there, here] if back else units[here, there]
    rows.send(here, there, size, count, -1, -1)
    return rows.result(np.empty(0, dtype=np.int64))


def uniform(ranks: int, size: int) -> Ints:
    """[src, dst] bytes of an all_to_all of ``size``: chunk d of the buffer goes to rank d."""
    return np.tile(np.array(chunks(size, ranks), dtype=np.int64), (ranks, 1))


def listed(exchange: Exchange) -> tuple[list[Message], list[int]]:
    """The exchange as the schedule of an operation."""
    columns = (exchange.src, exchange.dst, exchange.bytes, exchange.waits_for, exchange.opens)
    return [Message(*row) for row in zip(*(column.tolist() for column in columns), strict=True)], exchange.counts
