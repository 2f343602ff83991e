"""The replica where prefill and decode cost least, in KV blocks, what it has in its prefix cache taken off.

Source: NVIDIA Dynamo's KV router and its defaults (2026). cost = ``prefill_load_scale`` x max(0, prompt blocks queued
there and of this request - credit x cached blocks) + blocks that requests hold there with this one + active requests x
``decode_active_request_weight``. The credit is ``overlap_score_credit`` / (1 + ``credit_decay`` x the prefill blocks
above the least loaded replica / blocks of the request). With ``temperature`` 0 the least cost is taken, else a
replica is drawn with exp(-cost / (most - least) / temperature). The decode half of a split request costs the blocks
held less its credit, and the active requests. ``cache: approximate`` is Dynamo's mode without events: what the router
sent, least recent out beyond ``max_tree_blocks`` (Dynamo also forgets it after 120 s).
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import DECODE, Field, Incoming, RouterParams
from sim.dispatch.request._cache import Cached, Source
from sim.dispatch.request_view import FLOATS, LONGS, RequestView


class Params(RouterParams):
    cache: Source = Field("precise", description="caches tell of their blocks, or the router guesses by what it sent")
    overlap_score_credit: float = Field(1.0, ge=0, le=1e6, description="worth of a cached block, in blocks to compute")
    credit_decay: float = Field(0.0, ge=0, le=1e6, description="how much excess prefill load devalues cached blocks")
    prefill_load_scale: float = Field(1.0, ge=0, le=1e6, description="weight of prefill against decode")
    decode_active_request_weight: float = Field(
        0.0, ge=0, le=1e6, description="blocks that an active request counts as"
    )
    temperature: float = Field(0.0, ge=0, le=1e6, description="0: the least cost; above: softmax of the costs")
    max_tree_blocks: int = Field(2**20, ge=1, description="blocks that the approximate tree of a replica holds")


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._view = view
        self._temperature = params.temperature
        self._cached = Cached(view, params.cache, params.max_tree_blocks)
        self._weights = (
            params.overlap_score_credit,
            params.credit_decay,
            params.prefill_load_scale,
            params.decode_active_request_weight,
        )
        self._costs = np.zeros(view.replicas)

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        view = self._view
        cached = self._cached.tokens(request, replicas)
        loads = view.prefill_tokens, view.decode_blocks, view.requests
        decode = request.stage == DECODE
        costs(self._costs, replicas, cached, *loads, view.block_tokens, request.prompt, decode, *self._weights)
        if self._temperature == 0:
            return view.pick(self._costs, replicas, rng)
        return int(softly(self._costs, replicas, self._temperature, rng.random()))

    def sent(self, request: Incoming, replica: int) -> None:
        self._cached.sent(request, replica)


@njit(types.void(types.float64[::1], *[LONGS] * 6, types.int64, types.boolean, *[types.float64] * 4))
def costs(
    out: NDArray[np.float64],
    replicas: NDArray[np.int64],
    cached: NDArray[np.int64],
    prefill_tokens: NDArray[np.int64],
    held: NDArray[np.int64],
    requests: NDArray[np.int64],
    block_tokens: NDArray[np.int64],
    prompt: int,
    decode: bool,
    credit: float,
    decay: float,
    scale: float,
    weight: float,
) -> None:
    """Writes the costs of the candidates ``replicas`` into ``out`` [all replicas]; ``cached`` is by candidate."""
    least = prefill_tokens[replicas[0]] / block_tokens[replicas[0]]
    for replica in replicas:
        least = min(least, prefill_tokens[replica] / block_tokens[replica])
    for place in range(len(replicas)):
        replica = replicas[place]
        block = block_tokens[replica]
        own = -(-prompt // block)
        queued = prefill_tokens[replica] / block
        worth = credit / (1.0 + decay * (queued - least) / max(own, 1)) * (cached[place] // block)
        blocks = held[replica] + own
        if decode:
            cost = max(0.0, blocks - worth)
        else:
            cost = scale * max(0.0, queued + own - worth) + blocks
        out[replica] = cost + weight * requests[replica]


@njit(types.int64(FLOATS, LONGS, types.float64, types.float64))
def softly(costs: NDArray[np.float64], replicas: NDArray[np.int64], temperature: float, draw: float) -> int:
    """A candidate by softmax of the costs, which are scaled to a spread of 1 first; ``draw`` in [0, 1)."""
    least = most = costs[replicas[0]]
    for replica in replicas:
        least, most = min(least, costs[replica]), max(most, costs[replica])
    scale = temperature * (most - least if most > least else 1.0)
    total = 0.0
    for replica in replicas:
        total += np.exp((least - costs[replica]) / scale)
    left = draw * total
    for replica in replicas:
        left -= np.exp((least - costs[replica]) / scale)
        if left < 0:
            return int(replica)
    return int(replicas[-1])
