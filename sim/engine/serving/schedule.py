"""The schedulers of all replicas: what their processes call, on top of the compiled kernel.

The schedulers `first .. first + ranks - 1` of a replica step together. One call of `turn` an iteration; requests come
and go in between. A scheduler whose replica is idle (turn gave 0) goes on at the next turn after an add, a release or
a cancellation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.serving.law import PREFILLS
from sim.engine.layout import block
from sim.engine.serving import doors, kernel
from sim.engine.serving import forecast as replay
from sim.engine.serving.book import GAPS, LOST, REQUEST, ROWS, Book
from sim.engine.serving.laws import broken
from sim.engine.serving.memory import Memory
from sim.engine.serving.state import NONE, STATE, EngineSettings, Load

_TOLD = (STATE.names or ()).index("told_count")


class Schedulers:
    """One scheduler each of ``settings`` and ``costs`` (flat memory of models/serving/costs.py); ``key`` of draws."""

    def __init__(
        self, book: Book, settings: Sequence[EngineSettings], costs: Sequence[NDArray[np.float64]], key: int
    ) -> None:
        self.book = book
        self.settings = tuple(settings)
        self._memory = Memory(book.addresses, settings, costs, key)
        self.loads = self._memory.loads  # rows of LOAD by scheduler, always up to date
        self.counts = self._memory.counts  # rows of COUNTS by scheduler
        self._base = self._memory.state.ctypes.data
        self._words = memoryview(self._memory.state.view(np.int64))  # type: ignore[arg-type]
        self._told = self._memory.told
        self._scratch: Memory | None = None
        self._scratch_rows = block(REQUEST, 0)
        self._scratch_book: NDArray[np.int64] = np.zeros(3, dtype=np.int64)
        self._scratch_gaps: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    # requests

    def add(self, rank: int, request: int, now: int) -> None:
        """A request joins the queue. Where its ``computed`` is above 0 its KV has come already."""
        code = doors.add(self._base, rank, request, now)
        if code == doors.NO_ROOM:
            load = self.loads[rank]
            self._memory.widen(rank, int(load["waiting"] + load["running"]) + 1)
            code = doors.add(self._base, rank, request, now)
        if code == doors.HOLDS_BLOCKS:
            holder = int(self.book.rows["rank"][request])
            raise ValueError(f"request {request} still holds blocks of scheduler {holder}")
        if code == doors.NOTHING_TO_DO:
            raise ValueError(f"request {request} has no token to compute or to generate")

    def impossible(self, rank: int, request: int) -> str:
        """Why a request can never end here: "context", "kv cache", or nothing."""
        settings, row = self.settings[rank], self.book.rows[request]
        tokens = int(row["prompt"] + row["output"])
        if tokens > settings.context:
            return "context"
        blocks = -(-tokens // settings.block_tokens)
        return "kv cache" if blocks > settings.kv_blocks - settings.reserve else ""

    def place(self, first: int, ranks: int) -> int:
        """Which of a replica's schedulers takes its next request."""
        return int(doors.place(self._base, first, ranks)) if ranks > 1 else first

    def release(self, rank: int, request: int) -> None:
        """Frees the blocks of a request that was only prefilled here."""
        doors.release(self._base, rank, request)

    def cancel(self, request: int, now: int) -> None:
        """Takes a request out of its scheduler, as lost."""
        doors.cancel(self._base, request)

    def drop(self, rank: int) -> list[int]:
        """All requests of a scheduler that fails, running ones first, in order; they and all KV are lost."""
        memory, record = self._memory, self._memory.schedulers[rank]
        waiting = memory.waits[rank][: int(record["waiting"])]
        gone: list[int] = memory.runs[rank]["request"][: int(record["running"])].tolist()
        gone += waiting["request"][np.argsort(waiting["key"])].tolist()
        rows: Any = self.book.rows
        for name, value in (
            ("computed", 0),
            ("blocks", 0),
            ("shared", 0),
            ("host", 0),
            ("status", LOST),
            ("rank", NONE),
        ):
            rows[name][gone] = value
        memory.empty(rank)
        return gone

    # iterations

    def turn(self, first: int, ranks: int, now: int) -> int:
        """Ends the batch under way, composes the next one: its duration in ps, 0 where there is nothing to do."""
        length: int = kernel.turn(self._base, first, ranks, now)
        return length

    def told(self) -> list[int]:
        """Requests that reached their limit in the last turn."""
        count = self._words[_TOLD]
        return self._told[:count].tolist() if count else []

    def batch(self, rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Totals and prefill chunks of the batch under way, as in models/serving/law.py; views."""
        totals = self._memory.totals[rank]
        return totals, self._memory.chunks[rank, : int(totals[PREFILLS])]

    def batches(self, first: int, ranks: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same of schedulers that step together, with the chunks' whole room, as the law takes them."""
        return self._memory.totals[first : first + ranks], self._memory.chunks[first : first + ranks]

    def members(self, rank: int) -> tuple[list[int], list[int]]:
        """Requests of the batch under way, and the tokens of each in it, drafts included; 0: it has to wait."""
        running = self._memory.runs[rank][: int(self._memory.schedulers["running"][rank])]
        return running["request"].tolist(), running["going"].tolist()

    # looking

    def load(self, rank: int) -> Load:
        return Load(*self.loads[rank].item())

    def cached_tokens(self, first: NDArray[np.int64], ranks: NDArray[np.int64], request: int) -> NDArray[np.int64]:
        """[replicas] prompt tokens in the prefix caches of replicas with the schedulers ``first`` to ``first + ranks -
        1``: of the scheduler that has most."""
        found: NDArray[np.int64] = doors.cached_tokens(self._base, first, ranks, request)
        return found

    def forecast(self, rank: int, request: int, now: int, most_steps: int) -> tuple[int, int]:
        """ps of the request's first and last token here if it joined now. Of a token that is more than ``most_steps``
        iterations away: when these are over."""
        record = self._memory.schedulers[rank]
        first, ranks = int(record["first"]), int(record["ranks"])
        requests = self.loads["waiting"][first : first + ranks] + self.loads["running"][first : first + ranks]
        scratch = self._room(ranks, int(requests.sum()) + 1, int(requests.max()) + 1)
        found: tuple[int, int] = replay.forecast(self._base, scratch.state.ctypes.data, rank, request, now, most_steps)
        return found

    def _room(self, ranks: int, requests: int, queue: int) -> Memory:
        """The memory of the copy, large enough."""
        if self._scratch is None or len(self._scratch.schedulers) < ranks:
            largest = EngineSettings(
                max_sequences=max(each.max_sequences for each in self.settings),
                kv_blocks=max(each.kv_blocks for each in self.settings),
                prefix_cache=any(each.prefix_cache for each in self.settings),
            )
            self._scratch = Memory(self._scratch_book, [largest] * ranks, [np.zeros(1)] * ranks, 0)
            self._scratch_gaps = np.zeros(self.book.gaps.size, dtype=np.int64)
            self._scratch_book[GAPS] = self._scratch_gaps.ctypes.data
        if len(self._scratch_rows) < requests:
            self._scratch_rows = block(REQUEST, 2 * requests)
            self._scratch_book[ROWS] = self._scratch_rows.ctypes.data
        for number in range(ranks):
            self._scratch.widen(number, queue)
        return self._scratch

    def check(self) -> list[str]:
        """What is wrong with the books; empty if nothing is."""
        return broken(self.book, self.settings, self._memory)
