"""What can only be seen of demands with the topology: their ends and their bandwidths, drawn or in a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from models import demands, units
from models.candidates import Candidates
from models.errors import InputError, Problem
from models.topology import Topology
from sim.scenario.demands import ChoiceRate, ConstantRate, Demands, UniformRate
from sim.scenario.load import Loaded
from sim.scenario.tree import Path

_MOST_LISTED = 20


def demand_problems(loaded: Loaded, topology: Topology, item: Demands, path: Path) -> list[Problem]:
    """The faults of a workload of demands; of drawn ones but for those of their pairs."""
    if item.file is not None:
        try:
            return _file_problems(loaded, topology, item, path)
        except InputError as error:
            return error.problems
    least, widest = _least(item.bandwidth), int(topology.link_rate.max(initial=0))
    if least > widest:
        text = f"every demand asks for {units.show(least, 'rate')} or more; the widest link has "
        return [loaded.problem_at((*path, "bandwidth"), text + units.show(widest, "rate"))]
    return []


def _least(spec: Any) -> int:
    """bit/s that every demand asks for at least."""
    if isinstance(spec, ConstantRate):
        return spec.rate
    if isinstance(spec, UniformRate):
        return spec.low
    return min(spec.of) if isinstance(spec, ChoiceRate) else 1


def _file_problems(loaded: Loaded, topology: Topology, item: Demands, path: Path) -> list[Problem]:
    table = demands.read(loaded.beside(str(item.file)), topology)
    problems: list[Problem] = []
    if loaded.scenario.stop.time is None:
        rows = np.flatnonzero(table.hold < 0).tolist()[:_MOST_LISTED]
        text = "a demand without a hold stays for ever: give it one, or the scenario a stop.time"
        problems += [table.problem(row, "hold", text) for row in rows]
    if item.traffic:
        for column, nodes in (("src", table.src), ("dst", table.dst)):
            for row in np.flatnonzero(nodes >= topology.hosts).tolist()[:_MOST_LISTED]:
                name = topology.node_name[nodes[row]]
                text = f"{column}: '{name}' is a switch; only hosts send (traffic: false takes any node)"
                problems.append(table.problem(row, column, text))
    params: Any = loaded.dispatch["admission"].params
    candidates = Candidates(topology, params.paths, params.by, params.protection)
    faults = demands.impossible(table, candidates, topology.link_rate)[:_MOST_LISTED]
    return problems + [table.problem(row, column, f"{column}: {reason}") for row, reason, column in faults]
