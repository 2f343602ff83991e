"""Speed and memory of request serving: whole programs, each in a process of its own.

``python benchmarks/serving.py [--trace FILE] [--runs N] [--only azure|linear]`` prints Markdown. The first case is the
Azure conversation trace of 2023 (Patel et al., Splitwise, ISCA 2024) on four replicas, prompts clipped at 4,096
tokens: the work on which other simulators' times are known. The second is Poisson arrivals in growing numbers: the
cost of a request must not grow with them. CPU seconds are user and system time of the whole process, imports, loading
and writing included; what is compiled is compiled before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
TRACE = ROOT / "scenarios" / "traces" / "azure_conv.csv.gz"
AIM_CPU, AIM_RATE, AIM_MEMORY = 15.0, 40_000, 500  # s, iterations a CPU second, MB
NUMBERS = (10_000, 100_000, 1_000_000)

FLEET = """
name: serving
engine: ideal
fabric: {{topology: {{kind: star, hosts: 4, host_link: {{rate: 200Gbps, delay: 1us}}}}}}
gpus: {{kind: a100_sxm}}
dispatch: {{request: least_requests}}
telemetry: {{flow_times: false}}
workload:
  - kind: requests
    model: llama-3.1-8b
    replicas: 4
    engine: {{token_budget: 512, max_sequences: 128}}
"""
AZURE = (
    FLEET
    + """
    arrivals: {{kind: trace, file: {trace}}}
    prompt_limit: 4096
"""
)
POISSON = (
    FLEET
    + """
    arrivals: {{kind: poisson, rate: 60/s}}
    count: {count}
    prompt: {{kind: exponential, mean: 200}}
    output: {{kind: exponential, mean: 30}}
"""
)


class Run(NamedTuple):
    """One program. ``cpu`` s, ``memory`` MB at the peak."""

    cpu: float
    memory: float
    requests: int
    iterations: int


def run(text: str) -> Run:
    """The scenario in a new process."""
    with tempfile.TemporaryDirectory(prefix="spillway-serving-") as folder:
        scenario, out = Path(folder) / "scenario.yaml", Path(folder) / "out"
        scenario.write_text(text)
        command = [sys.executable, str(ROOT / "run_sim.py"), str(scenario), "-q", "--no-plots", "--out", str(out)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the run failed with exit code {process.returncode}")
        replicas = pd.read_parquet(out / "replicas.parquet")
        requests = len(pd.read_parquet(out / "requests.parquet", columns=["id"]))
        return Run(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, requests, int(replicas["iterations"].sum()))


def azure(trace: Path, runs: int) -> None:
    text = AZURE.format(trace=trace.resolve())
    run(text)
    found = [run(text) for _ in range(runs)]
    cpu = statistics.median(one.cpu for one in found)
    memory = max(one.memory for one in found)
    rate = found[0].iterations / cpu
    print("## Azure conversation trace\n")
    print(f"`{trace.name}`, llama-3.1-8b on 4 a100_sxm, least_requests, budget 512, 128 sequences; median of {runs}.\n")
    print("| requests | iterations | CPU s | iterations per CPU s | memory MB | aims met |")
    print("|---:|---:|---:|---:|---:|---|")
    met = [name for name, good in (
        ("CPU", cpu < AIM_CPU), ("rate", rate >= AIM_RATE), ("memory", memory < AIM_MEMORY)
    ) if good]  # fmt: skip
    print(
        f"| {found[0].requests:,} | {found[0].iterations:,} | {cpu:.1f} | {rate:,.0f} | {memory:.0f} | "
        f"{', '.join(met) or 'none'} |\n"
    )


def linear() -> None:
    print("## Growing numbers of requests\n")
    print("| requests | iterations | CPU s | us a request | memory MB |")
    print("|---:|---:|---:|---:|---:|")
    for number in NUMBERS:
        one = run(POISSON.format(count=number))
        share = one.cpu / one.requests * 1e6
        print(f"| {one.requests:,} | {one.iterations:,} | {one.cpu:.1f} | {share:.0f} | {one.memory:.0f} |", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trace", type=Path, default=TRACE, help="the trace as published; default: the shipped one")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("azure", "linear"))
    options = parser.parse_args()
    if options.only != "linear":
        azure(options.trace, options.runs)
    if options.only != "azure":
        linear()


if __name__ == "__main__":
    main()
