"""The replica that had the longest part of the prompt, while loads are balanced; else the one with the fewest requests.

Source: SGLang's router "cache_aware" (sgl-model-gateway, also vLLM's router) with its defaults. Loads are out of
balance if the most requests exceed the fewest by ``balance_abs_threshold`` and are above ``balance_rel_threshold``
times these. Else, if more than ``cache_threshold`` of the prompt was sent to a replica before, it goes there, and if
not, to the replica with the smallest tree. Trees are approximate: of prompts sent, not of what caches hold; SGLang
keeps characters and evicts at intervals, here they hold blocks by their hashes, and the rest of a prompt as one leaf
that matches nothing, and evict at once. ``max_tree_size`` is in tokens: 2^24, as four characters of SGLang's 2^26. The
decode half of a split request goes to the fewest requests. A hot prefix loads one replica up to the thresholds: that
is its definition.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import DECODE, Field, Incoming, RouterParams
from sim.dispatch.request._prefix_tree import PrefixTree
from sim.dispatch.request_view import LONGS, RequestView


class Params(RouterParams):
    cache_threshold: float = Field(0.3, ge=0, le=1, description="share of the prompt from which a match counts")
    balance_abs_threshold: int = Field(64, ge=0, description="requests between most and fewest that are balanced")
    balance_rel_threshold: float = Field(1.5, ge=1, description="most over fewest requests that is balanced")
    max_tree_size: int = Field(2**24, ge=1, description="tokens that the tree of a replica holds")


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._params = params
        self._view = view
        self._tree = PrefixTree(view.replicas, params.max_tree_size, view.hash_tokens)

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        view, params = self._view, self._params
        requests = view.requests
        even = balanced(requests, replicas, params.balance_abs_threshold, params.balance_rel_threshold)
        if not even or request.stage == DECODE:
            return view.pick(requests, replicas, rng)
        tokens, owner = self._tree.longest(request, replicas)
        if tokens > params.cache_threshold * request.prompt:
            return owner
        return view.pick(self._tree.sizes, replicas, rng)

    def sent(self, request: Incoming, replica: int) -> None:
        if request.stage != DECODE:
            self._tree.insert(request, replica)


@njit(types.boolean(LONGS, LONGS, types.int64, types.float64))
def balanced(requests: NDArray[np.int64], replicas: NDArray[np.int64], absolute: int, relative: float) -> bool:
    """Whether the most and the fewest requests of the replicas are near each other."""
    least = most = requests[replicas[0]]
    for replica in replicas:
        least, most = min(least, requests[replica]), max(most, requests[replica])
    return bool(most - least <= absolute or most <= relative * least)
