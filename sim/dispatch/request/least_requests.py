"""The replica with the fewest requests, waiting and running.

Source: join the shortest queue; vidur's "lor" (least outstanding requests) and the least-request policy of proxies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import Incoming, RouterParams
from sim.dispatch.request_view import RequestView


class Params(RouterParams):
    pass


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._view = view

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        return self._view.pick(self._view.requests, replicas, rng)
