"""Runs of a case in this process, and what the suite prints of them."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.uet.cases import Case
from benchmarks.uet.scenario import write
from sim.build import World, build
from sim.progress import Progress
from sim.run import broken_laws, run_world
from sim.scenario.fabric import prepare
from sim.scenario.load import load


class Ran(NamedTuple):
    """One run: end of the last and of the first flow in us, packets sent again, CPU seconds of the run alone."""

    tail: float
    least: float
    again: int
    cpu: float


def world_of(case: Case, seed: int) -> World:
    """Everything that its run needs."""
    with tempfile.TemporaryDirectory() as name:
        loaded = load(write(case, seed, Path(name)))
        prepare(loaded)
        return build(loaded[0])


def run_built(world: Any) -> float:
    """Its CPU seconds; RuntimeError if a flow does not end or a law is broken."""
    before = time.process_time()
    with Progress(world, True, "") as progress:
        status, reasons = run_world(world, progress)
    cpu = time.process_time() - before
    faults = broken_laws(world) if status == "completed" else reasons
    if faults:
        scenario = world.loaded.scenario
        raise RuntimeError(f"{scenario.name}, seed {scenario.seed}: {status}: {'; '.join(faults)}")
    return cpu


def run(case: Case, seed: int) -> Ran:
    """Times are counted from 0, also of a flow that starts later, as the suite does."""
    world = world_of(case, seed)
    cpu = run_built(world)
    ends = [end / 1e6 for end in world.flows.end]
    return Ran(max(ends), min(ends), sum(world.flows.retransmitted), cpu)
