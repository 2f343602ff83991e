"""Why a plan leaves a demand out: which of its paths comes nearest, and the link that is full on it."""

from __future__ import annotations

import numpy as np

from models.units import show
from solvers.admission.plan import Plan


def reasons(plan: Plan) -> list[str]:
    """A text for each demand, empty for the admitted."""
    problem = plan.problem
    free = (problem.capacity - problem.load(plan.way)).tolist()
    texts = []
    for demand, way in enumerate(plan.way.tolist()):
        texts.append("" if way >= 0 else _reason(plan, demand, free))
    return texts


def _reason(plan: Plan, demand: int, free: list[int]) -> str:
    problem = plan.problem
    ways = range(int(problem.first[demand]), int(problem.first[demand + 1]))
    if not plan.found:
        return "there is no plan that admits all that must be" if plan.status == "infeasible" else "no plan was found"
    if not ways:
        bound = " within its delay bound" if problem.delay_bound[demand] >= 0 else ""
        return f"no path leads there{bound}"
    tightest = [min(problem.links_of(way), key=lambda link: free[link]) for way in ways]
    link = max(tightest, key=lambda one: free[one])
    if free[link] >= problem.bandwidth[demand]:
        return "left out, though a path of it has room" if np.all(plan.problem.current < 0) else "may not move"
    paths = "its only path is" if len(ways) == 1 else f"its {len(ways)} paths are"
    return f"{paths} full: at most {show(free[link], 'rate')} free, on {problem.graph.link_name[link]}"
