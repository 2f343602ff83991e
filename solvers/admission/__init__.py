"""Admission: which demands get through a network, and on which path. ``solve`` is the one function in front.

The solvers are ``ilp`` (exact, path or arc form), ``lp_rounding``, ``ga`` and ``greedy``; ``check`` proves any plan;
``build`` makes the problem, ``relaxation`` bounds it. Importing this loads none of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Literal

from models.errors import InputError
from solvers.admission.plan import NoPlanError, Plan, PlanError, Step
from solvers.admission.problem import Ints, Limits, Problem

METHODS = ("ilp", "ga", "greedy", "lp_rounding")
FORMS = ("path", "arc")
SOLVERS = ("auto", "highs", "pulp", "cbc", "cpsat")  # auto: HiGHS, then CBC

_MODULES = {"ilp": ("ilp", "lp_rounding"), "arc": ("arc",), "ga": ("ga",), "lp_rounding": ("lp_rounding",)}
_Attempt = tuple[str, Callable[[Limits], Plan]]


def solve(
    problem: Problem,
    method: str,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    form: str = "path",
    solver: str = "auto",
    strict_by: Literal["classes", "weights"] = "classes",
    path: str = "shortest",
    tries: int = 16,
    population: int = 32,
    start: Ints | None = None,
    bound: bool = False,
    watch: Callable[[Step], None] | None = None,
) -> Plan:
    """A plan that is proven to keep every rule of the problem, by one of ``METHODS``.

    ``form``, ``solver`` and ``strict_by`` are those of ``ilp``, ``path`` is the rule of ``greedy``, ``tries`` are those
    of ``lp_rounding``, ``population`` that of ``ga``; ``start`` is a plan that ``ilp`` begins with. ``bound``: a plan
    without a proof of its own is held against the linear relaxation. ``watch`` hears of each step of a solver.

    What fails (is missing, raises, runs out of time, or answers what ``check`` refutes) is followed by the next:
    ``ilp`` by HiGHS, by CBC, then ``ga``, then ``greedy``; the others by ``greedy``; the plan's notes say so.
    ``limits.seconds`` hold for all of it. A solver that the caller named and that is not installed is an InputError.
    Not even a fallback helps against a solver that aborts the process; CBC runs in one of its own.
    """
    _load(method, form)
    began = time.perf_counter()
    notes: list[str] = []
    full = False  # whether a heuristic could not place a required demand
    all_paths = form == "arc" and method == "ilp"
    if all_paths:
        from solvers.admission.arc import refuse

        refuse(problem)
    attempts = _attempts(problem, method, form, solver, strict_by, path, tries, population, start, watch)
    for number, (name, attempt) in enumerate(attempts):
        left = None if limits.seconds is None else limits.seconds - (time.perf_counter() - began)
        if number and left is not None and left <= 0 and name != "greedy":
            notes.append(f"{name} had no time left")
            continue
        try:
            plan = attempt(limits if left is None else replace(limits, seconds=max(0.0, left)))
            _prove(problem, plan)
        except InputError as error:
            if number == 0 and solver != "auto":
                raise  # what the caller asked for by name can't be had
            notes.append(f"{name} can't be used: {error}")
            continue
        except Exception as error:
            full |= isinstance(error, NoPlanError)
            notes.append(f"{name} failed: {error}")
            continue
        if number:
            notes.append(f"{name} took over")
        if all_paths:
            plan = _of_all_paths(plan)
        elif plan.status == "feasible":
            plan = _bounded(plan, began, limits, bound)
        return replace(plan, notes=(*notes, *plan.notes), seconds=time.perf_counter() - began)
    if full:
        return _not_found(problem, method, notes, began, limits, bound, all_paths)
    raise PlanError("; ".join(notes))


def _load(method: str, form: str) -> None:
    """Imports what the method needs before its time counts: the first import of all compiles the kernels."""
    for name in ("check", "path_form", "greedy", *_MODULES.get("arc" if form == "arc" else method, ())):
        import_module(f"solvers.admission.{name}")


def _attempts(
    problem: Problem,
    method: str,
    form: str,
    solver: str,
    strict_by: Literal["classes", "weights"],
    path: str,
    tries: int,
    population: int,
    start: Ints | None,
    watch: Callable[[Step], None] | None,
) -> list[_Attempt]:
    """Whom to ask, one after the other."""
    for value, valid in ((method, METHODS), (form, FORMS), (solver, SOLVERS)):
        if value not in valid:
            raise ValueError(f"'{value}' is none of {', '.join(valid)}")

    def exact(name: str) -> _Attempt:
        def ask(limits: Limits) -> Plan:
            if form == "arc":
                from solvers.admission import arc

                return arc.solve(problem, limits, solver=name, start=start, watch=watch)
            from solvers.admission import ilp

            return ilp.solve(problem, limits, solver=name, strict_by=strict_by, start=start, watch=watch)

        return f"ilp by {name}", ask

    def rounding(limits: Limits) -> Plan:
        from solvers.admission import lp_rounding

        return lp_rounding.solve(problem, limits, tries=tries, watch=watch)

    def genetic(limits: Limits) -> Plan:
        from solvers.admission import ga

        return ga.solve(problem, limits, population=population, watch=watch)

    def first_fit(limits: Limits) -> Plan:
        from solvers.admission import greedy

        return greedy.solve(problem, limits, path=path)

    last: _Attempt = ("greedy", first_fit)
    if method == "ilp":
        names = dict.fromkeys(["highs" if solver == "auto" else solver, "highs", "cbc"])
        return [*map(exact, names), ("ga", genetic), last]
    if method == "lp_rounding":
        return [("lp_rounding", rounding), last]
    return [("ga", genetic), last] if method == "ga" else [last]


def _prove(problem: Problem, plan: Plan) -> None:
    from solvers.admission.check import prove

    prove(problem, plan)


def _of_all_paths(plan: Plan) -> Plan:
    """The answer to a question about all paths: what a heuristic proves of candidate ways does not hold for them."""
    if plan.method == "ilp" or plan.admitted.all():
        return plan
    bound = float(plan.problem.weight.sum())
    return replace(plan, status="feasible", bound=bound, steps=tuple(step._replace(bound=bound) for step in plan.steps))


def _bounded(plan: Plan, began: float, limits: Limits, bound: bool) -> Plan:
    """The plan with what can be proven cheaply about it; Ctrl-C ends the proof, not the plan."""
    from solvers.admission.path_form import most

    objective, limit = plan.objective, float(most(plan.problem))
    if limit <= objective:  # everyone is admitted whom the network can carry at all
        return replace(plan, status="optimal", bound=float(objective))
    if not bound or plan.interrupted:
        return plan
    from solvers.admission.relaxation import bound_of

    try:
        limit = min(plan.bound, limit, bound_of(plan.problem, _left(limits, began)))
    except KeyboardInterrupt:
        return replace(plan, interrupted=True)
    # that no sum is larger proves nothing about the order of a strict plan
    proven = limit <= objective and not plan.problem.strict
    return replace(plan, status="optimal" if proven else "feasible", bound=max(limit, float(objective)))


def _not_found(
    problem: Problem, method: str, notes: list[str], began: float, limits: Limits, bound: bool, all_paths: bool
) -> Plan:
    """No room was found for what is required; with ``bound`` the relaxation may prove that the ways have none."""
    import numpy as np

    from solvers.admission.path_form import most

    nobody = np.full(problem.demands, -1, dtype=np.int64)
    limit = float(problem.weight.sum() if all_paths else most(problem))
    if bound and not all_paths:
        from solvers.admission.relaxation import relax

        relaxed = relax(problem, _left(limits, began))
        limit = min(limit, relaxed.bound)
        if limit == -np.inf:
            seconds = time.perf_counter() - began
            return Plan("infeasible", problem, nobody, 0.0, method, relaxed.solver, seconds, notes=tuple(notes))
    return Plan("not_found", problem, nobody, limit, method, "", time.perf_counter() - began, notes=tuple(notes))


def _left(limits: Limits, began: float) -> float | None:
    return None if limits.seconds is None else max(0.0, limits.seconds - (time.perf_counter() - began))
