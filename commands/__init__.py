"""The command line's verbs, one a file: ``HELP``, ``arguments(parser)`` and ``call(options)`` -> exit code.

The only place that knows the simulation and the analysis at once. Heavy imports wait inside ``call``, so that --help
is instant.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.errors import Problem
    from sim.sweep import Failure

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
VERBS = (
    "run",
    "sweep",
    "compare",
    "plot",
    "report",
    "predict",
    "solve",
    "calibrate",
    "check",
    "list",
    "why",
    "timeline",
    "export",
    "validate",
)


def add_scenario(parser: argparse.ArgumentParser) -> None:
    """The arguments of every verb that reads a scenario."""
    parser.add_argument("scenario", metavar="SCENARIO", help="YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override a key")
    parser.add_argument("--seed", metavar="N", help="override the seed")
    add_plugins(parser)


def add_plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="own policies (repeatable)")


def add_cells(parser: argparse.ArgumentParser, default_out: str) -> None:
    """Who runs the cells of a sweep, and where they go."""
    parser.add_argument("--workers", type=positive, metavar="N", help="processes of this machine (default: its cores)")
    parser.add_argument("--cluster", metavar="ADDRESS|local", help="a dask scheduler instead, such as tcp://node1:8786")
    parser.add_argument("--out", metavar="DIR", help=f"results folder (default: {default_out})")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def positive(text: str) -> int:
    """The type of an argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return int(text)


def idle_workers(options: argparse.Namespace) -> list[Problem]:
    """A cluster that is given by its address has workers of its own."""
    if not options.workers or options.cluster in (None, "local"):
        return []
    from models.errors import Problem

    return [Problem("--workers", 0, 0, "has no effect with the address of a cluster, which has its own workers")]


def tell_failures(failures: Sequence[Failure], out: Path, most: int = 5) -> None:
    """Failed cells on stderr."""
    for failure in failures[:most]:
        where = f" (traceback in {out / 'cells' / failure.digest})" if failure.traceback else ""
        print(f"failed cell {failure.digest}: {failure.stage}: {failure.reason}{where}", file=sys.stderr)
    if len(failures) > most:
        print(f"and {len(failures) - most} more failed cells", file=sys.stderr)
