"""Exact and genetic admission on random networks: ``python benchmarks/reproduce/pfar.py [--part optimal|ga]``.

Lopez et al., "Priority Flow Admission and Routing in SDN: Exact and Heuristic Approaches", arXiv 2009.10822, state in
their abstract that on networks of up to 50 nodes with thousands of flows an integer program is often solved to
optimality within seconds, and that a genetic algorithm comes to about 95 % of the optimum in a fixed time. Their
generator, formulation and tables are not public: instances (``benchmarks/admission_instances.py``) and solvers here are
our reconstruction, and what is compared is the sentence, not a table.

``optimal``: HiGHS on instances of each load, stopped after 60 s. ``ga``: ten seeds of 5 s each at load 1 beside greedy,
LP rounding, and 30 s of HiGHS and of CBC. Results are appended to ``rows/`` as they come; a further run computes
what is missing of ``--instances``, and again what had too little of a core; ``--draw`` only prints and draws.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.admission import cpu_seconds
from benchmarks.admission_instances import Instance, drawn
from solvers.admission import solve
from solvers.admission.path_form import most
from solvers.admission.plan import Plan
from solvers.admission.problem import Limits, Problem
from solvers.admission.relaxation import relax

RESULTS = Path(__file__).resolve().parent / "rows"
LOADS = (0.05, 0.2, 0.5, 1.0)
SECONDS, LP_SECONDS = 60.0, 20.0  # of the exact solver; of the relaxation that says whether a network is congested
GA_SECONDS, RIVAL_SECONDS, SEEDS = 5.0, 30.0, 10
FIRST_GA = 1000  # number of the first instance of the part ga
SHARE = 0.8  # of the clock's seconds that a measurement must have had of a core
RULES = ("shortest", "widest", "least_loaded")


def optimal(number: int) -> dict[str, Any]:
    """One instance of the part ``optimal``: what HiGHS proves in ``SECONDS``."""
    instance = drawn(number, LOADS[number % len(LOADS)])
    problem, built = _built(instance)
    began = time.process_time()
    plan = solve(problem, "ilp", Limits(SECONDS), solver="highs")
    cpu = time.process_time() - began
    full = most(problem)
    # whether the relaxation admits everything
    free: bool | None = plan.objective == full
    if not free:
        bound = relax(problem, LP_SECONDS).bound
        free = None if bound == float("inf") else bound >= full
    return {
        **_described(number, instance), "build_s": round(built, 3), "cpu_s": round(cpu, 4),
        "wall_s": round(plan.seconds, 4), "status": plan.status, "objective": plan.objective, "bound": plan.bound,
        "most": full, "uncongested": free, "solver": plan.solver, "notes": list(plan.notes),
    }  # fmt: skip


def genetic(number: int) -> dict[str, Any]:
    """One instance of the part ``ga``: values of every method, the best bound of all of them, seconds of each."""
    instance = drawn(FIRST_GA + number, 1.0)
    problem, built = _built(instance)
    greedy = [solve(problem, "greedy", path=rule) for rule in RULES]
    rounding = solve(problem, "lp_rounding", Limits(RIVAL_SECONDS))
    began, cpu = time.perf_counter(), cpu_seconds()
    rivals = {name: solve(problem, "ilp", Limits(RIVAL_SECONDS), solver=name) for name in ("highs", "cbc")}
    evolved = [solve(problem, "ga", Limits(GA_SECONDS, seed=seed)) for seed in range(1, SEEDS + 1)]
    wall, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    plans: list[Plan] = [*greedy, rounding, *rivals.values(), *evolved]
    return {
        **_described(number, instance), "build_s": round(built, 3), "bound": min(plan.bound for plan in plans),
        "greedy": [plan.objective for plan in greedy], "lp_rounding": rounding.objective,
        "highs": rivals["highs"].objective, "cbc": rivals["cbc"].objective,
        "ga": [plan.objective for plan in evolved], "cpu_s": round(cpu, 2), "wall_s": round(wall, 2),
        "seconds": {
            "lp_rounding": round(rounding.seconds, 3), **{n: round(p.seconds, 3) for n, p in rivals.items()},
            "ga": [round(plan.seconds, 3) for plan in evolved],
        },
        "status": {name: plan.status for name, plan in (*rivals.items(), ("lp_rounding", rounding))},
        "solver": {name: plan.solver for name, plan in (*rivals.items(), ("lp_rounding", rounding))},
        "notes": sorted({note for plan in plans for note in plan.notes}),
    }  # fmt: skip


def _built(instance: Instance) -> tuple[Problem, float]:
    """The problem and the seconds that it took, candidate paths included."""
    began = time.perf_counter()
    return instance.problem(), time.perf_counter() - began


def _described(number: int, instance: Instance) -> dict[str, Any]:
    return {"number": number, **instance._asdict()}


def starved(row: dict[str, Any]) -> bool:
    """Whether seconds ran out while other programs had the core: what was found says little then."""
    return row.get("status") != "optimal" and row.get("cpu_s", 1.0) < SHARE * row.get("wall_s", 1.0)


def _warm() -> None:
    """Loads the compiled functions, so that no instance pays for it."""
    problem = Instance(10, 50, 0.2, 1).problem()
    for method in ("ilp", "lp_rounding", "ga"):
        solve(problem, method, Limits(generations=1, nodes=1))


PARTS = {"optimal": (optimal, 48), "ga": (genetic, 12)}


def read(part: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results so far, by number; of several of one instance the last."""
    path = folder / f"pfar_{part}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = {row["number"]: row for row in map(json.loads, lines)}
    return [found[number] for number in sorted(found)]


def compute(part: str, instances: int, workers: int, folder: Path = RESULTS) -> None:
    """Appends what is missing of the first ``instances``, or was starved."""
    work, _ = PARTS[part]
    known = {row["number"] for row in read(part, folder) if not starved(row)}
    missing = [number for number in range(instances) if number not in known]
    folder.mkdir(exist_ok=True)
    began = time.perf_counter()
    with ProcessPoolExecutor(workers, initializer=_warm) as pool, (folder / f"pfar_{part}.jsonl").open("a") as file:
        waiting = [pool.submit(work, number) for number in missing]
        try:
            for done, future in enumerate(as_completed(waiting), 1):
                row = future.result()
                file.write(json.dumps(row) + "\n")
                file.flush()
                spent = time.perf_counter() - began
                left = spent / done * (len(missing) - done)
                what = f"{part} {row['number']}: {row['nodes']} nodes, {row['flows']} flows, load {row['load']:g}"
                what += " (starved: run again when the machine is quiet)" if starved(row) else ""
                print(f"{what}; {done} of {len(missing)}, {left:.0f} s left", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def main() -> None:
    from benchmarks.reproduce import pfar_report

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--part", choices=tuple(PARTS), help="one of the two")
    parser.add_argument("--instances", type=int, help="of a part, by default 48 (optimal) and 12 (ga)")
    parser.add_argument("--workers", type=int, default=2, help="processes; no more than there are idle cores")
    parser.add_argument("--draw", action="store_true", help="compute nothing")
    options = parser.parse_args()
    for part in (options.part,) if options.part else tuple(PARTS):
        if not options.draw:
            compute(part, options.instances or PARTS[part][1], options.workers)
        pfar_report.report(part, read(part))


if __name__ == "__main__":
    main()
