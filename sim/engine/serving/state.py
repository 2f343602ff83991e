"""The memory of the schedulers: record arrays, reached by address, and what a scheduler is told at its making.

Kernels get the base address of one STATE record and find everything else through the addresses in it. Times are int64
ps. A scheduler's sequences are in `running` in the order of their admission; who waits is in its heap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, types

from models.jit import njit
from models.serving.law import TOTALS
from sim.engine.layout import record_at
from sim.engine.serving.book import REQUEST

NONE = -1
GONE = -1
MOST_PRIORITY = 2**14  # priorities lie between its negative and itself


@dataclass(frozen=True)
class EngineSettings:
    """Of one scheduler. Times in ps."""

    token_budget: int = 2048  # tokens of an iteration, drafts included
    max_sequences: int = 128
    kv_blocks: int = 10_000
    block_tokens: int = 16
    watermark: float = 0.01  # share of the blocks that an admission leaves free
    swap: bool = False  # a preempted request's KV goes to the host; else it is computed again
    swap_ps_per_block: int = 0
    host_blocks: int = 0
    prefix_cache: bool = False
    hash_tokens: int = 16  # tokens that one id of a request's chain covers, a multiple of block_tokens
    chunked: bool = True
    async_scheduling: bool = False  # an iteration is composed while the one before runs
    draft_tokens: int = 0  # speculation: drafted for each sequence and iteration
    acceptance: float = 0.0  # probability that a draft token is accepted, if those before it were
    draft_ps: int = 0  # what drafting adds to an iteration that verifies drafts
    context: int = 2**31 - 1  # most tokens of a request, prompt and output
    noise: float = 0.0  # sigma of the log of a factor of mean 1 on each iteration

    @property
    def reserve(self) -> int:
        """Blocks that an admission leaves free."""
        return int(np.ceil(self.watermark * self.kv_blocks))

    @property
    def room(self) -> int:
        """Tokens of a request, prompt and output, at most."""
        return min(self.context, (self.kv_blocks - self.reserve) * self.block_tokens)


class Load(NamedTuple):
    """What a scheduler has to do."""

    waiting: int
    running: int
    waiting_tokens: int  # still to prefill, of waiting requests and of running ones that are not through
    decode_tokens: int  # KV of the running requests
    used_blocks: int  # held by requests, those whose KV is being transferred included
    kv_blocks: int
    outstanding_tokens: int  # still to prefill, and to generate: as predicted, or the mean so far
    batch_tokens: int  # of the batch under way


LOAD = np.dtype([(name, "i8") for name in Load._fields])

COUNTS = np.dtype(
    [
        ("iterations", "i8"),  # with work of its own
        ("padded", "i8"),  # iterations that it ran along without work
        ("tokens", "i8"),  # computed, drafts and repetitions included
        ("generated", "i8"),
        ("drafted", "i8"),
        ("accepted", "i8"),  # draft tokens
        ("preemptions", "i8"),
        ("swapped", "i8"),  # blocks, out and in
        ("swap_refused", "i8"),  # preemptions that found no room on the host
        ("looked", "i8"),  # tokens looked for in the prefix cache
        ("hit", "i8"),  # and found
        ("evicted", "i8"),  # blocks
        ("finished", "i8"),  # requests
    ]
)

RUN = np.dtype(
    [
        ("request", "i8"),
        *[(name, "i4") for name in ("tokens", "drafts")],  # of it in the batch composed next, drafts included
        *[(name, "i4") for name in ("going", "going_drafts")],  # in the batch under way
        ("samples", "i8"),  # whether that one gives it a token; GONE: it has ended, but computes once more
    ]
)
WAIT = np.dtype([("key", "i8"), ("request", "i8")])  # the least key is first
# a full block in the prefix cache: part `part` of the tokens that `id` covers. Idle ones (`users` 0) are in a list.
NODE = np.dtype([("id", "i8"), ("part", "i4"), ("users", "i4"), ("before", "i4"), ("after", "i4")])

SCHEDULER = np.dtype(
    [
        # settings, see EngineSettings
        *[(name, "i8") for name in ("token_budget", "max_sequences", "kv_blocks", "block_tokens", "reserve", "swap")],
        *[(name, "i8") for name in ("swap_ps", "host_blocks", "prefix", "hash_tokens", "chunked", "draft_tokens")],
        *[(name, "i8") for name in ("draft_ps", "async_scheduling")],
        *[(name, "f8") for name in ("acceptance", "noise")],
        # addresses; table: i4 [mask + 1], node or NONE by hash
        *[(name, "i8") for name in ("runs", "waits", "nodes", "table", "cost", "load", "counts")],
        *[(name, "i8") for name in ("cost_words", "mask")],
        # state
        *[(name, "i8") for name in ("running", "waiting", "wait_room")],
        *[(name, "i8") for name in ("head", "tail")],  # orders of the next one before and behind all that wait
        *[(name, "i8") for name in ("held", "cached", "idle")],  # blocks: alone, in the prefix cache, of those unused
        *[(name, "i8") for name in ("oldest", "newest", "spare", "nodes_used")],  # idle nodes, and those given up
        ("chained", "i8"),  # whether a request came that the prefix cache can know
        ("host_used", "i8"),
        ("epoch", "i8"),  # how often it was emptied
        ("busy", "i8"),  # whether a batch is under way
        ("until", "i8"),  # ps at which that ends
        ("composed", "i8"),  # tokens of the batch that comes next
        *[(name, "i8") for name in ("first", "ranks", "next_rank")],  # who steps with it; whose turn it is in a tie
        *[(name, "i8") for name in ("waiting_tokens", "waiting_left")],  # of waiting requests: to prefill, to generate
        *[(name, "i8") for name in ("running_tokens", "running_left", "context")],  # of running ones; and their KV
        # blocks, requests in the last composition; the entries of these are behind those of the running ones
        *[(name, "i8") for name in ("swapped", "preempted")],
    ]
)

STATE = np.dtype(
    [
        ("book", "i8"),  # of Book.addresses
        *[(name, "i8") for name in ("schedulers", "totals", "chunks", "told")],
        ("most", "i8"),  # chunks of a scheduler that there is room for
        ("told_count", "i8"),
        ("key", "i8"),
        *[(name, "i8") for name in ("ended", "ended_tokens")],  # requests that ended, and what they generated
    ]
)

State, Scheduler, Request = from_dtype(STATE), from_dtype(SCHEDULER), from_dtype(REQUEST)
I8, F8, VOID = types.int64, types.float64, types.void

state_at, scheduler_at, row_at = record_at(STATE), record_at(SCHEDULER), record_at(REQUEST)
run_at, wait_at, node_at = record_at(RUN), record_at(WAIT), record_at(NODE)
load_at, counts_at = record_at(LOAD), record_at(COUNTS)

WORD = 8
TOTALS_BYTES = WORD * TOTALS
CHUNK_BYTES = 2 * WORD


@njit(I8(Scheduler), inline=True)
def free_blocks(q: Any) -> Any:
    """Empty blocks and those that the prefix cache would give up."""
    return q.kv_blocks - q.held - q.cached + q.idle


@njit(VOID(Scheduler), internal=True)
def tell_load(q: Any) -> None:
    """What others see of a scheduler."""
    load = load_at(q.load, 0)
    load.waiting = q.waiting
    load.running = q.running
    load.waiting_tokens = q.waiting_tokens + q.running_tokens
    load.decode_tokens = q.context
    load.used_blocks = q.held + q.cached - q.idle
    load.outstanding_tokens = load.waiting_tokens + q.waiting_left + q.running_left
