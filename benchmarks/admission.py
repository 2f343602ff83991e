"""Methods of admission side by side: ``python benchmarks/admission.py [--small] [--only methods|arc|build]``.

All methods get the same instances (``admission_instances.py``) and the same limit of seconds in one run. CPU seconds
are those of this process and of the solvers it starts (CBC and CP-SAT run in processes of their own). ``build`` is what
a model costs before a solver sees it, on the direct path and through PuLP's objects.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.admission_instances import PATHS, Instance
from benchmarks.report import table, verdict
from models.candidates import Candidates
from models.demands import Demands
from models.topology import Topology
from solvers import backends
from solvers.admission import solve
from solvers.admission.build import problem_of
from solvers.admission.path_form import path_form
from solvers.admission.plan import Plan
from solvers.admission.problem import Limits, Problem
from solvers.programs import Program

METHODS: dict[str, dict[str, Any]] = {
    "greedy, shortest": {"method": "greedy", "path": "shortest"},
    "greedy, widest": {"method": "greedy", "path": "widest"},
    "greedy, least loaded": {"method": "greedy", "path": "least_loaded"},
    "LP rounding": {"method": "lp_rounding"},
    "GA": {"method": "ga"},
    "ILP, HiGHS": {"method": "ilp", "solver": "highs"},
    "ILP, PuLP with HiGHS": {"method": "ilp", "solver": "pulp"},
    "ILP, CBC": {"method": "ilp", "solver": "cbc"},
    "ILP, CP-SAT": {"method": "ilp", "solver": "cpsat"},
}
BUILD_LIMIT = 0.5  # s, of the direct path at 50 nodes and 2,000 flows


class Outcome(NamedTuple):
    """One method on one instance."""

    plan: Plan
    cpu: float  # s


def cpu_seconds() -> float:
    """Of this process and its ended children."""
    return time.process_time() + os.times().children_user + os.times().children_system


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives and its CPU seconds."""
    before = cpu_seconds()
    result = call()
    return result, cpu_seconds() - before


def ask(problem: Problem, seconds: float, how: dict[str, Any]) -> Outcome:
    def call() -> Plan:
        return solve(problem, limits=Limits(seconds), **how)

    return Outcome(*timed(call))


def methods_part(sizes: Sequence[tuple[int, int, float]], seeds: int, seconds: float) -> None:
    print(f"## All methods, at most {seconds:g} s each\n")
    print(
        f"Medians of {seeds} instances. Share: value over the best bound that any method proved. Gap: what the method"
    )
    print("itself can say. Proven: instances with an optimum proven by the method.\n")
    for nodes, flows, load in sizes:
        problems = [Instance(nodes, flows, load, seed).problem() for seed in range(1, seeds + 1)]
        found = {name: [ask(problem, seconds, how) for problem in problems] for name, how in METHODS.items()}
        bounds = [min(one[number].plan.bound for one in found.values()) for number in range(seeds)]
        print(f"{nodes} nodes, {flows:,} flows, load {load:g}:\n")
        lines = []
        for name, outcomes in found.items():
            plans = [outcome.plan for outcome in outcomes]
            share = np.median([plan.objective / bound for plan, bound in zip(plans, bounds, strict=True)])
            lines.append(
                (name, f"{np.median([plan.objective for plan in plans]):,.0f}", f"{share:.2%}",
                 f"{np.median([plan.gap for plan in plans]):.2%}",
                 f"{sum(plan.status == 'optimal' for plan in plans)} of {seeds}",
                 f"{np.median([outcome.cpu for outcome in outcomes]):.3f}",
                 f"{np.median([plan.seconds for plan in plans]):.3f}", _helpers(plans))
            )  # fmt: skip
        table("method | value | share | gap | proven | CPU s | wall s | notes", lines)


def _helpers(plans: Sequence[Plan]) -> str:
    """What a reader must know of the plans, each note once."""
    return "; ".join(sorted({note for plan in plans for note in plan.notes}))


def arc_part(sizes: Sequence[tuple[int, int, float]], seconds: float) -> None:
    print("## Path form and arc form\n")
    print(f"The arc form may use any path, the path form the {PATHS} shortest.\n")
    lines = []
    for nodes, flows, load in sizes:
        problem = Instance(nodes, flows, load, 1).problem()
        for form in ("path", "arc"):
            outcome = ask(problem, seconds, {"method": "ilp", "form": form})
            plan = outcome.plan
            lines.append(
                (f"{nodes} nodes, {flows} flows, load {load:g}", form, plan.objective, f"{plan.bound:g}", plan.status,
                 f"{outcome.cpu:.2f}", _helpers([plan]))
            )  # fmt: skip
    table("instance | form | value | bound | status | CPU s | notes", lines)


class Built(NamedTuple):
    """A program and the CPU seconds of each step to it."""

    pairs: int
    program: Program
    seconds: tuple[float, float, float, float]


def built(topology: Topology, demands: Demands) -> Built:
    candidates = Candidates(topology, PATHS)
    pairs = sorted(set(zip(demands.src.tolist(), demands.dst.tolist(), strict=True)))
    _, searching = timed(lambda: [candidates.ways(*pair) for pair in pairs])
    problem, gathering = timed(lambda: problem_of(topology, demands, candidates))
    form, direct = timed(lambda: path_form(problem))
    _, objects = timed(lambda: backends._model(form.program))
    return Built(len(pairs), form.program, (searching, gathering, direct, objects))


def build_part(sizes: Sequence[tuple[int, int]], repeats: int) -> None:
    print("## Before a solver begins\n")
    print(f"CPU seconds, medians of {repeats}. Candidates: {PATHS} paths of every pair that is asked for; problem: the")
    print("arrays of all ways; direct: the sparse program as HiGHS takes it; PuLP: the same as PuLP's objects.\n")
    lines, direct = [], 0.0
    for nodes, flows in sizes:
        topology, demands = Instance(nodes, flows, 1.0, 1).network()
        found = [built(topology, demands) for _ in range(repeats)]
        middle = np.median([one.seconds for one in found], axis=0)
        direct = float(middle[2])
        program = found[0].program
        lines.append(
            (f"{nodes} nodes, {flows:,} flows", f"{found[0].pairs:,}", f"{program.columns:,}", f"{program.rows:,}",
             f"{program.matrix.nnz:,}", *(f"{value:.3f}" for value in middle))
        )  # fmt: skip
    table("instance | pairs | variables | rows | cells | candidates | problem | direct | PuLP", lines)
    print(f"Direct path of the last row below {BUILD_LIMIT:g} s: {verdict(direct < BUILD_LIMIT)}.\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="small instances and three seconds for each")
    parser.add_argument("--only", choices=("methods", "arc", "build"), help="one part")
    parser.add_argument("--seconds", type=float, default=20.0, help="limit of each method on each instance")
    parser.add_argument("--seeds", type=int, default=3, help="instances of a size")
    options = parser.parse_args()
    small = options.small
    seconds, seeds = (3.0, 1) if small else (options.seconds, options.seeds)
    print(f"Load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    ask(Instance(10, 50, 0.2, 1).problem(), 1.0, {"method": "ga"})  # loads the compiled functions
    if options.only in (None, "methods"):
        sizes = [(10, 60, 0.5)] if small else [(20, 300, 0.5), (50, 2000, 0.2), (50, 2000, 1.0)]
        methods_part(sizes, seeds, seconds)
    if options.only in (None, "arc"):
        arc_part([(8, 20, 0.5)] if small else [(8, 30, 0.5), (10, 50, 0.5), (12, 80, 0.5)], seconds)
    if options.only in (None, "build"):
        build_part([(10, 60)] if small else [(20, 300), (50, 2000)], 1 if small else 5)


if __name__ == "__main__":
    main()
