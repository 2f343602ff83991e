"""Of a few random replicas, by default two, the one with the fewest requests.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001; AIBrix's, SGLang's and
FastDeploy's routers "power_of_two". The paper draws with replacement, products draw different replicas (``distinct``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import Field, Incoming, RouterParams
from sim.dispatch.request_view import RequestView


class Params(RouterParams):
    choices: int = Field(2, ge=1, le=10_000, description="replicas that are compared")
    distinct: bool = Field(True, description="whether they are different ones")


class Policy:
    def __init__(self, params: Params, view: RequestView) -> None:
        self._choices = params.choices
        self._distinct = params.distinct
        self._view = view

    def choose(self, request: Incoming, replicas: NDArray[np.int64], rng: np.random.Generator) -> int:
        number = len(replicas)
        if self._distinct and number <= self._choices:
            drawn = replicas
        elif self._distinct:
            drawn = replicas[_different(self._choices, number, rng)]
        else:
            drawn = replicas[(rng.random(self._choices) * number).astype(np.int64)]
        return self._view.pick(self._view.requests, drawn, rng)


def _different(choices: int, number: int, rng: np.random.Generator) -> list[int]:
    """So many different ones of 0..number-1, by rising number (Floyd's sampling)."""
    found: set[int] = set()
    for last in range(number - choices, number):
        drawn = int(rng.random() * (last + 1))
        found.add(last if drawn in found else drawn)
    return sorted(found)
