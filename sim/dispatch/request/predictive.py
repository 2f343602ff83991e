"""The replica with the best forecast: each candidate's scheduler is replayed with the request in it.

Source: Da, Kalyvianaki, "Block: Balancing Load in LLM Serving with Context, Knowledge and Predictive Scheduling", arXiv
2508.03611. A forecast runs the replica's own scheduler and iteration cost on a copy of its state, with the output
lengths that are believed in (``predictor``) and no further arrivals: what real predictors approximate, at its best.
``top_k`` forecasts only the replicas with the fewest tokens to do, since a forecast costs far more than a look.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import PREFILL, Field, Incoming, Predictor, RouterParams
from sim.dispatch.request_view import RequestView


class Params(RouterParams):
    predictor: Predictor | None = Field(Predictor(), description="predicts output lengths; null: they are unknown")
    by: Literal["e2e", "ttft"] = Field("e2e", description="the forecast that counts; for a prefill half always ttft")
    top_k: int = Field(0, ge=0, description="candidates that are forecast, those with the fewest tokens; 0: all")


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._view = view
        self._by = params.by
        self._top_k = params.top_k
        self._times = np.zeros(view.replicas, dtype=np.int64)

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        view = self._view
        if 0 < self._top_k < len(replicas):
            order = np.argsort(view.tokens[replicas], kind="stable")
            replicas = np.sort(replicas[order[: self._top_k]])
        which = 0 if self._by == "ttft" or request.stage == PREFILL else 1
        for replica in replicas.tolist():
            self._times[replica] = view.forecast(replica, request)[which]
        return view.pick(self._times, replicas, rng)
