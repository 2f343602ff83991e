"""What is asked of a scheduler between its iterations: requests that come, go or are looked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from models.jit import njit
from sim.engine.layout import load_long
from sim.engine.serving.batch import leave_running, leave_waiting, move_run, wait
from sim.engine.serving.blocks import give_back, match
from sim.engine.serving.book import LOST, MOVING, ROWS, RUNNING, WAITING
from sim.engine.serving.state import I8, NONE, State, row_at, run_at, scheduler_at, state_at, tell_load
from sim.engine.serving.waiting import place_of

ADDED, NO_ROOM, HOLDS_BLOCKS, NOTHING_TO_DO = 0, 1, 2, 3


@njit(I8(State, I8, I8, I8), internal=True)
def join(s: Any, rank: Any, request: Any, now: Any) -> Any:
    """A request begins to wait: ADDED, or why not."""
    q = scheduler_at(s.schedulers, rank)
    row = row_at(load_long(s.book, ROWS), request)
    if q.waiting + q.running >= q.wait_room:
        return NO_ROOM
    if row.blocks + row.shared + row.host > 0:
        return HOLDS_BLOCKS
    if row.prompt < 1 or row.computed >= row.prompt + row.generated or row.generated >= row.limit:
        return NOTHING_TO_DO
    believed = row.predicted
    if believed < 0:
        believed = (s.ended_tokens + s.ended // 2) // s.ended if s.ended > 0 else 0
    row.expected = max(min(believed, row.limit), 1) if row.limit < row.output else max(believed, 1)
    row.rank = rank
    row.epoch = q.epoch
    if row.queued < 0:
        row.queued = now
    if row.scheduled >= 0:
        row.since = now
    else:  # what it waited at a replica that failed is over
        row.since, row.stalled, row.stalled_first = NONE, 0, 0
    if q.prefix and row.hash_count > 0:
        q.chained = 1
    wait(q, row, request, 0)
    tell_load(q)
    return ADDED


@njit(I8(I8, I8, I8, I8))
def add(base: Any, rank: Any, request: Any, now: Any) -> Any:
    return join(state_at(base, 0), rank, request, now)


@njit(I8(I8, I8, I8))
def release(base: Any, rank: Any, request: Any) -> Any:
    """Frees the blocks of a request that was prefilled here; 0 if they went with a failure."""
    s = state_at(base, 0)
    q = scheduler_at(s.schedulers, rank)
    row = row_at(load_long(s.book, ROWS), request)
    if row.rank != rank:
        return 0
    if row.epoch != q.epoch:
        row.blocks, row.shared = 0, 0
        return 0
    give_back(s, q, row)
    tell_load(q)
    return 1


@njit(I8(I8, I8))
def cancel(base: Any, request: Any) -> Any:
    """Takes a request out of its scheduler; 0 if it is in none."""
    s = state_at(base, 0)
    row = row_at(load_long(s.book, ROWS), request)
    status = row.status
    if status not in {WAITING, RUNNING, MOVING}:
        return 0
    q = scheduler_at(s.schedulers, row.rank)
    if status == WAITING:
        leave_waiting(q, row, place_of(q, request))
        for place in range(q.running + q.preempted - 1, q.running - 1, -1):
            if run_at(q.runs, place).request == request:
                q.preempted -= 1
                for number in range(place, q.running + q.preempted):
                    move_run(q, number + 1, number)
        q.host_used -= row.host
        row.host = 0
    elif status == RUNNING:
        place = 0
        while run_at(q.runs, place).request != request:
            place += 1
        leave_running(q, row, place)
    if row.epoch == q.epoch:
        give_back(s, q, row)
    row.blocks, row.shared = 0, 0
    row.computed = 0
    row.status = LOST
    row.rank = NONE
    tell_load(q)
    return 1


@njit(types.int64[::1](I8, types.int64[::1], types.int64[::1], I8))
def cached_tokens(base: Any, first: Any, ranks: Any, request: Any) -> Any:
    """[groups] prompt tokens of a request in the prefix caches of the schedulers ``first`` to ``first + ranks - 1``: of
    the one that has most. The last token is computed in any case."""
    s = state_at(base, 0)
    row = row_at(load_long(s.book, ROWS), request)
    found = np.zeros(len(first), dtype=np.int64)
    for group in range(len(first)):
        for rank in range(first[group], first[group] + ranks[group]):
            q = scheduler_at(s.schedulers, rank)
            if q.prefix:
                found[group] = max(found[group], match(s, q, row, row.prompt - 1) * q.block_tokens)
    return found


@njit(I8(State, I8, I8), internal=True)
def least_of(s: Any, first: Any, ranks: Any) -> Any:
    """Which of the schedulers that step together takes the next request: the least of 4 x waiting + running, as in
    vLLM's balancer; equal ones in turn."""
    lead = scheduler_at(s.schedulers, first)
    best, least = NONE, 0
    for number in range(ranks):
        rank = (lead.next_rank + number) % ranks
        q = scheduler_at(s.schedulers, first + rank)
        score = 4 * q.waiting + q.running
        if best == NONE or score < least:
            best, least = rank, score
    lead.next_rank = (best + 1) % ranks
    return first + best


@njit(I8(I8, I8, I8))
def place(base: Any, first: Any, ranks: Any) -> Any:
    return least_of(state_at(base, 0), first, ranks)
