"""Ranks that run a schedule of messages in any order, and what each must hold at the end."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from sim.dispatch.api import Message
from sim.processes.collective import Plan

# what a message does to the chunks it carries: (chunks, adds up or replaces)
Meaning = Callable[[Message, int], tuple[list[int], bool]]


class Ranks:
    """Ranks with their chunks as multisets of contributions."""

    def __init__(self, ranks: int, held: Callable[[int, int], Counter[int]], parts: int) -> None:
        self.state = [[held(rank, chunk) for chunk in range(parts)] for rank in range(ranks)]

    def run(self, messages: list[Message], counts: list[int], ranks: int, meaning: Meaning, seed: int) -> None:
        plan, rng = Plan(messages, counts, ranks), np.random.default_rng(seed)
        left, heap = list(counts), []

        def release(indexes: list[int], now: float) -> None:
            for index in indexes:
                src, _, size, _, opens = messages[index]
                if size == 0:
                    left[opens] -= 1
                    if left[opens] == 0:
                        release(plan.at_gate[opens], now)
                    continue
                carried, adds = meaning(messages[index], index)
                data = [(chunk, Counter(self.state[src][chunk])) for chunk in carried]
                # heavy tails, so that messages overtake each other
                heapq.heappush(heap, (now + rng.pareto(0.7), index, data, adds))

        for rank in range(ranks):
            release(plan.at_once[rank], 0.0)
        arrived = 0
        while heap:
            now, index, data, adds = heapq.heappop(heap)
            arrived += 1
            for chunk, content in data:
                own = self.state[messages[index].dst]
                own[chunk] = own[chunk] + content if adds else content
            opens = messages[index].opens
            if opens >= 0:
                left[opens] -= 1
                if left[opens] == 0:
                    release(plan.at_gate[opens], now)
        assert arrived == sum(message.bytes > 0 for message in messages)


def everything(ranks: int) -> Counter[int]:
    return Counter(range(ranks))


def own_part(rank: int, chunk: int) -> Counter[int]:
    return Counter([rank])


def only_own_chunk(rank: int, chunk: int) -> Counter[int]:
    return Counter([rank]) if rank == chunk else Counter()


def check_result(state: list[list[Counter[int]]], operation: str, sizes: list[int]) -> None:
    ranks = len(state)
    for rank in range(ranks):
        for chunk, size in enumerate(sizes):
            if size == 0 or (operation == "reduce_scatter" and chunk != rank):
                continue
            wanted = Counter([chunk]) if operation == "all_gather" else everything(ranks)
            assert state[rank][chunk] == wanted, f"{operation}: rank {rank}, chunk {chunk}"


SIZES = st.sampled_from([1, 3, 17, 1000, 4096])
REDUCING = st.sampled_from(["all_reduce", "all_gather", "reduce_scatter"])


def start_of(operation: str) -> Callable[[int, int], Counter[int]]:
    return only_own_chunk if operation == "all_gather" else own_part
