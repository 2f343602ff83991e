"""The best plan there is, by integer programming: branch and bound, up to a limit of nodes.

Source: the unsplittable flow problem with profits; Lopez et al., "Priority Flow Admission and Routing in SDN: Exact and
Heuristic Approaches", arXiv 2009.10822, have an exact and a genetic method for it. Their formulation is not public: the
one here is own (``solvers/admission/problem.py``). Where a limit stops the search, the best plan so far counts, with
its gap. ``time_limit`` makes results depend on the machine; ``nodes`` does not.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from sim.dispatch.admission._limits import limits_of
from sim.dispatch.api import ControllerParams, Field, Plan, Problem, Time
from sim.dispatch.views import AdmissionView


class Params(ControllerParams):
    form: Literal["path", "arc"] = Field(
        default="path", description="One variable a candidate way, or one a link and demand (small networks only)."
    )
    solver: Literal["auto", "highs", "pulp", "cbc", "cpsat"] = Field(
        default="auto", description="What solves it; auto: HiGHS, then CBC where that fails."
    )
    strict_by: Literal["classes", "weights"] = Field(
        default="classes", description="Strict priorities: class after class, or by weights that dominate."
    )
    nodes: int | None = Field(default=1000, ge=1, description="Nodes of the search tree at most; null: no limit.")
    time_limit: Time | None = Field(default=None, gt=0, description="Wall-clock time of a decision at most.")


class Policy:
    def __init__(self, params: Params, view: AdmissionView) -> None:
        self._params = params

    def decide(self, problem: Problem, rng: np.random.Generator) -> Plan:
        from solvers.admission import solve

        params = self._params
        limits = limits_of(rng, params.time_limit, nodes=params.nodes)
        return solve(problem, "ilp", limits, form=params.form, solver=params.solver, strict_by=params.strict_by)
