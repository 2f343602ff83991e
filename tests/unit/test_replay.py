"""The same seed gives the same run whatever the router, and the table of a run gives the run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim import api
from sim.dispatch.registry import Registry
from tests.unit.serving_stories import story

COST = {"cost": {"kind": "linear", "step": "8ms", "prefill_token": "10us"}}
DRAWN: dict[str, Any] = {
    "arrivals": {"kind": "mmpp", "rates": ["20/s", "80/s"], "holds": ["200ms", "100ms"]},
    "count": 50,
    "prompt": {"kind": "log_normal", "mean": 500, "cv": 1.2},
    "output": {"kind": "geometric", "mean": 8},
    "sessions": {"turns": {"kind": "geometric", "mean": 2}, "think": {"kind": "exponential", "mean": "100ms"}},
    "prefix": {"tokens": 64, "groups": 3, "exponent": 1.0},
    "tenants": {"count": 3, "exponent": 1.0},
}
KEPT: dict[str, Any] = {"classes": [{"name": "a", "priority": 1, "targets": {"ttft": "80ms"}}, {"name": "b"}]}
ENGINE = {"max_sequences": 8, "kv_blocks": 300, "noise": 0.1} | COST
POOLS = {"x": {"replicas": 2, "quality": 0.6}, "y": {"model": "qwen3-8b", "replicas": 2, "quality": 0.9}}
DIVIDED = {"x": {"role": "prefill", "replicas": 2}, "y": {"role": "decode", "replicas": 2}}
AUTO = {"maximum": 4, "target": 3, "interval": "100ms", "startup": "100ms", "cooldown": "500ms"}
STALE = {"routers": 2, "telemetry": {"interval": "30ms", "delay": "5ms", "loss": 0.2}, "predictor": {"error": 0.5}}
DOWN = [{"at": f"{at}ms", "replica": replica, "set": "down", "for": "300ms"} for at, replica in ((200, 1), (700, 0))]

RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pools": ({"pools": POOLS}, {}),
    "divided": ({"pools": DIVIDED}, {"dispatch": {"request": {"kind": "pd_threshold", "threshold": 300}}}),
    "failures": ({"replicas": 3, "lost": "drop"}, {"events": DOWN}),
    "predicted": ({"replicas": 3}, {"dispatch": {"request": {"kind": "least_tokens"} | STALE}}),
    "scaled": ({"pools": {"x": {"autoscale": AUTO}}}, {}),
    "clipped": ({"replicas": 2, "prompt_limit": 400, "hash_tokens": 32}, {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_table_of_requests_gives_its_run_again(name: str, tmp_path: Path) -> None:
    workload, more = RUNS[name]
    first = api.run(story(DRAWN | KEPT | workload, ENGINE, **more), out=tmp_path / "first", quiet=True)
    trace = {"arrivals": {"kind": "trace", "file": str(tmp_path / "first" / "requests.parquet")}}
    replayed = story(KEPT | workload | trace, ENGINE, **more)
    for told in ("prompt", "output"):
        del replayed["workload"][0][told]
    again = api.run(replayed, quiet=True)
    assert first.frame("requests").turn.max() > 0
    for table in ("requests", "request_times", "request_classes", "replicas", "serving_series"):
        assert first.frame(table).equals(again.frame(table)), table


@pytest.mark.parametrize("policy", Registry().names("request"))
def test_a_router_leaves_what_is_asked_alone(policy: str) -> None:
    """Two runs are equal, and requests are those of another router."""

    def served(kind: str) -> Any:
        pools = DIVIDED if kind == "pd_threshold" else POOLS
        router = {"kind": kind} | STALE
        return api.run(story(DRAWN | KEPT | {"pools": pools}, ENGINE, dispatch={"request": router}), quiet=True)

    one, two, other = served(policy), served(policy), served("round_robin")
    for table in ("requests", "request_times", "replicas", "serving_series"):
        assert one.frame(table).equals(two.frame(table)), table
    asked = ["session", "turn", "prompt_tokens", "output_tokens", "tenant", "class", "predicted_tokens"]
    mine, theirs = (run.frame("requests").sort_values(["session", "turn"])[asked] for run in (one, other))
    assert mine.reset_index(drop=True).equals(theirs.reset_index(drop=True))
    starts = [set(run.frame("requests").query("turn == 0").arrival_s) for run in (one, other)]
    assert starts[0] == starts[1]
