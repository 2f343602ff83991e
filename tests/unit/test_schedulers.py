"""Schedulers of replicas: short stories with exact times. An iteration takes 100 us, unless said."""

from __future__ import annotations

import numpy as np
import pytest

from models.serving.law import CONTEXT, PREFILLS, TOKENS
from sim.engine.serving.book import FINISHED, LOST, MOVING, WAITING, Book, gap_bin, gap_quantile
from sim.engine.serving.state import EngineSettings
from tests.unit.schedulers import COUNTED, STEP, US, ask, batch, cached, chain, make, play


def test_a_prompt_in_chunks_then_its_tokens_one_an_iteration() -> None:
    schedulers = make(EngineSettings(token_budget=64), cost=COUNTED)
    one = ask(schedulers, 100, 3, now=5)
    end, told = play(schedulers, now=5)
    row = schedulers.book.rows[one]
    first = 5 + (164 + 136) * US
    assert (row["queued"], row["scheduled"], row["first"], row["last"]) == (5, 5, first, first + 220 * US)
    assert told == [(end, [one])]
    assert end == row["last"]
    assert (row["status"], row["generated"], row["computed"], row["gap_max"]) == (FINISHED, 3, 102, 110 * US)
    assert schedulers.load(0).used_blocks == 0


def test_decodes_come_first_and_the_prompt_takes_what_the_budget_leaves() -> None:
    schedulers = make(EngineSettings(token_budget=32))
    ask(schedulers, 8, 9)
    ask(schedulers, 8, 9)
    now = schedulers.turn(0, 1, 0)
    ask(schedulers, 100, 2, now)
    schedulers.turn(0, 1, now)
    assert batch(schedulers) == (2, [(30, 0)])
    schedulers.turn(0, 1, now + STEP)
    assert batch(schedulers) == (2, [(30, 30)])
    assert schedulers.members(0) == ([0, 1, 2], [1, 1, 30])
    load = schedulers.load(0)
    assert (load.running, load.waiting_tokens, load.batch_tokens) == (3, 70, 32)
    assert load.decode_tokens == 9 + 9 + 30


def test_only_so_many_sequences_run() -> None:
    schedulers = make(EngineSettings(max_sequences=2))
    for _ in range(3):
        ask(schedulers, 10, 2)
    _, told = play(schedulers)
    assert told == [(2 * STEP, [0, 1]), (4 * STEP, [2])]


def test_the_last_admitted_gives_its_blocks_and_computes_all_again() -> None:
    schedulers = make(EngineSettings(kv_blocks=5, block_tokens=4, watermark=0.0), cost=COUNTED)
    ask(schedulers, 8, 6)
    ask(schedulers, 8, 6)  # 2 blocks each, the third block of both comes with the first decode
    now = schedulers.turn(0, 1, 0)
    assert now == 116 * US
    now += schedulers.turn(0, 1, now)
    assert schedulers.book.rows["preempted"][:2].tolist() == [0, 1]
    assert (schedulers.load(0).running, schedulers.load(0).waiting) == (1, 1)
    assert batch(schedulers) == (1, [])
    _, told = play(schedulers, now)
    second = schedulers.book.rows[1]
    assert [who for _, who in told] == [[0], [1]]
    # the first one ends after 5 decodes; the other one's 8 + 1 tokens are computed then, and four decodes follow
    assert second["last"] == (116 + 5 * 110 + 109 + 4 * 110) * US
    assert second["first"] == 116 * US
    assert second["gap_max"] == (5 * 110 + 109) * US


def test_swapped_blocks_take_their_time_and_are_not_computed_again() -> None:
    swapping = EngineSettings(
        kv_blocks=5, block_tokens=4, watermark=0.0, swap=True, swap_ps_per_block=7 * US, host_blocks=2
    )
    schedulers = make(swapping, cost=COUNTED)
    ask(schedulers, 8, 6)
    ask(schedulers, 8, 6)
    play(schedulers)
    assert schedulers.counts["swapped"][0] == 4  # two blocks, out and in
    # out with the first one's first decode, in when it has ended
    assert schedulers.book.rows["last"][1] == (116 + 110 + 14 + 4 * 110 + 110 + 14 + 4 * 110) * US
    assert schedulers.counts["tokens"][0] == 2 * (8 + 5)


def test_a_full_host_means_computing_again() -> None:
    schedulers = make(EngineSettings(kv_blocks=5, block_tokens=4, watermark=0.0, swap=True, host_blocks=1))
    ask(schedulers, 8, 6)
    ask(schedulers, 8, 6)
    play(schedulers)
    assert (schedulers.counts["swapped"][0], schedulers.counts["swap_refused"][0]) == (0, 1)


def test_an_admission_leaves_the_watermark_free() -> None:
    schedulers = make(EngineSettings(kv_blocks=10, block_tokens=4, watermark=0.2))
    ask(schedulers, 16, 2)
    ask(schedulers, 16, 2)  # 4 + 4 blocks of 10 leave 2
    ask(schedulers, 1, 2)
    schedulers.turn(0, 1, 0)
    assert schedulers.load(0).running == 2


def test_a_known_prefix_is_not_computed_again() -> None:
    schedulers = make(EngineSettings(prefix_cache=True, block_tokens=4, hash_tokens=8), cost=COUNTED)
    ask(schedulers, 24, 2, **chain(schedulers, 1, 2, 3))
    now, _ = play(schedulers)
    again = ask(schedulers, 24, 2, now, **chain(schedulers, 1, 2, 3))  # all is there; the last block is needed again
    branch = ask(schedulers, 24, 2, now, **chain(schedulers, 1, 7, 8))
    assert [cached(schedulers, each) for each in (again, branch)] == [20, 8]
    assert schedulers.turn(0, 1, now) == (100 + 4 + 16) * US
    assert schedulers.book.rows["cached"][:3].tolist() == [0, 20, 8]
    assert batch(schedulers) == (0, [(4, 20), (16, 8)])
    # 6 blocks of the first chain are shared by both, 4 more of the second
    assert schedulers.load(0).used_blocks == 10


def test_the_next_turn_of_a_session_finds_the_answer_too() -> None:
    schedulers = make(EngineSettings(prefix_cache=True, block_tokens=4, hash_tokens=4))
    ask(schedulers, 6, 7, **chain(schedulers, 1, 2, 3))  # 13 tokens; the last one's KV is never computed
    now, _ = play(schedulers)
    later = ask(schedulers, 20, 2, now, **chain(schedulers, 1, 2, 3, 4, 5))
    assert cached(schedulers, later) == 12


def test_the_block_longest_unused_goes_first_of_a_request_the_last() -> None:
    schedulers = make(EngineSettings(prefix_cache=True, kv_blocks=8, block_tokens=4, hash_tokens=4, watermark=0.0))
    now = 0
    for ids in ((1, 2, 3, 4), (5, 6)):
        ask(schedulers, 4 * len(ids), 1, now, **chain(schedulers, *ids))
        now, _ = play(schedulers, now)
    ask(schedulers, 16, 1, now)  # 4 of its own: two are empty
    now, _ = play(schedulers, now)
    assert schedulers.counts["evicted"][0] == 2
    looks = [ask(schedulers, 30, 1, now, **chain(schedulers, *ids)) for ids in ((1, 2, 3, 4), (5, 6))]
    assert [cached(schedulers, each) for each in looks] == [8, 8]


def test_without_chunks_prompts_are_whole_and_come_before_decodes() -> None:
    schedulers = make(EngineSettings(token_budget=32, chunked=False))
    ask(schedulers, 8, 9)
    now = schedulers.turn(0, 1, 0)
    ask(schedulers, 20, 2, now)
    ask(schedulers, 40, 2, now)
    found = []
    for _ in range(3):
        now += schedulers.turn(0, 1, now)
        found.append(batch(schedulers))
    assert found == [(0, [(20, 0)]), (0, [(40, 0)]), (3, [])]


def test_the_more_important_ones_are_admitted_first_and_preempted_last() -> None:
    schedulers = make(EngineSettings(kv_blocks=5, block_tokens=4, watermark=0.0, max_sequences=2))
    low = ask(schedulers, 8, 6)
    schedulers.turn(0, 1, 0)
    other, high = ask(schedulers, 8, 6), ask(schedulers, 8, 6, priority=1)
    _, told = play(schedulers, STEP)
    assert [who for _, who in told] == [[high], [low], [other]]
    assert schedulers.book.rows["preempted"][:3].tolist() == [1, 1, 0]  # one for the other two, one for the first


def test_the_tokens_of_one_preempted_go_to_those_behind_it() -> None:
    schedulers = make(EngineSettings(token_budget=4, kv_blocks=15, block_tokens=4, watermark=0.0))
    ask(schedulers, 4, 50)
    now = schedulers.turn(0, 1, 0)
    ask(schedulers, 4, 50, priority=1)
    for _ in range(2):
        now += schedulers.turn(0, 1, now)
    ask(schedulers, 36, 50, priority=1)
    for chunk in range(12):
        now += schedulers.turn(0, 1, now)
        assert batch(schedulers) == (2, [(2, 2 * chunk)])
    schedulers.turn(0, 1, now)  # the second one finds no block; the first one had its token already
    assert schedulers.members(0) == ([1, 2], [1, 3])


def test_ranks_step_together_the_idle_ones_along() -> None:
    schedulers = make(EngineSettings(), EngineSettings(), cost=COUNTED)
    assert [schedulers.place(0, 2) for _ in range(3)] == [0, 1, 0]
    ask(schedulers, 50, 2, rank=0)
    assert schedulers.place(0, 2) == 1
    assert schedulers.turn(0, 2, 0) == 150 * US
    assert schedulers.counts["padded"].tolist() == [0, 1]
    assert batch(schedulers, 1) == (0, [])
    ask(schedulers, 70, 2, now=50 * US, rank=1)
    assert schedulers.turn(0, 2, 150 * US) == 170 * US  # the slower rank's time
    _, told = play(schedulers, 320 * US, ranks=2)
    assert told == [(320 * US, [0]), (430 * US, [1])]


def test_prefill_here_decode_there() -> None:
    schedulers = make(EngineSettings(block_tokens=4), EngineSettings(block_tokens=4))
    one = ask(schedulers, 8, 5, limit=1)
    now = schedulers.turn(0, 1, 0)
    assert schedulers.turn(0, 1, now) == 0
    row = schedulers.book.rows[one : one + 1]
    assert schedulers.told() == [one]
    assert (row["status"][0], row["first"][0], row["computed"][0]) == (MOVING, STEP, 8)
    assert schedulers.load(0).used_blocks == 2
    with pytest.raises(ValueError, match="holds blocks"):
        schedulers.add(1, one, now)
    schedulers.release(0, one)
    row["limit"] = 5
    schedulers.add(1, one, now + 7)
    assert schedulers.load(1).waiting_tokens == 0
    assert schedulers.turn(1, 1, now + 7) == STEP
    totals, _ = schedulers.batch(1)
    assert (totals[TOKENS], totals[CONTEXT], totals[PREFILLS]) == (1, 9, 0)
    assert schedulers.load(1).used_blocks == 3
    assert schedulers.check() == []


def test_cancelled_and_dropped_requests_leave_nothing_behind() -> None:
    schedulers = make(EngineSettings(prefix_cache=True, max_sequences=2))
    for number in range(5):
        ask(schedulers, 40, 9, **chain(schedulers, 1, 10 + number))
    schedulers.turn(0, 1, 0)
    schedulers.cancel(0, 1)
    schedulers.cancel(3, 1)
    assert schedulers.check() == []
    assert schedulers.load(0)[:2] == (2, 1)
    assert schedulers.drop(0) == [1, 2, 4]
    assert set(schedulers.book.rows["status"][:5]) == {LOST}
    assert schedulers.load(0) == (0, 0, 0, 0, 0, 10_000, 0, 0)
    assert cached(schedulers, 1) == 0
    schedulers.add(0, 4, 2)
    play(schedulers, 2)
    assert schedulers.book.rows["status"][4] == FINISHED


def test_what_can_never_end_is_said() -> None:
    schedulers = make(EngineSettings(kv_blocks=10, block_tokens=4, watermark=0.1, context=50))
    fits, long, large = (schedulers.book.add(prompt=prompt, output=6, arrival=0) for prompt in (30, 45, 31))
    assert [schedulers.impossible(0, each) for each in (fits, long, large)] == ["", "context", "kv cache"]
    schedulers.add(0, fits, 0)
    play(schedulers)
    assert schedulers.book.rows["status"][fits] == FINISHED


@pytest.mark.parametrize("lengths", [(0, 3), (5, 0)])
def test_a_request_without_work_is_refused(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no token"):
        ask(make(EngineSettings()), *lengths)


def test_many_may_wait_and_keep_their_order() -> None:
    schedulers = make(EngineSettings(max_sequences=50))
    for _ in range(2000):
        ask(schedulers, 5, 1)
    schedulers.cancel(1500, 0)
    _, told = play(schedulers)
    assert [one for _, who in told for one in who] == [one for one in range(2000) if one != 1500]


def test_noise_has_mean_one_and_is_the_same_for_a_key() -> None:
    def lengths() -> list[int]:
        schedulers = make(EngineSettings(noise=0.3))
        ask(schedulers, 10, 4000)
        now, found = 0, []
        for _ in range(4000):
            found.append(schedulers.turn(0, 1, now))
            now += found[-1]
        return found

    found = np.array(lengths()) / STEP
    assert found.mean() == pytest.approx(1.0, abs=2.58 * found.std() / np.sqrt(len(found)))
    assert np.log(found).std() == pytest.approx(0.3, rel=0.05)
    assert (np.array(lengths()) / STEP == found).all()


def test_quantiles_of_itls_within_half_a_percent() -> None:
    gaps = np.random.default_rng(3).lognormal(np.log(3e10), 1.0, 20_000).astype(np.int64)
    counts = np.zeros_like(Book().gaps[0])
    np.add.at(counts, [gap_bin(gap) for gap in gaps.tolist()], 1)
    for q in (0.5, 0.9, 0.99):
        assert gap_quantile(counts, q) == pytest.approx(np.quantile(gaps, q, method="inverted_cdf"), rel=0.0051)
    assert gap_quantile(np.zeros_like(counts), 0.5) == -1


def test_a_rejected_request_has_its_reason() -> None:
    book = Book()
    one, other = book.add(prompt=1, output=1), book.add(prompt=1, output=1)
    book.reject(one, "queue")
    book.reject(other, "context")
    assert [book.reasons[reason] for reason in book.rows["reason"][:2]] == ["queue", "context"]
    assert WAITING not in book.rows["status"][:2]
