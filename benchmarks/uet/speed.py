"""CPU time and memory of the suite's permutation: nscc with trimming, 2 MB flows, the scenario's door included."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from benchmarks.uet.cases import Case, cases

Result = dict[str, Any]
BALANCERS = ("oblivious", "reps", "switch_round_robin")
NODES = (128, 1024)
LARGE = 8192


def case_of(nodes: int, balancer: str) -> Case:
    """The suite's permutation with other nodes and another balancer."""
    known = next(case for case in cases() if case.name == "balancer" and case.balancer == "oblivious")
    return replace(known, nodes=nodes, balancer=balancer, paths=0 if balancer == "switch_round_robin" else 128)


def speed(nodes: int, balancer: str) -> Result:
    """Compiled before by the 16-node permutation. ``cpu``: of the run, ``build``: of all before it, seconds."""
    from benchmarks.uet.runs import run_built, world_of

    run_built(world_of(case_of(16, balancer), 1))
    began, before = time.perf_counter(), time.process_time()
    world = world_of(case_of(nodes, balancer), 1)
    built = time.process_time() - before
    cpu = run_built(world)
    return {
        "cpu": cpu,
        "build": built,
        "wall": time.perf_counter() - began,
        "hops": world.network.packet_hops(),
        "tail": max(world.flows.end) / 1e6,
        "again": sum(world.flows.retransmitted),
    }


def first_use() -> Result:
    """A process's first run of a small case: imports, and what is compiled or fetched from the cache."""
    began, before = time.perf_counter(), time.process_time()
    from benchmarks.uet.runs import run_built, world_of

    imported = time.perf_counter() - began
    run_built(world_of(case_of(16, "oblivious"), 1))
    return {"imports": imported, "wall": time.perf_counter() - began, "cpu": time.process_time() - before}
