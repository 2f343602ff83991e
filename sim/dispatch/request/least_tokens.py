"""The replica whose requests need the fewest tokens still; for the prefill half of a request, prompt tokens.

Source: splitwise-sim's "token_jsq" (Patel et al., "Splitwise", ISCA 2024): queues are as long as their pending tokens.
Output counts as far as it is predicted (``predictor``); without a prediction a replica knows only what is left to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import PREFILL, Incoming, RouterParams
from sim.dispatch.request_view import RequestView


class Params(RouterParams):
    pass


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._view = view

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        view = self._view
        return view.pick(view.prefill_tokens if request.stage == PREFILL else view.tokens, replicas, rng)
