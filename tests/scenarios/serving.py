"""What the scenarios of request serving show."""

from __future__ import annotations

import pytest

from analysis.load import Results
from tests.scenarios.figures import Runs


def shares(run: Results) -> list[float]:
    """Of the requests, by replica."""
    requests = run.frame("requests")
    count = requests.groupby("replica").size().reindex(range(len(run.frame("replicas"))), fill_value=0)
    return [float(number) / len(requests) for number in count]


def average(run: Results, column: str = "e2e_ms") -> float:
    return float(run.frame("requests")[column].mean())


def serving_ties(runs: Runs) -> None:
    first, last = shares(runs["first"])[0], shares(runs["first"])[-1]
    assert first > 0.55
    assert last < 0.05
    for name in ("random", "rotate"):
        assert min(shares(runs[name])) > 0.2
    assert last < shares(runs["power_of_two"])[-1] < 0.15
    assert average(runs["random"]) < 1.01 * average(runs["first"])  # nothing gained, at this load


def serving_late_counting(runs: Runs) -> None:
    late = shares(runs["report"])
    assert sum(share > 0 for share in late) == 2
    for name in ("arrival", "decision", "four_routers", "power_of_two"):
        assert min(shares(runs[name])) > 0.15
        assert average(runs[name]) < 0.6 * average(runs["report"])
    order = ["decision", "four_routers", "power_of_two", "arrival", "report"]
    means = [average(runs[name]) for name in order]
    assert means == sorted(means)


def serving_hot_prefix(runs: Runs) -> None:
    assert max(shares(runs["affinity"])) > 0.85
    assert average(runs["affinity"]) > 4 * average(runs["tight"])
    assert average(runs["published"]) > 1.5 * average(runs["tight"])
    cached = {name: float(run.frame("requests")["cached_tokens"].sum()) for name, run in runs.items()}
    assert max(cached.values()) < 1.02 * min(cached.values())
    for name in ("tight", "kv_cost", "scorers", "blind"):
        assert min(shares(runs[name])) > 0.05
        assert average(runs[name]) < 1.1 * average(runs["kv_cost"])


def good(run: Results) -> float:
    return float(run.frame("requests")["good"].mean())


def uplink(run: Results, link: str = "leaf0->spine0") -> float:
    links = run.frame("links").set_index("link")
    return float(links["bytes"][link])


def serving_pd(runs: Runs) -> None:
    assert good(runs["mixed"]) < 0.7 < good(runs["late"]) < 0.95 < good(runs["divided"])
    caches = float(runs["divided"].frame("requests")["prompt_tokens"].sum()) * 131_072
    assert uplink(runs["divided"]) - uplink(runs["mixed"]) > 0.95 * caches


def serving_pd_slow(runs: Runs) -> None:
    assert good(runs["divided"]) < 0.3
    assert good(runs["mixed"]) > 0.7
    assert good(runs["fast"]) > 0.95
    assert uplink(runs["divided"]) == uplink(runs["fast"])
    assert good(runs["chat_mixed"]) == good(runs["chat_divided"]) == 1.0
    assert average(runs["chat_divided"]) > 1.05 * average(runs["chat_mixed"])


def serving_workload_aware(runs: Runs) -> None:
    base = average(runs["round_robin"])
    assert average(runs["least_requests"]) == pytest.approx(base, rel=0.02)
    for name in ("estimate", "learned", "rough"):
        assert average(runs[name]) < 0.9 * base


def serving_predictive(runs: Runs) -> None:
    tail = {name: float(run.frame("requests")["ttft_ms"].quantile(0.99)) for name, run in runs.items()}
    for name in ("forecast", "first_token", "rough"):
        assert tail[name] < 0.8 * tail["least_tokens"] < 0.8 * tail["least_requests"]
        assert average(runs[name]) < average(runs["least_tokens"])
    assert tail["first_token"] < tail["two_forecasts"]


def serving_best_effort(runs: Runs) -> None:
    worth = {name: quality(run) for name, run in runs.items()}
    assert worth["large"] < 0.6 < worth["small"] < worth["both"] < worth["learned"] - 0.01


def quality(run: Results) -> float:
    """Quality x deadline met, mean of the last third of the requests."""
    of = {"large": 0.836, "small": 0.694}
    pool = run.frame("replicas").set_index("replica")["pool"]
    requests = run.frame("requests").sort_values("arrival_s").iloc[-(run.summary["requests"]["count"] // 3) :]
    return float((requests["replica"].map(pool).map(of) * requests["good"]).mean())


def serving_pd_threshold(runs: Runs) -> None:
    first = {name: float(run.frame("requests")["ttft_ms"].median()) for name, run in runs.items()}
    assert first["threshold"] < 0.7 * first["always"]
    assert good(runs["threshold"]) > 0.99
    assert good(runs["never"]) < 0.7 < good(runs["few"]) < 0.95
    apart = [float((run.frame("requests")["prefill_replica"] < 2).mean()) for run in runs.values()]
    assert apart == sorted(apart, reverse=True)
    assert (apart[0], apart[-1]) == (1, 0)


def serving_vllm_dense(runs: Runs) -> None:
    """Means of the measured run: 7.10 s, 32.5 ms, 28.2 s."""
    _means(runs, "serving_vllm_dense", 7097, 32.46, 28_201)


def serving_vllm_moe(runs: Runs) -> None:
    """Means of the measured run: 1.09 s, 47.3 ms, 32.3 s."""
    _means(runs, "serving_vllm_moe", 1086, 47.29, 32_345)


def _means(runs: Runs, name: str, ttft: float, tpot: float, e2e: float) -> None:
    found = runs[name].frame("requests")[["ttft_ms", "tpot_ms", "e2e_ms"]].mean()
    assert found["ttft_ms"] == pytest.approx(ttft, rel=0.1)
    assert found["tpot_ms"] == pytest.approx(tpot, rel=0.03)
    assert found["e2e_ms"] == pytest.approx(e2e, rel=0.03)


def serving_staleness(runs: Runs) -> None:
    late = {name: run.number("requests", "ttft_ms", "p99") for name, run in runs.items()}
    assert late["least_requests"] > 2 * late["fresh"]
    for name in ("power_of_two", "round_robin"):
        assert late[name] < 0.7 * late["least_requests"]
