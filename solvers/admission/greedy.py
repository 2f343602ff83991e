"""Greedy admission: the most important demand first, each on the first way that fits, the widest or the least loaded.

Order: ``decode.importance``. Demands that have a way keep it; one that fits nowhere may push out those of lower
priority (``decode.place_in_order``). What an operator's controller does without a solver, and the floor that the other
heuristics never go below.
"""

from __future__ import annotations

import time

import numpy as np

from solvers.admission.decode import PATH_RULES, importance, place_in_order, world_of
from solvers.admission.plan import NoPlanError, Plan, Status
from solvers.admission.problem import Ints, Limits, Problem


def solve(problem: Problem, limits: Limits = Limits(), *, path: str = "shortest") -> Plan:  # noqa: B008 (frozen)
    """``limits`` are not needed: it takes what it takes. NoPlanError if a required demand found no room."""
    plan = placed(problem, importance(problem), path)
    if not plan.found:
        raise NoPlanError("greedy found no room for every required demand")
    return plan


def placed(problem: Problem, order: Ints, path: str = "shortest") -> Plan:
    """The demands in a given order [demands]; ``not_found`` if a required one found no room."""
    began = time.perf_counter()
    way, free = np.empty(problem.demands, np.int64), np.empty(problem.links, np.int64)
    bound = int(place_in_order(world_of(problem), order, PATH_RULES.index(path), way, free))
    status: Status = "optimal" if int(problem.weight[way >= 0].sum()) == bound else "feasible"
    if (problem.required & (way < 0)).any():
        status, way = "not_found", np.full(problem.demands, -1, dtype=np.int64)
    return Plan(status, problem, way, bound, "greedy", path, time.perf_counter() - began)
