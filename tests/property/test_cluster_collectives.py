"""Collectives that know their nodes and rails: rings over a buffer in parts, hierarchical all-reduce."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.dispatch.api import Layout, Message
from sim.dispatch.collective import hierarchical, ring
from sim.dispatch.collective._schedule import chunks
from tests.property.ranks import REDUCING, Ranks, everything, own_part


def cluster(nodes: int, slots: int) -> Layout:
    ranks = np.arange(nodes * slots)
    return Layout(ranks // slots, ranks % slots)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), REDUCING, st.integers(0, 999))
def test_rings_share_the_buffer(nodes: int, slots: int, channels: int, operation: str, seed: int) -> None:
    ranks = nodes * slots
    if ranks < 2:
        return
    layout, size = cluster(nodes, slots), 1003
    policy = ring.Policy(ring.Params(channels=channels))
    messages, counts = policy.schedule(operation, ranks, size, layout)
    orders = [ring._order(layout, channel) for channel in range(channels)]
    parts = [chunks(part, ranks) for part in chunks(size, channels)]
    offset = 0 if operation == "all_gather" else 1
    each = (2 if operation == "all_reduce" else 1) * (ranks - 1) * ranks
    assert all(part for own in parts for part in own)
    assert len(messages) == channels * each

    def place_of(channel: int, rank: int) -> int:
        return orders[channel].index(rank)

    def meaning(message: Message, index: int) -> tuple[list[int], bool]:
        channel, number = divmod(index, each)
        step = number // ranks
        place = place_of(channel, message.src)
        assert message.dst == orders[channel][(place + 1) % ranks]
        chunk = (place - step - offset) % ranks
        assert message.bytes == parts[channel][chunk]
        return [channel * ranks + chunk], operation != "all_gather" and step < ranks - 1

    def held(rank: int, chunk: int) -> Counter[int]:
        own = place_of(chunk // ranks, rank) == chunk % ranks
        return Counter([rank]) if operation != "all_gather" or own else Counter()

    data = Ranks(ranks, held, channels * ranks)
    data.run(messages, counts, ranks, meaning, seed)
    for rank in range(ranks):
        for chunk in range(channels * ranks):
            channel, place = divmod(chunk, ranks)
            if operation == "reduce_scatter" and place != place_of(channel, rank):
                continue
            wanted = Counter([orders[channel][place]]) if operation == "all_gather" else everything(ranks)
            assert data.state[rank][chunk] == wanted


@pytest.mark.parametrize("nodes", [2, 4, 10])
def test_rings_stay_on_their_rails_and_use_every_nic_alike(nodes: int) -> None:
    layout = cluster(nodes, 8)
    messages, _ = ring.Policy(ring.Params(channels=8)).schedule("all_gather", 8 * nodes, 2**20, layout)
    out, into = Counter[int](), Counter[int]()
    for message in messages:
        if layout.node[message.src] != layout.node[message.dst]:
            assert layout.rail[message.src] == layout.rail[message.dst]
            out[message.src] += 1
            into[message.dst] += 1
    assert len(out) == len(into) == 8 * nodes
    assert len(set(out.values()) | set(into.values())) == 1


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 999))
def test_hierarchical_all_reduce(nodes: int, slots: int, parts: int, seed: int) -> None:
    ranks = nodes * slots
    if ranks < 2:
        return
    policy = hierarchical.Policy(hierarchical.Params(chunks=parts))
    messages, counts = policy.schedule("all_reduce", ranks, 1003, cluster(nodes, slots))
    seen: Counter[tuple[int, int]] = Counter()
    carried: list[tuple[list[int], bool]] = []

    def key(part: int, slot: int, chunk: int) -> int:
        return (part * slots + slot) * nodes + chunk

    for src, dst, size, _, _ in messages:  # messages of a pair are in the order of their parts, stages and steps
        if not size:
            carried.append(([], False))
        elif src // slots == dst // slots:
            part, gathers = divmod(seen[src, dst], 2)
            slot = (src if gathers else dst) % slots
            carried.append(([key(part, slot, chunk) for chunk in range(nodes)], not gathers))
        else:
            part, step = divmod(seen[src, dst], 2 * (nodes - 1))
            carried.append(([key(part, src % slots, (src // slots - step - 1) % nodes)], step < nodes - 1))
        seen[src, dst] += size > 0
    data = Ranks(ranks, own_part, parts * slots * nodes)
    data.run(messages, counts, ranks, lambda message, index: carried[index], seed)
    assert all(content == everything(ranks) for rank in data.state for content in rank)
