"""Exact admission over all simple paths: the arc form, for small instances and to see what candidate paths cost.

The paths that are found become candidates beside those that were given, in the problem of the plan.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.errors import InputError
from models.errors import Problem as Fault
from solvers.admission.arc_form import ArcForm, arc_form
from solvers.admission.finish import finish
from solvers.admission.plan import Plan
from solvers.admission.problem import Ints, Limits, Problem
from solvers.admission.search import Search, Watch, holding
from solvers.programs import Answer

LARGEST = 300_000  # variables: demands x links


def solve(
    problem: Problem, limits: Limits, *, solver: str = "highs", start: Ints | None = None, watch: Watch | None = None
) -> Plan:
    """``start``: a plan over the given ways to begin with, by default the greedy one.

    InputError for ways with a second path, and above ``LARGEST``. SolverError if the solver leaves us without a plan.
    """
    refuse(problem)
    search = Search(problem, limits, solver, watch)
    most = int(problem.weight.sum())
    way = search.start(start)
    if way is not None and (way >= 0).all():
        return search.plan("optimal", way, most)
    form = arc_form(problem)
    if problem.strict and len(problem.levels) > 1:
        return _by_classes(search, form, way)
    have = 0 if way is None else int(problem.weight[way >= 0].sum())
    answer = search.ask(form.program, form.reserved, None if way is None else form.point(way), curve=(have, most))
    if answer.infeasible:
        return search.infeasible(way)
    wider, way = _better(search, form, answer, problem, way, problem.weight)
    objective = int(problem.weight[way >= 0].sum())
    bound = min(float(most), search.bound(answer, form.program.unit, objective))
    return search.plan("optimal" if bound == objective else search.unproven(), way, bound, wider)


def _by_classes(search: Search, form: ArcForm, way: Ints | None) -> Plan:
    """As many as can be of the first level, then of the second, ...; see ``ilp``."""
    wider = problem = search.problem
    fixed: list[tuple[Ints, int]] = []
    proven = True
    for number, level in enumerate(problem.levels):
        mine = np.zeros(problem.demands, dtype=np.int64)
        mine[level] = 1
        cost = np.append(mine, 0)[form.admits].astype(np.float64)
        program = holding(replace(form.program, cost=cost, unit=1.0), form.admits, fixed)
        # only plans over the given ways can be said in the program's variables
        start = form.point(way) if way is not None and wider is problem else None
        answer = search.ask(program, form.reserved, start, len(problem.levels) - number)
        if answer.infeasible:
            return search.infeasible(way)
        wider, way = _better(search, form, answer, wider, way, mine)
        count = int((way[level] >= 0).sum())
        proven &= search.bound(answer, 1.0, count) == count
        fixed.append((level, count))
    assert way is not None
    objective = int(problem.weight[way >= 0].sum())
    if proven:
        return search.plan("optimal", way, objective, wider)
    return search.plan(search.unproven(), way, float(problem.weight.sum()), wider)


def _better(
    search: Search, form: ArcForm, answer: Answer, problem: Problem, way: Ints | None, value: Ints
) -> tuple[Problem, Ints]:
    """The solver's plan or the one that we have, whichever is of more ``value`` [demands], with its problem."""
    if answer.x is not None:
        wider, choice = _with_paths(search.problem, form.paths(answer.x))
        found = finish(wider, choice)
        if found is not None and (way is None or value[found >= 0].sum() >= value[way >= 0].sum()):
            return wider, found
    if way is None:
        raise search.no_plan()
    return problem, way


def _with_paths(problem: Problem, paths: dict[int, tuple[int, ...]]) -> tuple[Problem, Ints]:
    """The problem with these paths (by demand) among its ways, and the choice of them."""
    first, start = [0], [0]
    link: list[int] = []
    choice = np.full(problem.demands, -1, dtype=np.int64)
    current = np.full(problem.demands, -1, dtype=np.int64)
    for demand in range(problem.demands):
        numbers = range(int(problem.first[demand]), int(problem.first[demand + 1]))
        ways = [problem.links_of(number) for number in numbers]
        path = paths.get(demand)
        if path is not None and path not in ways:
            ways.append(path)
        if path is not None:
            choice[demand] = first[-1] + ways.index(path)
        if problem.current[demand] >= 0:
            current[demand] = first[-1] + int(problem.current[demand]) - numbers.start
        for links in ways:
            link += links
            start.append(len(link))
        first.append(first[-1] + len(ways))
    starts = np.array(start, dtype=np.int64)
    wider = replace(
        problem,
        first=np.array(first, dtype=np.int64),
        start=starts,
        link=np.array(link, dtype=np.int32),
        backup=starts[1:].copy(),
        current=current,
    )
    return wider, choice


def refuse(problem: Problem) -> None:
    """InputError for what the arc form is not for."""
    faults = []
    if (problem.backup < problem.start[1:]).any():
        faults.append("the arc form knows no protection; use the path form")
    if problem.demands * problem.links > LARGEST:
        faults.append(
            f"{problem.demands} demands x {problem.links} links are more than the {LARGEST:,} variables that the arc "
            "form is for; use the path form"
        )
    if faults:
        raise InputError([Fault("--form", 0, 0, fault) for fault in faults])
