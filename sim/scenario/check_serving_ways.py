"""What replicas send on the fabric: collectives that an algorithm lacks, KV caches that nobody can take over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.errors import Problem
from models.topology import Topology
from sim.dispatch.groups import layout_of, problem_of
from sim.scenario.load import Loaded
from sim.scenario.serving import Pool
from sim.scenario.serving_hosts import Placed
from sim.scenario.tree import Path


def way_problems(
    loaded: Loaded, topology: Topology, pools: Sequence[Pool], placed: Placed, base: Path
) -> Iterator[Problem]:
    """Of one workload; ``base``: its keys in the scenario."""
    for pool, replicas in zip(pools, placed, strict=True):
        if pool.engine.communication == "flows":
            message = _collectives(loaded, topology, pool, replicas[0])
            if message:
                yield loaded.problem_at((*base, *pool.path), message)
    roles = {pool.role for pool in pools}
    takes_over = "decode" if "decode" in roles else "mixed"
    for pool in pools:
        if pool.role == "prefill" or (pool.role == "mixed" and roles == {"mixed", "decode"}):
            others = [other for other in pools if other.role == takes_over]
            if not any(other.model == pool.model for other in others):
                text = f"no pool of the role {takes_over} has {pool.model}, so nobody can go on with its KV cache"
                yield loaded.problem_at((*base, *pool.path), text)


def _collectives(loaded: Loaded, topology: Topology, pool: Pool, hosts: Sequence[int]) -> str | None:
    """Why the collective policy can't do what a replica needs, or None."""
    policy, params = loaded.dispatch["collective"]
    algorithm = policy.module.Policy(params)
    shards, ranks = pool.tensor_parallel, pool.data_parallel
    needed = [("all_reduce", hosts[:shards]), ("all_gather", hosts[:shards])] if shards > 1 else []
    if ranks > 1:
        needed += [("all_gather", hosts[::shards]), ("reduce_scatter", hosts[::shards])]
    for operation, group in needed:
        if operation not in algorithm.operations:
            return f"its engine sends flows, and the collective policy {policy.name} has no {operation}"
        message = problem_of(algorithm, operation, len(group), layout_of(topology, group))
        if message:
            return f"its engine sends flows: {message}"
    return None
