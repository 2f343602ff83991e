"""Prefill and decode apart where the part of the prompt that is not cached is long, else both where it decodes.

Source: llm-d's prefix-based decider (llm-d-router, 2026): the decode replica is looked up first, and if the prompt
less what its prefix cache holds is at least ``threshold`` tokens, a prefill replica computes it. llm-d's guides set 16;
0 means never there, and always here, as DistServe and Mooncake do.

A decode replica (or a mixed one) is chosen by the tokens it would have to compute: those it has, and the prompt less
what it has cached; a prefill replica by prompt tokens in the same way. The decode half goes where the KV cache is least
used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import DECODE, PREFILL, Field, Incoming, RouterParams
from sim.dispatch.request_view import DECODES, MIXED, RequestView


class Params(RouterParams):
    threshold: int = Field(16, ge=0, description="tokens not cached from which on a prompt is computed elsewhere")


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._view = view
        self._threshold = params.threshold
        mixed = np.flatnonzero(view.role == MIXED)
        self._decoders = mixed if len(mixed) else np.flatnonzero(view.role == DECODES)  # that take whole requests
        self._work = np.zeros(view.replicas, dtype=np.int64)

    def splits(self, request: Incoming, rng: np.random.Generator) -> bool:
        cached = self._view.cached(self._decoders, request)
        least = int(np.argmin(self._view.tokens[self._decoders] - cached))
        return bool(request.prompt - cached[least] >= self._threshold)

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        view = self._view
        if request.stage == DECODE:
            return view.pick(view.kv_used, replicas, rng)
        if request.stage == PREFILL:
            self._work[replicas] = view.prefill_tokens[replicas] - view.cached(replicas, request)
        else:
            self._work[replicas] = view.tokens[replicas] - view.cached(replicas, request)
        return view.pick(self._work, replicas, rng)
