"""The best plan there is, by integer programming: branch and bound, up to a limit of nodes.

Source: the unsplittable flow problem with profits; Lopez et al., "Priority Flow Admission and Routing in SDN: Exact and
Heuristic Approaches", arXiv 2009.10822, have an exact and a genetic method for it. Their formulation is not public: the
one here is own (``solvers/admission/problem.py``). Where a limit stops the search, the best plan so far counts, with
its gap. ``time_limit`` makes results depend on the machine; ``nodes`` does not. A decision that is too large for the
arc form is made by the path form, with a note.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Literal

import numpy as np
from pydantic import model_validator

from models.errors import InputError
from sim.dispatch.admission._limits import limits_of
from sim.dispatch.api import ControllerParams, Field, Plan, Problem, Time
from sim.dispatch.views import AdmissionView
from sim.scenario.fields import fault


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

    @model_validator(mode="after")
    def _possible(self) -> Params:
        if self.form == "arc" and self.protection != "none":
            raise fault("the arc form knows no protection; use form: path", "form")
        if self.solver == "cpsat" and find_spec("ortools") is None:
            raise fault("OR-tools is not installed; pip install 'ortools>=9.11' (the extra `exact`)", "solver")
        return self


class Policy:
    def __init__(self, params: Params, view: AdmissionView) -> None:
        self._params = params

    def decide(self, problem: Problem, rng: np.random.Generator) -> Plan:
        from solvers.admission import solve

        params = self._params
        limits = limits_of(rng, params.time_limit, nodes=params.nodes)
        try:
            return solve(problem, "ilp", limits, form=params.form, solver=params.solver, strict_by=params.strict_by)
        except InputError:
            if params.form == "path":
                raise
            plan = solve(problem, "ilp", limits, solver=params.solver, strict_by=params.strict_by)
            return replace(plan, notes=("too large for the arc form; the path form took over", *plan.notes))
