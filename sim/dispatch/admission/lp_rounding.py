"""The linear relaxation's shares as probabilities of the ways, drawn a few times, repaired and filled up.

Source: Raghavan and Thompson, "Randomized Rounding", Combinatorica 7, 1987; the repair and the filling up are own. The
relaxation's value is a proven bound. The draws come from the stream ``dispatch/admission``.
"""

from __future__ import annotations

import numpy as np

from sim.dispatch.admission._limits import limits_of
from sim.dispatch.api import ControllerParams, Field, Plan, Problem
from sim.dispatch.views import AdmissionView


class Params(ControllerParams):
    tries: int = Field(default=16, ge=1, le=10**6, description="Draws, of which the best plan counts.")


class Policy:
    def __init__(self, params: Params, view: AdmissionView) -> None:
        self._tries = params.tries

    def decide(self, problem: Problem, rng: np.random.Generator) -> Plan:
        from solvers.admission import solve

        return solve(problem, "lp_rounding", limits_of(rng), tries=self._tries)
