"""What a router of requests may see: its replicas, their loads as one copy of it believes, their prefix caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import Incoming, RouterParams
from sim.dispatch.request_loads import LiveLoads, Loads, Longs, ReportedLoads, TrueLoads

# arrays that a kernel only reads: it takes those of a view, which can't be written, and others
LONGS = types.Array(types.int64, 1, "C", readonly=True)
FLOATS = types.Array(types.float64, 1, "C", readonly=True)
MIXED, PREFILLS, DECODES = 0, 1, 2  # roles of replicas
_TIES = {"random": 0, "first": 1, "rotate": 2}
_STEPS = 100_000  # iterations of a forecast at most


class Facts(NamedTuple):
    """What does not change, by replica; blocks, sequences and budgets of all its schedulers together."""

    pools: tuple[str, ...]  # names
    pool: Longs  # index into them
    role: Longs  # MIXED, PREFILLS or DECODES
    quality: NDArray[np.float64]  # of the answers of its model; NaN: not given
    kv_blocks: Longs
    block_tokens: Longs
    max_sequences: Longs
    token_budget: Longs
    first: Longs  # its first scheduler
    hash_tokens: int  # that one hash of a request covers


class Schedulers(Protocol):
    """What of the schedulers a view asks for."""

    @property
    def loads(self) -> NDArray[Any]: ...

    def cached_tokens(self, first: Longs, ranks: Longs, request: int) -> Longs: ...

    def forecast(self, rank: int, request: int, now: int, most_steps: int) -> tuple[int, int]: ...


class RequestView:
    """The view of one copy of a router. Arrays are by replica, through all pools of the workload.

    ``requests`` are all at a replica: those ``waiting`` and those ``running``. ``tokens`` they still need,
    ``prefill_tokens`` of these are of prompts. ``decode_blocks`` are the KV blocks that requests hold. How old these
    numbers are and which of the router's own requests are in them is set by ``telemetry`` and ``counted``. Prefix
    caches and forecasts are of the replica as it is: caches tell of their blocks as they change, apart from loads.
    """

    def __init__(
        self,
        facts: Facts,
        params: RouterParams,
        schedulers: Schedulers,
        true: TrueLoads,
        now: Callable[[], int],
    ) -> None:
        self.replicas = len(facts.pool)
        self.pools, self.pool, self.role, self.quality = facts.pools, facts.pool, facts.role, facts.quality
        self.kv_blocks, self.block_tokens, self.hash_tokens = facts.kv_blocks, facts.block_tokens, facts.hash_tokens
        self.max_sequences, self.token_budget = facts.max_sequences, facts.token_budget
        telemetry = params.telemetry
        self.loads: Loads  # told of what happens by the router's keeper
        if telemetry.interval:
            self.loads = ReportedLoads(true, facts.block_tokens, params.counted, telemetry.delay)
        else:
            way = params.latency + params.network
            self.loads = LiveLoads(true, facts.block_tokens, params.counted, way)
        self._ties = _TIES[params.ties]
        self._picked = -1
        self._schedulers = schedulers
        self._first = facts.first
        self._ranks = np.diff(facts.first, append=len(schedulers.loads))
        self._now = now

    @property
    def now(self) -> int:
        """ps"""
        return self._now()

    @property
    def age(self) -> int:
        """ps since the oldest report in use was taken; 0: the loads are seen as they are."""
        taken = self.loads.taken()
        return self._now() - taken if taken >= 0 else 0

    @property
    def requests(self) -> Longs:
        return self.loads.requests

    @property
    def waiting(self) -> Longs:
        return self.loads.waiting

    @property
    def running(self) -> Longs:
        return self.loads.running

    @property
    def tokens(self) -> Longs:
        return self.loads.tokens

    @property
    def prefill_tokens(self) -> Longs:
        return self.loads.prefill_tokens

    @property
    def decode_blocks(self) -> Longs:
        return self.loads.blocks

    @property
    def kv_used(self) -> NDArray[np.float64]:
        """Share of the KV blocks, 0 to 1."""
        used: NDArray[np.float64] = np.minimum(self.loads.blocks / self.kv_blocks, 1.0)
        return used

    def cached(self, replicas: Longs, request: Incoming) -> Longs:
        """[replicas] prompt tokens in the prefix cache of each, at the scheduler that has most of them."""
        if not len(request.hashes):
            return np.zeros(len(replicas), dtype=np.int64)
        return self._schedulers.cached_tokens(self._first[replicas], self._ranks[replicas], request.id)

    def forecast(self, replica: int, request: Incoming) -> tuple[int, int]:
        """ps to the first token and to the end if the request went there now and no other came."""
        rank, ranks = int(self._first[replica]), int(self._ranks[replica])
        if ranks > 1:
            rows = self._schedulers.loads[rank : rank + ranks]
            rank += int(np.argmin(4 * rows["waiting"] + rows["running"]))
        now = self._now()
        begin, end = self._schedulers.forecast(rank, request.id, now, _STEPS)
        return begin - now, end - now

    def pick(self, values: NDArray[Any], candidates: Longs, rng: np.random.Generator) -> int:
        """The candidate with the least of ``values`` [replicas]; of equal ones as ``ties`` says."""
        draw = rng.random() if self._ties == 0 else 0.0
        try:
            picked: int = least(values, candidates, self._ties, draw, self._picked)
        except TypeError:  # a policy's own array of another type
            floats = np.ascontiguousarray(values, dtype=np.float64)
            picked = least(floats, np.ascontiguousarray(candidates), self._ties, draw, self._picked)
        self._picked = picked
        return picked


@njit(
    [
        types.int64(LONGS, LONGS, types.int64, types.float64, types.int64),
        types.int64(FLOATS, LONGS, types.int64, types.float64, types.int64),
    ]
)
def least(values: NDArray[Any], candidates: Longs, ties: int, draw: float, last: int) -> Any:
    """The candidate of least value. Of equal ones the first, one by ``draw`` in [0, 1), or the next after ``last``."""
    best = values[candidates[0]]
    for candidate in candidates:
        best = min(best, values[candidate])
    equal = 0
    first = -1
    after = -1
    for candidate in candidates:
        if values[candidate] == best:
            equal += 1
            if first < 0:
                first = candidate
            if after < 0 and candidate > last:
                after = candidate
    if ties == 1:
        return first
    if ties == 2:
        return after if after >= 0 else first
    wanted = int(draw * equal)
    for candidate in candidates:
        if values[candidate] == best:
            if wanted == 0:
                return candidate
            wanted -= 1
    return first
