"""The linear relaxation of the path form: demands admitted in parts, spread over their ways. A bound on every plan.

Of a strict problem too: its plans are plans, so none is worth more than the best sum of weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solvers.admission.path_form import path_form
from solvers.admission.problem import Problem
from solvers.backends import LP_SOLVERS, solve_linear
from solvers.programs import Answer, Effort, Floats


@dataclass(frozen=True)
class Relaxation:
    """``x`` and ``price`` are None where ``bound`` is inf (no solver finished in time) or -inf (nothing is feasible,
    proven: not even in parts do the required demands fit)."""

    bound: float  # no plan is worth more; a whole multiple of what two plans can differ by
    x: Floats | None  # [ways] the part of its demand that a way carries
    price: Floats | None  # [links] weight that one more bit/s is worth
    solver: str
    seconds: float
    notes: tuple[str, ...] = ()


def relax(problem: Problem, seconds: float | None = None, solvers: Sequence[str] = LP_SOLVERS) -> Relaxation:
    """Solves the relaxation by the first of ``solvers`` that does not fail; ``seconds`` hold for all of them."""
    began = time.perf_counter()
    form = path_form(problem, whole=False)
    notes: list[str] = []
    if form.homeless:
        return Relaxation(-math.inf, None, None, "", time.perf_counter() - began)
    if not form.program.columns:
        return Relaxation(0.0, np.zeros(problem.ways), np.zeros(problem.links), "", time.perf_counter() - began)
    for solver in solvers:
        left = None if seconds is None else seconds - (time.perf_counter() - began)
        if left is not None and left <= 0:
            break
        try:
            answer = solve_linear(form.program, solver, Effort(left))
        except Exception as error:
            notes.append(f"the linear program by {solver} failed: {error}")
            continue
        spent = time.perf_counter() - began
        if answer.infeasible:
            return Relaxation(-math.inf, None, None, answer.solver, spent, tuple(notes))
        if answer.x is None or not math.isfinite(answer.bound):
            notes.append(f"the linear program by {solver} did not finish in {spent:.1f} s")
            continue
        x, price = np.zeros(problem.ways), np.zeros(problem.links)
        x[form.way] = np.clip(answer.x, 0.0, 1.0)
        if answer.row_price is not None:
            rows = slice(form.first_link, form.first_link + len(form.link))
            price[form.link] = np.maximum(0.0, answer.row_price[rows]) / form.unit
        return Relaxation(whole_bound(answer, form.program.unit), x, price, answer.solver, spent, tuple(notes))
    return Relaxation(math.inf, None, None, "", time.perf_counter() - began, tuple(notes))


def whole_bound(answer: Answer, unit: float) -> float:
    """A solver's bound on what is a multiple of ``unit``, cut to the next one below; it may be 1e-6 too low."""
    if not math.isfinite(answer.bound):
        return answer.bound
    return unit * math.floor(answer.bound / unit + 1e-6 * max(1.0, abs(answer.bound / unit) * 1e-3))


def bound_of(problem: Problem, seconds: float | None = None) -> float:
    """What no plan exceeds: by the relaxation if it is done in time, at least the weights that have a way at all."""
    some = problem.first[1:] > problem.first[:-1]
    return max(0.0, min(float(problem.weight[some].sum()), relax(problem, seconds).bound))
