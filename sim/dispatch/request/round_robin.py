"""The replicas in turn.

Source: the default of reverse proxies; vidur's and splitwise-sim's first scheduler. Every copy of the router begins at
the first replica, and the stages of a split request have turns of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import DECODE, Incoming, RouterParams
from sim.dispatch.request_view import RequestView


class Params(RouterParams):
    pass


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._turn = [0] * (DECODE + 1)  # by stage

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        turn = self._turn[request.stage]
        self._turn[request.stage] = turn + 1
        return int(replicas[turn % len(replicas)])
