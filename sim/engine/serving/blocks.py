"""KV blocks of a scheduler, and its prefix cache.

Block b of a request is full once its tokens (prompt, then output) are computed. If the request's chain of ids reaches
that far, the block is then known by (id, part of the tokens that the id covers) and shared: whoever has the same first
blocks uses them too, and a copy that somebody else computed meanwhile is given up. An id stands for all tokens before
it as well, as in block hash chains, so the shared blocks of a request are always its first ones.

A shared block that nobody uses stays until its room is wanted: the one longest unused goes first, of one request's
blocks the last (vLLM's order). Blocks without use count as free.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from models.mix import mix
from sim.engine.layout import load_int, load_long, store_int
from sim.engine.serving.book import HASHES
from sim.engine.serving.state import I8, NONE, VOID, Request, Scheduler, State, counts_at, node_at


@njit(I8(Scheduler, I8, I8), internal=True)
def _home(q: Any, number: Any, part: Any) -> Any:
    """The place of the table where a block would best be."""
    return np.int64(mix(np.uint64(number) ^ (np.uint64(part) * np.uint64(0x9E3779B97F4A7C15))) & np.uint64(q.mask))


@njit(I8(Scheduler, I8, I8), internal=True)
def _find(q: Any, number: Any, part: Any) -> Any:
    """The node of a block, or NONE."""
    place = _home(q, number, part)
    while True:
        found = load_int(q.table, place)
        if found == NONE:
            return NONE
        node = node_at(q.nodes, found)
        if node.id == number and node.part == part:
            return found
        place = (place + 1) & q.mask


@njit(VOID(Scheduler, I8), internal=True)
def _use(q: Any, index: Any) -> None:
    node = node_at(q.nodes, index)
    if node.users == 0:
        if node.before == NONE:
            q.oldest = node.after
        else:
            node_at(q.nodes, node.before).after = node.after
        if node.after == NONE:
            q.newest = node.before
        else:
            node_at(q.nodes, node.after).before = node.before
        q.idle -= 1
    node.users += 1


@njit(VOID(Scheduler, I8), internal=True)
def _leave(q: Any, index: Any) -> None:
    node = node_at(q.nodes, index)
    node.users -= 1
    if node.users == 0:
        node.before, node.after = q.newest, NONE
        if q.newest == NONE:
            q.oldest = index
        else:
            node_at(q.nodes, q.newest).after = index
        q.newest = index
        q.idle += 1


@njit(VOID(Scheduler), internal=True)
def _evict(q: Any) -> None:
    """Gives up the block longest unused."""
    index = q.oldest
    node = node_at(q.nodes, index)
    place = _home(q, node.id, node.part)
    while load_int(q.table, place) != index:
        place = (place + 1) & q.mask
    follower = place  # close the gap: whoever can't be found across it moves into it
    while True:
        follower = (follower + 1) & q.mask
        other = load_int(q.table, follower)
        if other == NONE:
            break
        moved = node_at(q.nodes, other)
        if (follower - _home(q, moved.id, np.int64(moved.part))) & q.mask >= (follower - place) & q.mask:
            store_int(q.table, place, other)
            place = follower
    store_int(q.table, place, NONE)
    q.oldest = node.after
    if q.oldest == NONE:
        q.newest = NONE
    else:
        node_at(q.nodes, q.oldest).before = NONE
    node.after = q.spare
    q.spare = index
    q.idle -= 1
    q.cached -= 1
    counts_at(q.counts, 0).evicted += 1


@njit(I8(Scheduler, I8, I8), internal=True)
def _insert(q: Any, number: Any, part: Any) -> Any:
    """A new shared block with one user."""
    index = q.spare
    if index == NONE:
        index = q.nodes_used
        q.nodes_used += 1
    else:
        q.spare = node_at(q.nodes, index).after
    node = node_at(q.nodes, index)
    node.id, node.part, node.users = number, part, 1
    place = _home(q, number, part)
    while load_int(q.table, place) != NONE:
        place = (place + 1) & q.mask
    store_int(q.table, place, index)
    q.cached += 1
    return index


@njit("UniTuple(i8, 2)(i8, i8)", internal=True)
def _split(block: Any, per: Any) -> Any:
    return block // per, block % per


@njit(I8(State, Scheduler, Request, I8), internal=True)
def _node_of(s: Any, q: Any, row: Any, block: Any) -> Any:
    """The node of a request's block, or NONE."""
    word, part = _split(block, q.hash_tokens // q.block_tokens)
    return _find(q, load_long(load_long(s.book, HASHES), row.hash_start + word), part)


@njit(I8(Scheduler, Request, I8), internal=True)
def _named(q: Any, row: Any, tokens: Any) -> Any:
    """How many of a request's first blocks are full with ``tokens`` and have an id."""
    return min(tokens // q.block_tokens, row.hash_count * (q.hash_tokens // q.block_tokens))


@njit(I8(State, Scheduler, Request, I8), internal=True)
def match(s: Any, q: Any, row: Any, tokens: Any) -> Any:
    """How many of the first blocks are in the cache, of those full with ``tokens``."""
    blocks = _named(q, row, tokens)
    found = 0
    while found < blocks and _node_of(s, q, row, found) != NONE:
        found += 1
    return found


@njit(I8(State, Scheduler, Request, I8), internal=True)
def idle_among(s: Any, q: Any, row: Any, blocks: Any) -> Any:
    """How many of a request's first blocks, all in the cache, nobody uses: they count as free so far."""
    idle = 0
    for block in range(blocks):
        if node_at(q.nodes, _node_of(s, q, row, block)).users == 0:
            idle += 1
    return idle


@njit(VOID(State, Scheduler, Request, I8), internal=True)
def share(s: Any, q: Any, row: Any, blocks: Any) -> None:
    """A request that holds nothing uses its first blocks, which are in the cache."""
    for block in range(blocks):
        _use(q, _node_of(s, q, row, block))
    row.shared = blocks


@njit(VOID(Scheduler, Request, I8), internal=True)
def claim(q: Any, row: Any, blocks: Any) -> None:
    """Gives a request more blocks of its own; the caller has seen that so many are free."""
    short = blocks - (q.kv_blocks - q.held - q.cached)
    while short > 0:
        _evict(q)
        short -= 1
    q.held += blocks
    row.blocks += blocks


@njit(VOID(State, Scheduler, Request, I8), internal=True)
def name_full(s: Any, q: Any, row: Any, tokens: Any) -> None:
    """The blocks that ``tokens`` fill become known to the prefix cache."""
    per = q.hash_tokens // q.block_tokens
    hashes = load_long(s.book, HASHES)
    for block in range(np.int64(row.shared), _named(q, row, tokens)):
        word, part = _split(block, per)
        number = load_long(hashes, row.hash_start + word)
        found = _find(q, number, part)
        if found == NONE:
            _insert(q, number, part)
        else:
            _use(q, found)
        row.shared += 1
        row.blocks -= 1
        q.held -= 1


@njit(VOID(State, Scheduler, Request), internal=True)
def give_back(s: Any, q: Any, row: Any) -> None:
    """Frees all blocks of a request, the last ones first."""
    for block in range(row.shared - 1, -1, -1):
        _leave(q, _node_of(s, q, row, block))
    q.held -= row.blocks
    row.shared = 0
    row.blocks = 0
