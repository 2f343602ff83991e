"""The topology of a loaded scenario: its builder called, its link overrides applied, faults at their position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from models.builders import gpu_cluster
from models.builders.override import with_links
from models.errors import InputError, Problem
from models.topology import Topology
from sim.scenario.clusters import ScaleUp
from sim.scenario.crosscheck import cross_check
from sim.scenario.fields import Section
from sim.scenario.load import Loaded, by_variant
from sim.scenario.topologies import Edge, Fabric, Link
from sim.scenario.tree import Path


def make_topology(loaded: Loaded) -> Topology:
    """Build it, or take what ``prepare`` has built.

    InputError: impossible shapes, faults of a topology file, overrides of unknown links.
    """
    if loaded.built:
        return loaded.built[0]
    topology = _build(loaded.scenario.fabric.topology, loaded, ("fabric", "topology"))
    return _with_overrides(topology, loaded)


def _build(spec: Any, loaded: Loaded, base: Path) -> Topology:
    """The topology of the section at ``base``; that of a cluster holds another."""
    builder = import_module(f"models.builders.{spec.kind}")
    arguments = _arguments(spec, loaded, base)
    try:
        topology: Topology = builder.build(**arguments)
    except ValueError as error:
        raise InputError([_impossible(str(error), spec, loaded, base)]) from None
    return topology


def _arguments(spec: Section, loaded: Loaded, base: Path) -> dict[str, Any]:
    """Keywords of the builder: links as (bit/s, ps), files as paths; what is absent is left to the builder."""
    result: dict[str, Any] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if name == "kind" or value is None:
            continue
        if name == "file":
            result["path"] = loaded.beside(value)
        elif isinstance(value, Link):
            result[name] = (value.rate, value.delay)
        elif isinstance(value, ScaleUp):
            result[name] = gpu_cluster.ScaleUp(**value.model_dump())
        elif isinstance(value, Fabric):
            result[name] = _build(value, loaded, (*base, name))
        elif isinstance(value, tuple) and value and isinstance(value[0], Edge):
            result[name] = [edge.model_dump() for edge in value]
        else:
            result[name] = value
    return result


def _impossible(message: str, spec: Section, loaded: Loaded, base: Path) -> Problem:
    """Builders begin a message with the key it is about, where it is about one."""
    steps = re.match(r"([a-z_]+)(?:\.(\d+))?\b", message)
    reason = spec.reason(steps.group(1)) if steps else None
    if reason:
        message += f" ({reason})"
    if steps and steps.group(1) in type(spec).model_fields and loaded.tree.has((*base, steps.group(1))):
        path: Path = (*base, steps.group(1))
        return loaded.problem_at((*path, int(steps.group(2))) if steps.group(2) else path, message)
    return loaded.problem_at(base, message)


def _with_overrides(topology: Topology, loaded: Loaded) -> Topology:
    """Cables first, then single directions, which are more particular."""
    problems: list[Problem] = []
    changes: dict[int, tuple[int | None, int | None]] = {}
    # the sort is stable: of two names of one kind the later wins
    for name, change in sorted(loaded.scenario.fabric.links.items(), key=lambda item: "->" in item[0]):
        try:
            links = topology.find_links(name)
        except KeyError as error:
            problems.append(loaded.tree.key_mark(("fabric", "links", name)).problem(str(error.args[0])))
            continue
        for link in links:
            rate, delay = changes.get(link, (None, None))
            changes[link] = (
                change.rate if change.rate is not None else rate,
                change.delay if change.delay is not None else delay,
            )
    if problems:
        raise InputError(problems)
    return with_links(topology, changes) if changes else topology


def prepare(loaded: Sequence[Loaded]) -> list[Topology]:
    """The topology of every run, built once for equal fabrics and kept in ``Loaded.built``, and all cross checks.

    InputError with the problems of all runs: what all share once, the rest with the variant's name.
    """
    built: dict[str, Topology | list[Problem]] = {}
    found: list[list[Problem]] = []
    for one in loaded:
        fabric = one.scenario.fabric
        same = repr((fabric.topology, fabric.links))
        try:
            if same not in built:
                built[same] = make_topology(one)
            topology = built[same]
            if isinstance(topology, Topology):
                one.built.append(topology)
                cross_check(one, topology)
            found.append([] if isinstance(topology, Topology) else topology)
        except InputError as error:
            built.setdefault(same, error.problems)
            found.append(error.problems)
    problems = by_variant([one.variant for one in loaded], found)
    if problems:
        raise InputError(problems)
    return [one.built[0] for one in loaded]
