"""What can only be seen of requests with the fabric and the GPUs: room for the replicas, shapes, memory, files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from models.errors import InputError, Problem, nearest
from models.request_traces import RequestTrace
from models.topology import Topology
from sim.scenario.check_serving_ways import way_problems
from sim.scenario.load import Loaded
from sim.scenario.request_arrivals import FromFile, Trace
from sim.scenario.serving import Pool, Requests
from sim.scenario.serving_costs import cost_of, setup_of
from sim.scenario.serving_hosts import Placed, place
from sim.scenario.serving_inputs import hash_tokens_of, lengths_of, trace_of
from sim.scenario.serving_memory import blocks_of, gpu_memory, kinds_of
from sim.scenario.tree import Path

_MOST_LISTED = 20


def requests_problems(loaded: Loaded, topology: Topology, parts: Sequence[set[Any]]) -> list[Problem]:
    """All that is wrong with the workloads of requests. ``parts`` of each host: those of the fabric it reaches into."""
    found, faults = place(loaded.scenario.workload, topology)
    problems = [loaded.problem_at(path, message) for path, message in faults]
    for index, item in enumerate(loaded.scenario.workload):
        if not isinstance(item, Requests):
            continue
        base: Path = ("workload", index)
        pools = item.pool_list()
        for number, pool in enumerate(pools):
            where: Path = (*base, *pool.path)
            wrong = list(_shape(pool))
            problems += [loaded.problem_at((*where, key), message) for key, message in wrong]
            if not wrong:
                hosts = found[index][number] if index in found else []
                problems += _memory(loaded, pool, hosts, where)
                problems += _costs(loaded, pool, hosts, where)
        if index in found:
            problems += _apart(loaded, topology, pools, found[index], base, parts)
            problems += way_problems(loaded, topology, pools, found[index], base)
        problems += _files(loaded, item, pools, base)
    return problems


def _shape(pool: Pool) -> Iterator[tuple[str, str]]:
    """(key, message) of parallelism that the model has no room for."""
    arch, shards = pool.architecture, pool.tensor_parallel
    if arch.heads % shards:
        able = [str(size) for size in range(1, arch.heads + 1) if arch.heads % size == 0]
        text = f"{pool.model} has {arch.heads} attention heads, which don't divide among {shards} GPUs"
        yield "tensor_parallel", f"{text}; tensor_parallel may be {', '.join(able)}"
    elif arch.dense:
        if arch.dense_inner % shards:
            text = f"the inner dimension of {arch.dense_inner} does not divide by {shards}"
            yield "tensor_parallel", f"{pool.model}: {text}"
        if pool.data_parallel > 1:
            text = f"{pool.model} is dense: nothing ties its schedulers together; give replicas instead"
            yield "data_parallel", text
        if pool.expert_parallel:
            yield "expert_parallel", f"{pool.model} is dense and has no experts to share"
    elif pool.expert_parallel and arch.experts % pool.gpus:
        text = f"{arch.experts} experts can't be divided among the {pool.gpus} GPUs of a replica"
        yield "expert_parallel", text
    elif not pool.expert_parallel and arch.expert_inner % pool.gpus:
        text = f"the experts' inner dimension of {arch.expert_inner} does not divide by {pool.gpus} GPUs"
        yield "expert_parallel", f"{text}; with expert_parallel each GPU holds whole experts"


def _memory(loaded: Loaded, pool: Pool, hosts: Sequence[Sequence[int]], where: Path) -> list[Problem]:
    """A model that does not fit its GPUs; where the scenario gives the blocks it answers for that itself."""
    if pool.engine.kv_blocks != "auto":
        return []
    for replica in hosts:
        try:
            blocks_of(pool, gpu_memory(loaded.scenario.gpus, replica))
        except InputError as error:
            return [loaded.problem_at((*where, "model"), problem.message) for problem in error.problems]
    return []


def _costs(loaded: Loaded, pool: Pool, hosts: Sequence[Sequence[int]], where: Path) -> list[Problem]:
    """GPUs on which nothing tells what the model costs."""
    for kind in kinds_of(loaded.scenario.gpus, [replica[0] for replica in hosts]):
        try:
            cost_of(setup_of(pool, kind))
        except InputError as error:
            at = (*where, "engine", "cost") if pool.engine.cost.kind == "splitwise" else (*where, "model")
            text = f"no cost of {pool.model} in {pool.dtype} on {kind}: "
            return [loaded.problem_at(at, text + problem.message) for problem in error.problems]
    return []


def _apart(
    loaded: Loaded, topology: Topology, pools: Sequence[Pool], placed: Placed, base: Path, parts: Sequence[set[Any]]
) -> list[Problem]:
    """GPUs without a path that have to send to each other."""
    names, problems = topology.node_name, []

    def cut(hosts: Sequence[int]) -> int | None:
        return next((host for host in hosts if not parts[hosts[0]] & parts[host]), None)

    for pool, replicas in zip(pools, placed, strict=True):
        for hosts in replicas if pool.engine.communication == "flows" else []:
            lost = cut(hosts)
            if lost is not None:
                text = f"there is no path between {names[hosts[0]]} and {names[lost]}, which serve one replica"
                problems.append(loaded.problem_at((*base, *pool.path), text))
                break
    if any(pool.role == "prefill" for pool in pools):
        everyone = [host for replicas in placed for hosts in replicas for host in hosts]
        lost = cut(everyone)
        if lost is not None:
            text = f"the KV cache has no path from {names[everyone[0]]} to {names[lost]}"
            problems.append(loaded.problem_at((*base, "pools"), text))
    return problems


def _files(loaded: Loaded, item: Requests, pools: Sequence[Pool], base: Path) -> list[Problem]:
    """Faults of a trace and of tables of lengths, and keys that a trace speaks for itself."""
    problems: list[Problem] = []
    specs = [item.prompt, item.output, *(spec for one in item.classes for spec in (one.prompt, one.output))]
    for spec in [one for one in specs if isinstance(one, FromFile)]:
        try:
            lengths_of(spec, "", loaded.beside)
        except InputError as error:
            problems += error.problems
    trace: RequestTrace | None = None
    if isinstance(item.arrivals, Trace):
        try:
            trace = trace_of(item, loaded.beside)
        except InputError as error:
            return problems + error.problems
        problems += _trace(loaded, item, trace, base)
    return problems + _hashes(loaded, item, pools, trace, base)


def _trace(loaded: Loaded, item: Requests, trace: RequestTrace, base: Path) -> list[Problem]:
    """What the scenario says of requests that the trace says too, or does not know."""
    problems: list[Problem] = []
    for name, given in (("tenants", trace.tenant), ("prefix", trace.hash_start)):
        if getattr(item, name) is not None and given is not None:
            text = f"'{name}' has no effect: the trace says it of each request"
            problems.append(loaded.problem_at((*base, name), text))
    names = [one.name for one in item.classes]
    for name in sorted(set(trace.kind or ()) - set(names))[:_MOST_LISTED] if names else []:
        text = f"the trace has requests of the class '{name}'{nearest(name, names)}"
        problems.append(loaded.problem_at((*base, "classes"), text))
    return problems


def _hashes(
    loaded: Loaded, item: Requests, pools: Sequence[Pool], trace: RequestTrace | None, base: Path
) -> list[Problem]:
    """Hashes that don't cover whole blocks, or more tokens than there are."""
    tokens = hash_tokens_of(item, trace)
    wrong = [size for size in sorted({pool.engine.block_tokens for pool in pools}) if tokens % size]
    if wrong:
        text = f"a hash covers {tokens} tokens, no multiple of a block of {wrong[0]} (engine.block_tokens)"
        return [loaded.problem_at((*base, "hash_tokens"), text)]
    if trace is not None and trace.hash_count is not None:
        beyond = np.flatnonzero(trace.hash_count > -(-(trace.prompt + trace.output) // tokens))
        if len(beyond):
            count = int(trace.hash_count[beyond[0]])
            text = f"request {beyond[0]} of the trace has {count} hashes, more than its tokens at {tokens} each"
            return [loaded.problem_at((*base, "hash_tokens"), text)]
    return []
