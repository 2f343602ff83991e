"""The genetic algorithm of admission beside pymoo's operators, and the settings that its defaults were chosen from.

``python benchmarks/admission_ga.py [--small] [--seconds S] [--only operators|settings]`` prints Markdown. Times are CPU
seconds of this process. In the first part three ways begin with the same seeds and get the same CPU time: pymoo's
algorithm (tournament, uniform crossover, polynomial mutation rounded to whole genes), our operators, and our operators
with local search; all decode by the same kernel. Shares are of the bound that the link prices give.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.admission_instances import Instance  # noqa: E402
from solvers.admission import ga  # noqa: E402
from solvers.admission.decode import world_of  # noqa: E402
from solvers.admission.generation import decode, generation  # noqa: E402
from solvers.admission.improve import advice_of, state_of  # noqa: E402
from solvers.admission.lp_rounding import drawn  # noqa: E402
from solvers.admission.prices import descend  # noqa: E402
from solvers.admission.problem import Limits, Problem  # noqa: E402
from solvers.admission.profit import by_profit, level_of  # noqa: E402

POPULATION = 32
SLACK = 0.5
SETTINGS: list[dict[str, float]] = [
    {}, {"_STEPS": 100}, {"_STEPS": 2000}, {"_HOT": 0.06}, {"_HOT": 0.25, "_COLD": 0.06}, {"_MUTATION": 0.0},
    {"_MUTATION": 0.02}, {"population": 8}, {"population": 128},
]  # fmt: skip


class Start:
    """What all ways begin with: prices, the order of decoding, and seeds drawn from the relaxation's solution."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.world = problem, world_of(problem)
        worth = problem.weight.astype(np.float64)
        price, share = np.zeros(problem.links), np.zeros(problem.ways)
        self.bound = descend(self.world, worth, 0.9 * worth.sum(), 600, price, share)
        self.advice = advice_of(problem, self.world, price)
        self.order = by_profit(problem, worth, self.advice[0])
        self.free = np.empty(problem.links, np.int64)
        rng = np.random.default_rng(1)
        self.seeds = np.array([drawn(problem, share, rng) for _ in range(POPULATION)])
        for genes in self.seeds:
            self.decoded(genes)

    def decoded(self, genes: np.ndarray) -> int:
        """Makes the genes a plan; its worth."""
        decode(self.world, self.advice[0], self.order, SLACK, genes, self.free)
        return int(self.problem.weight[genes >= 0].sum())


def by_pymoo(start: Start, seconds: float) -> tuple[int, int]:
    """Best worth and number of children."""
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import Problem as Task
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    first = start.problem.first

    class Admission(Task):
        def __init__(self) -> None:
            super().__init__(n_var=len(first) - 1, n_obj=1, xl=0, xu=np.diff(first), vtype=int)

        def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
            ways = np.where(x > 0, first[:-1] + x.astype(np.int64) - 1, -1)
            out["F"] = -np.array([start.decoded(genes) for genes in ways], dtype=float)

    genes = np.where(start.seeds >= 0, start.seeds - first[:-1] + 1, 0)
    algorithm = GA(
        pop_size=POPULATION, n_offsprings=POPULATION // 2, sampling=genes,
        crossover=UniformCrossover(repair=RoundingRepair()),
        mutation=PM(prob=1.0, prob_var=0.002, repair=RoundingRepair()),
    )  # fmt: skip
    algorithm.setup(Admission(), seed=1, verbose=False)
    began = time.process_time()
    while time.process_time() - began < seconds:
        algorithm.next()
    return int(-algorithm.opt[0].F[0]), algorithm.evaluator.n_eval


def by_ours(start: Start, seconds: float, steps: int) -> tuple[int, int]:
    """The same with our operators, and so many steps of local search on each child."""
    problem = start.problem
    level, gain = level_of(problem), problem.weight.astype(np.int64)
    state, seed, children = state_of(problem, level, gain), np.array([1], np.uint64), POPULATION // 2
    people = np.concatenate((start.seeds, np.empty((children, problem.demands), np.int64)))
    values = np.array([[int(gain[plan >= 0].sum())] for plan in people])
    made = POPULATION
    scale = problem.weight.mean()
    began = time.process_time()
    while time.process_time() - began < seconds:
        generation(
            start.world, state, start.advice, start.order, people, values, children, ga._MUTATION, SLACK, steps,
            ga._HOT * scale, ga._COLD * scale, seed,
        )  # fmt: skip
        order = np.argsort(-values[:, 0], kind="stable")
        people, values, made = people[order], values[order], made + children
    return int(values[0, 0]), made


def operators(instances: list[Instance], seconds: float) -> None:
    print(f"## Operators, {seconds:g} CPU seconds\n")
    print("| nodes | flows | best seed | pymoo | children | our operators | children | with local search | children |")
    print("|" + "---:|" * 9)
    for instance in instances:
        start = Start(instance.problem())
        seed = max(int(start.problem.weight[plan >= 0].sum()) for plan in start.seeds)
        cells = [f"{seed / start.bound:.4f}"]
        by_ours(start, 0.0, 1)
        for worth, made in (by_pymoo(start, seconds), by_ours(start, seconds, 0), by_ours(start, seconds, ga._STEPS)):
            cells += [f"{worth / start.bound:.4f}", f"{made:,}"]
        print(f"| {instance.nodes} | {instance.flows} | {' | '.join(cells)} |", flush=True)
    print()


def settings(instances: list[Instance], seconds: float) -> None:
    """``ga.solve`` with one setting changed at a time."""
    print(f"## Settings of `ga`, {seconds:g} CPU seconds: objective over bound\n")
    print("| changed | " + " | ".join(f"{i.nodes} x {i.flows}" for i in instances) + " | mean |")
    print("|---|" + "---:|" * (len(instances) + 1))
    problems = [instance.problem() for instance in instances]
    clock, defaults = ga.time, dict(vars(ga))
    ga.time = type("CpuTime", (), {"perf_counter": staticmethod(time.process_time)})  # type: ignore[assignment]
    try:
        for changed in SETTINGS:
            names = {name: value for name, value in changed.items() if name != "population"}
            vars(ga).update(names)
            population = int(changed.get("population", POPULATION))
            shares = []
            for problem in problems:
                plan = ga.solve(problem, Limits(seconds=seconds), population=population)
                shares.append(plan.objective / plan.bound)
            vars(ga).update({name: defaults[name] for name in names})
            label = ", ".join(f"{name.strip('_').lower()} {value:g}" for name, value in changed.items()) or "defaults"
            cells = [f"{share:.4f}" for share in (*shares, float(np.mean(shares)))]
            print(f"| {label} | {' | '.join(cells)} |", flush=True)
    finally:
        ga.time = clock
    print()


def main() -> None:
    parts = {"operators": operators, "settings": settings}
    parser = argparse.ArgumentParser(description="The genetic algorithm of admission beside pymoo's, and its settings.")
    parser.add_argument("--small", action="store_true", help="two small instances")
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU time of each case (default: 5)")
    parser.add_argument("--only", choices=sorted(parts), help="one part")
    options = parser.parse_args()
    sizes = [(10, 100), (20, 300)] if options.small else [(20, 300), (30, 1000), (50, 2000), (50, 5000)]
    instances = [Instance(nodes, flows, 1.0, 1) for nodes, flows in sizes]
    print("# The genetic algorithm of admission\n")
    for name, part in parts.items():
        if options.only in (name, None):
            part(instances, options.seconds)


if __name__ == "__main__":
    main()
