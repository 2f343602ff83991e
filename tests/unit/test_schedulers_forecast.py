"""Forecasts: what becomes of a request if it joined a scheduler now."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engine.serving.schedule import Schedulers
from sim.engine.serving.state import EngineSettings
from tests.unit.schedulers import COUNTED, STEP, chain, make, play


def state(schedulers: Schedulers) -> bytes:
    memory = schedulers._memory
    arrays = [memory.state, memory.schedulers, memory.loads, memory.counts, memory.totals, memory.chunks, memory.told]
    arrays += [*memory.runs, *memory.waits, *memory.nodes, *memory.tables, schedulers.book.rows, schedulers.book.gaps]
    return b"".join(each.tobytes() for each in arrays)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_forecast_with_true_lengths_is_what_happens_and_changes_nothing(ranks: int, ahead: bool) -> None:
    """In the midst of a batch, with others running and waiting, preemptions and shared prefixes ahead."""
    rng = np.random.default_rng(ranks)
    settings = EngineSettings(
        token_budget=100, kv_blocks=24, block_tokens=8, hash_tokens=8, prefix_cache=True, max_sequences=9,
        async_scheduling=ahead,
    )  # fmt: skip
    preempted = hit = 0
    for _ in range(20):
        schedulers = make(*[settings] * ranks, cost=COUNTED)
        now = end = 0
        for number in range(12):
            prompt, output = (int(value) for value in rng.integers(1, 80, 2))
            ids = [1, 2, 3, *range(10 * number, 10 * number + 10)][: prompt // 8]
            last = schedulers.book.add(prompt=prompt, output=output, predicted=output, **chain(schedulers, *ids))
            if number == 11:
                now = (now + end) // 2
                before = state(schedulers)
                said = schedulers.forecast(ranks - 1, last, now, 100_000)
                assert state(schedulers) == before
            schedulers.add(ranks - 1 if number == 11 else number % ranks, last, now)
            if number < 11:
                now, end = end, end + schedulers.turn(0, ranks, end)
        play(schedulers, end, ranks)
        row = schedulers.book.rows[last]
        assert (row["first"], row["last"]) == said
        preempted += schedulers.counts["preemptions"].sum()
        hit += row["cached"] > 0
    assert preempted > 0
    assert hit > 0


def test_a_forecast_believes_the_prediction_and_stops_at_its_limit() -> None:
    schedulers = make(EngineSettings())
    one = schedulers.book.add(prompt=10, output=100, arrival=0, predicted=7)
    assert schedulers.forecast(0, one, 0, 1000) == (STEP, 7 * STEP)
    assert schedulers.forecast(0, one, 0, 4) == (STEP, 4 * STEP)
