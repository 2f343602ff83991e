"""The most important demand first, on the first of its ways with room; quick enough for every demand by itself.

Source: own, the usual first fit of an SDN controller. Order: by falling priority, of one priority those that ask for
least, bandwidth times links. ``path``: the shortest way that fits (ways come shortest first, by ``by``), the one with
the most left on its fullest link, or the one whose fullest link is least used. Its bound is no more than the sum of the
priorities of all demands that have a way.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from sim.dispatch.api import ControllerParams, Field, Plan, Problem, importance, place
from sim.dispatch.views import AdmissionView


class Params(ControllerParams):
    path: Literal["shortest", "widest", "least_loaded"] = Field(
        default="shortest", description="Which of the ways that fit a demand gets."
    )


class Policy:
    def __init__(self, params: Params, view: AdmissionView) -> None:
        self._path = params.path

    def decide(self, problem: Problem, rng: np.random.Generator) -> Plan:
        return place(problem, importance(problem), self._path)
