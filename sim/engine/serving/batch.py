"""What a scheduler computes next, as vLLM's v1 scheduler composes it.

Running requests come first, in the order of their admission, each with what it lacks (a decode: one token, and drafts)
as far as the token budget lasts; then those that wait, while sequences and blocks last. Where a running request finds
no block, the least important one that was admitted last is preempted, and then nobody is admitted. An admission needs
room for all tokens known so far, though blocks are taken as they are filled.

With asynchronous scheduling a batch is composed while another is under way: requests in that one are taken to have its
tokens, and all their drafts to be right. Who is sure to end with it gets nothing more.

Without chunked prefill a prompt is computed whole, a step is either of prompts or of decodes, and prompts come first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from sim.engine.layout import load_long
from sim.engine.serving.blocks import claim, give_back, idle_among, match, name_full, share
from sim.engine.serving.book import ROWS, RUNNING, WAITING
from sim.engine.serving.state import (
    I8,
    NONE,
    VOID,
    Request,
    Scheduler,
    State,
    counts_at,
    free_blocks,
    row_at,
    run_at,
    wait_at,
)
from sim.engine.serving.waiting import put, take

_ANY, _FRESH, _READY = 0, 1, 2  # whom to admit: everybody; those to be prefilled; those whose KV is there


@njit(I8(Request), inline=True)
def to_prefill(row: Any) -> Any:
    """Tokens to be computed before it is in decode."""
    lack = row.prompt + row.generated - row.computed
    return 0 if lack == 1 and row.computed >= row.prompt else lack


@njit(I8(Request), inline=True)
def to_generate(row: Any) -> Any:
    """Tokens that it is believed to generate yet."""
    return max(row.expected - row.generated, 1)


@njit(VOID(Scheduler, Request, I8, I8), internal=True)
def wait(q: Any, row: Any, request: Any, ahead: Any) -> None:
    """A request joins those that wait; ``ahead``: before all others of its priority."""
    row.status = WAITING
    put(q, row, request, ahead)
    q.waiting_tokens += to_prefill(row)
    q.waiting_left += to_generate(row)


@njit(VOID(Scheduler, Request, I8), internal=True)
def leave_waiting(q: Any, row: Any, place: Any) -> None:
    """A request at a place of the heap waits no more."""
    take(q, place)
    q.waiting_tokens -= to_prefill(row)
    q.waiting_left -= to_generate(row)


@njit(VOID(Scheduler, I8, I8), internal=True)
def move_run(q: Any, source: Any, to: Any) -> None:
    """Copies an entry of the running requests, or of those just preempted behind them."""
    run, other = run_at(q.runs, to), run_at(q.runs, source)
    run.request, run.tokens, run.drafts = other.request, other.tokens, other.drafts
    run.going, run.going_drafts, run.samples = other.going, other.going_drafts, other.samples


@njit(VOID(Scheduler, Request, I8), internal=True)
def leave_running(q: Any, row: Any, place: Any) -> None:
    """Takes out the request at a place of the running ones."""
    q.composed -= run_at(q.runs, place).tokens
    q.context -= row.computed
    q.running_left -= to_generate(row)
    q.running_tokens -= to_prefill(row)
    q.running -= 1
    for number in range(place, q.running + q.preempted):
        move_run(q, number + 1, number)


@njit(VOID(State, Scheduler, I8, I8), internal=True)
def _preempt(s: Any, q: Any, place: Any, now: Any) -> None:
    """The running request at a place goes back to wait, its blocks to others."""
    run = run_at(q.runs, place)
    request, going, going_drafts, samples = run.request, run.going, run.going_drafts, run.samples
    row = row_at(load_long(s.book, ROWS), request)
    counts = counts_at(q.counts, 0)
    leave_running(q, row, place)
    run = run_at(q.runs, q.running + q.preempted)  # what is under way of it ends all the same
    run.request, run.tokens, run.drafts = request, 0, 0
    run.going, run.going_drafts, run.samples = going, going_drafts, samples
    give_back(s, q, row)
    moved = (row.computed + going + q.block_tokens - 1) // q.block_tokens if q.swap else 0
    if moved > 0 and q.host_used + moved <= q.host_blocks:
        row.host = moved
        q.host_used += moved
        q.swapped += moved
        counts.swapped += moved
    else:
        row.computed = 0
        counts.swap_refused += q.swap
    row.preempted += 1
    row.since = now
    counts.preemptions += 1
    q.preempted += 1
    wait(q, row, request, 1)


@njit(I8(State, Scheduler), internal=True)
def _victim(s: Any, q: Any) -> Any:
    """The place of the running request to preempt: of the least priority, admitted last.

    Not one whose prefill ends with the batch under way and whose KV is wanted elsewhere.
    """
    rows = load_long(s.book, ROWS)
    victim, least = NONE, np.int64(0)
    for place in range(q.running - 1, -1, -1):
        run = run_at(q.runs, place)
        row = row_at(rows, run.request)
        if victim != NONE and row.priority >= least:
            continue
        if row.limit == row.output or row.generated + run.samples + run.going_drafts < row.limit:
            victim, least = place, row.priority
    return victim


@njit(I8(State, Scheduler, I8, I8), internal=True)
def _serve_running(s: Any, q: Any, budget: Any, now: Any) -> Any:
    """Gives the running requests their tokens; the budget that is left."""
    rows = load_long(s.book, ROWS)
    place = 0
    while place < q.running:
        run = run_at(q.runs, place)
        row = row_at(rows, run.request)
        computed = row.computed + run.going
        generated = row.generated + run.samples + run.going_drafts
        lack = row.prompt + generated - computed
        if row.generated + run.samples >= row.limit:
            lack = 0
        drafts = 0
        if q.draft_tokens > 0 and lack == 1 and computed >= row.prompt:
            drafts = max(min(q.draft_tokens, row.limit - generated - 1), 0)
        tokens = min(lack + drafts, budget)
        stays = True
        short = computed + tokens - (row.blocks + row.shared) * q.block_tokens
        if short > 0:
            wanted = (short + q.block_tokens - 1) // q.block_tokens
            while stays and wanted > free_blocks(q):
                victim = _victim(s, q)
                if victim == place:
                    stays = False
                elif victim < place:  # it has its tokens already
                    budget += run_at(q.runs, victim).tokens
                    place -= 1
                _preempt(s, q, victim, now)
            if stays:
                claim(q, row, wanted)
        if stays:
            run = run_at(q.runs, place)
            run.tokens, run.drafts = tokens, max(tokens - lack, 0)
            budget -= tokens
            place += 1
    return budget


@njit(VOID(State, Scheduler, Request, I8, I8, I8), internal=True)
def _begin(s: Any, q: Any, row: Any, request: Any, hits: Any, tokens: Any) -> None:
    """The first of the waiting requests runs, ``tokens`` of it now; its first ``hits`` blocks are in the cache."""
    counts = counts_at(q.counts, 0)
    leave_waiting(q, row, 0)
    if row.host > 0:
        q.host_used -= row.host
        q.swapped += row.host
        counts.swapped += row.host
        row.host = 0
    share(s, q, row, hits)
    found = hits * q.block_tokens
    if row.computed == 0 and q.prefix and row.hash_count > 0:
        counts.looked += row.prompt + row.generated
        counts.hit += found
    row.computed = max(row.computed, found)
    after = row.computed + tokens
    claim(q, row, (after + q.block_tokens - 1) // q.block_tokens - hits)
    if q.prefix:
        name_full(s, q, row, after)
    row.status = RUNNING
    run = run_at(q.runs, q.running)
    run.request, run.tokens, run.drafts = request, tokens, 0
    run.going, run.going_drafts, run.samples = 0, 0, 0
    q.running += 1
    q.context += row.computed
    q.running_left += to_generate(row)
    q.running_tokens += to_prefill(row)


@njit(I8(State, Scheduler, I8, I8, I8), internal=True)
def _admit(s: Any, q: Any, budget: Any, whom: Any, now: Any) -> Any:
    """Lets waiting requests run, in their order, until one must wait on; the budget that is left."""
    rows, whole_budget = load_long(s.book, ROWS), budget
    while q.waiting > 0 and q.running < q.max_sequences and budget > 0:
        request = wait_at(q.waits, 0).request
        row = row_at(rows, request)
        if whom != _ANY and (row.computed > 0) != (whom == _READY):
            break
        known = row.prompt + row.generated
        hits = match(s, q, row, known - 1) if q.prefix else 0
        tokens = known - max(row.computed, hits * q.block_tokens)
        if q.chunked:
            tokens = min(tokens, budget)
        elif tokens > budget and budget < whole_budget:
            break
        wanted = (known + q.block_tokens - 1) // q.block_tokens - hits
        if hits > 0:
            wanted += idle_among(s, q, row, hits)
        if wanted > free_blocks(q) - q.reserve:
            break
        if row.since >= 0:
            row.stalled += now - row.since
            row.stalled_first += now - row.since if row.first < 0 else 0
            row.since = -1
        if row.scheduled < 0:
            row.scheduled = now
            row.cached = min(hits * q.block_tokens, row.prompt)
        _begin(s, q, row, request, hits, tokens)
        budget -= tokens
    return budget


@njit(VOID(State, Scheduler), internal=True)
def _name_running(s: Any, q: Any) -> None:
    rows, per = load_long(s.book, ROWS), q.hash_tokens // q.block_tokens
    for place in range(q.running):
        run = run_at(q.runs, place)
        row = row_at(rows, run.request)
        after = min(row.computed + run.going + run.tokens, row.prompt + row.generated)
        if (row.shared + 1) * q.block_tokens <= after and row.shared < row.hash_count * per:
            name_full(s, q, row, after)


@njit(VOID(State, Scheduler, I8), internal=True)
def compose(s: Any, q: Any, now: Any) -> None:
    """The next batch, into `runs`."""
    q.preempted = 0
    q.swapped = 0
    budget, whole = q.token_budget, q.token_budget
    if not q.chunked:
        for place in range(q.running):
            run = run_at(q.runs, place)
            run.tokens, run.drafts = 0, 0
        budget = _admit(s, q, budget, _FRESH, now)
        if budget < whole:
            q.composed = whole - budget
            return
    budget = _serve_running(s, q, budget, now)
    if q.chained:
        _name_running(s, q)
    if q.preempted == 0:
        budget = _admit(s, q, budget, _ANY if q.chunked else _READY, now)
    q.composed = whole - budget
