"""``plot``: the pictures of a results folder again."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands import DONE

HELP = "draw the pictures of a results folder again"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", metavar="RESULTS", help="a results folder, or a folder of several")


def call(options: argparse.Namespace) -> int:
    from analysis.plots import plot_results

    for path in plot_results(Path(options.results), each_variant=True):
        print(path)
    return DONE
