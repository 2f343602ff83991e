"""Allocates the schedulers' memory: one STATE record and what hangs on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.serving.law import TOTALS
from sim.engine.layout import block
from sim.engine.serving.state import COUNTS, LOAD, NODE, NONE, RUN, SCHEDULER, STATE, WAIT, EngineSettings

_FIRST_ROOM = 256  # waiting requests; grows
_SAME = (
    "token_budget", "max_sequences", "kv_blocks", "block_tokens", "reserve", "swap", "host_blocks", "hash_tokens",
    "chunked", "async_scheduling", "draft_tokens", "draft_ps", "acceptance", "noise",
)  # fmt: skip


class Memory:
    """Records of schedulers and the arrays that their addresses lead to."""

    def __init__(
        self,
        addresses: NDArray[np.int64],
        settings: Sequence[EngineSettings],
        costs: Sequence[NDArray[np.float64]],
        key: int,
    ) -> None:
        number = len(settings)
        most = max(each.max_sequences for each in settings)
        self.state = np.zeros(1, dtype=STATE)
        self.schedulers = block(SCHEDULER, number)
        self.loads = block(LOAD, number)
        self.counts = block(COUNTS, number)
        self.totals = np.zeros((number, TOTALS))
        self.chunks = np.zeros((number, most, 2))
        self.told: NDArray[np.int64] = np.zeros(sum(each.max_sequences for each in settings), dtype=np.int64)
        self.runs = [block(RUN, each.max_sequences) for each in settings]
        self.waits = [block(WAIT, _FIRST_ROOM) for _ in settings]
        self.nodes = [block(NODE, each.kv_blocks if each.prefix_cache else 0) for each in settings]
        self.tables = [self._table(each) for each in settings]
        self._kept = (addresses, [np.ascontiguousarray(cost, dtype=np.float64) for cost in costs])
        state: Any = self.state
        state["book"] = addresses.ctypes.data
        for name in ("schedulers", "totals", "chunks", "told"):
            state[name] = getattr(self, name).ctypes.data
        state["most"], state["key"] = most, key
        for rank, each in enumerate(settings):
            self._fill(rank, each, self._kept[1][rank])

    @staticmethod
    def _table(settings: EngineSettings) -> NDArray[np.int32]:
        size = 1 << (2 * settings.kv_blocks - 1).bit_length() if settings.prefix_cache else 1
        return np.full(size, NONE, dtype=np.int32)

    def _fill(self, rank: int, settings: EngineSettings, cost: NDArray[np.float64]) -> None:
        row: Any = self.schedulers[rank]
        for name in _SAME:
            row[name] = getattr(settings, name)
        row["swap_ps"], row["prefix"] = settings.swap_ps_per_block, settings.prefix_cache
        for name, array in (("runs", self.runs), ("waits", self.waits), ("nodes", self.nodes), ("table", self.tables)):
            row[name] = array[rank].ctypes.data
        row["cost"], row["cost_words"] = cost.ctypes.data, len(cost)
        row["load"] = self.loads[rank : rank + 1].ctypes.data
        row["counts"] = self.counts[rank : rank + 1].ctypes.data
        row["mask"] = len(self.tables[rank]) - 1
        row["wait_room"] = len(self.waits[rank])
        row["first"], row["ranks"] = rank, 1
        self.loads["kv_blocks"][rank] = settings.kv_blocks
        self.empty(rank)

    def empty(self, rank: int) -> None:
        """Forgets all requests and the prefix cache of a scheduler."""
        row: Any = self.schedulers[rank]
        for name in (
            "running", "waiting", "head", "tail", "held", "cached", "idle", "nodes_used", "host_used", "busy",
            "swapped", "waiting_tokens", "waiting_left", "running_tokens", "running_left", "context", "preempted",
            "composed",
        ):  # fmt: skip
            row[name] = 0
        row["head"] = -1
        row["oldest"] = row["newest"] = row["spare"] = NONE
        row["epoch"] += 1
        self.tables[rank][:] = NONE
        self.totals[rank] = 0.0
        for name in LOAD.names or ():
            if name != "kv_blocks":
                self.loads[name][rank] = 0

    def widen(self, rank: int, room: int) -> None:
        """Sees to room for so many waiting requests."""
        if room > len(self.waits[rank]):
            wider = block(WAIT, max(room, 2 * len(self.waits[rank])))
            wider[: len(self.waits[rank])] = self.waits[rank]
            self.waits[rank] = wider
            row: Any = self.schedulers[rank]
            row["waits"], row["wait_room"] = wider.ctypes.data, len(wider)
