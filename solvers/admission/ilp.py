"""Exact admission: the path form as an integer program, strict priorities class by class or by dominating weights.

The model is that of unsplittable flow with profits over candidate paths (see ``problem``); the solver begins with the
greedy plan and stops at the first proof. Objectives are whole numbers, so a bound less than one above the plan proves
it. A solver's x is made a plan in exact integers (``finish``), its status word is not believed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from solvers.admission.finish import finish
from solvers.admission.path_form import PathForm, path_form
from solvers.admission.plan import Plan, Step
from solvers.admission.problem import Ints, Limits, Problem
from solvers.admission.relaxation import bound_of
from solvers.admission.search import Search, Watch, holding
from solvers.programs import Answer

StrictBy = Literal["classes", "weights"]
# variables are whole within 1e-6: a heavier weight would make one unit and more of that
_HEAVIEST = 10**6


def solve(
    problem: Problem,
    limits: Limits,
    *,
    solver: str = "highs",
    strict_by: StrictBy = "classes",
    start: Ints | None = None,
    watch: Watch | None = None,
) -> Plan:
    """``start``: a plan to begin with, by default the greedy one. SolverError if the solver leaves us without a plan.

    What the solver raises comes through.
    """
    search = Search(problem, limits, solver, watch)
    form = path_form(problem)
    if form.homeless:
        return search.infeasible(None, "a required demand has no way that could carry it")
    reachable = np.bincount(form.demand, minlength=problem.demands) > 0
    most = int(problem.weight[reachable].sum())
    way = search.start(start)
    if way is not None and _worth(problem.weight, way) == most:
        return search.plan("optimal", way, most)  # everyone is admitted who could be
    if problem.strict and len(problem.levels) > 1:
        if strict_by == "weights":
            weights = _dominating(problem, reachable)
            if weights is not None:
                return _by_weights(search, form, way, weights)
            search.notes.append(f"dominating weights would exceed {_HEAVIEST:,}: solved class by class")
        return _by_classes(search, reachable)
    way, bound = search.rounded(way)
    have = 0 if way is None else _worth(problem.weight, way)
    if way is not None and have == bound:
        search.label = "linear relaxation"
        return search.plan("optimal", way, bound)
    most = min(most, math.floor(bound)) if math.isfinite(bound) else most
    answer = search.ask(form.program, form.reserved, _point(form, way), curve=(have, most))
    if answer.infeasible:
        return search.infeasible(way)
    way = _better(search, form, answer, way, problem.weight)
    objective = _worth(problem.weight, way)
    bound = min(float(most), search.bound(answer, form.program.unit, objective))
    return search.plan("optimal" if bound == objective else search.unproven(), way, bound)


def _by_weights(search: Search, form: PathForm, way: Ints | None, weights: Ints) -> Plan:
    program = replace(form.program, cost=weights[form.demand].astype(np.float64), unit=1.0)
    answer = search.ask(program, form.reserved, _point(form, way))
    if answer.infeasible:
        return search.infeasible(way)
    way = _better(search, form, answer, way, weights)
    worth = _worth(weights, way)
    return _strict_plan(search, way, search.bound(answer, 1.0, worth) == worth)


def _by_classes(search: Search, reachable: NDArray[np.bool_]) -> Plan:
    """As many as can be of the first level; with as many of it, as many as can be of the second; and so on."""
    problem = search.problem
    taken = problem.required.copy()  # the demands of this level and of those above, and the required ones
    fixed: list[tuple[Ints, int]] = []
    way = np.full(problem.demands, -1, dtype=np.int64)
    proven = True
    search.kept = 0.1 * (search.limits.seconds or 0.0)  # for a bound, if the levels can't be proven
    for number, level in enumerate(problem.levels):
        taken[level] = True
        mine = np.zeros(problem.demands, dtype=np.int64)
        mine[level] = 1
        guess = finish(problem, way, taken)
        if guess is None or _worth(mine, guess) < int(reachable[level].sum()):
            form = path_form(problem, only=taken)
            program = replace(form.program, cost=mine[form.demand].astype(np.float64), unit=1.0)
            program = holding(program, form.demand, fixed)
            answer = search.ask(program, form.reserved, _point(form, guess), len(problem.levels) - number)
            if answer.infeasible:
                return search.infeasible(guess)
            way = _better(search, form, answer, guess, mine, taken)
            proven &= search.bound(answer, 1.0, _worth(mine, way)) == _worth(mine, way)
        else:
            way = guess  # all of the level that have a way at all
        fixed.append((level, _worth(mine, way)))
        search.note(Step(search.spent(), _worth(problem.weight, way), float(problem.weight[reachable].sum())))
    return _strict_plan(search, way, proven)


def _strict_plan(search: Search, way: Ints, proven: bool) -> Plan:
    objective = float(_worth(search.problem.weight, way))
    if proven:
        return search.plan("optimal", way, objective)
    search.kept = 0.0
    left = search.left()
    try:
        bound = bound_of(search.problem, 0.0 if search.interrupted else None if left is None else max(0.0, left))
    except KeyboardInterrupt:
        search.interrupted = True
        bound = bound_of(search.problem, 0.0)
    return search.plan(search.unproven(), way, max(objective, bound))


def _better(
    search: Search, form: PathForm, answer: Answer, way: Ints | None, value: Ints, only: NDArray[np.bool_] | None = None
) -> Ints:
    """The solver's plan or the one that we have, whichever is of more ``value`` [demands]."""
    found = None if answer.x is None else finish(search.problem, form.plan(answer.x), only)
    if found is None and way is None:
        raise search.no_plan()
    if way is None or (found is not None and _worth(value, found) >= _worth(value, way)):
        assert found is not None
        return found
    return way


def _point(form: PathForm, way: Ints | None) -> NDArray[np.float64] | None:
    return None if way is None else form.point(way)


def _worth(value: Ints, way: Ints) -> int:
    return int(value[way >= 0].sum())


def _dominating(problem: Problem, reachable: NDArray[np.bool_]) -> Ints | None:
    """[demands] weights of which one outweighs all of the lower levels together; None if they grow too large."""
    weights = np.zeros(problem.demands, dtype=np.int64)
    below = 0
    for level in reversed(problem.levels):
        weights[level] = below + 1
        below += (below + 1) * int(reachable[level].sum())
    return weights if int(weights.max()) <= _HEAVIEST else None
