"""``export``: a scenario's flows and fabric as htsim's files, to run the same case there."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from commands import DONE, add_scenario

if TYPE_CHECKING:
    from sim.scenario.load import Loaded

HELP = "write a scenario's flows and fabric as htsim's .cm and .topo files"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_scenario(parser)
    parser.add_argument("--matrix", metavar="CM", help="connection matrix: flows, triggers, failures")
    parser.add_argument("--topology", metavar="TOPO", help="fat-tree or leaf-spine")
    parser.add_argument("--variant", metavar="NAME", help="needed where variants would give different files")


def call(options: argparse.Namespace) -> int:
    from models.errors import InputError, Problem

    if options.matrix is None and options.topology is None:
        raise InputError([Problem("export", 0, 0, "nothing to write: give --matrix FILE, --topology FILE or both")])
    if options.matrix == options.topology:
        raise InputError([Problem(options.matrix, 0, 0, "is named for both files; give each one of its own")])

    from analysis.predict import write_whole
    from sim.scenario.fabric import prepare
    from sim.scenario.load import load

    chosen = _chosen(load(options.scenario, options.sets, options.seed, options.plugin), options.variant)
    prepare(chosen)
    texts, said = _texts(chosen[0], options)
    for other in chosen[1:]:
        if _texts(other, options)[0] != texts:
            message = f"variants {chosen[0].variant} and {other.variant} give different files; choose one"
            raise InputError([Problem("--variant", 0, 0, message)])
    for name, text in texts.items():
        write_whole(Path(name), text)
    print("\n".join(said))
    return DONE


def _chosen(loaded: list[Loaded], variant: str | None) -> list[Loaded]:
    from models.errors import InputError, Problem, nearest

    names = [one.variant for one in loaded if one.variant is not None]
    if variant is not None and variant not in names:
        hint = nearest(variant, names) if names else "; the scenario has no variants"
        raise InputError([Problem("--variant", 0, 0, f"no variant '{variant}'{hint}")])
    return [one for one in loaded if variant in (None, one.variant)]


def _texts(loaded: Loaded, options: argparse.Namespace) -> tuple[dict[str, str], list[str]]:
    """The files by name, and what to say about them. InputError with the faults of both."""
    from models.builders import htsim_writer
    from models.connection_matrix_writer import written
    from models.errors import InputError
    from sim.export import exported

    topology, scenario = loaded.built[0], loaded.scenario
    comments = [f"Written by Spillway from the scenario {scenario.name}, seed {scenario.seed}.", *_run(loaded, options)]
    texts: dict[str, str] = {}
    said: list[str] = []
    problems = []
    if options.matrix is not None:
        try:
            found = exported(loaded, topology)
            texts[options.matrix] = written(found.matrix, [*comments, *found.notes])
            held = found.matrix
            counts = {"flows": len(held.flows), "triggers": len(held.triggers), "failures": len(held.failures)}
            said.append(
                f"{options.matrix}: {', '.join(f'{count:,} {word}' for word, count in counts.items() if count)}"
            )
            said += [f"  {note}" for note in found.notes]
        except InputError as error:
            problems += error.problems
    if options.topology is not None:
        buffer = scenario.fabric.switch.buffer
        try:
            limit = None if buffer == "unlimited" or not scenario.packets else buffer
            texts[options.topology] = htsim_writer.written(topology, limit, comments)
            said.append(f"{options.topology}: {topology.hosts:,} hosts, {int(topology.tier.max())} tiers of switches")
        except ValueError as error:
            problems.append(loaded.problem_at(("fabric", "topology"), str(error)))
    if problems:
        raise InputError(problems)
    return texts, said


def _run(loaded: Loaded, options: argparse.Namespace) -> list[str]:
    """How htsim takes the files: its programs share these options."""
    words = ["htsim_uec"]
    for option, name in (("-topo", options.topology), ("-tm", options.matrix)):
        if name is not None:
            words += [option, Path(name).name]
    if loaded.scenario.stop.time is not None:
        words += ["-end", str(-(-loaded.scenario.stop.time // 10**6))]
    return [
        f"Run it with: {shlex.join(words)}",
        "Transport, congestion control and routing are options of htsim's own.",
    ]
