"""How often comparisons are right, as Markdown: ``python benchmarks/compare.py [--quick]``.

The stopping rule of ``compare`` on queues with a known answer (``tests/validation/deciding.py``), 2,000 repetitions
each: the share of intervals that cover the truth, and of repetitions that tell the arms apart. Then whole comparisons
of two copies of ECMP in the simulator.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.report import table, verdict
from tests.validation.deciding import CASES, Case, Score, score


def _told_apart(case: Case, found: Score) -> str:
    """At most 6.5 % where nothing differs; at least 80 % where the difference is the one to be found."""
    share = f"{found.told_apart:.1%}"
    if case.truth == 0:
        return f"{share}, at most 6.5 %: {verdict(found.told_apart <= 0.065)}"
    if case.truth <= 1.01 * case.rule.precision:
        return f"{share}, at least 80 %: {verdict(found.told_apart >= 0.8)}"
    return share


SCENARIO = """name: copies
engine: fluid
dispatch: {path: ecmp}
fabric: {topology: {kind: leaf_spine, leaves: 4, spines: 4, hosts_per_leaf: 4}}
workload: [{kind: flows, arrivals: {kind: poisson, load: 0.5}, sizes: {kind: constant, size: 100KB}, count: 200}]
"""


def copies(repetitions: int) -> tuple[int, int]:
    """(repetitions that tell two copies of ECMP apart, runs), as ``compare --vary policy_stream=1,2`` does."""
    from analysis.compare import Cell, Rule, Study, compare, parse
    from sim.sweep import Experiment, parse_axes, run_cells

    told = runs = 0
    with TemporaryDirectory() as folder:
        (Path(folder) / "copies.yaml").write_text(SCENARIO)
        experiment = Experiment(Path(folder) / "copies.yaml", parse_axes(["policy_stream=1,2"]))
        points = {point.values["policy_stream"]: point for point in experiment.points}

        def run(cells: Sequence[Cell], _: str) -> list[Path]:
            nonlocal runs
            runs += len(cells)
            wanted = [experiment.cells([points[cell.arm]], [cell.seed])[0] for cell in cells]
            found = run_cells(wanted, Path(folder) / "out", quiet=True)
            return [one for one in found if isinstance(one, Path)]

        for repetition in range(repetitions):
            study = Study(
                "copies", ("1", "2"), metrics=parse(["flows.fct_us.mean"]), rule=Rule(0.1), seed=1 + 1000 * repetition
            )
            told += compare(study, run).verdicts[0].winner is not None
    return told, runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 repetitions")
    repetitions = 200 if parser.parse_args().quick else 2000
    print("## Comparisons of queues with a known answer\n")
    print(f"{repetitions} repetitions; 95 % intervals should cover in 93.5 to 96.5 %.\n")
    rows = []
    for case in CASES:
        started = process_time()
        found = score(case, repetitions)
        rows.append(
            (
                case.name,
                f"{case.truth:.1%}",
                f"{case.rule.precision:.0%}",
                f"{found.seeds:.1f}",
                f"{found.covered:.1%}: {verdict(0.935 <= found.covered <= 0.965)}",
                _told_apart(case, found),
                f"{process_time() - started:.0f}",
            )
        )
    table("arms | true difference | precision | mean seeds | covered | told apart | CPU s", rows)
    wanted = 20 if repetitions < 2000 else 100
    started = process_time()
    told, runs = copies(wanted)
    print(f"Two copies of ECMP in the simulator (fluid): {told} of {wanted} comparisons told them apart, at 95 %.")
    print(f"{runs} runs, {process_time() - started:.0f} CPU s.")


if __name__ == "__main__":
    main()
