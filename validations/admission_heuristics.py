"""Heuristics of admission against the optimum, with no clock in the game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.admission_instances import Instance
from solvers.admission import solve
from solvers.admission.problem import Limits
from validations._row import Found, Row

TITLE = "Heuristics of admission"
KIND = "published"
SOURCE = "Lopez et al., arXiv 2009.10822 (abstract: a genetic algorithm comes to about 95 % of the optimum)"
ABOUT = """\
Random networks and demands (our reconstruction of the paper's setting, `benchmarks/admission_instances.py`). Value of a
plan over the best bound: the optimum where the integer program proves it within 20 nodes, else the smallest bound that
any method gives. Everything is limited by nodes and generations, so that these rows are the same on every machine; what
a few seconds give, on up to 50 nodes and 5,000 flows, is in [Admission](admission.md#how-good-how-fast). The paper's
instances are not public: its 95 % is the floor that the genetic algorithm is held to here, no row of its tables.
"""
GENERATIONS = 20
SIZES = ((10, 100), (20, 200), (30, 400))
LOADS = (0.5, 1.0)
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("greedy, shortest", {"method": "greedy", "path": "shortest"}),
    ("greedy, widest", {"method": "greedy", "path": "widest"}),
    ("greedy, least loaded", {"method": "greedy", "path": "least_loaded"}),
    ("LP rounding, 16 tries", {"method": "lp_rounding"}),
    (f"GA, {GENERATIONS} generations", {"method": "ga", "limits": Limits(generations=GENERATIONS)}),
)


def run(quick: bool) -> Found:
    rows = []
    for nodes, flows in SIZES[: 1 if quick else 3]:
        for load in LOADS[: 1 if quick else 2]:
            found = _ratios(nodes, flows, load, range(1, 3 if quick else 4))
            case = f"{nodes} nodes, {flows} flows, load {load:g}"
            for (name, _), ratios in zip(METHODS, found.T, strict=True):
                middle = float(np.median(ratios))
                if name.startswith("GA"):
                    rows.append(Row(case, f"{name}: median of {len(ratios)}", 0.95, middle, side="at least"))
                else:
                    rows.append(Row(case, f"{name}: median of {len(ratios)}", 1.0, middle))
            below = int((found[:, -1] < found[:, :3].max(axis=1)).sum())
            rows.append(Row(case, "instances where the GA is below greedy", 0, below, side="at most"))
    return Found(rows)


def _ratios(nodes: int, flows: int, load: float, seeds: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[instances, methods] value over the best bound."""
    table = np.empty((len(seeds), len(METHODS)))
    for row, seed in enumerate(seeds):
        problem = Instance(nodes, flows, load, seed).problem()
        exact = solve(problem, "ilp", Limits(nodes=20))
        plans = [solve(problem, **how) for _, how in METHODS]
        bound = min(plan.bound for plan in (exact, *plans))
        table[row] = [plan.objective / bound for plan in plans]
    return table


def draw(found: Found) -> None:
    """No picture of its own: docs/admission.md has larger instances, with intervals."""
