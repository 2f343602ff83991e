"""``run``: a scenario -> a results folder and one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from commands import INTERRUPTED, add_scenario

HELP = "run a scenario and write a results folder"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_scenario(parser)
    parser.add_argument("--out", metavar="DIR", help="results folder (default: results/<name>)")
    parser.add_argument("--no-plots", action="store_true", help="write no pictures")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def call(options: argparse.Namespace) -> int:
    from sim.scenario.fabric import prepare
    from sim.scenario.load import load

    loaded = load(options.scenario, options.sets, options.seed, options.plugin)
    prepare(loaded)

    from analysis.tables import summary_table
    from sim.record import ResultFolder
    from sim.run import run_all

    out = Path(options.out) if options.out else Path("results") / loaded[0].scenario.name
    try:
        with ResultFolder(out) as partial:
            outcome = run_all(loaded, partial, options.quiet)
    except KeyboardInterrupt:
        print(f"interrupted; what was done is in {out}, marked", file=sys.stderr)
        return INTERRUPTED
    print(summary_table(out), flush=True)
    if not options.no_plots:
        from analysis.plots import plot_results

        plot_results(out)
    if not options.quiet:
        print(f"results in {out}", file=sys.stderr)
    return int(outcome.exit_code)
