"""Which GPUs serve which replica: as the scenario lists them, or dealt out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.topology import Topology
from sim.scenario.serving import Pool, Requests
from sim.scenario.tree import Path

Placed = list[list[tuple[int, ...]]]
Fault = tuple[Path, str]  # where, below the scenario, and what is wrong


def place(workload: Sequence[Any], topology: Topology) -> tuple[dict[int, Placed], list[Fault]]:
    """(hosts of each replica by workload and pool, faults). Workloads with faults are left out.

    Replicas that autoscale may add have hosts of their own. Within a replica the GPUs of a scheduler come together.
    """
    served = [(index, item) for index, item in enumerate(workload) if isinstance(item, Requests)]
    taken: dict[int, str] = {}
    found: dict[int, Placed] = {}
    faults: list[Fault] = []
    # those that say where they are come first, the others take what is left
    for index, item in sorted(served, key=lambda one: not _listed(one[1])):
        before = len(faults)
        pools, base = item.pool_list(), ("workload", index)
        if item.hosts is not None:
            need = sum(pool.maximum * pool.gpus for pool in pools)
            result = _cut(list(item.hosts), pools)
            faults += _wrong(item.hosts, need, (*base, "hosts"), f"workload {index}", taken, topology)
        elif _listed(item):
            result = []
            for pool in pools:
                path, hosts = (*base, *pool.path, "hosts"), pool.hosts or ()
                result += _cut(list(hosts), [pool])
                owner = f"pool '{pool.name}' of workload {index}"
                faults += _wrong(hosts, pool.maximum * pool.gpus, path, owner, taken, topology)
        else:
            result, short = _deal(pools, topology, taken, item.spread == "nodes")
            if short:
                faults.append((_blame(pools, base), short))
            taken |= {host: f"workload {index}" for pool in result for hosts in pool for host in hosts}
        if len(faults) == before:
            found[index] = result
    return found, faults


def _listed(item: Requests) -> bool:
    return item.hosts is not None or any(pool.hosts is not None for pool in item.pool_list())


def _cut(hosts: list[int], pools: Sequence[Pool]) -> Placed:
    """A list of hosts as replicas, pool by pool."""
    result: Placed = []
    begin = 0
    for pool in pools:
        replicas = []
        for _ in range(pool.maximum):
            replicas.append(tuple(hosts[begin : begin + pool.gpus]))
            begin += pool.gpus
        result.append(replicas)
    return result


def _wrong(
    hosts: Sequence[int], need: int, path: Path, owner: str, taken: dict[int, str], topology: Topology
) -> list[Fault]:
    """Faults of a list; its hosts are noted as taken."""
    faults: list[Fault] = []
    if len(hosts) != need:
        faults.append((path, f"{need} GPUs are due for the replicas, not {len(hosts)}"))
    for position, host in enumerate(hosts):
        if host >= topology.hosts:
            text = f"there is no rank {host}; the fabric has 0 to {topology.hosts - 1}"
            faults.append(((*path, position), text))
        elif host in taken:
            faults.append(((*path, position), f"rank {host} serves {taken[host]} already"))
        taken.setdefault(host, owner)
    return faults


def _blame(pools: Sequence[Pool], base: Path) -> Path:
    """The pool that takes most GPUs."""
    return (*base, *max(pools, key=lambda pool: pool.maximum * pool.gpus).path)


def _deal(
    pools: Sequence[Pool], topology: Topology, taken: dict[int, str], over_nodes: bool
) -> tuple[Placed, str | None]:
    """(hosts, what is missing): free ones in order of rank, or nodes in turn where ``over_nodes``."""
    free = [host for host in range(topology.hosts) if host not in taken]
    need = sum(pool.maximum * pool.gpus for pool in pools)
    if need > len(free):
        parts = [f"{pool.maximum} x {pool.gpus} of pool '{pool.name}'" for pool in pools]
        text = f"the replicas need {need:,} GPUs ({', '.join(parts[:8])}{', ...' if len(parts) > 8 else ''})"
        return [], f"{text}; the fabric has {topology.hosts:,}" + (f", {len(free):,} of them free" if taken else "")
    if not over_nodes:
        return _cut(free, pools), None
    label = topology.domain if topology.clustered else topology.edge_of_host
    nodes: dict[int, list[int]] = {}
    for host in free:
        nodes.setdefault(int(label[host]), []).append(host)
    turn = list(nodes.values())
    result: Placed = []
    at = 0
    for pool in pools:
        replicas = []
        for _ in range(pool.maximum):
            order = [(at + step) % len(turn) for step in range(len(turn))]
            at = next((node for node in order if len(turn[node]) >= pool.gpus), -1)
            if at >= 0:
                hosts = turn[at][: pool.gpus]
                del turn[at][: pool.gpus]
            else:  # larger than what is left of any node
                hosts = sorted(host for node in turn for host in node)[: pool.gpus]
                turn = [[host for host in node if host not in hosts] for node in turn]
            replicas.append(tuple(hosts))
            at += 1
        result.append(replicas)
    return result, None
