"""Speed of the mixture-of-experts simulation: layers a CPU second, whole steps, and the planners of expert dispatchers.

``python benchmarks/moe.py [--quick] [--only PART]`` prints Markdown. Every case is a process of its own, with a small
run first to warm up; cases take turns, so that a noisy minute hits all of them. CPU seconds are ``time.process_time``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

Result = dict[str, Any]

_SCENARIO = """
name: benchmark
engine: {engine}
fabric:
  topology:
    kind: gpu_cluster
    nodes: {nodes}
    gpus_per_node: 8
    nics_per_gpu: 1
    scale_up: {{kind: nvswitch}}
    fabric: {{kind: leaf_spine, leaves: {nodes}, spines: 8, hosts_per_leaf: 8}}
dispatch: {{expert: static, collective: hierarchical_dedup}}
workload:
  - {{kind: moe, model: deepseek-v3, tokens_per_gpu: {tokens}, expert_parallel: {group}, layers: {layers}, scope: model,
     routing: {{kind: zipf, exponent: 0.5}}, dispatch_dtype: fp8}}
"""


def _run(engine: str, gpus: int, tokens: int, layers: int | str) -> Result:
    """A run of a DeepSeek-V3 step in this process, and then its tables."""
    from sim.build import build
    from sim.progress import Progress
    from sim.run import broken_laws, run_world
    from sim.scenario.load import load
    from sim.tables import tables_of

    group = min(gpus, 64)
    text = _SCENARIO.format(engine=engine, nodes=gpus // 8, tokens=tokens, group=group, layers=layers)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "scenario.yaml"
        file.write_text(text)
        before = time.process_time()
        world = build(load(file)[0])
        built = time.process_time()
        with Progress(world, True, "") as progress:
            status, reasons = run_world(world, progress)
        reasons += broken_laws(world)
        if status != "completed" or reasons:
            raise RuntimeError(f"{gpus} GPUs in {engine}: {status}: {'; '.join(reasons)}")
        ran = time.process_time()
    tables_of(world)
    return {
        "build": built - before,
        "run": ran - built,
        "cpu": ran - before,
        "tables": time.process_time() - ran,
        "flows": len(world.flows.flow),
        "layers": len(world.steps.rows),
    }


def run_case(engine: str, gpus: int, tokens: int, layers: int | str) -> Result:
    gc.set_threshold(1_000_000, 10, 10)  # as the program does in a run
    _run(engine, min(gpus, 16), min(tokens, 64), 1)  # warm up: imports, compiled code
    return _run(engine, gpus, tokens, layers)


PARAMS: dict[str, dict[str, Any]] = {  # such that every batch is planned anew
    "eplb": {"interval": 1, "start": 0, "predict": "current"},
    "least_loaded": {"min_tokens": 1, "threshold": 0.0},
    "sinkhorn": {"rounds": 10},
}
DISPATCHERS = (
    "static",
    "least_loaded",
    "eplb",
    "greedy_lpt",
    "capacity_drop",
    "loss_free_bias",
    "bip",
    "sinkhorn",
    "locality",
    "bilevel",
)
SIZES = ((64, 8), (256, 8), (256, 64), (1024, 64), (1024, 256))  # experts, ranks
TOKENS = 32  # a rank


def planner_case(name: str) -> Result:
    """ms of ``plan`` by (experts, ranks), the counting of copies included; medians over drifting batches."""
    import numpy as np

    from models.routing.popularity import Zipf
    from sim.dispatch.registry import Registry
    from sim.dispatch.views import Batch, ExpertView
    from solvers.expert_plan import native_ranks

    found = Registry().load("expert", name)
    top_k = 1 if name == "bilevel" else 8
    result: Result = {}
    for experts, ranks in (SIZES[0], *SIZES):  # the first to warm up
        node = np.arange(ranks, dtype=np.int64) // 8
        native = native_ranks(experts, ranks)
        view = ExpertView(ranks, node, experts, top_k, 1, native, np.random.default_rng(1))
        policy = found.module.Policy(found.Params(**PARAMS.get(name, {})), view)
        source = Zipf(experts, top_k, 1, 0.5, drift=0.5)
        each, took = np.full(ranks, TOKENS, dtype=np.int64), []
        for step in range(5):
            rng = np.random.default_rng([1, step])
            choices = None if policy.gate else source.choices(each, step, 0, rng)
            batch = Batch(step, 0, each, choices, source.scores(each, step, 0, rng) if policy.gate else None)
            before = time.process_time()
            policy.plan(batch)
            took.append(time.process_time() - before)
        result[f"{experts}/{ranks}"] = statistics.median(took) * 1e3
    return result


CASES: dict[str, Callable[[], Result]] = {
    "layers-8": partial(run_case, "fluid", 8, 4096, 20),
    "layers-64": partial(run_case, "fluid", 64, 4096, 10),
    "layers-1024": partial(run_case, "fluid", 1024, 4096, 2),
    "layers-64-packet": partial(run_case, "packet", 64, 64, 2),
    "step-64": partial(run_case, "fluid", 64, 4096, "all"),
    "step-1024": partial(run_case, "fluid", 1024, 4096, "all"),
}
CASES |= {f"planner-{name}": partial(planner_case, name) for name in DISPATCHERS}


def child(name: str) -> None:
    result = CASES[name]()
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result))


def measure(names: list[str], runs: int) -> dict[str, Result]:
    """Medians over ``runs`` rounds in which the cases take turns."""
    found: dict[str, list[Result]] = {name: [] for name in names}
    for turn in range(runs):
        for name in names:
            print(f"\r{turn + 1}/{runs} {name:24}", end="", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--child", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return {
        name: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for name, results in found.items()
    }


def layer_table(runs: int) -> None:
    results = measure([name for name in CASES if name.startswith("layers")], runs)
    print("## Layers with experts\n")
    print(
        "DeepSeek-V3 layers with attention, Zipf routing (0.5), `static`, `hierarchical_dedup`, FP8 out and BF16 back,"
    )
    print("on nodes of 8 GPUs; 4096 tokens a GPU, 64 in the packet engine; 1024 GPUs are 16 groups of 64. CPU seconds")
    print(f"of the run after its building; median of {runs} runs in alternation.\n")
    print("| case | layers | flows | CPU s | layers/s | GPU layers/s | us a flow | memory MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, result in results.items():
        gpus, layers, cpu = int(name.split("-")[1]), result["layers"], result["run"]
        print(
            f"| {name} | {layers:.0f} | {result['flows']:,.0f} | {cpu:.2f} | {layers / cpu:.2f} "
            f"| {gpus * layers / cpu:,.0f} | {cpu / result['flows'] * 1e6:.0f} | {result['memory'] / 1e6:.0f} |"
        )
    print()


def step_table(runs: int) -> None:
    aims = {"step-64": 5.0, "step-1024": 120.0}
    results = measure(["step-64"], runs) | measure(["step-1024"], min(runs, 1))
    print("## A step of DeepSeek-V3\n")
    print(
        "All 61 layers (3 dense, 58 with experts), 4096 tokens a GPU, in fluid: load, build, run and check. Tables of"
    )
    print(f"the results are beside it. Median of {runs} runs; one of 1024 GPUs.\n")
    print("| case | flows | CPU s | aim | met | tables s | memory MB |")
    print("|---|---:|---:|---:|---|---:|---:|")
    for name, result in results.items():
        met = "yes" if result["cpu"] <= aims[name] else "**no**"
        print(
            f"| {name} | {result['flows']:,.0f} | {result['cpu']:.1f} | {aims[name]:g} s | {met} "
            f"| {result['tables']:.1f} | {result['memory'] / 1e6:,.0f} |"
        )
    print()


def planner_table(runs: int) -> None:
    results = measure([f"planner-{name}" for name in DISPATCHERS], min(runs, 3))
    print("## Planners\n")
    print(f"CPU ms of one layer's plan by experts / ranks, {TOKENS} tokens a rank, top-8 (`bilevel`: top-1), Zipf 0.5")
    print("with drift; `eplb` and `least_loaded` plan every batch, `sinkhorn` has 10 rounds. Gate balancers look at")
    print("every score, so their time grows with tokens times experts.\n")
    print("| dispatcher | " + " | ".join(f"{experts} / {ranks}" for experts, ranks in SIZES) + " |")
    print("|---|" + "---:|" * len(SIZES))
    for name, result in results.items():
        times = (result[f"{experts}/{ranks}"] for experts, ranks in SIZES)
        print(f"| {name.removeprefix('planner-')} | " + " | ".join(f"{ms:.2f}" for ms in times) + " |")
    print()


def main() -> None:
    parts: dict[str, Callable[[int], None]] = {"layers": layer_table, "planners": planner_table, "steps": step_table}
    parser = argparse.ArgumentParser(description="Speed of the mixture-of-experts simulation.")
    parser.add_argument("--quick", action="store_true", help="one run of each case, without the whole steps")
    parser.add_argument("--only", choices=sorted(parts), help="one part")
    parser.add_argument("--child", choices=sorted(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    runs = 1 if options.quick else 3
    print("# Mixture of experts\n")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start.\n")
    for name, part in parts.items():
        if options.only == name or (options.only is None and not (options.quick and name == "steps")):
            part(runs)


if __name__ == "__main__":
    main()
