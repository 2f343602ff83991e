"""Short runs of request serving on an engine without sharing: each iteration takes 10 ms, a prompt token 10 us more."""

from __future__ import annotations

from typing import Any

from sim import api


def story(workload: dict[str, Any], engine: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A scenario. Prompts of 1000 tokens, answers of 3, budgets of 1000 tokens, unless ``workload`` or ``engine`` say
    otherwise."""
    cost = {"kind": "linear", "step": "10ms", "prefill_token": "10us"}
    engine = {"token_budget": 1000, "max_sequences": 8, "kv_blocks": 1000, "cost": cost} | (engine or {})
    common = {"kind": "requests", "model": "llama-3.1-8b", "prompt": 1000, "output": 3, "engine": engine}
    link = {"rate": "400Gbps", "delay": "1us"}
    return {
        "name": "story",
        "engine": "ideal",
        "fabric": {"topology": {"kind": "star", "hosts": 8, "host_link": link}},
        "workload": [common | workload],
    } | more


def run(workload: dict[str, Any], engine: dict[str, Any] | None = None, **more: Any) -> api.Results:
    return api.run(story(workload, engine, **more), quiet=True)


def after(*milliseconds: float) -> dict[str, Any]:
    """Arrivals after these gaps."""
    return {"kind": "gaps", "gaps": [f"{round(gap * 1000)}us" for gap in milliseconds]}


def counters(results: api.Results) -> dict[tuple[str, str], int]:
    rows = results.frame("counters")
    return dict(zip(zip(rows["name"], rows["reason"], strict=True), rows["count"].tolist(), strict=True))
