"""Requests through router, replicas and back: short stories with exact times."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from sim import api
from sim.processes.serving import serving
from tests.unit.serving_stories import after, counters, run, story

ROUTER = {"kind": "round_robin"}


def times(results: api.Results, column: str) -> list[float]:
    return results.frame("requests")[column].round(6).tolist()


def test_a_request_is_prefill_then_a_step_for_each_token() -> None:
    results = run({"arrivals": after(0, 5)})
    # the first prompt takes 20 ms; of the second one 999 tokens go with a decode, in 19.99 ms, and one with the next
    assert times(results, "queue_ms") == [0.0, 15.0]
    assert times(results, "ttft_ms") == [20.0, 45.0]
    assert times(results, "e2e_ms") == [50.0, 65.0]
    replica = results.frame("replicas").iloc[0]
    assert (replica.iterations, replica.tokens, replica.requests) == (5, 2000 + 4, 2)
    gpus = results.frame("gpus")
    assert gpus.busy_us.round(3).tolist() == [70_000.0]
    assert results.status == "completed"


def test_router_and_network_take_time() -> None:
    results = run({"arrivals": after(0)}, dispatch={"request": ROUTER | {"latency": "3ms", "network": "2ms"}})
    row = results.frame("request_times").iloc[0]
    assert (row.held_ps, row.way_ps, row.queue_ps) == (3 * 10**9, 2 * 10**9, 0)
    assert row.total_ps == 45 * 10**9


def test_copies_of_a_router_take_turns() -> None:
    both = {"replicas": 2, "arrivals": after(0, 100, 100, 100)}
    assert times(run(both), "replica") == [0, 1, 0, 1]
    assert times(run(both, dispatch={"request": ROUTER | {"routers": 2}}), "replica") == [0, 0, 1, 1]


def test_a_router_holds_what_finds_a_queue_everywhere() -> None:
    one = {"max_sequences": 1}
    free = run({"arrivals": after(0, 1, 1, 1)}, one)
    held = run({"arrivals": after(0, 1, 1, 1)}, one, dispatch={"request": ROUTER | {"hold": {"queue": 1}}})
    for name in ("ttft_ms", "e2e_ms"):  # a place is free when a step ends: nothing is lost by holding
        assert times(held, name) == times(free, name)
    parts = held.frame("request_times")
    assert parts.held_ps.tolist() == [0, 0, 38 * 10**9, 77 * 10**9]
    assert (free.frame("request_times").held_ps == 0).all()


def test_early_rejections_are_counted_by_name() -> None:
    one = {"max_sequences": 1}
    queue = {"request": ROUTER | {"reject": {"kind": "queue", "most": 0}}}
    results = run({"arrivals": after(0, 1, 1)}, one, dispatch=queue)
    assert results.frame("requests").status.tolist() == ["finished", "finished", "rejected"]
    reason = "early: more than 0 waited at the replica chosen"
    assert counters(results) == {("requests rejected", reason): 1}
    slo = {"request": ROUTER | {"reject": {"kind": "slo", "factor": 2.0}, "predictor": {"error": 0.0}}}
    results = run({"arrivals": after(0, 1, 1), "targets": {"ttft": "30ms"}}, one, dispatch=slo)
    # the second one's first token comes after 39 + 20 ms, the third one's would after 98 ms
    assert results.frame("requests").status.tolist() == ["finished", "finished", "rejected"]
    assert results.frame("requests").good.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("engine", "reason"),
    [({"context": 1002}, "longer than any context"), ({"kv_blocks": 60}, "larger than any KV cache")],
)
def test_what_can_never_be_served_is_rejected(engine: dict[str, int], reason: str) -> None:
    results = run({"arrivals": after(0)}, engine)
    assert counters(results) == {("requests rejected", reason): 1}
    assert results.frame("requests").reason.tolist() == [reason]
    assert results.summary["reasons"] == [f"1 requests rejected: {reason}"]
    assert results.status == "completed"


def test_a_long_request_goes_where_it_fits() -> None:
    small, large = {"kv_blocks": 40}, {"kv_blocks": 200}
    cost = {"cost": {"kind": "linear", "step": "10ms"}}
    pools = {"small": {"engine": small | cost}, "large": {"engine": large | cost}}
    lengths = {"prompt": {"kind": "uniform", "low": 300, "high": 1500}, "output": 2}
    results = run({"pools": pools, "arrivals": after(*[50] * 20), **lengths})
    rows = results.frame("requests")
    assert set(rows.replica) == {0, 1}
    assert (rows.status == "finished").all()
    assert rows.prompt_tokens[rows.replica == 0].max() <= 39 * 16 < rows.prompt_tokens.max()


def test_reports_come_late() -> None:
    slow = ROUTER | {"kind": "least_requests", "counted": "report", "ties": "first"}
    stale = slow | {"telemetry": {"interval": "30ms", "delay": "5ms"}}
    work = {"replicas": 2, "output": 20, "arrivals": after(1, 10, 10, 10, 10)}
    assert times(run(work, dispatch={"request": slow}), "replica") == [0, 1, 0, 1, 0]
    # the report of 30 ms is heard at 35 ms: three requests at replica 0, none at the other
    assert times(run(work, dispatch={"request": stale}), "replica") == [0, 0, 0, 0, 1]
    lost = slow | {"telemetry": {"interval": "30ms", "delay": "5ms", "loss": 1.0}}
    assert times(run(work, dispatch={"request": lost}), "replica") == [0, 0, 0, 0, 0]


def test_a_slow_gpu_stretches_the_steps_of_its_replica() -> None:
    gpus = {"only": {"1": {"slowdown": 2.0}}}
    results = run({"replicas": 2, "arrivals": after(0, 1)}, gpus=gpus)
    assert times(results, "e2e_ms") == [40.0, 80.0]
    noisy = run({"tensor_parallel": 2, "arrivals": after(0)}, gpus={"noise": 0.2})
    assert times(noisy, "e2e_ms")[0] > 40.0  # the slower one of two counts


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    work = {"replicas": 3, "arrivals": {"kind": "poisson", "rate": "200/s"}, "count": 300, "output": 20}
    router = {"kind": "power_of_two", "routers": 2, "telemetry": {"interval": "20ms", "loss": 0.3}}
    scenario = story(work, {"noise": 0.1, "max_sequences": 4}, dispatch={"request": router})
    for name in ("a", "b"):
        api.run(scenario, out=tmp_path / name, quiet=True)
    files = sorted(file.name for file in (tmp_path / "a").glob("*.parquet"))
    assert "requests.parquet" in files
    for file in [*files, "summary.json"]:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_a_closed_loop_goes_on_after_rejections() -> None:
    closed = {"kind": "closed", "concurrency": 3}
    queue = {"request": ROUTER | {"reject": {"kind": "queue", "most": 0}}}
    results = run({"arrivals": closed, "count": 30}, {"max_sequences": 1}, dispatch=queue)
    status = results.frame("requests").status
    assert len(status) == 30
    assert set(status) == {"finished", "rejected"}
    assert results.status == "completed"


def test_schedulers_of_a_replica_step_together() -> None:
    work = {"model": "qwen3-30b-a3b", "data_parallel": 2, "expert_parallel": True, "arrivals": after(0, 0)}
    lengths = {"prompt": {"kind": "uniform", "low": 100, "high": 900}}
    results = run(work | lengths)
    rows = results.frame("requests")
    first = 10 + rows.prompt_tokens.max() * 0.01
    assert rows.prompt_tokens.nunique() == 2
    assert rows.ttft_ms.tolist() == pytest.approx([first, first])
    assert rows.e2e_ms.tolist() == pytest.approx([first + 20, first + 20])
    replica = results.frame("replicas").iloc[0]
    assert (replica.iterations, replica.gpus, replica.tokens) == (3, 2, rows.prompt_tokens.sum() + 4)


def test_overload_is_called_saturated() -> None:
    work = {"arrivals": {"kind": "poisson", "rate": "100/s"}, "count": 300}
    results = run(work, telemetry={"interval": "20ms"})
    assert results.status == "saturated"
    calm = {"arrivals": {"kind": "closed", "concurrency": 8}, "count": 100}
    assert run(calm, telemetry={"interval": "20ms"}).status == "completed"


def test_filling_up_is_not_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of 1 s that come for 1.2 s at a tenth of what the replica could take; five times that is overload."""
    cost = {"cost": {"kind": "linear", "step": "10ms"}, "max_sequences": 1000, "token_budget": 8000}
    work = {"arrivals": {"kind": "poisson", "rate": "100/s"}, "count": 120, "prompt": 10, "output": 100}
    sampled = {"telemetry": {"interval": "10ms"}}
    assert run(work, cost, **sampled).status == "completed"
    assert run(work, cost | {"max_sequences": 2}, **sampled).status == "completed", "too short to tell"
    assert run(work | {"count": 500}, cost | {"max_sequences": 30}, **sampled).status == "saturated"
    monkeypatch.setattr(serving, "_RAMP", 0)
    assert run(work, cost, **sampled).status == "saturated", "the number in the system alone misleads"


def test_the_watchdog_sleeps_while_something_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    module, looks = import_module("sim.run"), []  # the package has a function of that name
    real = module._looks_to_skip
    monkeypatch.setattr(module, "_looks_to_skip", lambda *given: looks.append(real(*given)) or looks[-1])
    gaps = {"arrivals": {"kind": "gaps", "gaps": ["0s", "5000000s"]}}
    assert run(gaps).status == "completed"
    assert sum(looks) > 4_000_000
    assert len(looks) < 20_000


def test_the_end_of_the_run_leaves_requests_unfinished() -> None:
    results = run({"arrivals": after(0, 1), "output": 100}, stop={"time": "100ms"})
    assert results.status == "stopped"
    assert "workload.0: 2 requests are at replica 0" in results.summary["reasons"]
    rows = results.frame("requests")
    assert rows.status.tolist() == ["unfinished"] * 2
    assert (rows.generated_tokens > 0).all()
    assert results.frame("replicas").busy_share.tolist() == [1.0]


def test_two_workloads_share_the_fabric() -> None:
    one, other = story({"arrivals": after(0)}), story({"arrivals": after(0), "output": 5})
    event = [{"at": "1ms", "replica": 1, "set": "down", "for": "9ms"}]
    scenario = one | {"workload": one["workload"] + other["workload"], "events": event}
    rows = api.run(scenario, quiet=True).frame("requests")
    assert rows.workload.tolist() == [0, 1]
    assert rows.e2e_ms.tolist() == pytest.approx([40.0, 70.0])
