"""What demands and their ways are worth at link prices: weight less the worth of the capacity that is taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvers.admission.problem import Ints, Problem

Floats = NDArray[np.float64]


def cost_of_ways(problem: Problem, price: Floats) -> Floats:
    """[ways] the worth of the capacity that each takes; ``price`` [links] is that of a bit/s."""
    way = np.repeat(np.arange(problem.ways), problem.hops)
    cost = np.bincount(way, price[problem.link], problem.ways) * problem.bandwidth[problem.demand_of]
    return cost.astype(np.float64)


def by_profit(problem: Problem, worth: Floats, cost: Floats) -> Ints:
    """[demands] required ones first, of a strict problem then level by level, by falling profit on the best way."""
    profit = np.full(problem.demands, -np.inf)
    np.maximum.at(profit, problem.demand_of, worth[problem.demand_of] - cost)
    return np.lexsort((-profit, level_of(problem), ~problem.required)).astype(np.int64)


def level_of(problem: Problem) -> Ints:
    """[demands] the number of its level, 0 the most important; a problem that is not strict has one level."""
    level = np.zeros(problem.demands, np.int64)
    if problem.strict:
        for number, demands in enumerate(problem.levels):
            level[demands] = number
    return level
