"""Sweeps: the same index whoever runs the cells, what a cell costs beyond its run, what a second worker brings.

``python benchmarks/sweep.py [--cells 200]`` prints the section of docs/benchmarks.md. CPU seconds of this process and
its workers, start-up left out: the workers are warm when the clock starts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim.build import build
from sim.progress import Progress
from sim.run import run_one
from sim.sweep import Cell, Executor, Experiment, open_executor, parse_axes, run_cells, write_index
from sim.sweep.cells import load_cell
from sim.sweep.index import write_plan

SCENARIO = """name: small
fabric:
  topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 4}
  switch: {buffer: unlimited}
  transport: {kind: window, window: 16KiB}
workload: [{kind: collective, op: all_to_all, size: 64KB}]
variants: {ecmp: {dispatch.path: ecmp}, ethereal: {dispatch.path: ethereal}}
"""
AXES = ("workload.0.size=64KB:256KB:5",)
WAYS = {
    "in-process": (1, None),
    "1 process": (1, "pool"),
    "2 processes": (2, None),
    "dask, local cluster of 2": (2, "local"),
}


class Cost(NamedTuple):
    wall: float
    cpu: float  # of all processes
    busiest: float  # of the process below this one that worked most
    index: str = ""


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu()

    def read(self) -> Cost:
        used = {pid: seconds - self._cpu.get(pid, 0) for pid, seconds in _cpu().items()}
        below = [seconds for pid, seconds in used.items() if pid != os.getpid()]
        return Cost(time.perf_counter() - self._wall, sum(used.values()), max(below, default=0))


def _cpu() -> dict[int, float]:
    """CPU seconds by process: this one and all below it that live."""
    me = psutil.Process()
    found: dict[int, float] = {}
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[process.pid] = times.user + times.system
    return found


def bare(cells: list[Cell], folder: Path) -> Cost:
    """What ``run`` does for each of them: load, build, run, write; no digests, no renames, nothing forced to disk."""
    clock = Clock()
    for number, cell in enumerate(cells):
        world = build(load_cell(cell))
        target = folder / str(number)
        target.mkdir()
        run_one(world, target, Progress(world, True, ""))
    return clock.read()


def executor_of(workers: int, kind: str | None) -> Executor:
    if kind == "pool":
        from sim.sweep.executors import LocalProcesses

        return LocalProcesses(workers)
    return open_executor(workers, kind)


def swept(experiment: Experiment, cells: list[Cell], warm: list[Cell], way: str, folder: Path) -> Cost:
    with executor_of(*WAYS[way]) as executor:
        run_cells(warm, folder / "warm", executor=executor, quiet=True)
        clock = Clock()
        run_cells(cells, folder / "out", executor=executor, quiet=True)
        cost = clock.read()
    write_plan(folder / "out", experiment.name, experiment.axes, cells)
    write_index(folder / "out")
    index = (folder / "out" / "index.parquet").read_bytes()
    return cost._replace(index=hashlib.sha256(index).hexdigest()[:12])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=200)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="spillway-sweep-"))
    try:
        (folder / "small.yaml").write_text(SCENARIO)
        experiment = Experiment(folder / "small.yaml", parse_axes(AXES))
        seeds = range(1, 1 + -(-options.cells // len(experiment.points)))
        cells = experiment.cells(seeds=seeds)[: options.cells]
        warm = experiment.cells(experiment.points[:8], [10**6])
        (folder / "warm").mkdir()
        bare(warm, folder / "warm")
        (folder / "bare").mkdir()
        base = bare(cells, folder / "bare")
        found = {}
        for number, way in enumerate(WAYS):
            (folder / str(number)).mkdir()
            found[way] = swept(experiment, cells, warm, way, folder / str(number))
    finally:
        shutil.rmtree(folder)
    report(len(cells), base, found)


def report(count: int, base: Cost, found: dict[str, Cost]) -> None:
    print(f"{count} cells of an 8-host leaf-spine, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    print("| who | wall s | CPU s | CPU ms a cell | beyond the run, ms | index |")
    print("|---|---:|---:|---:|---:|---|")
    for way, cost in {"the runs alone": base, **found}.items():
        over = "" if cost is base else f"{(cost.cpu - base.cpu) / count * 1e3:.1f}"
        each = cost.cpu / count * 1e3
        print(f"| {way} | {cost.wall:.1f} | {cost.cpu:.2f} | {each:.1f} | {over} | {cost.index} |")
    one, two = found["1 process"], found["2 processes"]
    by_cpu = one.busiest / two.busiest
    print(f"\nTwo processes over one: {by_cpu:.2f} by CPU time of the busier, {one.wall / two.wall:.2f} by the clock.")
    print("All indexes alike: " + ("yes" if len({cost.index for cost in found.values()}) == 1 else "**no**"))


if __name__ == "__main__":
    main()
