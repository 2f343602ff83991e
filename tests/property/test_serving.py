"""Random fleets with random failures: every request ends, all laws hold (each run checks them), twice the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim import api
from tests.unit.serving_stories import story

ROUTERS = ("round_robin", "random", "least_requests", "least_tokens", "power_of_two", "kv_cost", "weighted_scorers")


def some(rng: np.random.Generator, *values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def router(rng: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": some(rng, *ROUTERS, "predictive", "workload_aware"), "routers": some(rng, 1, 1, 3)}
    found["counted"] = some(rng, "decision", "arrival", "report")
    if rng.random() < 0.5:
        found["telemetry"] = {"interval": some(rng, "3ms", "70ms"), "delay": some(rng, "0s", "11ms"), "loss": 0.2}
    if rng.random() < 0.3:
        found |= {"latency": "1ms", "network": "4ms"}
    if rng.random() < 0.5:
        found["predictor"] = {"error": 0.4}
    if rng.random() < 0.3:
        found["hold"] = {"queue": some(rng, 1, 3)}
    if rng.random() < 0.3:
        found["reject"] = some(rng, {"kind": "queue", "most": 3}, {"kind": "slo", "factor": 2.0})
    return found


def fleet(rng: np.random.Generator) -> dict[str, Any]:
    shards = some(rng, 1, 1, 2)
    if rng.random() < 0.5:
        pools: dict[str, Any] = {
            "fill": {"role": "prefill", "replicas": some(rng, 1, 2), "tensor_parallel": shards},
            "talk": {"role": some(rng, "decode", "decode", "mixed"), "replicas": some(rng, 1, 2)},
        }
        return {"pools": pools, "transfer": some(rng, {"layers_overlapped": False}, {"parts": 3})}
    if rng.random() < 0.3:
        auto = {"maximum": 4, "target": 3, "interval": "40ms", "startup": "90ms", "cooldown": "100ms"}
        return {"pools": {"main": {"autoscale": auto | {"metric": some(rng, "requests", "waiting")}}}}
    if rng.random() < 0.2:
        return {"model": "qwen3-30b-a3b", "replicas": 2, "data_parallel": 2, "expert_parallel": True}
    return {"replicas": some(rng, 1, 3), "tensor_parallel": shards}


def scenario(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    engine: dict[str, Any] = {
        "token_budget": some(rng, 200, 1000),
        "max_sequences": some(rng, 1, 4, 32),
        "kv_blocks": some(rng, 70, 150, 1000),
        "watermark": some(rng, 0.0, 0.02),
        "preemption": some(rng, "recompute", "swap"),
        "noise": some(rng, 0.0, 0.2),
    }
    arrivals = some(rng, {"kind": "poisson", "rate": "60/s"}, {"kind": "closed", "concurrency": 9})
    work: dict[str, Any] = {"arrivals": arrivals, "count": 60, "targets": {"ttft": "300ms"}}
    work |= {"prompt": {"kind": "exponential", "mean": 300}, "output": {"kind": "geometric", "mean": 12}}
    work |= {"lost": some(rng, "reroute", "drop")}
    if rng.random() < 0.3:
        work |= {"prefix": {"tokens": 64, "groups": 3}}
    elif rng.random() < 0.3:
        work |= {"sessions": {"turns": 3, "think": "20ms"}, "count": 20}
    events = []
    for _ in range(int(rng.integers(4))):
        what: dict[str, Any] = {"replica": int(rng.integers(2))} if rng.random() < 0.6 else {"host": "host1"}
        events.append(what | {"at": f"{rng.integers(900)}ms", "set": "down", "for": f"{rng.integers(1, 300)}ms"})
    found = work | fleet(rng)
    if found.get("replicas") == 1:
        events = [event | {"replica": 0} if "replica" in event else event for event in events]
    network = some(rng, "ideal", "fluid")
    return story(found, engine, dispatch={"request": router(rng)}, events=events, seed=seed) | {"engine": network}


def check(seed: int) -> None:
    given = scenario(seed)
    runs = [api.run(given, quiet=True) for _ in range(2)]
    for run in runs:
        assert run.status in ("completed", "saturated"), run.summary["reasons"]
        assert not (run.frame("requests").status == "unfinished").any()
    for table in ("requests", "replicas", "flows"):
        assert runs[0].frame(table).equals(runs[1].frame(table))


@pytest.mark.parametrize("seed", range(12))
def test_every_request_ends(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 200))
def test_every_request_ends_in_many_fleets(seed: int) -> None:
    check(seed)
