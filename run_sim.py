"""The command line: ``python run_sim.py SCENARIO``. Parses, calls, prints, and gives the exit code; nothing else.

Exit codes: 0 done, 1 the run failed (a traceback is in the file named), 2 wrong input, 3 stopped or stalled,
130 interrupted. Heavy imports wait until they are needed: --help is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

FAILED, WRONG, INTERRUPTED = 1, 2, 130
VERBS = ("run", "plot", "predict", "calibrate", "check", "list")
LATER_VERBS = ("sweep", "compare", "report", "why", "validate", "solve")
MODELS = "gemm|moe|attention|memory|collective|all_to_all"
LISTS = ("topologies", "policies", "workloads", "hardware", "models")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_sim.py",
        description="Spillway: simulate routing in GPU clusters and networks.",
        epilog="'run_sim.py SCENARIO' is 'run_sim.py run SCENARIO'. 'run_sim.py VERB --help' shows a verb's options.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    run = verbs.add_parser("run", help="run a scenario and write a results folder", allow_abbrev=False)
    _add_scenario(run)
    run.add_argument("--out", metavar="DIR", help="results folder (default: results/<name>)")
    run.add_argument("--no-plots", action="store_true", help="write no pictures")
    run.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    check = verbs.add_parser("check", help="print the effective scenario and its topology", allow_abbrev=False)
    _add_scenario(check)
    plot = verbs.add_parser("plot", help="draw the pictures of a results folder again", allow_abbrev=False)
    plot.add_argument("results", metavar="RESULTS", help="a results folder, or a folder of several")
    predict = verbs.add_parser("predict", help="kernel and collective times of a CSV of shapes", allow_abbrev=False)
    predict.add_argument("model", metavar=MODELS)
    predict.add_argument("--hardware", required=True, metavar="NAME|FILE", help="a preset, or a file of calibrate")
    predict.add_argument("--input", required=True, metavar="CSV", help="shapes, in the columns of the measured tables")
    predict.add_argument("-o", "--output", metavar="CSV", help="default: stdout")
    calibrate = verbs.add_parser("calibrate", help="fit a cost model to measurements", allow_abbrev=False)
    calibrate.add_argument("model", metavar=MODELS)
    calibrate.add_argument("--input", required=True, metavar="CSV", help="measured rows, or a raw nccl-tests log")
    calibrate.add_argument("-o", "--output", required=True, metavar="FITTED", help="what predict --hardware takes")
    calibrate.add_argument("--system", metavar="NAME", help="the GPU: picks its rows, or names rows without a name")
    listing = verbs.add_parser("list", help="what a scenario may name", allow_abbrev=False)
    listing.add_argument("what", nargs="?", metavar="|".join(LISTS), help="default: all of them")
    listing.add_argument("--plugin", action="append", default=[], metavar="FILE", help="own policies (repeatable)")
    return parser


def _add_scenario(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", metavar="SCENARIO", help="YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override a key")
    parser.add_argument("--seed", metavar="N", help="override the seed")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="own policies (repeatable)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        _parser().print_help(sys.stderr)
        return WRONG
    complaint = _verb(words)
    if complaint:
        print(f"run_sim.py: {complaint}", file=sys.stderr)
        return WRONG
    try:
        options = _parser().parse_args(words)
        return int(_COMMANDS[options.verb](options))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else WRONG
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of stdout has gone; nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _explain(error)


def _verb(words: list[str]) -> str | None:
    """Put the verb ``run`` before a scenario; a complaint if the first word is nothing we know."""
    first = words[0]
    if first in VERBS or first in {"-h", "--help"}:
        return None
    if first in LATER_VERBS:
        return f"'{first}' is not in this version"
    if not first.startswith("-") and not Path(first).suffix and not Path(first).exists():
        from models.errors import nearest

        return f"there is no verb and no scenario '{first}'{nearest(first, VERBS)}"
    words.insert(0, "run")
    return None


def _explain(error: Exception) -> int:
    """Wrong input: its problems. Anything else is our fault: the traceback goes to a file."""
    from models.errors import InputError

    if isinstance(error, InputError):
        print(error, file=sys.stderr)
        return WRONG
    folder = "results" if os.access("results", os.W_OK) and os.path.isdir("results") else tempfile.gettempdir()
    number, name = tempfile.mkstemp(prefix="spillway-error-", suffix=".txt", dir=folder, text=True)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    reason = str(error).strip().split("\n")[0] or "no message"
    print(f"the run failed: {type(error).__name__}: {reason} (traceback in {name})", file=sys.stderr)
    return FAILED


def _run(options: argparse.Namespace) -> int:
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


def _check(options: argparse.Namespace) -> int:
    from sim.check import report
    from sim.scenario.fabric import prepare
    from sim.scenario.load import load

    loaded = load(options.scenario, options.sets, options.seed, options.plugin)
    print(report(loaded, prepare(loaded)))
    return 0


def _plot(options: argparse.Namespace) -> int:
    from analysis.plots import plot_results

    for path in plot_results(Path(options.results), each_variant=True):
        print(path)
    return 0


def _predict(options: argparse.Namespace) -> int:
    from analysis.predict import predict_file

    predict_file(options.model, options.hardware, options.input, options.output)
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from analysis.calibrate.common import calibrate_file

    print(calibrate_file(options.model, options.input, options.output, options.system))
    return 0


def _list(options: argparse.Namespace) -> int:
    from models.errors import InputError, Problem, nearest

    if options.what is not None and options.what not in LISTS:
        raise InputError([Problem("list", 0, 0, f"unknown word '{options.what}'{nearest(options.what, LISTS)}")])

    from sim.check import listing

    print(listing([options.what] if options.what else LISTS, options.plugin))
    return 0


_COMMANDS = dict(zip(VERBS, (_run, _plot, _predict, _calibrate, _check, _list), strict=True))


if __name__ == "__main__":
    sys.exit(main())
