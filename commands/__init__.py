"""The command line's verbs, one a file: ``HELP``, ``arguments(parser)`` and ``call(options)`` -> exit code.

The only place that knows the simulation and the analysis at once. Heavy imports wait inside ``call``, so that --help
is instant.
"""

from __future__ import annotations

import argparse

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
VERBS = (
    "run",
    "sweep",
    "compare",
    "plot",
    "report",
    "predict",
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
