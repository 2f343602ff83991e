"""Who waits at a scheduler: a heap by (priority, order), those preempted before all others of their priority."""

from __future__ import annotations

from typing import Any

from models.jit import njit
from sim.engine.serving.state import I8, NONE, VOID, Request, Scheduler, wait_at

_ORDERS = 2**48  # a key is -priority x this + order


@njit(VOID(Scheduler, I8, I8, I8), internal=True)
def _rise(q: Any, place: Any, key: Any, request: Any) -> None:
    """Puts an entry at ``place`` or above it."""
    while place > 0:
        above = wait_at(q.waits, (place - 1) >> 1)
        if above.key <= key:
            break
        entry = wait_at(q.waits, place)
        entry.key, entry.request = above.key, above.request
        place = (place - 1) >> 1
    entry = wait_at(q.waits, place)
    entry.key, entry.request = key, request


@njit(VOID(Scheduler, Request, I8, I8), internal=True)
def put(q: Any, row: Any, request: Any, ahead: Any) -> None:
    """A request begins to wait; ``ahead``: before all others of its priority. The caller sees to the room."""
    if ahead:
        order = q.head
        q.head -= 1
    else:
        order = q.tail
        q.tail += 1
    q.waiting += 1
    _rise(q, q.waiting - 1, order - row.priority * _ORDERS, request)


@njit(VOID(Scheduler, I8), internal=True)
def take(q: Any, place: Any) -> None:
    """Takes the entry at a place of the heap out; 0 is the first."""
    q.waiting -= 1
    size = q.waiting
    last = wait_at(q.waits, size)
    key, request = last.key, last.request
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and wait_at(q.waits, below + 1).key < wait_at(q.waits, below).key:
            below += 1
        less = wait_at(q.waits, below)
        if key <= less.key:
            break
        entry = wait_at(q.waits, place)
        entry.key, entry.request = less.key, less.request
        place = below
    if place < size:
        _rise(q, place, key, request)


@njit(I8(Scheduler, I8), internal=True)
def place_of(q: Any, request: Any) -> Any:
    """Where a request waits, or NONE."""
    for place in range(q.waiting):
        if wait_at(q.waits, place).request == request:
            return place
    return NONE
