"""LP relaxation and randomised rounding: the relaxation's shares are the probabilities of the ways.

Each try draws a way for every demand, rejected with what its shares leave of 1. What was drawn is placed in the order
of profit (weight less the worth of the capacity at the relaxation's link prices), so that of what overloads a link the
least profitable goes; the rejected then take what is left, in the same order. One more try takes each demand's largest
share. The best one counts.

Source: Raghavan, Thompson, Randomized rounding, Combinatorica 7, 1987; the repair and the filling are our own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import chain

import numpy as np

from solvers.admission.decode import world_of
from solvers.admission.finish import finish
from solvers.admission.generation import decode, in_order
from solvers.admission.plan import NoPlanError, Plan, Status, Step
from solvers.admission.problem import Ints, Limits, Problem
from solvers.admission.profit import Floats, by_profit, cost_of_ways, level_of
from solvers.admission.relaxation import relax

_LP_SHARE = 0.9  # of the seconds, for the relaxation


def solve(
    problem: Problem,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    tries: int = 16,
    watch: Callable[[Step], None] | None = None,
) -> Plan:
    """RuntimeError if the relaxation was not solved in time, NoPlanError if no try had room for every required demand.
    The draws are those of ``limits.seed``."""
    began = time.perf_counter()
    relaxed = relax(problem, None if limits.seconds is None else _LP_SHARE * limits.seconds)
    if relaxed.bound == -math.inf:
        nobody = np.full(problem.demands, -1, np.int64)
        spent = time.perf_counter() - began
        return Plan("infeasible", problem, nobody, 0.0, "lp_rounding", relaxed.solver, spent, notes=relaxed.notes)
    if relaxed.x is None or relaxed.price is None:
        raise RuntimeError("; ".join(("the linear relaxation was not solved in time", *relaxed.notes)))
    bound = min(relaxed.bound, float(problem.weight.sum()))
    world, level = world_of(problem), level_of(problem)
    cost = cost_of_ways(problem, relaxed.price)
    order = by_profit(problem, problem.weight.astype(np.float64), cost)
    free = np.empty(problem.links, np.int64)
    steps: list[Step] = []
    best: Ints | None = None
    value: tuple[float, ...] = ()
    rng = np.random.default_rng(limits.seed)
    for genes in chain([_largest(problem, relaxed.x)], (drawn(problem, relaxed.x, rng) for _ in range(tries))):
        if best is not None and limits.seconds is not None and time.perf_counter() - began > limits.seconds:
            break
        if not decode(world, cost, order, 0.0, genes, free):
            continue
        admitted = genes >= 0
        own = tuple(np.bincount(level[admitted], problem.weight[admitted], level.max(initial=0) + 1).tolist())
        if best is None or own > value:
            best, value = genes, own
            steps.append(Step(time.perf_counter() - began, int(problem.weight[admitted].sum()), bound))
            if watch is not None:
                watch(steps[-1])
        if not problem.strict and sum(value) >= bound:
            break
    if best is None:
        raise NoPlanError("rounding found no room for every required demand")
    way = finish(problem, best)
    assert way is not None  # it was a plan before
    way = in_order(problem, way) if problem.strict else way
    objective = int(problem.weight[way >= 0].sum())
    status: Status = "optimal" if objective >= bound and not problem.strict else "feasible"
    spent = time.perf_counter() - began
    return Plan(
        status, problem, way, max(bound, float(objective)), "lp_rounding", relaxed.solver, spent, notes=relaxed.notes,
        steps=tuple(steps),
    )  # fmt: skip


def drawn(problem: Problem, share: Floats, rng: np.random.Generator) -> Ints:
    """[demands] a way drawn with the probabilities ``share`` [ways], -1 with what they leave of 1."""
    ends = np.concatenate(([0.0], np.cumsum(share)))
    way = np.searchsorted(ends[1:], ends[problem.first[:-1]] + rng.random(problem.demands), side="right")
    return np.where(way < problem.first[1:], way, -1).astype(np.int64)


def _largest(problem: Problem, share: Floats) -> Ints:
    """[demands] the way with the largest share, if it is above a half."""
    way = np.full(problem.demands, -1, np.int64)
    most = np.flatnonzero(share > 0.5)
    way[problem.demand_of[most]] = most
    return way
