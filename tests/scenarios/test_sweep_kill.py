"""A sweep survives kill -9 of itself, of a worker process and of a dask worker, at any time.

After a restart every cell is there once, whole, and byte-identical with an undisturbed sweep; so is the index.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import run_sim

ROOT = Path(__file__).parents[2]
SCENARIO = """name: small
fabric:
  topology: {kind: leaf_spine, leaves: 2, spines: 2, hosts_per_leaf: 4}
  transport: {kind: window, window: 16KiB}
  switch: {buffer: unlimited}
workload: [{kind: collective, op: all_to_all, size: 64KB}]
variants: {ecmp: {dispatch.path: ecmp}, ethereal: {dispatch.path: ethereal}}
"""
CELLS = 20
PROC = Path("/proc")

pytestmark = pytest.mark.skipif(not PROC.is_dir(), reason="finds the workers in /proc")


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kill") / "small.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def undisturbed(scenario: Path) -> dict[str, bytes]:
    out = scenario.parent / "undisturbed"
    assert run_sim.main([*command(scenario, out, "--workers", "1")]) == 0
    found = content(out)
    assert sum(name.endswith("summary.json") for name in found) == CELLS
    return found


def command(scenario: Path, out: Path, *how: str) -> list[str]:
    seeds = ["--vary", "workload.0.size=64KB,128KB", "--seeds", str(CELLS // 4)]
    return ["sweep", str(scenario), *seeds, "--out", str(out), "-q", *how]


def content(out: Path) -> dict[str, bytes]:
    """Every file but the wall-clock facts, partial cells included if there are any."""
    files = [path for path in out.rglob("*") if path.is_file()]
    names = {path.relative_to(out).as_posix(): path for path in files}
    return {n: p.read_bytes() for n, p in names.items() if not n.endswith(("run.json", "timing.csv", ".lock"))}


def start(scenario: Path, out: Path, *how: str) -> subprocess.Popen[str]:
    line = [sys.executable, str(ROOT / "run_sim.py"), *command(scenario, out, *how)]
    return subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], out: Path, cells: int) -> bool:
    """Until so many cells are there; False if the process ended before."""
    deadline = time.monotonic() + 120
    while process.poll() is None:
        if (out / "cells").is_dir() and sum(path.name[0] != "." for path in (out / "cells").iterdir()) >= cells:
            return True
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return False


def workers_of(pid: int) -> list[int]:
    """The worker processes below a sweep, whichever of its threads began them."""
    found = []
    for path in PROC.glob(f"{pid}/task/*/children"):
        try:
            children = path.read_text().split()
            found += [int(child) for child in children if b"spawn_main" in (PROC / child / "cmdline").read_bytes()]
        except OSError:  # ended meanwhile
            continue
    return sorted(found)


def kill_sweep(process: subprocess.Popen[str], rng: random.Random) -> None:
    process.kill()


def kill_worker(process: subprocess.Popen[str], rng: random.Random) -> None:
    for pid in rng.sample(workers_of(process.pid), 1):
        os.kill(pid, signal.SIGKILL)


def disturb(
    scenario: Path, out: Path, kill: Callable[[subprocess.Popen[str], random.Random], None], how: list[str], seed: int
) -> int:
    """Start, wait for a random number of cells and a moment more, kill. The exit code."""
    rng = random.Random(seed)
    process = start(scenario, out, *how)
    here = len(list((out / "cells").glob("[!.]*"))) if (out / "cells").is_dir() else 0
    if wait_for(process, out, min(here + rng.randrange(1, CELLS // 3), CELLS - 1)):
        time.sleep(rng.random() * 0.05)
        workers = workers_of(process.pid)
        kill(process, rng)
    else:
        workers = []
    _, err = process.communicate(timeout=180)
    assert "Traceback" not in err
    deadline = time.monotonic() + 20
    while any((PROC / str(pid)).exists() for pid in workers):  # none outlives its sweep
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process.returncode


def finish(scenario: Path, out: Path, undisturbed: dict[str, bytes]) -> None:
    assert run_sim.main([*command(scenario, out, "--workers", "1")]) == 0
    found = content(out)
    assert sorted(found) == sorted(undisturbed)
    assert [name for name in found if found[name] != undisturbed[name]] == []


def kill_both(process: subprocess.Popen[str], rng: random.Random) -> None:
    """First a worker, and a moment after it the sweep."""
    kill_worker(process, rng)
    time.sleep(rng.random() * 0.5)
    kill_sweep(process, rng)


def test_a_killed_worker_and_a_killed_sweep(scenario: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    assert disturb(scenario, out, kill_both, ["--workers", "2"], 1) == -signal.SIGKILL
    assert 1 <= len(list((out / "cells").glob("[!.]*"))) < CELLS
    finish(scenario, out, undisturbed)


KINDS = {
    "sweep": (kill_sweep, ["--workers", "2"], -signal.SIGKILL),
    "worker": (kill_worker, ["--workers", "2"], 0),
    "dask worker": (kill_worker, ["--cluster", "local", "--workers", "2"], 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_thirty_kills(kind: str, scenario: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    kill, how, code = KINDS[kind]
    for number in range(10):
        # killed sweeps go on in the same folder, so that one is killed several times
        out = tmp_path / str(number // 3 if kind == "sweep" else number)
        assert disturb(scenario, out, kill, how, number) in (code, 0)
        if kind != "sweep" or number % 3 == 2 or number == 9:
            finish(scenario, out, undisturbed)
