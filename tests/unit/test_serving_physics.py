"""What a served request takes, by hand: iteration costs, rooflines, shards, caches, preemption."""

from __future__ import annotations

import numpy as np
import pytest

from models.architectures import architecture
from models.hardware import GPUS
from models.serving import law
from models.serving.costs import Setup, costs_of
from models.serving.memory import kv_bytes_per_token, weight_bytes
from sim import api
from tests.unit.serving_stories import after, run

GPU = "a100_sxm"
MODEL = architecture("llama-3.1-8b")
CALIBRATED = {"cost": "calibrated", "token_budget": 2048}


def alone(**workload: object) -> api.Results:
    asked = {"arrivals": after(0), "output": 21, **workload}
    return run(asked, CALIBRATED, gpus={"kind": GPU})


def iteration_ms(tokens: int, chunk: int, context: int) -> float:
    """Of one sequence: a prompt of ``chunk`` tokens, or a decode with ``context`` tokens."""
    cost = costs_of(Setup(MODEL, GPU, token_budget=2048, max_sequences=8))
    decodes = int(context > 0)
    totals = np.array([[tokens, 1, decodes, context, context, 1 - decodes, 0, 0]], dtype=float)
    chunks = np.array([[[chunk, 0]]], dtype=float)
    return float(law.iteration_us(cost, totals, chunks, 1)) / 1e3


def test_a_request_alone_takes_the_cost_of_its_iterations() -> None:
    row = alone().frame("requests").iloc[0]
    assert row.ttft_ms == pytest.approx(iteration_ms(1000, 1000, 0), rel=1e-6)
    decodes = [iteration_ms(1, 0, context) for context in range(1001, 1021)]
    assert row.tpot_ms == pytest.approx(np.mean(decodes), rel=1e-6)


def test_two_shards_are_faster_but_not_twice() -> None:
    one, two = (alone(tensor_parallel=shards).frame("requests").iloc[0] for shards in (1, 2))
    for name in ("ttft_ms", "tpot_ms"):
        assert 0.5 < two[name] / one[name] < 0.9, name


def test_decodes_stay_below_the_roofline_of_memory() -> None:
    work = {"arrivals": {"kind": "closed", "concurrency": 64}, "prompt": 500, "output": 200, "count": 128}
    results = run(work, CALIBRATED | {"max_sequences": 64, "kv_blocks": 6000}, gpus={"kind": GPU})
    bandwidth = GPUS[GPU].memory_bandwidth
    read = weight_bytes(MODEL, "bf16") + 64 * 600 * kv_bytes_per_token(MODEL)
    rows, span = results.frame("requests"), results.frame("requests").e2e_ms
    rate = rows.output_tokens.sum() / (rows.arrival_s + span / 1e3).max()
    assert 0.4 < rate / (64 * bandwidth / read) < 1.0


def test_a_prefill_stays_below_the_roofline_of_arithmetic() -> None:
    row = alone(prompt=2000).frame("requests").iloc[0]
    flops = 2 * (weight_bytes(MODEL, "bf16") / 2 - 2 * MODEL.embedding_parameters / 2) * 2000
    assert 0.3 < flops / GPUS[GPU].peak_of("bfloat16") / (row.ttft_ms / 1e3) < 1.0


def test_a_turn_finds_what_was_said_before_where_it_was_said() -> None:
    work = {"sessions": {"turns": 3, "think": "50ms"}, "arrivals": after(0, 7, 7), "prompt": 100, "output": 20}
    asked = {"replicas": 2, **work}
    rows = run(asked, dispatch={"request": "session_affinity"}).frame("requests")
    for _, turns in rows.groupby("session"):
        assert turns.prompt_tokens.tolist() == [100, 220, 340]
        assert turns.cached_tokens.tolist() == [0, 112, 224]  # 119 and 239 tokens were computed, in blocks of 16
        assert turns.replica.nunique() == 1
    others = run(asked, dispatch={"request": "round_robin"}).frame("requests")
    assert others.cached_tokens.sum() < rows.cached_tokens.sum()


@pytest.mark.parametrize("preemption", ["recompute", "swap"])
def test_preempted_requests_lose_no_token(preemption: str) -> None:
    work = {"arrivals": after(*[0] * 8), "prompt": 100, "output": 200}
    results = run(work, {"kv_blocks": 40, "preemption": preemption})
    rows = results.frame("requests")
    assert rows.preempted.sum() > 0
    assert rows.generated_tokens.tolist() == rows.output_tokens.tolist()
    computed = 8 * (100 + 199)  # the last token of an answer is not computed
    again = results.frame("replicas").tokens.sum() - computed
    assert again > 0 if preemption == "recompute" else again == 0
