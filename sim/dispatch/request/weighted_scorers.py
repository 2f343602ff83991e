"""The replica with the highest weighted sum of scores, each from 0 to 1.

Source: llm-d's inference scheduler (2026) and the Gateway API inference extension; the default weights are those of
its optimised baseline. A score of weight 0 is not used.

``prefix``: share of the prompt's blocks that the replica has. ``kv``: free share of its KV blocks. ``queue``: waiting
requests, 1 at the fewest to 0 at the most. ``load``: 0.5 with an empty queue, falling to 0 at ``load_threshold``
waiting. ``active``: requests, 1 where there are none to 0 at the most. ``session``: 1 where the session was last.
``no_hit_lru``: for a prompt that no replica has anything of, from 1 for the replica that has had no such prompt for
longest to 0; else 0.5 for all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import Field, Incoming, PolicyParams, RouterParams
from sim.dispatch.request._cache import Cached, Source
from sim.dispatch.request_view import FLOATS, LONGS, RequestView

_WEIGHTS = ("prefix", "kv", "queue", "load", "active", "session", "no_hit_lru")


class Weights(PolicyParams):
    prefix: float = Field(default=3.0, ge=0, le=1e6, description="of the cached share of the prompt")
    kv: float = Field(default=2.0, ge=0, le=1e6, description="of the free KV blocks")
    queue: float = Field(default=2.0, ge=0, le=1e6, description="of the waiting requests, against each other")
    load: float = Field(default=0.0, ge=0, le=1e6, description="of the waiting requests, against a threshold")
    active: float = Field(default=0.0, ge=0, le=1e6, description="of all requests, against each other")
    session: float = Field(default=0.0, ge=0, le=1e6, description="of the session's last replica")
    no_hit_lru: float = Field(
        default=2.0, ge=0, le=1e6, description="of the time since the last prompt without a match"
    )


class Params(RouterParams):
    weights: Weights = Field(Weights(), description="of the scores; 0: not used")
    cache: Source = Field(
        "approximate", description="caches tell of their blocks, or the router guesses by what it sent"
    )
    load_threshold: int = Field(128, ge=1, description="waiting requests at which the score `load` is 0")
    max_tree_blocks: int = Field(31_250, ge=1, description="blocks that the approximate tree of a replica holds")


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._view = view
        self._params = params
        self._weights = np.array([getattr(params.weights, name) for name in _WEIGHTS])
        self._cached = Cached(view, params.cache, params.max_tree_blocks)
        self._session: dict[int, int] = {}  # -> its last replica
        self._cold = np.zeros(view.replicas, dtype=np.int64)  # number of its last prompt without a match; 0: none
        self._cold_count = 0
        self._is_cold = False  # the request that was asked for last
        self._costs = np.zeros(view.replicas)

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        view, weights = self._view, self._params.weights
        cached = self._cached.tokens(request, replicas) if weights.prefix or weights.no_hit_lru else _NONE
        session = self._session.get(request.session, -1) if weights.session else -1
        loads = view.decode_blocks, view.kv_blocks, view.waiting, view.requests
        threshold = self._params.load_threshold
        self._is_cold = scores(
            self._costs, replicas, self._weights, cached, self._cold, *loads, session, request.prompt, threshold
        )
        return view.pick(self._costs, replicas, rng)

    def sent(self, request: Incoming, replica: int) -> None:
        self._cached.sent(request, replica)
        if self._params.weights.session and request.session >= 0:
            self._session[request.session] = replica
        if self._is_cold and self._params.weights.no_hit_lru:
            self._cold_count += 1
            self._cold[replica] = self._cold_count


_NONE = np.zeros(0, dtype=np.int64)


@njit(types.float64(types.int64, LONGS, LONGS), internal=True)
def _turn(replica: int, replicas: NDArray[np.int64], cold: NDArray[np.int64]) -> Any:
    """1 for the candidate whose last prompt without a match is longest ago, 0 for the latest; equal ones in order."""
    older = 0
    for other in replicas:
        if cold[other] < cold[replica] or (cold[other] == cold[replica] and other < replica):
            older += 1
    return 1.0 - older / (len(replicas) - 1) if len(replicas) > 1 else 1.0


@njit(types.boolean(types.float64[::1], LONGS, FLOATS, *[LONGS] * 6, *[types.int64] * 3))
def scores(
    out: NDArray[np.float64],
    replicas: NDArray[np.int64],
    weights: NDArray[np.float64],
    cached: NDArray[np.int64],
    cold: NDArray[np.int64],
    held: NDArray[np.int64],
    kv_blocks: NDArray[np.int64],
    waiting: NDArray[np.int64],
    requests: NDArray[np.int64],
    session: int,
    prompt: int,
    threshold: int,
) -> bool:
    """Writes the negative weighted scores of the candidates into ``out`` [all replicas]; ``cached`` is by candidate.

    Whether no candidate has anything of the prompt.
    """
    shortest = longest = waiting[replicas[0]]
    busiest = 0
    for replica in replicas:
        shortest, longest = min(shortest, waiting[replica]), max(longest, waiting[replica])
        busiest = max(busiest, requests[replica])
    no_hit = True
    for tokens in cached:
        no_hit = no_hit and tokens == 0
    for place in range(len(replicas)):
        replica = replicas[place]
        prefix = min(cached[place] / prompt, 1.0) if len(cached) else 0.0
        kv = max(0.0, 1.0 - held[replica] / kv_blocks[replica])
        queue = (longest - waiting[replica]) / (longest - shortest) if longest > shortest else 1.0
        load = 0.5 * max(0.0, 1.0 - waiting[replica] / threshold)
        active = (busiest - requests[replica]) / busiest if busiest else 1.0
        stays = 1.0 if replica == session else 0.0
        lru = _turn(replica, replicas, cold) if no_hit and weights[6] > 0 else 0.5
        out[replica] = -(
            weights[0] * prefix
            + weights[1] * kv
            + weights[2] * queue
            + weights[3] * load
            + weights[4] * active
            + weights[5] * stays
            + weights[6] * lru
        )
    return no_hit
