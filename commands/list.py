"""``list``: every name that a scenario may use."""

from __future__ import annotations

import argparse

from commands import DONE, add_plugins

HELP = "what a scenario may name"
LISTS = ("topologies", "policies", "workloads", "hardware", "models")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="|".join(LISTS), help="default: all of them")
    add_plugins(parser)


def call(options: argparse.Namespace) -> int:
    from models.errors import InputError, Problem, nearest

    if options.what is not None and options.what not in LISTS:
        raise InputError([Problem("list", 0, 0, f"unknown word '{options.what}'{nearest(options.what, LISTS)}")])

    from sim.check import listing

    print(listing([options.what] if options.what else LISTS, options.plugin))
    return DONE
