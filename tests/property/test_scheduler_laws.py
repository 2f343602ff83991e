"""Laws of the schedulers that any history keeps, and relations between histories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.serving.law import LINEAR, TOKENS
from sim.engine.serving.book import FINISHED, Book
from sim.engine.serving.schedule import Schedulers
from sim.engine.serving.state import EngineSettings

COST = np.array([LINEAR, 50.0, 1.0, 3.0, 0.01])

engines = st.builds(
    EngineSettings,
    token_budget=st.integers(1, 64),
    max_sequences=st.integers(1, 8),
    kv_blocks=st.integers(20, 60),
    block_tokens=st.just(4),
    watermark=st.sampled_from([0.0, 0.1]),
    swap=st.booleans(),
    host_blocks=st.integers(0, 20),
    prefix_cache=st.booleans(),
    hash_tokens=st.sampled_from([4, 12]),
    chunked=st.booleans(),
    draft_tokens=st.integers(0, 3),
    acceptance=st.floats(0, 1),
    async_scheduling=st.booleans(),
)
lengths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(0, 2)), min_size=1, max_size=25)


class History:
    """Requests (prompt, output, which of three prefixes), all there at 0, dealt over ranks that step together."""

    def __init__(self, engine: EngineSettings, requests: list[tuple[int, int, int]], ranks: int = 1) -> None:
        self.book = Book()
        self.ranks = ranks
        for number, (prompt, output, prefix) in enumerate(requests):
            count = (prompt + output) // engine.hash_tokens
            start = self.book.add_hashes(
                [*range(100 * prefix, 100 * prefix + 2), *range(1000 * number + 500, 1000 * number + 600)]
            )
            self.book.add(prompt=prompt, output=output, hash_start=start, hash_count=count)
        self.schedulers = Schedulers(self.book, [engine] * ranks, [COST] * ranks, 7)
        for number in range(len(requests)):
            self.schedulers.add(number % ranks, number, 0)
        self.now = self.tokens = 0

    def turn(self) -> int:
        length = self.schedulers.turn(0, self.ranks, self.now)
        self.tokens += sum(int(self.schedulers.batch(rank)[0][TOKENS]) for rank in range(self.ranks))
        self.now += length
        return length

    def play(self) -> np.ndarray:
        while self.turn():
            assert self.schedulers.check() == []
        return self.book.rows[: self.book.count]


@settings(max_examples=80, deadline=None)
@given(engines, lengths, st.integers(1, 3))
def test_everybody_gets_what_was_asked_and_the_books_balance(
    engine: EngineSettings, requests: list[tuple[int, int, int]], ranks: int
) -> None:
    history = History(engine, requests, ranks)
    rows = history.play()
    counts = history.schedulers.counts
    assert (rows["status"] == FINISHED).all()
    assert (rows["generated"] == rows["output"]).all()
    ended_waiting = engine.async_scheduling & (rows["preempted"] > 0)  # its last token was under way
    assert ((rows["computed"] == rows["prompt"] + rows["output"] - 1) | ended_waiting).all()
    assert (rows["blocks"] + rows["shared"] + rows["host"] == 0).all()
    assert ((rows["scheduled"] < rows["first"]) & (rows["first"] <= rows["last"])).all()
    in_vain = engine.async_scheduling and engine.draft_tokens > 0  # iterations for who has ended meanwhile
    assert rows["last"].max() <= history.now if in_vain else rows["last"].max() == history.now
    assert ((rows["gap_max"] <= rows["last"] - rows["first"]) & (rows["gap_max"] >= 0)).all()
    assert int(counts["tokens"].sum()) == history.tokens
    # what was computed: everything once, less what the cache had and drafts that missed, more what was lost
    needed = (
        int(rows["computed"].sum()) + int((counts["drafted"] - counts["accepted"]).sum()) - int(counts["hit"].sum())
    )
    assert history.tokens >= needed
    if not counts["preemptions"].any() and not in_vain:
        assert history.tokens == needed
    if engine.draft_tokens == 0:
        assert int(history.book.gaps.sum()) == int((rows["output"] - 1).sum())


@settings(max_examples=40, deadline=None)
@given(engines, lengths)
def test_with_room_for_all_the_cache_only_saves_work(
    engine: EngineSettings, requests: list[tuple[int, int, int]]
) -> None:
    roomy = replace(engine, kv_blocks=10_000, draft_tokens=0, chunked=True)
    with_cache, without = (History(replace(roomy, prefix_cache=each), requests) for each in (True, False))
    with_cache.play()
    without.play()
    assert with_cache.tokens == without.tokens - int(with_cache.schedulers.counts["hit"].sum())
    assert not without.schedulers.counts["hit"].any()


@settings(max_examples=40, deadline=None)
@given(engines, lengths)
def test_memory_of_no_use_changes_nothing(engine: EngineSettings, requests: list[tuple[int, int, int]]) -> None:
    """Without a prefix cache, blocks beyond all that requests can hold do not matter."""
    enough = sum(-(-(prompt + output) // 4) for prompt, output, _ in requests) + 10
    found = []
    for blocks in (enough, 3 * enough):
        roomy = replace(engine, kv_blocks=blocks, watermark=0.0, prefix_cache=False)
        found.append(History(roomy, requests).play()[["first", "last", "gap_max"]].tolist())
    assert found[0] == found[1]
