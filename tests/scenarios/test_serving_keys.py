"""Every key of a workload of requests, its engine and its routers moves a column: one that does nothing is a fault."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from sim import api
from sim.dispatch import api as routers
from sim.dispatch.registry import Registry
from sim.scenario import request_arrivals as asked
from sim.scenario import serving as keys
from sim.scenario import serving_engine as engines
from tests.unit.serving_stories import story

Case = tuple[dict[str, Any], dict[str, Any]]  # what is said in both runs, and what in the second one beside it

NULL = "null"  # said, where None takes a key away
BUSY = {
    "w.replicas": 3,
    "w.arrivals": {"kind": "poisson", "rate": "60/s"},
    "w.count": 90,
    "w.prompt": {"kind": "log_normal", "mean": 500, "cv": 1},
    "w.output": {"kind": "geometric", "mean": 12},
    "w.sessions": {"turns": {"kind": "geometric", "mean": 1.5}, "think": "50ms"},
    "w.prefix": {"tokens": 128, "groups": 3},
    "e.kv_blocks": 260,
    "e.max_sequences": 6,
    "d.kind": "least_requests",
}
TIGHT = {"e.kv_blocks": 150, "w.sessions": None, "w.replicas": 2}
PLAIN = {"w.replicas": None}
POOLS: dict[str, Any] = PLAIN | {"w.pools.a": {"replicas": 2}, "w.pools.b": {}}
DIVIDED = PLAIN | {"w.pools.a": {"role": "prefill", "replicas": 2}, "w.pools.b": {"role": "decode", "replicas": 2}}
DIVIDED |= {"e.kv_blocks": 2000}
AUTO = {"maximum": 4, "target": 3, "interval": "100ms", "startup": "50ms", "cooldown": "100ms"}
SCALED = PLAIN | {"w.pools.a.autoscale": AUTO}
SWAP = {"e.preemption": "swap"}
SPECULATION = {"e.speculation": {"tokens": 3, "acceptance": 0.5, "draft": "1ms"}}
CALIBRATED = {"e.cost": "calibrated"}
TP2 = CALIBRATED | {"w.tensor_parallel": 2, "w.count": 20}
EXPERTS = CALIBRATED | {"w.model": "qwen3-30b-a3b", "w.replicas": 1, "e.kv_blocks": 2000, "w.count": 20}
STALE = {"d.telemetry": {"interval": "80ms"}, "d.counted": "report"}
CLASSES = {"w.classes": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}], "w.sessions": None}
FULL = TIGHT | {"w.arrivals.rate": "200/s"}
CROWDED = FULL | {"e.kv_blocks": 60, "e.max_sequences": 16, "w.prompt.mean": 100, "w.output.mean": 100}
OWN_COST = {"e.cost": {"kind": "linear", "step": "10ms", "prefill_token": "10us"}}
LINEAR = {"kind": "linear", "step": "10ms", "prefill_token": "10us"}

WORKLOAD: dict[str, Case] = {
    "model": (CALIBRATED, {"w.model": "qwen3-8b"}),
    "replicas": ({}, {"w.replicas": 2}),
    "tensor_parallel": (CALIBRATED, {"w.tensor_parallel": 2}),
    "data_parallel": (EXPERTS, {"w.data_parallel": 2}),
    "expert_parallel": (EXPERTS | {"w.data_parallel": 2}, {"w.expert_parallel": True}),
    "dtype": (CALIBRATED, {"w.dtype": "fp8"}),
    "engine": ({}, {"w.engine": {"kv_blocks": 260, "cost": LINEAR}}),
    "pools": ({}, POOLS),
    "hosts": (DIVIDED, {"w.hosts": [4, 5, 6, 7]}),
    "spread": (TP2, {"w.spread": "nodes", "more.fabric": {"topology": {"kind": "fat_tree", "k": 4}}}),
    "arrivals": ({}, {"w.arrivals": {"kind": "closed", "concurrency": 20}}),
    "prompt": ({}, {"w.prompt.mean": 600}),
    "output": ({}, {"w.output.mean": 13}),
    "prompt_limit": ({}, {"w.prompt_limit": 300}),
    "targets": ({}, {"w.targets": {"e2e": "300ms"}}),
    "classes": ({}, CLASSES),
    "tenants": ({}, {"w.tenants": {"count": 3}}),
    "sessions": ({}, {"w.sessions": None}),
    "prefix": ({}, {"w.prefix": None}),
    "hash_tokens": ({}, {"w.hash_tokens": 64}),
    "count": ({}, {"w.count": 60}),
    "until": ({}, {"w.until": "500ms"}),
    "lost": ({"more.events": [{"at": "300ms", "replica": 0, "set": "down"}]}, {"w.lost": "drop"}),
    "transfer": (DIVIDED, {"w.transfer": {"layers_overlapped": False}}),
}
PARTS: dict[str, Case] = {
    "RequestClass.name": (CLASSES, {"w.classes": [{"name": "c", "share": 0.5}, {"name": "b", "share": 0.5}]}),
    "RequestClass.share": (CLASSES, {"w.classes": [{"name": "a", "share": 0.9}, {"name": "b", "share": 0.1}]}),
    "RequestClass.prompt": (CLASSES, {"w.classes": [{"name": "a", "prompt": 50}, {"name": "b"}]}),
    "RequestClass.output": (CLASSES, {"w.classes": [{"name": "a", "output": 50}, {"name": "b"}]}),
    "RequestClass.targets": (CLASSES, {"w.classes": [{"name": "a", "targets": {"ttft": "50ms"}}, {"name": "b"}]}),
    "RequestClass.priority": (CLASSES | FULL, {"w.classes": [{"name": "a"}, {"name": "b", "priority": 1}]}),
    "Targets.ttft": ({"w.targets": {"ttft": "10s"}}, {"w.targets.ttft": "50ms"}),
    "Targets.tpot": ({"w.targets": {"tpot": "10s"}}, {"w.targets.tpot": "11ms"}),
    "Targets.itl": ({"w.targets": {"itl": "10s"}}, {"w.targets.itl": "12ms"}),
    "Targets.e2e": ({"w.targets": {"e2e": "10s"}}, {"w.targets.e2e": "200ms"}),
    "Tenants.count": ({"w.tenants": {"count": 3}}, {"w.tenants.count": 9}),
    "Tenants.exponent": ({"w.tenants": {"count": 3}}, {"w.tenants.exponent": 2.0}),
    "Sessions.turns": ({}, {"w.sessions.turns": 2}),
    "Sessions.think": ({}, {"w.sessions.think": {"kind": "exponential", "mean": "50ms"}}),
    "Prefix.tokens": ({}, {"w.prefix.tokens": 64}),
    "Prefix.groups": ({}, {"w.prefix.groups": 9}),
    "Prefix.exponent": ({}, {"w.prefix.exponent": 3.0}),
    "Transfer.layers_overlapped": (DIVIDED, {"w.transfer": {"layers_overlapped": False}}),
    "Transfer.parts": (DIVIDED, {"w.transfer": {"parts": 1}}),
    "Autoscale.maximum": (SCALED, {"w.pools.a.autoscale.maximum": 2}),
    "Autoscale.minimum": (SCALED | {"w.pools.a.replicas": 3}, {"w.pools.a.autoscale.minimum": 3}),
    "Autoscale.metric": (SCALED, {"w.pools.a.autoscale.metric": "waiting"}),
    "Autoscale.target": (SCALED, {"w.pools.a.autoscale.target": 9}),
    "Autoscale.interval": (SCALED, {"w.pools.a.autoscale.interval": "150ms"}),
    "Autoscale.tolerance": (SCALED, {"w.pools.a.autoscale.tolerance": 0.9}),
    "Autoscale.startup": (SCALED, {"w.pools.a.autoscale.startup": "300ms"}),
    "Autoscale.cooldown": (SCALED | {"w.arrivals.rate": "20/s"}, {"w.pools.a.autoscale.cooldown": "9s"}),
    "PoolKeys.model": (POOLS | CALIBRATED, {"w.pools.b.model": "qwen3-8b"}),
    "PoolKeys.replicas": (POOLS, {"w.pools.b.replicas": 2}),
    "PoolKeys.tensor_parallel": (POOLS | CALIBRATED, {"w.pools.b.tensor_parallel": 2}),
    "PoolKeys.data_parallel": (POOLS | EXPERTS | PLAIN, {"w.pools.b.data_parallel": 2}),
    "PoolKeys.expert_parallel": (
        POOLS | EXPERTS | PLAIN | {"w.data_parallel": 2},
        {"w.pools.b.expert_parallel": True},
    ),
    "PoolKeys.dtype": (POOLS | CALIBRATED, {"w.pools.b.dtype": "fp8"}),
    "PoolKeys.role": (POOLS, {"w.pools.b.role": "decode"}),
    "PoolKeys.quality": (POOLS | {"d.kind": "best_effort", "d.warm_up": 10}, {"w.pools.b.quality": 0.1}),
    "PoolKeys.hosts": (DIVIDED, {"w.pools.a.hosts": [4, 5], "w.pools.b.hosts": [6, 7]}),
    "PoolKeys.engine": (POOLS, {"w.pools.b.engine": {"kv_blocks": 260, "cost": LINEAR}}),
    "PoolKeys.autoscale": (POOLS, {"w.pools.b.autoscale": AUTO}),
}
ARRIVALS: dict[str, Case] = {
    "Poisson.rate": ({}, {"w.arrivals.rate": "61/s"}),
    "Gamma.rate": ({"w.arrivals": {"kind": "gamma", "rate": "60/s", "cv": 2}}, {"w.arrivals.rate": "61/s"}),
    "Gamma.cv": ({"w.arrivals": {"kind": "gamma", "rate": "60/s", "cv": 2}}, {"w.arrivals.cv": 3}),
    "Mmpp.rates": (
        {"w.arrivals": {"kind": "mmpp", "rates": ["9/s", "90/s"], "holds": ["1s", "1s"]}},
        {"w.arrivals.rates": ["9/s", "80/s"]},
    ),
    "Mmpp.holds": (
        {"w.arrivals": {"kind": "mmpp", "rates": ["9/s", "90/s"], "holds": ["1s", "1s"]}},
        {"w.arrivals.holds": ["1s", "2s"]},
    ),
    "Closed.concurrency": ({"w.arrivals": {"kind": "closed", "concurrency": 9}}, {"w.arrivals.concurrency": 8}),
    "Closed.think": ({"w.arrivals": {"kind": "closed", "concurrency": 9}}, {"w.arrivals.think": "10ms"}),
    "Constant.tokens": ({"w.prompt": 300}, {"w.prompt": 301}),
    "Uniform.low": ({"w.prompt": {"kind": "uniform", "low": 9, "high": 999}}, {"w.prompt.low": 99}),
    "Uniform.high": ({"w.prompt": {"kind": "uniform", "low": 9, "high": 999}}, {"w.prompt.high": 888}),
    "Exponential.mean": ({"w.prompt": {"kind": "exponential", "mean": 300}}, {"w.prompt.mean": 400}),
    "Geometric.mean": ({}, {"w.output.mean": 13}),
    "LogNormal.mean": ({}, {"w.prompt.mean": 501}),
    "LogNormal.cv": ({}, {"w.prompt.cv": 1.1}),
    "AzureConv.kind": ({}, {"w.output": "azure_conv"}),
    "AzureCode.kind": ({}, {"w.output": "azure_code"}),
}
ENGINE: dict[str, Case] = {
    "token_budget": ({}, {"e.token_budget": 300}),
    "max_sequences": ({}, {"e.max_sequences": 3}),
    "kv_blocks": ({}, {"e.kv_blocks": 150}),
    "block_tokens": ({}, {"e.block_tokens": 32}),
    "watermark": (FULL, {"e.watermark": 0.3}),
    "memory_share": (
        CALIBRATED | {"w.engine": {"max_sequences": 4}, "more.gpus": {"kind": "a100_sxm"}},
        {"w.engine": {"max_sequences": 4, "memory_share": 0.22}},
    ),
    "context": ({}, {"e.context": 900}),
    "preemption": (CROWDED, {"e.preemption": "swap"}),
    "swap_rate": (CROWDED | SWAP, {"e.swap_rate": "1Gbps"}),
    "host_blocks": (CROWDED | SWAP, {"e.host_blocks": 1}),
    "prefix_cache": ({}, {"e.prefix_cache": False}),
    "chunked_prefill": ({}, {"e.chunked_prefill": False}),
    "async_scheduling": ({}, {"e.async_scheduling": True}),
    "overhead": (CALIBRATED, {"e.overhead": {"step": "3ms"}}),
    "speculation": ({}, SPECULATION),
    "cost": ({}, CALIBRATED),
    "communication": (TP2, {"e.communication": "flows"}),
    "noise": ({}, {"e.noise": 0.1}),
}
COSTS: dict[str, Case] = {
    "Linear.step": (OWN_COST, {"e.cost.step": "11ms"}),
    "Linear.prefill_token": (OWN_COST, {"e.cost.prefill_token": "11us"}),
    "Linear.decode_sequence": (OWN_COST, {"e.cost.decode_sequence": "1ms"}),
    "Linear.context_token": (OWN_COST, {"e.cost.context_token": "1us"}),
    "Splitwise.capped": (
        {"w.model": "llama-2-70b", "w.tensor_parallel": 8, "w.replicas": 1, "w.count": 20, "e.cost": "splitwise"}
        | {"e.kv_blocks": 2000, "more.gpus": {"kind": "h100_sxm"}},
        {"e.cost": {"kind": "splitwise", "capped": True}},
    ),
    "Overhead.step": (CALIBRATED | {"e.overhead": {"sequence": "0s"}}, {"e.overhead.step": "3ms"}),
    "Overhead.sequence": (CALIBRATED | {"e.overhead": {"step": "0s"}}, {"e.overhead.sequence": "1ms"}),
    "Speculation.tokens": (SPECULATION, {"e.speculation.tokens": 4}),
    "Speculation.acceptance": (SPECULATION, {"e.speculation.acceptance": 0.6}),
    "Speculation.draft": (SPECULATION, {"e.speculation.draft": "2ms"}),
}
ROUTER: dict[str, Case] = {
    "counted": (STALE, {"d.counted": "decision"}),
    "telemetry": ({}, STALE),
    "routers": (STALE, {"d.routers": 3}),
    "ties": ({}, {"d.ties": "first"}),
    "latency": ({}, {"d.latency": "5ms"}),
    "network": ({}, {"d.network": "5ms"}),
    "predictor": ({"d.kind": "least_tokens"}, {"d.predictor": {}}),
    "hold": (FULL, {"d.hold": {"queue": 1}}),
    "reject": (FULL, {"d.reject": {"kind": "queue", "most": 1}}),
}
ROUTER_PARTS: dict[str, Case] = {
    "Telemetry.interval": (STALE, {"d.telemetry.interval": "200ms"}),
    "Telemetry.delay": (STALE, {"d.telemetry.delay": "50ms"}),
    "Telemetry.loss": (STALE, {"d.telemetry.loss": 0.5}),
    "Predictor.error": ({"d.kind": "least_tokens", "d.predictor": {}}, {"d.predictor.error": 1.0}),
    "Predictor.bucket": ({"d.kind": "least_tokens", "d.predictor": {}}, {"d.predictor.bucket": 20}),
    "Hold.queue": (FULL | {"d.hold": {"queue": 1}}, {"d.hold.queue": 3}),
    "QueueLimit.most": (FULL | {"d.reject": {"kind": "queue", "most": 1}}, {"d.reject.most": 3}),
    "TargetLimit.factor": (
        FULL | {"w.targets": {"ttft": "80ms"}, "d.reject": {"kind": "slo"}},
        {"d.reject.factor": 2.0},
    ),
}
HASHED = {"w.sessions.turns": 3, "w.prefix.groups": 9, "e.kv_blocks": 400}
GUESSED = HASHED | {"d.cache": "approximate"}
QUEUED = HASHED | FULL | {"w.sessions": {"turns": 3, "think": "50ms"}, "e.kv_blocks": 400}
NEURAL = POOLS | {"d.warm_up": 20, "w.pools.a.quality": 0.6, "w.pools.b.quality": 0.8, "w.targets": {"e2e": "300ms"}}
NEURAL |= {"w.sessions": None, "w.count": 250}
LEARNED = {"w.sessions": None, "w.count": 250, "d.predictor": {"error": 0.3}}
QUICK = LEARNED | {"d.trust": 1.0, "d.window": 20, "w.count": 400, "w.arrivals.rate": "90/s"}
POLICIES: dict[str, dict[str, Case]] = {
    "power_of_two": {"choices": ({}, {"d.choices": 3}), "distinct": ({}, {"d.distinct": False})},
    "session_affinity": {
        "by": ({"w.tenants": {"count": 5}}, {"d.by": "tenant"}),
        "virtual_nodes": ({}, {"d.virtual_nodes": 7}),
        "bound": ({}, {"d.bound": 1.1}),
    },
    "prefix_aware": {
        "cache_threshold": (HASHED, {"d.cache_threshold": 0.9}),
        "balance_abs_threshold": (HASHED, {"d.balance_abs_threshold": 1}),
        "balance_rel_threshold": (HASHED | {"d.balance_abs_threshold": 1}, {"d.balance_rel_threshold": 4.0}),
        "max_tree_size": (HASHED, {"d.max_tree_size": 500}),
    },
    "kv_cost": {
        "cache": (QUEUED, {"d.cache": "approximate"}),
        "overlap_score_credit": (HASHED, {"d.overlap_score_credit": 0.1}),
        "credit_decay": (QUEUED, {"d.credit_decay": 5.0}),
        "prefill_load_scale": (QUEUED, {"d.prefill_load_scale": 9.0}),
        "decode_active_request_weight": (QUEUED, {"d.decode_active_request_weight": 50.0}),
        "temperature": (HASHED, {"d.temperature": 1.0}),
        "max_tree_blocks": (GUESSED, {"d.max_tree_blocks": 20}),
    },
    "weighted_scorers": {
        "weights": (QUEUED, {"d.weights": {"queue": 9.0}}),
        "cache": (QUEUED, {"d.cache": "precise"}),
        "load_threshold": (QUEUED | {"d.weights": {"load": 9.0}, "w.count": 200}, {"d.load_threshold": 2}),
        "max_tree_blocks": (GUESSED, {"d.max_tree_blocks": 20}),
    },
    "pd_threshold": {"threshold": (DIVIDED, {"d.threshold": 400})},
    "predictive": {
        "predictor": ({}, {"d.predictor": {"error": 2.0}}),
        "by": (FULL | {"w.output": {"kind": "log_normal", "mean": 60, "cv": 2}}, {"d.by": "ttft"}),
        "top_k": (FULL, {"d.top_k": 1}),
    },
    "best_effort": {
        "deadline": (NEURAL | {"w.targets": None}, {"d.deadline": "200ms"}),
        "reward": (NEURAL, {"d.reward": "soft"}),
        "classes": (NEURAL | CLASSES | {"w.replicas": None}, {"d.classes": 1}),
        "hidden": (NEURAL, {"d.hidden": 8}),
        "rate": (NEURAL, {"d.rate": 0.1}),
        "discount": (NEURAL, {"d.discount": 0.9}),
        "batch": (NEURAL, {"d.batch": 4}),
        "memory": (NEURAL, {"d.memory": 40}),
        "warm_up": (NEURAL, {"d.warm_up": 40}),
        "explore": (NEURAL, {"d.explore": 0.9}),
        "explored": (NEURAL, {"d.explored": 2}),
        "floor": (NEURAL | {"d.explored": 2}, {"d.floor": 0.5}),
    },
    "workload_aware": {
        "predictor": (LEARNED, {"d.predictor": {"error": 2.0}}),
        "output": (LEARNED | {"d.predictor": NULL}, {"d.output": 2}),
        "heavy_prompt": (QUICK, {"d.heavy_prompt": 300}),
        "heavy_output": (QUICK, {"d.heavy_output": 10}),
        "step": (LEARNED, {"d.step": "100ms"}),
        "prompt_token": (LEARNED, {"d.prompt_token": "9us"}),
        "sequence": (LEARNED, {"d.sequence": "5ms"}),
        "context_token": (LEARNED, {"d.context_token": "30us"}),
        "learn": (LEARNED, {"d.learn": False}),
        "explore": (LEARNED, {"d.explore": 0.5}),
        "explored": (LEARNED, {"d.explored": 5}),
        "horizon": (LEARNED, {"d.horizon": "100ms"}),
        "trust": (LEARNED, {"d.trust": 1.0}),
        "window": (LEARNED, {"d.window": 10}),
        "weights": (LEARNED, {"d.weights": [9.0, *[0.0] * 9]}),
        "hold_above": (FULL, {"d.hold_above": 0.5}),
    },
}
OWN = {f"{policy}.{name}": ({"d.kind": policy} | both, then) for policy, table in POLICIES.items()
       for name, (both, then) in table.items()}  # fmt: skip
KINDS = {"AzureConv.kind", "AzureCode.kind"}
CASES = WORKLOAD | PARTS | ARRIVALS | ENGINE | COSTS | ROUTER | ROUTER_PARTS | OWN


def scenario(said: dict[str, Any]) -> dict[str, Any]:
    """``said``: dotted keys below w(orkload), e(ngine), d(ispatch.request) or more; None takes one away."""
    tree: dict[str, Any] = {"w": {}, "e": {}, "d": {}, "more": {}}
    for path, value in said.items():
        *above, last = path.split(".")
        at = tree
        for name in above:
            old = at.get(name)
            at[name] = dict(old) if isinstance(old, dict) else {}
            at = at[name]
        at[last] = value
    made = story(_present(tree["w"]), _present(tree["e"]), dispatch={"request": _present(tree["d"])}, **tree["more"])
    if "engine" in tree["w"]:
        made["workload"][0]["engine"] = tree["w"]["engine"]
    made["workload"][0]["engine"] = _present(made["workload"][0]["engine"])
    return made


def _present(mapping: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value == NULL else value for name, value in mapping.items() if value is not None}


def tables(said: dict[str, Any]) -> dict[str, pd.DataFrame]:
    results = api.run(scenario(said), quiet=True)
    wanted = ("requests", "request_times", "replicas", "links", "gpus", "counters")
    return {name: results.frame(name) for name in wanted if results.summary.get(name, {}).get("count")}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_key_moves_a_column(name: str) -> None:
    both, then = CASES[name]
    before, after = tables(BUSY | both), tables(BUSY | both | then)
    assert before.keys() != after.keys() or any(not before[one].equals(after[one]) for one in before), name


def test_the_table_has_every_key() -> None:
    """But those of files, which other tests read, of kinds, and of gaps."""
    made = (keys.RequestClass, keys.Targets, keys.Tenants, keys.Sessions, keys.Prefix, keys.Transfer, keys.Autoscale)
    made += (keys.PoolKeys, asked.Poisson, asked.Gamma, asked.Mmpp, asked.Closed, asked.Constant, asked.Uniform)
    made += (asked.Exponential, asked.Geometric, asked.LogNormal, engines.Linear, engines.Splitwise, engines.Overhead)
    made += (engines.Speculation, routers.Telemetry, routers.Predictor, routers.Hold, routers.QueueLimit)
    made += (routers.TargetLimit,)
    wanted = {f"{one.__name__}.{name}" for one in made for name in one.model_fields}
    wanted |= set(keys.Requests.model_fields) | set(engines.EngineKeys.model_fields)
    shared = set(routers.RouterParams.model_fields)
    wanted |= shared
    for name in Registry().names("request"):
        module = Registry().load("request", name).module
        wanted |= {f"{name}.{one}" for one in module.Params.model_fields.keys() - shared}
    wanted |= {"workload_aware.predictor", "predictive.predictor"}
    assert wanted - {name for name in wanted if name.rpartition(".")[2] == "kind"} == CASES.keys() - KINDS
