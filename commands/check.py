"""``check``: the effective scenario with the origin of every value, its topology, what is wrong with it."""

from __future__ import annotations

import argparse

from commands import DONE, add_scenario

HELP = "print the effective scenario and its topology"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_scenario(parser)


def call(options: argparse.Namespace) -> int:
    from sim.check import report
    from sim.scenario.fabric import prepare
    from sim.scenario.load import load

    loaded = load(options.scenario, options.sets, options.seed, options.plugin)
    print(report(loaded, prepare(loaded)))
    return DONE
