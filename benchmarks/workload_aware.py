"""workload_aware against round robin on the Azure conversation trace: ``python benchmarks/workload_aware.py``.

Four replicas of llama-3.1-8b on A100s serve ten parts of the trace, one a seed, of 1,936 requests each that have none
in common, at several times their published rate. The seed also moves the policies' draws and the predictor's errors.
All routers see the same arrivals, so a gain is of a pair of runs. ``trained`` is workload_aware that begins with what
it learned on three other parts at that rate (what Jain et al. call episodes; theirs were 20 of 2,000 requests) and
explores no more.

``--trace FILE`` takes another trace, ``--seeds N`` fewer parts, ``--speeds 4,6`` other rates, ``--plain`` leaves the
trained router out. ``--train EPISODES --speeds S`` only trains, and prints the router as ``dispatch`` has it.
Prints the tables of docs/routers_learned.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import table

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = ROOT / "scenarios" / "serving_workload_aware.yaml"
TRACE = SCENARIO.parent / "traces" / "azure_conv.csv.gz"
COUNT, PARTS = 1936, 10
PAPER = "7.8 to 11.43 %"
EPISODES = 3
TIMES = ("step", "sequence", "prompt_token", "context_token")


def aware(**parameters: Any) -> dict[str, Any]:
    return {"kind": "workload_aware", **parameters}


ROUTERS: dict[str, Any] = {
    "round_robin": "round_robin",
    "least_requests": "least_requests",
    "least_tokens": {"kind": "least_tokens", "predictor": {}},
    "estimate": aware(learn=False),
    "workload_aware": aware(),
    "error_05": aware(predictor={"error": 0.5}),
    "buckets": aware(predictor={"bucket": 256}),
    "unpredicted": aware(predictor=None),
}


class Outcome(NamedTuple):
    """Of one run: means over its requests, in seconds, and whether the backlog grew."""

    e2e: float
    ttft: float
    tpot: float
    p99: float
    saturated: bool


def run(routers: dict[str, Any], speed: float, part: int, seed: int, trace: Path | None) -> dict[str, Outcome]:
    """Each router on the same part of the trace."""
    from sim import api

    text = SCENARIO.read_text(encoding="utf-8").split("variants:")[0]
    arrivals = {"file": str(trace or TRACE), "speed": speed, "first": part * COUNT, "count": COUNT}
    sets = {f"workload.0.arrivals.{name}": value for name, value in arrivals.items()}
    found = {}
    for name, router in routers.items():
        results = api.run(api.load(text, {**sets, "dispatch.request": router}, seed=seed), quiet=True)
        rows = results.frame("requests", ["e2e_ms", "ttft_ms", "tpot_ms"])
        means = rows.mean() / 1000
        tail = rows["e2e_ms"].quantile(0.99) / 1000
        found[name] = Outcome(means.e2e_ms, means.ttft_ms, means.tpot_ms, tail, results.status == "saturated")
    return found


def trained(speed: float, parts: Iterable[int], seed: int, trace: Path | None) -> dict[str, Any]:
    """What workload_aware has learned after an episode on each of ``parts``, as its parameters."""
    from sim.dispatch.request import workload_aware

    parameters = aware()
    plain, made = workload_aware.Policy, []

    class Watched(plain):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    workload_aware.Policy = Watched  # type: ignore[misc]
    try:
        for part in parts:
            run({"trained": parameters}, speed, part, seed, trace)
            learned = made[-1]
            times = {name: f"{value * 1e12:.0f}ps" for name, value in zip(TIMES, learned.times, strict=True)}
            parameters = aware(**times, weights=[round(float(weight), 4) for weight in learned.weights])
    finally:
        workload_aware.Policy = plain  # type: ignore[misc]
    return {**parameters, "explore": 0.0}


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and half width of the 95 % interval."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean()), float(half)


def rows(found: dict[str, list[Outcome]]) -> list[tuple[str, ...]]:
    def mean(outcomes: list[Outcome], of: Callable[[Outcome], float]) -> float:
        return float(np.mean([of(one) for one in outcomes]))

    base = np.array([one.e2e for one in found["round_robin"]])
    lines = []
    for name, outcomes in found.items():
        gain, half = interval(100 * (1 - np.array([one.e2e for one in outcomes]) / base))
        told = f"{gain:.1f} ± {half:.1f} %" if len(base) > 1 else f"{gain:.1f} %"
        told = "" if name == "round_robin" else told
        lines.append((
            name, f"{mean(outcomes, lambda one: one.e2e):.2f}", told, f"{mean(outcomes, lambda one: one.p99):.1f}",
            f"{mean(outcomes, lambda one: one.ttft):.2f}", f"{1000 * mean(outcomes, lambda one: one.tpot):.1f}",
            f"{sum(one.saturated for one in outcomes)} of {len(outcomes)}",
        ))  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--seeds", type=int, default=PARTS)
    parser.add_argument("--speeds", default="3,4,6,7,8")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--train", type=int, metavar="EPISODES")
    options = parser.parse_args()
    for speed in map(float, options.speeds.split(",")):
        if options.train:
            print(f"request: {trained(speed, range(options.train), 1, options.trace)}")
            continue
        began, found = time.process_time(), {}
        for seed in range(1, options.seeds + 1):
            part = seed - 1
            routers = dict(ROUTERS)
            if not options.plain:
                others = [(part + PARTS // 2 + number) % PARTS for number in range(EPISODES)]
                routers["trained"] = trained(speed, others, seed, options.trace)
            for name, outcome in run(routers, speed, part, seed, options.trace).items():
                found.setdefault(name, []).append(outcome)
        print(f"{speed:g} times the trace's rate ({time.process_time() - began:.0f} CPU s); the paper: {PAPER}\n")
        head = "router | E2E mean s | less than round robin | p99 s | TTFT mean s | TPOT mean ms | saturated"
        table(head, rows(found))


if __name__ == "__main__":
    main()
