"""A genetic algorithm whose individuals are plans that fit, seeded by greedy and by rounding.

Source: Lopez et al., "Priority Flow Admission and Routing in SDN: Exact and Heuristic Approaches", arXiv 2009.10822,
solve the problem by a genetic algorithm in a fixed time. Its operators are not public: those of ``solvers/admission/
ga.py`` are own. ``time_limit`` makes results depend on the machine; ``generations`` does not. The defaults are small:
every child is improved by local search, so a few generations come near what hundreds do.
"""

from __future__ import annotations

import numpy as np

from sim.dispatch.admission._limits import limits_of
from sim.dispatch.api import ControllerParams, Field, Plan, Problem, Time
from sim.dispatch.views import AdmissionView


class Params(ControllerParams):
    generations: int | None = Field(default=5, ge=1, description="Generations at most; null: no limit.")
    population: int = Field(default=16, ge=2, le=10**6, description="Individuals of a generation.")
    time_limit: Time | None = Field(default=None, gt=0, description="Wall-clock time of a decision at most.")


class Policy:
    def __init__(self, params: Params, view: AdmissionView) -> None:
        self._params = params

    def decide(self, problem: Problem, rng: np.random.Generator) -> Plan:
        from solvers.admission import solve

        params = self._params
        limits = limits_of(rng, params.time_limit, generations=params.generations)
        return solve(problem, "ga", limits, population=params.population)
