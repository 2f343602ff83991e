"""What would become of a request at a scheduler: the kernel itself, on a copy.

Everybody generates as many tokens as believed, not as many as it will. The copy's iterations have no noise, and other
draws than the real ones will have.
"""

from __future__ import annotations

from typing import Any

from models.jit import njit
from sim.engine.layout import load_long, store_long
from sim.engine.serving.book import FINISHED, HASHES, MOVING, REQUEST, ROWS
from sim.engine.serving.doors import join
from sim.engine.serving.kernel import step
from sim.engine.serving.state import (
    I8,
    NODE,
    RUN,
    SCHEDULER,
    VOID,
    WORD,
    Request,
    Scheduler,
    State,
    row_at,
    run_at,
    scheduler_at,
    state_at,
    wait_at,
)
from sim.engine.serving.waiting import place_of

_OTHER = 0x5DEECE66D  # sets the copy's draws apart
_ROW, _NODE, _RUN, _RECORD = (dtype.itemsize // WORD for dtype in (REQUEST, NODE, RUN, SCHEDULER))


@njit(VOID(I8, I8, I8), internal=True)
def _copy(to: Any, source: Any, words: Any) -> None:
    for word in range(words):
        store_long(to, word, load_long(source, word))


@njit(VOID(Scheduler, Request), internal=True)
def _believe(q: Any, row: Any) -> None:
    """Replaces what a copied request will generate by what is believed, as far as there is room for it."""
    if row.limit < row.output:  # it is prefilled here only
        return
    room = (q.kv_blocks - q.reserve) * q.block_tokens - row.prompt
    row.limit = max(min(row.expected, room), row.generated + 1)
    row.output = row.limit


@njit(I8(State, State, I8, I8, I8), internal=True)
def _copy_scheduler(s: Any, t: Any, rank: Any, number: Any, count: Any) -> Any:
    """Copies scheduler ``rank`` as ``number`` of the copy, its requests behind ``count`` others: how many there are."""
    q, c = scheduler_at(s.schedulers, rank), scheduler_at(t.schedulers, number)
    runs, waits, nodes, table, load, counts, room = c.runs, c.waits, c.nodes, c.table, c.load, c.counts, c.wait_room
    base = s.schedulers + rank * _RECORD * WORD
    _copy(t.schedulers + number * _RECORD * WORD, base, _RECORD)
    c.runs, c.waits, c.nodes, c.table, c.load, c.counts, c.wait_room = runs, waits, nodes, table, load, counts, room
    c.noise = 0.0
    rows, copies = load_long(s.book, ROWS), load_long(t.book, ROWS)
    _copy(c.runs, q.runs, (q.running + q.preempted) * _RUN)
    for place in range(q.running):
        _copy(copies + count * _ROW * WORD, rows + run_at(q.runs, place).request * _ROW * WORD, _ROW)
        run_at(c.runs, place).request = count
        _believe(c, row_at(copies, count))
        count += 1
    for place in range(q.waiting):
        entry, twin = wait_at(q.waits, place), wait_at(c.waits, place)
        _copy(copies + count * _ROW * WORD, rows + entry.request * _ROW * WORD, _ROW)
        twin.key, twin.request = entry.key, count
        _believe(c, row_at(copies, count))
        count += 1
    for place in range(q.running, q.running + q.preempted):
        waits = place_of(q, run_at(q.runs, place).request)
        run_at(c.runs, place).request = wait_at(c.waits, waits).request
    if q.prefix:
        _copy(c.nodes, q.nodes, q.nodes_used * _NODE)
        _copy(c.table, q.table, (q.mask + 1) // 2)
    return count


@njit("UniTuple(i8, 2)(i8, i8, i8, i8, i8, i8)")
def forecast(base: Any, scratch: Any, rank: Any, request: Any, now: Any, most_steps: Any) -> Any:
    """ps of the request's first and last token at a scheduler if it joined now; of what takes more than ``most_steps``
    iterations, when these are over."""
    s, t = state_at(base, 0), state_at(scratch, 0)
    q = scheduler_at(s.schedulers, rank)
    first, ranks = q.first, q.ranks
    store_long(t.book, HASHES, load_long(s.book, HASHES))
    t.key = s.key ^ _OTHER
    t.ended, t.ended_tokens = s.ended, s.ended_tokens
    count, time = 0, now
    for number in range(ranks):
        other = scheduler_at(s.schedulers, first + number)
        count = _copy_scheduler(s, t, first + number, number, count)
        if other.busy:
            time = max(time, other.until)
    rows, copies = load_long(s.book, ROWS), load_long(t.book, ROWS)
    _copy(copies + count * _ROW * WORD, rows + request * _ROW * WORD, _ROW)
    row = row_at(copies, count)
    row.blocks, row.shared, row.host = 0, 0, 0
    join(t, rank - first, count, now)
    _believe(scheduler_at(t.schedulers, rank - first), row)
    steps = 0
    while steps < most_steps and row.status not in {FINISHED, MOVING}:
        length = step(t, 0, ranks, time)
        if length == 0:
            break
        time += length
        steps += 1
    return row.first if row.first >= 0 else time, row.last if row.status in {FINISHED, MOVING} else time
