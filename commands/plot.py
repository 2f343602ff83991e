"""``plot``: the pictures of a results folder again, or the curves of a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands import DONE

HELP = "draw the pictures of a results folder again, or the curves of a sweep"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", metavar="RESULTS", help="a results folder, a folder of several, or a sweep")
    parser.add_argument("--x", metavar="KEY", help="of a sweep: the varied key to draw against")
    parser.add_argument(
        "--y",
        action="append",
        default=[],
        metavar="FIGURE",
        help="of a sweep: flows.slowdown.p99 or another (repeatable)",
    )


def call(options: argparse.Namespace) -> int:
    from analysis.index import is_sweep
    from analysis.plots import plot_results, plot_sweep
    from models.errors import InputError, Problem

    folder = Path(options.results)
    if (options.x or options.y) and not is_sweep(folder):
        raise InputError([Problem(str(folder), 0, 0, "is no sweep; --x and --y draw the curves of one")])
    try:
        if is_sweep(folder):
            from sim.sweep import refresh_index

            refresh_index(folder)
            written = plot_sweep(folder, options.x, options.y)
        else:
            written = plot_results(folder, each_variant=True)
    except OSError as error:
        raise InputError([Problem(str(folder), 0, 0, f"can't write here: {error.strerror}")]) from None
    for path in written:
        print(path)
    return DONE
