"""What is wrong with a mixture of experts on a given fabric: shapes that don't divide, skews, files, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.compute import gpu_model
from models.errors import InputError, Problem
from models.hardware import GPUS
from models.moe_layer import LayerCosts
from models.topology import Topology
from sim.dispatch.groups import layout_of, problem_of
from sim.dispatch.views import ExpertView
from sim.scenario.load import Loaded
from sim.scenario.moe import Moe, ranks_of
from sim.scenario.moe_sources import source_of
from sim.scenario.tree import Path
from solvers.expert_plan import native_ranks


def gpu_problems(loaded: Loaded, topology: Topology) -> list[Problem]:
    """GPUs that are not there."""
    problems = []
    for text in loaded.scenario.gpus.only:
        last = ranks_of(text)[-1]
        if last >= topology.hosts:
            message = f"there is no GPU {last}; the fabric has 0 to {topology.hosts - 1}"
            problems.append(loaded.problem_at(("gpus", "only", text), message))
    return problems


def moe_problems(loaded: Loaded, topology: Topology, item: Moe, path: Path, parts: Sequence[set[Any]]) -> list[Problem]:
    """All that is wrong with one workload; the first fault of its shape hides what depends on it.

    ``parts`` of each host: the parts of the fabric that it reaches into.
    """
    found = _shape(item, topology.hosts)
    if found:
        return [loaded.problem_at((*path, key), message) for key, message in found]
    group = item.group_size(topology.hosts)
    problems: list[Problem] = []
    try:
        source = source_of(item, group // item.tensor_parallel, loaded.beside, 0)
        layers = item.layer_kinds().count("experts")
        known = getattr(source, "layers", None)
        if known is not None and layers > len(known):
            message = f"{layers} layers with experts are asked for, but {len(known)} are in the file"
            problems.append(loaded.problem_at((*path, "routing", "file"), f"{message} ({_listed(known)})"))
    except InputError as error:
        problems += [_placed(problem, loaded, path) for problem in error.problems]
    problems += _memory(loaded, topology, item, path, group)
    problems += _schedule(loaded, topology, item, parts)
    problems += _dispatcher(loaded, topology, item)
    problems += _costs(loaded, topology, item, path)
    return problems


def _shape(item: Moe, hosts: int) -> list[tuple[str, str]]:
    """(key, message) of what does not divide."""
    arch, group = item.architecture(), item.group_size(hosts)
    ranks = group // item.tensor_parallel
    where = "expert_parallel" if item.expert_parallel else "model"
    found = []
    if group > hosts or hosts % group:
        size = f"a group of {group} GPUs ({ranks} x tensor_parallel {item.tensor_parallel})"
        key = "expert_parallel" if item.expert_parallel else "tensor_parallel"
        found.append((key, f"{size} does not divide the fabric's {hosts} GPUs"))
    elif arch.experts % ranks:
        sizes = [str(size) for size in range(1, ranks + 1) if arch.experts % size == 0 and hosts % size == 0]
        text = f"{arch.experts} experts can't be divided among {ranks} GPUs"
        found.append((where, f"{text}; expert_parallel may be {', '.join(sizes)}"))
    if arch.expert_inner % item.tensor_parallel:
        text = f"the experts' inner dimension of {arch.expert_inner} does not divide by {item.tensor_parallel}"
        found.append(("tensor_parallel", text))
    return found


def _listed(layers: Any) -> str:
    return ", ".join(str(layer) for layer in layers)


def _placed(problem: Problem, loaded: Loaded, path: Path) -> Problem:
    """A fault of a file has its place in it; any other is the routing's."""
    return (
        problem
        if problem.line or "/" in problem.file or "." in problem.file
        else loaded.problem_at((*path, "routing"), problem.message)
    )


def _memory(loaded: Loaded, topology: Topology, item: Moe, path: Path, group: int) -> list[Problem]:
    """Weights alone that don't fit: the buffers of tokens may run over, which is a result."""
    spec = loaded.scenario.gpus
    kinds = {spec.kind: spec.memory or GPUS[spec.kind].memory_bytes}
    for change in spec.only.values():
        kind = change.kind or spec.kind
        kinds[f"{kind} of gpus.only"] = change.memory or GPUS[kind].memory_bytes
    need = item.weights(group)
    short = [(name, size) for name, size in kinds.items() if need > size]
    if not short:
        return []
    name, size = short[0]
    text = f"the weights of {need / 1e9:,.1f} GB on each GPU do not fit the {size / 1e9:,.1f} GB of {name}"
    return [loaded.problem_at((*path, "model"), text)]


def _schedule(loaded: Loaded, topology: Topology, item: Moe, parts: Sequence[set[Any]]) -> list[Problem]:
    """A collective policy that carries no tokens, or not on this fabric."""
    chosen = loaded.dispatch.get("collective")
    if chosen is None:
        return []
    policy = chosen.policy.module.Policy(chosen.params)
    if not hasattr(policy, "exchange"):
        text = f"the collective policy {chosen.policy.name} can't carry tokens to experts"
        return [loaded.problem_at(("dispatch", "collective"), f"{text}; direct and bilevel are two that can")]
    for hosts in item.groups(topology.hosts):
        members = hosts[:: item.tensor_parallel]
        if len(members) == 1:
            continue
        message = problem_of(policy, "all_to_all", len(members), layout_of(topology, members))
        if not message and not getattr(policy, "uses_layout", False):
            # what keeps to its rails needs no way across them
            kinds = {frozenset(parts[host]): host for host in members}
            lost = [(a, b) for a in kinds for b in kinds if not a & b]
            if lost:
                names = [topology.node_name[kinds[part]] for part in lost[0]]
                hint = "bilevel and hierarchical_dedup keep to rails"
                message = f"there is no path from {names[0]} to {names[1]}; {hint}"
        if message:
            return [loaded.problem_at(("dispatch", "collective"), message)]
    return []


def _dispatcher(loaded: Loaded, topology: Topology, item: Moe) -> list[Problem]:
    """Why the expert dispatcher can't work on this model and these groups: it is made as for a run."""
    arch = item.architecture()
    policy, params = loaded.dispatch["expert"]
    for hosts in item.groups(topology.hosts):
        members = hosts[:: item.tensor_parallel]
        view = ExpertView(
            ranks=len(members), node=layout_of(topology, members).node, experts=arch.experts, top_k=arch.top_k,
            groups=arch.expert_groups, native=native_ranks(arch.experts, len(members)), rng=np.random.default_rng(0),
        )  # fmt: skip
        try:
            policy.module.Policy(params, view)
        except InputError as error:
            return [loaded.problem_at(("dispatch", "expert"), problem.message) for problem in error.problems]
    return []


def _costs(loaded: Loaded, topology: Topology, item: Moe, path: Path) -> list[Problem]:
    """Kernels that no measured table of a GPU answers for: each is asked once."""
    spec = loaded.scenario.gpus
    places: dict[str, Path] = {text: ("gpus", "only", text) for text, change in spec.only.items() if change.kind}
    asked = [(spec.kind, ("gpus", "kind"))] + [(str(spec.only[text].kind), place) for text, place in places.items()]
    problems = []
    for kind, place in asked:
        costs = LayerCosts(gpu_model(kind), item.architecture(), item.expert_dtype, item.kernels, item.tensor_parallel)
        try:
            costs.gate(1)
            costs.experts(np.ones(1, dtype=np.int64))
            if item.scope == "model":
                costs.attention(1, item.phase, item.sequence)
        except InputError as error:
            where = place if loaded.tree.has(place) else path
            problems += [loaded.problem_at(where, f"{kind}: {problem.message}") for problem in error.problems]
    return problems
