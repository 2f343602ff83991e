"""Schedulers that compose batches ahead, and those that verify drafts: both act on tokens not yet known."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engine.serving.book import FINISHED, MOVING
from sim.engine.serving.state import EngineSettings
from tests.unit.schedulers import COUNTED, STEP, US, ask, make, play


def test_a_batch_composed_ahead_is_one_behind_the_arrivals() -> None:
    schedulers = make(EngineSettings(async_scheduling=True), cost=COUNTED)
    one = ask(schedulers, 8, 4)
    assert schedulers.turn(0, 1, 0) == 108 * US  # the first decode is composed now as well
    other = ask(schedulers, 20, 2, 1 * US)
    ahead = 108 * US
    assert schedulers.turn(0, 1, ahead) == 110 * US
    assert schedulers.members(0) == ([one, other], [1, 0])  # composed: a decode and the prompt
    assert schedulers.book.rows["scheduled"][:2].tolist() == [0, ahead]
    assert schedulers.turn(0, 1, ahead + 110 * US) == 130 * US
    assert schedulers.members(0) == ([one, other], [1, 20])
    _, told = play(schedulers, ahead + 240 * US)
    # nobody computes a token too many: their lengths are known
    assert told == [(ahead + 360 * US, [one, other])]
    assert schedulers.counts["tokens"][0] == 8 + 3 + 20 + 1


def test_an_empty_batch_ahead_takes_no_time() -> None:
    schedulers = make(EngineSettings(async_scheduling=True))
    ask(schedulers, 8, 1)
    schedulers.turn(0, 1, 0)
    other = ask(schedulers, 8, 1, 1)
    _, told = play(schedulers, STEP)
    assert told == [(STEP, [0]), (2 * STEP, [other])]


def test_what_is_under_way_of_one_preempted_is_not_lost() -> None:
    """Two that share five blocks: the second one is preempted while its first decode runs."""
    schedulers = make(EngineSettings(kv_blocks=5, block_tokens=4, watermark=0.0, async_scheduling=True), cost=COUNTED)
    ask(schedulers, 7, 7)
    ask(schedulers, 7, 7)
    now = schedulers.turn(0, 1, 0)
    now += schedulers.turn(0, 1, now)
    row = schedulers.book.rows[1]
    assert (row["preempted"], row["generated"], schedulers.load(0).running) == (1, 1, 1)
    schedulers.turn(0, 1, now)
    assert (row["generated"], row["computed"], row["since"]) == (2, 0, now)
    _, told = play(schedulers, now + 110 * US)
    # 6 decodes of the first one; that it gives back its blocks is known when the last has ended
    assert told[0] == ((114 + 120 + 5 * 110) * US, [0])
    assert told[1] == ((114 + 120 + 5 * 110 + 109 + 4 * 110) * US, [1])


def test_one_preempted_and_cancelled_gets_nothing_more() -> None:
    schedulers = make(EngineSettings(kv_blocks=5, block_tokens=4, watermark=0.0, async_scheduling=True))
    for _ in range(2):
        ask(schedulers, 7, 7)
    now = schedulers.turn(0, 1, 0)
    now += schedulers.turn(0, 1, now)
    assert schedulers.book.rows["preempted"][1] == 1
    schedulers.cancel(1, now - 1)
    play(schedulers, now)
    assert schedulers.book.rows["generated"][:2].tolist() == [7, 1]


def test_kv_on_its_way_elsewhere_is_not_taken() -> None:
    schedulers = make(EngineSettings(kv_blocks=4, block_tokens=4, watermark=0.0, async_scheduling=True))
    one = ask(schedulers, 6, 7)
    now = schedulers.turn(0, 1, 0)
    handed = ask(schedulers, 8, 5, now, limit=1)
    for _ in range(2):
        now += schedulers.turn(0, 1, now)
    # the first one asks for a block while the other one's prefill, admitted last, is under way: it makes room itself
    assert schedulers.book.rows["preempted"][:2].tolist() == [1, 0]
    now += schedulers.turn(0, 1, now)
    assert (schedulers.told(), schedulers.book.rows["computed"][handed]) == ([handed], 8)
    schedulers.release(0, handed)
    play(schedulers, now)
    assert schedulers.book.rows["status"][:2].tolist() == [FINISHED, MOVING]
    assert schedulers.book.rows["generated"][one] == 7


def test_drafts_under_way_count_as_right_until_they_are_known() -> None:
    """Of four tokens an iteration that are believed, one comes; the last iteration was composed before the end was
    known and gives nothing."""
    schedulers = make(EngineSettings(draft_tokens=3, acceptance=1.0, async_scheduling=True))
    one = ask(schedulers, 10, 9)
    end, _ = play(schedulers)
    assert (end, schedulers.book.rows["generated"][one]) == (4 * STEP, 9)


@pytest.mark.parametrize(("acceptance", "tokens"), [(0.0, 1), (1.0, 4)])
def test_drafts_all_accepted_or_none(acceptance: float, tokens: int) -> None:
    schedulers = make(EngineSettings(draft_tokens=3, acceptance=acceptance, draft_ps=5 * US))
    one = ask(schedulers, 10, 1 + 4 * 3)
    end, _ = play(schedulers)
    decodes = 12 // tokens
    # the last step drafts less where less is wanted; without drafts it takes no drafting
    drafting = decodes - (tokens == 1)
    assert end == STEP + decodes * STEP + drafting * 5 * US
    assert schedulers.book.rows["generated"][one] == 13


def test_tokens_an_iteration_under_speculation() -> None:
    """(1 - a^(k + 1)) / (1 - a) in the mean (Leviathan, Kalman and Matias, 2023)."""
    schedulers = make(EngineSettings(draft_tokens=4, acceptance=0.7, kv_blocks=10**5))
    for _ in range(20):
        ask(schedulers, 10, 3000)
    now = 0
    for _ in range(401):
        now += schedulers.turn(0, 1, now)
    tokens = (schedulers.book.rows["generated"][:20] - 1) / 400
    expected = (1 - 0.7**5) / (1 - 0.7)
    assert tokens.mean() == pytest.approx(expected, abs=2.58 * tokens.std(ddof=1) / np.sqrt(20))
