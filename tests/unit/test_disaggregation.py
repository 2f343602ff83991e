"""Prefill here, decode there: KV caches as flows; and replicas that fail, come back, are switched on and off."""

from __future__ import annotations

import pytest

from sim import api
from sim.processes.serving.transfers import pairs_of
from tests.unit.serving_stories import after, counters, run, story

TOKEN = 131_072  # bytes of llama-3.1-8b's KV cache: 32 layers x 2 x 8 heads x 128 x 2
PD = {"fill": {"role": "prefill"}, "talk": {"role": "decode"}}
AT_END = {"layers_overlapped": False}
WAY = 2  # us, of two links


def test_a_cache_moves_when_the_prefill_is_over() -> None:
    results = run({"pools": PD, "transfer": AT_END, "arrivals": after(0)})
    flows = results.frame("flows").iloc[0]
    assert (flows.src, flows.dst, flows.bytes) == ("host0", "host1", 1000 * TOKEN)
    took = 1000 * TOKEN * 8 / 400e9 * 1e3 + WAY / 1e3  # ms
    assert (flows.start_us, flows.delivered_us) == pytest.approx((20_000, 20_000 + took * 1e3))
    row = results.frame("requests").iloc[0]
    assert (row.prefill_replica, row.replica, row.ttft_ms) == (0, 1, 20.0)
    assert row.transfer_ms == pytest.approx(took)
    assert row.e2e_ms == pytest.approx(20 + took + 2 * 10)
    links = results.frame("links").set_index("link")
    assert links.bytes["host0->switch0"] == links.bytes["switch0->host1"] == 1000 * TOKEN
    explained = results.frame("flow_times")
    assert len(explained) == 1


def test_layers_leave_while_the_step_runs() -> None:
    results = run({"pools": PD, "transfer": {"parts": 4}, "arrivals": after(0)})
    flows = results.frame("flows")
    assert flows.start_us.tolist() == [5_000, 10_000, 15_000, 20_000]
    assert flows.bytes.sum() == 1000 * TOKEN
    row = results.frame("requests").iloc[0]
    assert row.transfer_ms == pytest.approx(250 * TOKEN * 8 / 400e9 * 1e3 + WAY / 1e3)  # only the last part is seen


def test_each_chunk_leaves_with_its_step() -> None:
    results = run({"pools": PD, "transfer": {"parts": 1}, "arrivals": after(0)}, {"token_budget": 400})
    flows = results.frame("flows")
    assert (flows.bytes / TOKEN).tolist() == [400, 400, 200]
    assert flows.start_us.tolist() == [14_000, 28_000, 40_000]


@pytest.mark.parametrize("size", [0, 3])
def test_one_token_needs_no_decode(size: int) -> None:
    results = run({"pools": PD, "output": 1 + size, "arrivals": after(0)})
    assert (len(results.frame("flows")) > 0) == (size > 0)
    assert results.frame("requests").generated_tokens.tolist() == [1 + size]


@pytest.mark.parametrize(
    ("heads", "src", "dst", "moved"),
    [
        (8, 1, 1, {(0, 0): 8}),
        (8, 2, 1, {(0, 0): 4, (1, 0): 4}),
        (8, 2, 4, {(0, 0): 2, (0, 1): 2, (1, 2): 2, (1, 3): 2}),
        (2, 4, 2, {(0, 0): 1, (3, 1): 1}),  # heads are held twice: those that are asked take turns
        (1, 2, 2, {(0, 0): 1, (1, 1): 1}),  # a latent cache is whole on each GPU
    ],
)
def test_gpus_send_the_heads_that_they_hold(heads: int, src: int, dst: int, moved: dict[tuple[int, int], int]) -> None:
    targets = list(range(10, 10 + dst))
    found = {(pair.src, pair.dst - 10): pair.heads for pair in pairs_of(heads, range(src), targets)}
    assert found == moved


def test_degrees_may_differ() -> None:
    pools = {"fill": {"role": "prefill", "tensor_parallel": 4}, "talk": {"role": "decode", "tensor_parallel": 2}}
    results = run({"pools": pools, "transfer": AT_END, "arrivals": after(0)})
    flows = results.frame("flows")
    ends = list(zip(flows.src, flows.dst, strict=True))
    assert ends == [("host0", "host4"), ("host1", "host4"), ("host2", "host5"), ("host3", "host5")]
    assert flows.bytes.tolist() == [250 * TOKEN] * 4


def test_the_prefill_replica_keeps_its_blocks_until_they_are_over() -> None:
    # 63 blocks of 80 are held until the transfer of 21 ms ends; only then the second prompt is admitted
    blocks = {"kv_blocks": 80, "watermark": 0.0}
    slow = {"topology": {"kind": "star", "hosts": 2, "host_link": {"rate": "50Gbps", "delay": "1us"}}}
    work = {"pools": PD, "transfer": AT_END, "arrivals": after(0, 1)}
    rows = run(work, blocks, fabric=slow).frame("requests")
    sent = 1000 * TOKEN * 8 / 50e9 * 1e3 + WAY / 1e3
    assert rows.queue_ms.tolist() == pytest.approx([0, 20 + sent - 1])


def test_a_policy_may_leave_short_prompts_whole() -> None:
    lengths = {"prompt": {"kind": "uniform", "low": 10, "high": 2000}, "output": 3}
    work = {"pools": PD, "arrivals": after(*[100] * 20), **lengths}
    rows = run(work, dispatch={"request": {"kind": "pd_threshold", "threshold": 1000}}).frame("requests")
    assert (rows.status == "finished").all()
    divided = rows.prefill_replica.notna()
    assert 0 < divided.sum() < 20
    assert rows.prompt_tokens[~divided].max() < 1000 <= rows.prompt_tokens[divided].min()


@pytest.mark.parametrize(
    ("fill", "talk", "found"),
    [
        (70, 100, ["finished", 0]),  # the prompt and its first token fit where it is prefilled
        (60, 100, ["finished", None]),  # not there, but where it is answered
        (100, 70, ["rejected", None]),  # the answer fits nowhere
    ],
)
def test_each_half_needs_its_room(fill: int, talk: int, found: list[object]) -> None:
    cost = {"cost": {"kind": "linear", "step": "10ms"}}
    pools = {"fill": PD["fill"] | {"engine": {"kv_blocks": fill} | cost}}
    pools["talk"] = PD["talk"] | {"engine": {"kv_blocks": talk} | cost}
    results = run({"pools": pools, "output": 200, "arrivals": after(0)})
    row = results.frame("requests").iloc[0]
    assert [row.status, None if row.isna().prefill_replica else row.prefill_replica] == found
    rejected = {("requests rejected", "larger than any KV cache"): 1}
    assert counters(results) == (rejected if found[0] == "rejected" else {})


# -- failures

FAILED = ("replicas failed", "pool main")


def test_a_failed_replica_loses_its_requests_or_they_are_routed_again() -> None:
    event = [{"at": "55ms", "replica": 0, "set": "down"}]
    work = {"replicas": 2, "output": 10, "arrivals": after(0, 1, 1, 1)}
    again = run(work, events=event)
    assert (again.frame("requests").status == "finished").all()
    assert set(again.frame("requests").replica) == {1}
    assert counters(again) == {FAILED: 1, ("requests routed again", "their replica failed"): 2}
    lost = run(work | {"lost": "drop"}, events=event)
    assert lost.frame("requests").status.tolist() == ["lost", "finished", "lost", "finished"]
    assert counters(lost) == {FAILED: 1, ("requests lost", "their replica failed"): 2}


def test_tokens_that_were_given_are_kept() -> None:
    event = [{"at": "55ms", "replica": 0, "set": "down"}]
    rows = run({"replicas": 2, "output": 6, "arrivals": after(0)}, events=event).frame("requests")
    # 4 tokens by 50 ms; at 55 ms the prompt and they are computed again, 1004 tokens in steps of 1000 and 4
    assert rows.ttft_ms.tolist() == [20.0]
    assert rows.e2e_ms.tolist() == pytest.approx([55 + 20 + 10.04 + 10])


def test_a_host_takes_its_replica_along_and_back() -> None:
    event = [{"at": "5ms", "host": "host1", "set": "down", "for": "100ms"}]
    work = {"tensor_parallel": 2, "arrivals": after(0, 1)}
    results = run(work, events=event)
    rows = results.frame("requests")
    assert rows.ttft_ms.tolist() == pytest.approx(
        [205 + 20, 204 + 20 + 19.99 + 10.01]
    )  # the tables know it after 100 ms more
    assert results.frame("replicas").busy_share.tolist() == [1.0]  # of the time that it was up
    assert results.frame("gpus").wait_us.round(3).tolist() == [200_000.0] * 2


def test_without_any_replica_the_run_stalls_and_says_who_waits() -> None:
    event = [{"at": "5ms", "replica": 0, "set": "down"}]
    router = {"kind": "round_robin", "telemetry": {"interval": "1ms"}}  # reports are no progress
    results = run({"arrivals": after(0, 1)}, events=event, dispatch={"request": router}, stop={"stall": "1s"})
    assert results.status == "stalled"
    assert "workload.0: the router holds 2 requests; 0 of 1 replicas are up" in results.summary["reasons"]


@pytest.mark.parametrize("failed", [0, 1])
@pytest.mark.parametrize("at", ["15ms", "21ms"])
@pytest.mark.parametrize("transfer", [AT_END, {"parts": 4}])
def test_a_failure_on_either_side_of_a_transfer(failed: int, at: str, transfer: dict[str, object]) -> None:
    pools = {"fill": {"role": "prefill", "replicas": 2}, "talk": {"role": "decode", "replicas": 2}}
    event = [{"at": at, "replica": 2 * failed, "set": "down"}]
    work = {"pools": pools, "transfer": transfer, "arrivals": after(0, 1, 1, 1)}
    rows = run(work, events=event).frame("requests")
    assert (rows.status == "finished").all()
    assert not (rows.replica == 2).any() if failed else (rows.prefill_replica == 1).sum() >= 2


def test_a_cache_without_a_way_is_computed_again() -> None:
    event = [{"at": "1ms", "link": "host1-switch0", "set": "down"}]
    tables = {"topology": {"kind": "star", "hosts": 2}, "convergence_delay": "1ms"}
    for transfer in (AT_END, {"parts": 4}):
        results = run({"pools": PD, "transfer": transfer, "arrivals": after(0)}, events=event, fabric=tables)
        # the decode replica has the prompt and the first token to compute; the latter counts as a decode
        assert results.frame("requests").e2e_ms.tolist() == pytest.approx([20 + 20 + 10 + 10])
        assert counters(results)["KV caches computed again", "no way to their decode replica"] == 1


# -- autoscaling


def test_replicas_come_with_the_load_and_go_without() -> None:
    auto = {"maximum": 4, "metric": "requests", "target": 4, "interval": "100ms", "startup": "200ms", "cooldown": "1s"}
    pools = {"main": {"autoscale": auto}}
    work = {"pools": pools, "output": 50, "arrivals": after(*[10] * 60, *[2000] * 3)}
    results = run(work, telemetry={"interval": "50ms"})
    rows = results.frame("requests")
    assert (rows.status == "finished").all()
    assert rows.replica[:20].eq(0).all()
    assert set(rows.replica) == {0, 1, 2, 3}
    found = counters(results)
    assert found["replicas switched on", "pool main"] >= 3
    assert found["replicas switched off", "pool main"] >= 3
    assert rows.replica.iloc[-1] == 0


# -- collectives as flows

NODE = {"kind": "gpu_cluster", "nodes": 1, "gpus_per_node": 4, "fabric": {"kind": "star"}}


def both_ways(work: dict[str, object], gpu: str, rate: str) -> tuple[list[list[float]], api.Results]:
    """TTFT and TPOT of one request, by cost model and with flows on an idle fabric; the run with flows."""
    topology = NODE | {"scale_up": {"kind": "nvswitch", "rate": rate, "delay": "500ns"}}
    took = []
    for way in ("model", "flows"):
        engine = {"communication": way, "cost": "calibrated", "token_budget": 2048}
        asked = work | {"arrivals": after(0), "output": 2}
        results = api.run(story(asked, engine, fabric={"topology": topology}, gpus={"kind": gpu}), quiet=True)
        row = results.frame("requests").iloc[0]
        took.append([row.ttft_ms, row.tpot_ms])
    return took, results


def test_shards_reduce_in_every_layer() -> None:
    (model, flows), results = both_ways({"tensor_parallel": 4}, "a100_sxm", "2400Gbps")
    # measured collectives against direct ones at NCCL's measured cost of messages
    assert flows == pytest.approx(model, rel=0.2)
    # 1001 tokens x 4096 x 2 bytes, 65 times, reduced and gathered: 2 x 3/4 of it from every GPU; logits of two rows
    reduced, logits = 65 * 1001 * 8192 * 2 * 3, 2 * 128_256 * 2 * 3
    assert results.frame("flows").bytes.sum() == pytest.approx(reduced + logits, rel=1e-3)


def test_ranks_gather_tokens_for_their_experts() -> None:
    work = {"model": "qwen3-30b-a3b", "data_parallel": 4, "expert_parallel": True}
    (model, flows), results = both_ways(work, "h100_sxm", "3600Gbps")
    assert flows == pytest.approx(model, rel=0.2)
    # 48 layers: 1001 tokens of each rank with 8 experts' weights and numbers go to 3 others, results come back
    assert results.frame("flows").bytes.sum() == 48 * 1001 * 4 * 3 * (2048 * 2 + 8 * 8 + 2048 * 2)
