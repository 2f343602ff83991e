"""Exact admission against trying every choice of paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from solvers.admission import solve
from solvers.admission.plan import Plan
from solvers.admission.problem import Problem
from solvers.admission.relaxation import relax
from tests.admission_worlds import best, random_problem, value
from validations._row import Found, Row

TITLE = "Exact admission"
KIND = "another way to compute it"
SOURCE = "all choices of paths tried one after the other"
ABOUT = """\
Random problems of 3 to 6 nodes and 2 to 7 demands on all their simple paths. A plan counts as right if it is called
`optimal`, its bound is its value, and its value is the best of all choices; of a strict problem, class by class. Where
some demands are required and no plan has room for them, `infeasible` is right. The last table is the linear relaxation:
no best plan may be worth more than its bound.
"""
METRIC = "problems solved right"


def run(quick: bool) -> Found:
    count = 40 if quick else 300
    rows = [
        _right("path form, HiGHS", range(count), False, False, form="path"),
        _right("arc form, HiGHS", range(count), False, False, form="arc"),
        _right("strict, class by class", range(count), True, False, strict_by="classes"),
        _right("strict, by dominating weights", range(count), True, False, strict_by="weights"),
        _right("present and required demands, limited moves", range(count), False, True),
        _right("the same, strict", range(count), True, True),
    ]
    for label, solver in (("PuLP with HiGHS", "pulp"), ("CBC", "cbc"), ("CP-SAT", "cpsat")):
        few = 3 if quick else 20 if solver == "cpsat" else 60
        rows.append(_right(f"path form, {label}", range(few), False, True, solver=solver))
    above = sum(_above(seed) for seed in range(count))
    rows.append(Row(f"{count} problems", "best plans above the relaxation's bound", 0, above, side="at most"))
    return Found(rows)


def _right(case: str, seeds: Iterable[int], strict: bool, present: bool, **how: str) -> Row:
    problems = [replace(random_problem(seed, present=present), strict=strict) for seed in seeds]
    right = sum(_solved(problem, solve(problem, "ilp", **how)) for problem in problems)  # type: ignore[arg-type]
    return Row(case, METRIC, len(problems), right, side="at least")


def _solved(problem: Problem, plan: Plan) -> bool:
    expected = best(problem)
    if expected is None:
        return plan.status == "infeasible"
    proven = plan.status == "optimal" and plan.bound == plan.objective and plan.method == "ilp"
    return proven and value(plan.problem, plan.admitted) == expected


def _above(seed: int) -> bool:
    problem = random_problem(seed)
    optimum = best(problem)
    return optimum is not None and optimum[0] > relax(problem).bound


def draw(found: Found) -> None:
    """No picture: nothing differs."""
