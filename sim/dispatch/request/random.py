"""A random replica.

Source: vidur's and SGLang's router "random"; the reference that every other policy has to beat.
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
        pass

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        return int(replicas[int(rng.random() * len(replicas))])
