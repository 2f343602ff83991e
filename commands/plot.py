"""``plot``: the pictures of a results folder again, the curves of a sweep, or those of admission plans."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands import DONE

HELP = "draw the pictures of a results folder again, the curves of a sweep, admission plans"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        metavar="RESULTS",
        nargs="+",
        help="a results folder, a folder of several, or a sweep; or the plan.json files of one admission problem",
    )
    parser.add_argument("--out", metavar="DIR", help="of plans: where the pictures go (default: beside the first)")
    parser.add_argument("--x", metavar="KEY", help="of a sweep: the varied key to draw against")
    parser.add_argument(
        "--y",
        action="append",
        default=[],
        metavar="FIGURE",
        help="of a sweep: flows.slowdown.p99 or another (repeatable)",
    )


def call(options: argparse.Namespace) -> int:
    from models.errors import InputError, Problem

    paths = [Path(name) for name in options.results]
    folder = paths[0]
    plans = any(path.suffix == ".json" for path in paths)
    faults = []
    if plans and (options.x or options.y):
        faults.append(Problem(str(folder), 0, 0, "is no sweep; --x and --y draw the curves of one"))
    if not plans and len(paths) > 1:
        faults.append(Problem(str(paths[1]), 0, 0, "only admission plans (.json) are drawn together; give one folder"))
    if not plans and options.out:
        faults.append(Problem("--out", 0, 0, "is for plans; pictures of results are in their folder, in plots"))
    if faults:
        raise InputError(faults)
    try:
        written = _plans(paths, options) if plans else _results(folder, options)
    except OSError as error:
        raise InputError([Problem(options.out or str(folder), 0, 0, f"can't write here: {error.strerror}")]) from None
    for path in written:
        print(path)
    return DONE


def _plans(paths: list[Path], options: argparse.Namespace) -> list[Path]:
    from analysis.plots.plans import plot_plans

    return plot_plans(paths, Path(options.out) if options.out else None)


def _results(folder: Path, options: argparse.Namespace) -> list[Path]:
    from analysis.index import is_sweep
    from analysis.plots import plot_results, plot_sweep
    from models.errors import InputError, Problem

    if is_sweep(folder):
        from sim.sweep import refresh_index

        refresh_index(folder)
        return plot_sweep(folder, options.x, options.y)
    if options.x or options.y:
        raise InputError([Problem(str(folder), 0, 0, "is no sweep; --x and --y draw the curves of one")])
    return plot_results(folder, each_variant=True)
