"""The book of requests: one row each, which the arrivals begin, routers and the compiled schedulers go on with.

All times are integer ps, -1 until known; token counts are integers. Rows of running requests are always up to date: the
kernel works on them in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.jit import njit
from sim.engine.layout import block

NEW, HELD, SENT, WAITING, RUNNING, MOVING, FINISHED, REJECTED, LOST = range(9)
STATUSES = ("new", "held", "sent", "waiting", "running", "moving", "finished", "rejected", "lost")

REQUEST = np.dtype(
    [
        # first cache line: what every iteration touches
        ("prompt", "i8"),
        ("computed", "i8"),  # tokens whose KV the present scheduler has
        ("generated", "i8"),
        ("limit", "i8"),  # tokens to generate at the present scheduler
        ("previous", "i8"),  # ps of the last token
        ("gap_max", "i8"),  # ps of the largest ITL
        ("blocks", "i4"),  # KV blocks held alone
        ("shared", "i4"),  # KV blocks held through the prefix cache: the first ones
        ("kind", "i4"),  # class
        ("expected", "i4"),  # tokens that the scheduler believes it will generate
        # second
        ("output", "i8"),
        ("arrival", "i8"),
        ("hash_start", "i8"),  # of its chain of ids in `Book.hashes`
        ("hash_count", "i8"),
        ("session", "i8"),  # -1: none
        ("priority", "i8"),  # larger is more important
        ("predicted", "i8"),  # output tokens that routers believe in; -1: no prediction
        ("number", "i8"),  # its own place in the book; draws hang on it
        # third
        ("routed", "i8"),  # ps of the router's decision
        ("queued", "i8"),  # ps of its arrival at the scheduler that prefills
        ("scheduled", "i8"),  # ps of its first iteration
        ("first", "i8"),  # ps of the first token
        ("last", "i8"),  # ps of the last token, where it was prefilled or ended
        ("transferred", "i8"),  # ps that the KV transfer took
        ("cached", "i8"),  # prompt tokens found in the prefix cache when first scheduled
        ("host", "i4"),  # KV blocks swapped out to the host's memory
        ("epoch", "i4"),  # of its scheduler when it came
        # fourth
        ("tenant", "i4"),
        ("turn", "i4"),
        ("reason", "i4"),  # index into `Book.reasons`; -1: none
        ("replica", "i4"),  # where it decodes, or last was; -1: none
        ("prefill_replica", "i4"),
        ("rank", "i4"),  # scheduler; -1: none
        ("preempted", "i4"),  # how often
        ("status", "i1"),
        ("since", "i8"),  # ps since when it waits again: preempted, or come to another replica; -1: it does not
        ("stalled", "i8"),  # ps that it has waited so, until it was scheduled again
        ("stalled_first", "i8"),  # ps of those that lie before the first token
    ],
    align=True,
)
_UNKNOWN = (
    "session", "predicted", "routed", "queued", "scheduled", "first", "last", "previous", "reason", "replica",
    "prefill_replica", "rank", "since",
)  # fmt: skip

# ITLs are counted in bins 1 % wide, in ps; the first and the last bin take what is beyond
GAP_LEAST, GAP_MOST, GAP_STEP = 10**6, 10**15, 1.01
_LOG_STEP = np.log(GAP_STEP)
BINS = int(np.ceil(np.log(GAP_MOST / GAP_LEAST) / _LOG_STEP)) + 2

ROWS, HASHES, GAPS = range(3)  # places in `Book.addresses`


@njit("i8(i8)")
def gap_bin(gap: Any) -> Any:
    """Where an ITL is counted."""
    if gap < GAP_LEAST:
        return 0
    return min(1 + np.int64(np.log(gap / GAP_LEAST) / _LOG_STEP), BINS - 1)


def gap_quantile(counts: NDArray[np.int64], q: float) -> int:
    """The q-quantile (0..1) of counted ITLs in ps, within half a percent; -1 where none was counted."""
    total = int(counts.sum())
    if total == 0:
        return -1
    place = int(np.searchsorted(np.cumsum(counts), min(max(int(np.ceil(q * total)), 1), total)))
    return int(GAP_LEAST * GAP_STEP ** (min(max(place, 1), BINS - 1) - 0.5))


class Book:
    """Rows of all requests, their chains of ids, and the counted ITLs of each class."""

    def __init__(self, classes: int = 1, capacity: int = 1024) -> None:
        self.rows = block(REQUEST, capacity)
        self.count = 0
        self.reasons: list[str] = []
        self.gaps: NDArray[np.int64] = np.zeros((classes, BINS), dtype=np.int64)
        self.addresses: NDArray[np.int64] = np.zeros(3, dtype=np.int64)  # where the kernel finds all three
        self._hashes: NDArray[np.int64] = np.zeros(capacity, dtype=np.int64)
        self._hash_count = 0
        self._blank = np.zeros(1, dtype=REQUEST)
        for name in _UNKNOWN:
            self._blank[name] = -1
        self._settle()

    def _settle(self) -> None:
        self.addresses[:] = self.rows.ctypes.data, self._hashes.ctypes.data, self.gaps.ctypes.data

    @property
    def hashes(self) -> NDArray[np.int64]:
        """All ids: request i has those from ``hash_start`` on, ``hash_count`` of them."""
        return self._hashes[: self._hash_count]

    def add(self, **fields: int) -> int:
        """A new request's index. ``limit`` is its output if not given."""
        return self.add_block({name: [value] for name, value in fields.items()})

    def add_block(self, columns: Mapping[str, ArrayLike]) -> int:
        """Many new requests, columns of equal length: the first one's index."""
        first = self.count
        more = len(np.asarray(next(iter(columns.values()))))
        if first + more > len(self.rows):
            grown = block(REQUEST, max(2 * len(self.rows), first + more))
            grown[:first] = self.rows[:first]
            self.rows = grown
            self._settle()
        rows = self.rows[first : first + more]
        rows[:] = self._blank
        for name, values in columns.items():
            rows[name] = values
        if "limit" not in columns:
            rows["limit"] = rows["output"]
        rows["number"] = np.arange(first, first + more)
        self.count += more
        return first

    def add_hashes(self, ids: ArrayLike) -> int:
        """Appends ids (a request's, or those of many one after another): the first one's place, for `hash_start`."""
        fresh = np.asarray(ids, dtype=np.int64)
        first = self._hash_count
        if first + len(fresh) > len(self._hashes):
            grown = np.zeros(max(2 * len(self._hashes), first + len(fresh)), dtype=np.int64)
            grown[:first] = self._hashes[:first]
            self._hashes = grown
            self._settle()
        self._hashes[first : first + len(fresh)] = fresh
        self._hash_count += len(fresh)
        return first

    def reject(self, request: int, reason: str) -> None:
        """Marks a request as rejected for a reason, which is counted by name."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        row: Any = self.rows[request]
        row["status"], row["reason"] = REJECTED, self.reasons.index(reason)
