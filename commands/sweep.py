"""``sweep``: a scenario over a grid or a sample of values, on several seeds, and one index of all results."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from commands import DONE, add_cells, add_scenario, idle_workers, positive, tell_failures

if TYPE_CHECKING:
    from sim.sweep import Outcome

HELP = "run a scenario at many values and seeds, on one machine or a cluster"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_scenario(parser)
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=VALUES",
        help="values of a key: a,b,c or lo:hi:n or lo:hi:n:log (repeatable: all combinations)",
    )
    parser.add_argument("--sample", metavar="METHOD:N", help="draw N points from ranges lo:hi: lhs:N or sobol:N")
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="repeat on N seeds (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="say what would run; write nothing")
    add_cells(parser, "results/<name>-sweep")


def call(options: argparse.Namespace) -> int:
    from models.errors import InputError
    from sim.sweep import check_folder, parse_sample, read_experiment, run_sweep

    if problems := idle_workers(options):
        raise InputError(problems)
    sample = parse_sample(options.sample) if options.sample else None
    experiment = read_experiment(options.scenario, options.vary, options.sets, options.seed, options.plugin, sample)
    seeds = list(range(experiment.seed, experiment.seed + options.seeds))
    out = Path(options.out) if options.out else Path("results") / f"{experiment.name}-sweep"
    check_folder(out)
    workers = options.workers or os.cpu_count() or 1
    if options.dry_run:
        from sim.sweep.dry import dry_run

        print(dry_run(experiment, seeds, out, workers))
        return DONE
    outcome = run_sweep(experiment, seeds, out, workers=workers, cluster=options.cluster, quiet=options.quiet)
    _report(outcome, out)
    return int(outcome.exit_code)


def _report(outcome: Outcome, out: Path) -> None:
    """Counts on stdout; what went wrong on stderr."""
    index = outcome.index
    if index is not None:
        statuses = Counter(index["status"].to_pylist())
        missing = len(outcome.results) - len(index)
        counts = [f"{count} {status}" for status, count in statuses.most_common()]
        counts += [f"{missing} not run"] if missing else []
        print(f"{len(outcome.results)} cells: {', '.join(counts)}")
        print(f"index: {out / 'index.parquet'}; pictures: python run_sim.py plot {out}")
    tell_failures(outcome.failures, out)
    if outcome.no_place:
        print(f"the sweep ended: {outcome.no_place}", file=sys.stderr)
    if outcome.interrupted:
        print("interrupted; finished cells are kept, and the same command goes on from there", file=sys.stderr)
