"""Iterations of schedulers that step together: the batch under way ends, the next one is composed and priced.

Token times: all tokens of an iteration come at its end. A request's ITLs are the times between iterations that gave it
tokens, so tokens that speculation brings at once count as one; the ITL after a preemption or a KV transfer holds that.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from models.jit import njit
from models.mix import combine
from models.serving.law import (
    CONTEXT,
    DECODES,
    DRAFTED,
    LONGEST,
    PREFILLS,
    SEQUENCES,
    SWAPPED,
    TOKENS,
    TOTALS,
    iteration_us,
)
from sim.engine.layout import address_as_pointer, load_long, record_at, store_long
from sim.engine.serving.batch import compose, move_run, to_generate, to_prefill
from sim.engine.serving.blocks import give_back, name_full
from sim.engine.serving.book import BINS, FINISHED, GAPS, MOVING, ROWS, gap_bin
from sim.engine.serving.state import (
    CHUNK_BYTES,
    F8,
    GONE,
    I8,
    NONE,
    TOTALS_BYTES,
    VOID,
    Request,
    Scheduler,
    State,
    counts_at,
    load_at,
    row_at,
    run_at,
    scheduler_at,
    state_at,
    tell_load,
)
from sim.engine.serving.waiting import place_of, take

MICROSECOND = 1e6  # ps
_REAL = record_at(np.dtype([("x", "f8")]))
_NOISE, _DRAFT = 1, 2  # what a draw is for


@njit(F8(I8, I8, I8, I8), internal=True)
def _uniform(key: Any, what: Any, first: Any, second: Any) -> Any:
    """A number above 0 and at most 1, by a hash."""
    word = combine(combine(np.uint64(key), np.uint64(what)), combine(np.uint64(first), np.uint64(second)))
    return (np.float64(word >> np.uint64(11)) + 1.0) * 2.0**-53


@njit(I8(State, Scheduler, I8, I8, I8), internal=True)
def _accepted(s: Any, q: Any, number: Any, position: Any, drafts: Any) -> Any:
    """How many draft tokens are accepted: those before the first miss."""
    count = 0
    while count < drafts and _uniform(s.key, _DRAFT, number, position + count) <= q.acceptance:
        count += 1
    return count


@njit(VOID(State, I8, I8, I8), internal=True)
def _count_gaps(s: Any, kind: Any, gap: Any, number: Any) -> None:
    if number > 0:
        place = kind * BINS + gap_bin(gap)
        gaps = load_long(s.book, GAPS)
        store_long(gaps, place, load_long(gaps, place) + number)


@njit(I8(State, Scheduler, Request, I8, I8), inline=True)
def _sample(s: Any, q: Any, row: Any, drafts: Any, now: Any) -> Any:
    """A request gets the tokens of the batch that ends: its ITL in ps, NONE with its first ones."""
    fresh, gap = 1, np.int64(NONE)
    counts = counts_at(q.counts, 0)
    if drafts > 0:
        fresh += _accepted(s, q, row.number, row.generated, drafts)
        row.computed += fresh - 1
        counts.drafted += drafts
        counts.accepted += fresh - 1
    if row.previous >= 0:
        gap = now - row.previous
        row.gap_max = max(row.gap_max, gap)
    else:
        row.first = now
    row.previous = now
    row.generated += fresh
    counts.generated += fresh
    return gap


@njit(VOID(State, Scheduler, I8, I8), internal=True)
def _end_request(s: Any, q: Any, request: Any, now: Any) -> None:
    """A request has reached its limit."""
    row = row_at(load_long(s.book, ROWS), request)
    store_long(s.told, s.told_count, request)
    s.told_count += 1
    row.last = now
    if row.limit < row.output:  # prefilled; its blocks stay until they are elsewhere
        row.status = MOVING
        return
    row.status = FINISHED
    give_back(s, q, row)
    s.ended += 1
    s.ended_tokens += row.generated
    counts_at(q.counts, 0).finished += 1


@njit(VOID(State, Scheduler, I8), internal=True)
def _finish_preempted(s: Any, q: Any, now: Any) -> None:
    """Requests that were preempted while a batch was under way get its tokens too; without swap its KV is lost."""
    for place in range(q.running, q.running + q.preempted):
        run = run_at(q.runs, place)
        if run.going == 0:
            continue
        row = row_at(load_long(s.book, ROWS), run.request)
        q.waiting_tokens -= to_prefill(row)
        q.waiting_left -= to_generate(row)
        row.since = now
        if row.host > 0:
            row.computed += run.going - run.going_drafts
        if run.samples:
            gap = _sample(s, q, row, run.going_drafts, now)
            if gap >= 0:
                _count_gaps(s, np.int64(row.kind), gap, 1)
        if row.host == 0:
            row.computed = 0
        if row.generated >= row.limit:
            take(q, place_of(q, run.request))
            q.host_used -= row.host
            row.host = 0
            row.since = NONE
            _end_request(s, q, run.request, now)
        else:
            q.waiting_tokens += to_prefill(row)
            q.waiting_left += to_generate(row)
    q.preempted = 0


@njit(VOID(State, Scheduler, I8), internal=True)
def _finish(s: Any, q: Any, now: Any) -> None:
    """The batch under way ends: its tokens get this time, and those who have all they wanted leave."""
    if q.preempted > 0:
        _finish_preempted(s, q, now)
    rows, names = load_long(s.book, ROWS), q.chained and q.async_scheduling
    kept = 0
    gap, kind, equal = np.int64(NONE), 0, 0  # of ITLs not counted yet
    for place in range(q.running):
        run = run_at(q.runs, place)
        request, drafts, samples, stays = run.request, run.going_drafts, run.samples, True
        if run.going > 0:
            row = row_at(rows, request)
            row.computed += run.going - drafts
            run.going, run.going_drafts, run.samples = 0, 0, 0
            if samples:
                own = _sample(s, q, row, drafts, now)
                if own >= 0:
                    if own != gap or row.kind != kind:
                        _count_gaps(s, kind, gap, equal)
                        gap, kind, equal = own, np.int64(row.kind), 0
                    equal += 1
                if names:
                    name_full(s, q, row, row.computed)
                if row.generated >= row.limit:
                    _end_request(s, q, request, now)
                    stays = run.tokens > 0  # composed while it was not known to end
                    run.samples = GONE
        if stays:
            if kept != place:
                move_run(q, place, kept)
            kept += 1
    _count_gaps(s, kind, gap, equal)
    q.running = kept
    q.busy = 0


@njit(VOID(State, Scheduler, I8), internal=True)
def _gather(s: Any, q: Any, rank: Any) -> None:
    """The batch composed last gets under way: in the columns of the cost law, and what else there is to do."""
    rows = load_long(s.book, ROWS)
    totals, chunk = s.totals + rank * TOTALS_BYTES, s.chunks + rank * s.most * CHUNK_BYTES
    tokens, samples, decodes, context, longest, prefills, drafted = 0, 0, 0, 0, 0, 0, 0
    held, to_do, to_come, kept = 0, 0, 0, 0
    for place in range(q.running):
        run = run_at(q.runs, place)
        row = row_at(rows, run.request)
        computed, lack = row.computed, row.prompt + row.generated - row.computed
        ended, run.samples = run.samples == GONE, 0
        if not ended:
            held += computed
            to_come += to_generate(row)
        if lack == 1 and computed >= row.prompt:
            if run.tokens > 0:
                decodes += 1
                tokens += run.tokens
                drafted += run.drafts
                context += computed + run.tokens
                longest = max(longest, computed + run.tokens)
                run.samples = 1
        else:
            to_do += lack
            if run.tokens > 0:
                tokens += run.tokens
                run.samples = run.tokens == lack
                _REAL(chunk, 0).x = run.tokens
                _REAL(chunk, 1).x = computed
                chunk += CHUNK_BYTES
                prefills += 1
        samples += run.samples
        run.going, run.going_drafts = run.tokens, run.drafts
        run.tokens, run.drafts = 0, 0
        if not ended:
            if kept != place:
                move_run(q, place, kept)
            kept += 1
    q.running = kept
    q.composed = 0
    _REAL(totals, TOKENS).x = tokens
    _REAL(totals, SEQUENCES).x = samples
    _REAL(totals, DECODES).x = decodes
    _REAL(totals, CONTEXT).x = context
    _REAL(totals, LONGEST).x = longest
    _REAL(totals, PREFILLS).x = prefills
    _REAL(totals, SWAPPED).x = q.swapped
    _REAL(totals, DRAFTED).x = drafted
    counts_at(q.counts, 0).tokens += tokens
    q.busy = 1 if tokens > 0 else 0
    q.context, q.running_tokens, q.running_left = held, to_do, to_come
    load_at(q.load, 0).batch_tokens = tokens
    tell_load(q)


@njit(I8(State, I8, I8), internal=True)
def _duration(s: Any, first: Any, ranks: Any) -> Any:
    """ps of the iteration that was composed."""
    q = scheduler_at(s.schedulers, first)
    cost = numba.carray(address_as_pointer(q.cost), q.cost_words, np.float64)
    totals = numba.carray(address_as_pointer(s.totals + first * TOTALS_BYTES), (ranks, TOTALS), np.float64)
    where = address_as_pointer(s.chunks + first * s.most * CHUNK_BYTES)
    chunks = numba.carray(where, (ranks, s.most, 2), np.float64)
    length = iteration_us(cost, totals, chunks, ranks) * MICROSECOND
    if q.noise > 0.0:
        counts = counts_at(q.counts, 0)
        number = counts.iterations + counts.padded
        radius = np.sqrt(-2.0 * np.log(_uniform(s.key, _NOISE, first, 2 * number)))
        normal = radius * np.cos(2.0 * np.pi * _uniform(s.key, _NOISE, first, 2 * number + 1))
        length *= np.exp(q.noise * (normal - 0.5 * q.noise))
    more = 0
    for rank in range(ranks):
        other = scheduler_at(s.schedulers, first + rank)
        extra = other.swapped * other.swap_ps
        if totals[rank, DRAFTED] > 0.0:
            extra += other.draft_ps
        more = max(more, extra)
    return max(np.int64(np.ceil(length)), 1) + more


@njit(I8(State, I8, I8, I8), internal=True)
def step(s: Any, first: Any, ranks: Any, now: Any) -> Any:
    """See Schedulers.turn."""
    s.told_count = 0
    working, composed = 0, 0
    for rank in range(first, first + ranks):
        q = scheduler_at(s.schedulers, rank)
        if q.busy:
            _finish(s, q, now)
        composed += q.composed
    for rank in range(first, first + ranks):
        q = scheduler_at(s.schedulers, rank)
        if composed == 0:
            compose(s, q, now)
        _gather(s, q, rank)
        working += q.busy
    if working == 0:
        return 0
    length = _duration(s, first, ranks)
    for rank in range(first, first + ranks):
        q = scheduler_at(s.schedulers, rank)
        if q.async_scheduling:
            compose(s, q, now)
            tell_load(q)
        counts = counts_at(q.counts, 0)
        counts.iterations += q.busy
        counts.padded += 1 - q.busy
        q.until = now + length
        q.first, q.ranks = first, ranks
    return length


@njit(I8(I8, I8, I8, I8))
def turn(base: Any, first: Any, ranks: Any, now: Any) -> Any:
    return step(state_at(base, 0), first, ranks, now)
