"""The compiled schedulers and the plain ones, call by call, in random stories."""

from __future__ import annotations

import heapq
from collections import Counter

import numpy as np
import pytest

from models.serving.law import LINEAR
from sim.engine.serving.book import FINISHED, LOST, MOVING, Book, gap_bin
from sim.engine.serving.schedule import Schedulers
from sim.engine.serving.state import EngineSettings
from tests.twin.serving_reference import Request, World

COLUMNS = (
    "prompt", "output", "limit", "computed", "generated", "blocks", "shared", "host", "expected", "previous", "gap_max",
    "queued", "scheduled", "first", "last", "cached", "preempted", "rank", "status",
)  # fmt: skip
COST = np.array([LINEAR, 100.0, 1.0, 2.0, 0.01])


def some_settings(rng: np.random.Generator) -> EngineSettings:
    size = int(rng.choice([1, 4, 16]))
    speculates = rng.random() < 0.3
    return EngineSettings(
        token_budget=int(rng.integers(2, 12) if rng.random() < 0.4 else rng.integers(12, 200)),
        max_sequences=int(rng.integers(1, 12)),
        kv_blocks=int(rng.integers(120, 400) // size + 2),
        block_tokens=size,
        watermark=float(rng.choice([0.0, 0.05])),
        swap=bool(rng.random() < 0.4),
        swap_ps_per_block=10**6,
        host_blocks=int(rng.integers(0, 60)),
        prefix_cache=bool(rng.random() < 0.6),
        hash_tokens=size * int(rng.choice([1, 3])),
        chunked=bool(rng.random() < 0.75),
        draft_tokens=int(rng.integers(1, 5)) if speculates else 0,
        acceptance=float(rng.random()),
        draft_ps=2 * 10**6,
        async_scheduling=bool(rng.random() < 0.5),
    )


def some_requests(rng: np.random.Generator, number: int, hash_tokens: int) -> list[Request]:
    """Many begin with the same ids, as far as they are equal; lengths up to what a scheduler may hold."""
    chains = [rng.integers(0, 2**62, 200).tolist() for _ in range(3)]
    levels = int(rng.choice([1, 3]))
    found = []
    for each in range(number):
        prompt, output = int(rng.integers(1, 90)), int(rng.integers(1, 40))
        own = rng.integers(0, 2**62, 200).tolist()
        same, count = (
            int(rng.integers(0, 60)) // hash_tokens,
            (prompt + int(rng.integers(0, output + 1))) // hash_tokens,
        )
        chain = (chains[int(rng.integers(3))][:same] + own)[:count]
        believed = int(rng.integers(1, 50)) if rng.random() < 0.5 else -1
        found.append(
            Request(each, prompt, output, chain, priority=int(rng.integers(levels)), predicted=believed, limit=output)
        )
    return found


class Story:
    """Arrivals, iterations, hand-overs from prefill to decode, cancellations and failures, told to both."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.sizes = [int(size) for size in rng.integers(1, 4, int(rng.integers(1, 4)))]
        self.firsts = np.cumsum([0, *self.sizes[:-1]]).tolist()
        settings = []
        size = some_settings(rng)
        for ranks in self.sizes:
            own = some_settings(rng)
            same = {"block_tokens": size.block_tokens, "hash_tokens": size.hash_tokens, "kv_blocks": size.kv_blocks}
            settings += [EngineSettings(**{**vars(own), **same})] * ranks
        self.requests = some_requests(rng, int(rng.integers(5, 60)), size.hash_tokens)
        self.book = Book(capacity=int(rng.choice([4, 64])))
        for request in self.requests:
            request.kind = request.number % 2
        self.book = Book(classes=2, capacity=4)
        for request in self.requests:
            if self.rng.random() < 0.2:
                request.limit = 1
            start = self.book.add_hashes(request.hashes)
            columns = {
                name: getattr(request, name) for name in ("prompt", "output", "limit", "priority", "predicted", "kind")
            }
            self.book.add(**columns, hash_start=start, hash_count=len(request.hashes))
        costs = [COST] * len(settings)
        self.fast = Schedulers(self.book, settings, costs, seed)
        self.slow = World(self.requests, settings, costs, seed)
        self.events: list[tuple[int, int, str, int]] = []
        self.turning: set[int] = set()
        self.refused: set[int] = set()

    def at(self, time: int, what: str, which: int) -> None:
        heapq.heappush(self.events, (time, len(what), what, which))

    def wake(self, group: int, now: int) -> None:
        if group not in self.turning:
            self.turning.add(group)
            self.at(now, "turn", group)

    def group_of(self, rank: int) -> int:
        return int(np.searchsorted(self.firsts, rank, side="right")) - 1

    def arrive(self, number: int, now: int) -> None:
        group = int(self.rng.integers(len(self.sizes)))
        first, ranks = self.firsts[group], self.sizes[group]
        if self.fast.impossible(first, number):
            self.refused.add(number)
            return
        rank = self.fast.place(first, ranks)
        assert rank == (self.slow.place(first, ranks) if ranks > 1 else first)
        found = self.fast.cached_tokens(np.array(self.firsts), np.array(self.sizes), number).tolist()
        for own, begin, size in zip(found, self.firsts, self.sizes, strict=True):
            assert own == max(self.slow.cached_tokens(each, number) for each in range(begin, begin + size))
        self.fast.add(rank, number, now)
        self.slow.add(rank, number, now)
        self.wake(group, now)

    def turn(self, group: int, now: int) -> None:
        self.turning.discard(group)
        first, ranks = self.firsts[group], self.sizes[group]
        length = self.fast.turn(first, ranks, now)
        assert length == self.slow.turn(first, ranks, now)
        told = self.fast.told()
        assert told == self.slow.told
        for number in told:
            if self.requests[number].status == MOVING:
                self.at(now + int(self.rng.integers(1, 10**9)), "transferred", number)
        if length:
            self.turning.add(group)
            self.at(now + length, "turn", group)

    def transferred(self, number: int, now: int) -> None:
        request = self.requests[number]
        if request.status != MOVING:
            return
        self.wake(self.group_of(request.rank), now)
        self.fast.release(request.rank, number)
        self.slow.release(request.rank, number)
        self.book.rows["limit"][number] = request.limit = request.output
        self.arrive(number, now)

    def cancel(self, number: int, now: int) -> None:
        self.fast.cancel(number, now)
        self.slow.cancel(number, now)
        for group in range(len(self.sizes)):
            self.wake(group, now)

    def drop(self, rank: int, now: int) -> None:
        gone = self.fast.drop(rank)
        assert gone == self.slow.drop(rank)
        for number in gone:
            if self.rng.random() < 0.7:
                self.arrive(number, now)

    def compare(self) -> None:
        rows = self.book.rows[: self.book.count]
        for name in COLUMNS:
            assert rows[name].tolist() == [getattr(request, name) for request in self.requests], name
        assert self.fast.check() == []
        for name in self.slow.schedulers[0].counts:
            assert self.fast.counts[name].tolist() == [each.counts[name] for each in self.slow.schedulers], name
        for rank, each in enumerate(self.slow.schedulers):
            assert self.fast.members(rank) == (
                [one.number for one, _, _ in each.running],
                [each.under_way(one)[0] for one, _, _ in each.running],
            )

    def play(self) -> None:
        last = 10**10
        for request in self.requests:
            self.at(int(self.rng.integers(last)), "arrive", request.number)
        for _ in range(int(self.rng.integers(0, 4))):
            self.at(int(self.rng.integers(2 * last)), "cancel", int(self.rng.integers(len(self.requests))))
        for _ in range(int(self.rng.integers(0, 3))):
            self.at(int(self.rng.integers(last)), "drop", int(self.rng.integers(sum(self.sizes))))
        steps = 0
        while self.events:
            now, _, what, which = heapq.heappop(self.events)
            getattr(self, what)(which, now)
            steps += 1
            assert steps < 20_000
            if steps % 23 == 0:
                self.compare()
        self.compare()
        for request in self.requests:
            assert request.status in (FINISHED, LOST) or request.number in self.refused
        counted = Counter((kind, gap_bin(gap)) for kind, gap in self.slow.gaps)
        assert counted == {
            (int(kind), int(place)): int(self.book.gaps[kind, place]) for kind, place in np.argwhere(self.book.gaps)
        }


@pytest.mark.parametrize("tens", range(30))
def test_compiled_and_plain_schedulers_agree(tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        Story(seed).play()
