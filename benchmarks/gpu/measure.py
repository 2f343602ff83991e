"""Measures a GPU with PyTorch and writes the tables that ``run_sim.py calibrate`` reads.

``python benchmarks/gpu/measure.py [--only PART ...] [--quick] [--minutes M] [--out DIR]``. README.md beside this says
what each table holds and how a time comes about. Without PyTorch or a GPU it says so in one line and ends with 0.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # in place of this folder, whose names are too common to be found first
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.gpu import machine
from benchmarks.gpu.parts import FILES, PARTS, Bench, DeviceLost, plan
from benchmarks.gpu.record import Budget
from benchmarks.gpu.timer import CACHES, Pool, Timer

MANIFEST = "measured.json"
POOL_BYTES = 2**32  # of operands; less where that is a quarter of the memory or more


def _minutes(text: str) -> float:
    value = float(text)
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes above 0")
    return value


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description="Measure a GPU and write the tables that calibrate reads.")
    found.add_argument(
        "--only", nargs="+", choices=sorted(PARTS), metavar="PART", help=f"of {', '.join(sorted(PARTS))}"
    )
    found.add_argument("--quick", action="store_true", help="a few points of each part")
    found.add_argument("--minutes", type=_minutes, help="stop after so many minutes and keep what is measured")
    found.add_argument("--out", type=Path, default=Path("results/gpu"), help="folder (default: %(default)s)")
    found.add_argument("--cache", choices=CACHES, default="rotate", help="state of the L2 (default: %(default)s)")
    found.add_argument(
        "--operands", choices=("random", "zeros"), default="random", help="zeros run at a higher clock than real work"
    )
    found.add_argument("--system", help="name of the GPU in the tables (default: from the driver's name)")
    found.add_argument("--plan", action="store_true", help="count the points of each part and measure nothing")
    return found


def _prepare(folder: Path) -> str | None:
    """Make the folder, without an earlier measurement; why not, where it holds something else."""
    if folder.exists() and not folder.is_dir():
        return f"{folder} is not a folder"
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        return f"{folder} is not empty and holds no {MANIFEST}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST, *FILES):
        (folder / name).unlink(missing_ok=True)
    return None


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    partial = folder / "measured.partial"
    partial.write_text(json.dumps(manifest, indent=2) + "\n")
    partial.replace(folder / MANIFEST)


def measure(options: argparse.Namespace) -> int:
    """Every part in turn; the manifest is written again after each. 0, 1 if the GPU was lost, 130 if interrupted."""
    import torch

    begin = time.monotonic()
    gc.freeze()  # a capture collects garbage first: keep what is loaded out of that
    found = machine.describe()
    names = [name for name in PARTS if options.only is None or name in options.only]
    able = [name for name in names if found["gpus"] >= PARTS[name].gpus]
    budget = Budget(
        None if options.minutes is None else 60.0 * options.minutes, {name: PARTS[name].weight for name in able}
    )
    manifest: dict[str, Any] = {
        "made_by": "benchmarks/gpu/measure.py",
        "system": options.system or machine.system_name(found["gpu"]),
        **found,
        "cache": options.cache,
        "operands": options.operands,
        "quick": options.quick,
        "minutes": options.minutes,
        "state": "running",
        "parts": {},
    }
    for name in names:
        if name not in able:
            manifest["parts"][name] = {"state": "skipped", "reason": f"needs {PARTS[name].gpus} GPUs"}
    code = 0
    _write(options.out, manifest)
    try:
        with torch.inference_mode():
            pool = Pool("cuda", min(POOL_BYTES, found["memory_bytes"] // 4), options.operands)
            timer = Timer(options.cache, options.quick)
            bench = Bench(manifest["system"], timer, pool, budget, options.out, options.quick)
            for name in able:
                started = time.monotonic()
                bench.deadline = budget.start(name)
                before = machine.clocks()
                outcome = PARTS[name].measure(bench, PARTS[name].file)
                outcome.seconds = time.monotonic() - started
                entry = outcome.as_json() | {"file": PARTS[name].file, "clocks_before": before}
                manifest["parts"][name] = entry | {"clocks_after": machine.clocks()}
                _write(options.out, manifest)
                print(f"{name:14} {outcome.measured:6} of {outcome.planned:6} {outcome.seconds:7.1f} s", flush=True)
        stopped = any(manifest["parts"][name]["state"].startswith("stopped") for name in able)
        manifest["state"] = "stopped at the time limit" if stopped else "complete"
    except KeyboardInterrupt:
        manifest["state"], code = "interrupted", 130
    except DeviceLost as error:
        manifest["state"], code = f"the GPU was lost: {error}", 1
        print(manifest["state"], file=sys.stderr)
    manifest["seconds"] = round(time.monotonic() - begin, 1)
    _write(options.out, manifest)
    print(f"{manifest['state']}: {options.out}, {manifest['seconds']:.0f} s")
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    found = parser()
    options = found.parse_args(arguments)
    if options.plan:
        for name, count in plan(options.quick, ("bfloat16", "fp8")).items():
            if options.only is None or name in options.only:
                print(f"{name:14} {count:6} points")
        return 0
    reason = machine.missing()
    if reason:
        print(f"skipped: {reason}")
        return 0
    problem = _prepare(options.out)
    if problem:
        found.error(problem)
    return measure(options)


if __name__ == "__main__":
    sys.exit(main())
