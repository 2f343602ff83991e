"""The cost of an iteration: its laws add up to the measured layers and the calibrated kernels behind them."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.architectures import architecture
from models.calibrated import fitted, path_of
from models.compute import GpuModel
from models.compute.attention import AttentionModel
from models.errors import InputError
from models.serving import law
from models.serving.communication import messages_us, token_messages
from models.serving.costs import Setup, costs_of, sources_of
from models.serving.experts import FINE, awake, experts_us, popularity
from models.serving.profile import profile_of

LLAMA = Setup(architecture("llama-3.1-8b"), "rtx_pro_6000")
QWEN = Setup(architecture("qwen3-30b-a3b"), "rtx_pro_6000", data_parallel=2, expert_parallel=True)
LAYER = ("layernorm", "layernorm", "qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj")
TRACES = Path(__file__).parents[2] / "scenarios" / "traces"


def batch(*ranks: tuple[list[int], list[tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray]:
    """Totals and chunks of (contexts of the decodes, chunks) for each rank; every chunk ends its prompt."""
    totals, chunks = np.zeros((len(ranks), law.TOTALS)), np.zeros((len(ranks), 8, 2))
    for rank, (contexts, parts) in enumerate(ranks):
        tokens = len(contexts) + sum(new for new, _ in parts)
        rows = len(contexts) + len(parts)
        longest = max(contexts, default=0)
        totals[rank] = tokens, rows, len(contexts), sum(contexts), longest, len(parts), 0, 0
        chunks[rank, : len(parts)] = np.array(parts).reshape(-1, 2)
    return totals, chunks


def parts_of(setup: Setup, *ranks: tuple[list[int], list[tuple[int, int]]]) -> np.ndarray:
    """The iteration by part, us; the sum is what the other door says."""
    totals, chunks = batch(*ranks)
    cost, out = costs_of(setup), np.empty(law.PARTS)
    law.parts_us(cost, totals, chunks, len(ranks), out)
    assert out.sum() == pytest.approx(law.iteration_us(cost, totals, chunks, len(ranks)), rel=1e-12)
    return out


def test_linear() -> None:
    setup = replace(
        LLAMA, kind="linear", linear_step_us=10, prefill_token_us=2, decode_sequence_us=3, context_token_us=0.5
    )
    assert parts_of(setup, ([100, 40], [(7, 0)])).sum() == 10 + 2 * 7 + 3 * 2 + 0.5 * 140
    assert parts_of(setup, ([100], []), ([], [(50, 0)])).sum() == 10 + max(3 + 50, 100)  # the slower rank


def test_dense_layers_are_the_profiled_ones() -> None:
    profile = profile_of("rtx_pro_6000", "llama-3.1-8b", 1)
    assert profile is not None
    for contexts, chunks, tokens in (([500] * 128, [], 128), ([], [(2048, 0)], 2048), ([9], [(300, 0)], 301)):
        count = np.array([float(tokens)])
        layers = 32 * sum(float(profile.us(name, count)[0]) for name in LAYER)
        once = sum(float(profile.us(name, count)[0]) for name in ("embedding", "final_layernorm"))
        rows = np.array([float(len(contexts) + len(chunks))])
        head = sum(float(profile.us(name, rows)[0]) for name in ("lm_head", "sampler"))
        found = parts_of(LLAMA, (contexts, chunks))
        # between the values of a curve beyond 512 tokens the layers bend by less than this
        assert found[law.PART_DENSE] == pytest.approx(layers + once, rel=2e-3)
        assert found[law.PART_HEAD] == pytest.approx(head)
        assert found[law.PART_EXPERTS] == found[law.PART_COMMUNICATION] == found[law.PART_OVERHEAD] == 0


def test_attention_is_the_calibrated_law() -> None:
    fit = AttentionModel(fitted("rtx_pro_6000", "attention"))
    alone, _ = fit.us("generation", 64, 1, 900, 32, 8)
    assert parts_of(LLAMA, ([900] * 64, []))[law.PART_ATTENTION] == pytest.approx(32 * alone)
    mixed, _ = fit.mixed(512, 1024, 64, 900, 32, 8)
    assert parts_of(LLAMA, ([900] * 64, [(512, 1024)]))[law.PART_ATTENTION] == pytest.approx(32 * mixed)
    first, second = fit.mixed(512, 0, 0, 0, 32, 8)[0], fit.mixed(300, 0, 0, 0, 32, 8)[0]
    both = parts_of(LLAMA, ([], [(512, 0), (300, 0)]))[law.PART_ATTENTION] / 32
    assert first < both < first + second


@pytest.mark.parametrize("gpu", ["rtx_pro_6000", "h100_sxm"])
def test_unequal_lengths_cost_more_than_equal_ones(gpu: str) -> None:
    """Measured: 3 to 6 % of the way to all being the longest; beside a chunk three of the sequences' worth."""
    setup = replace(LLAMA, gpu=gpu)
    even = parts_of(setup, ([1000] * 128, []))[law.PART_ATTENTION]
    spread = parts_of(setup, ([800] * 120 + [4000] * 8, []))[law.PART_ATTENTION]
    longest = parts_of(setup, ([4000] * 128, []))[law.PART_ATTENTION]
    assert spread == pytest.approx(even + 0.04 * (longest - even))


def test_batches_are_padded_to_the_captured_ones() -> None:
    sizes = [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (97, 104), (256, 256), (257, 272), (512, 512), (513, 513)]
    for tokens, captured in sizes:
        setup = replace(LLAMA, max_sequences=1024)
        found = parts_of(setup, ([100] * tokens, []))[law.PART_DENSE]
        assert found == parts_of(setup, ([100] * captured, []))[law.PART_DENSE], tokens
    assert parts_of(LLAMA, ([100] * 257, []))[0] < parts_of(LLAMA, ([100] * 272, []))[0]  # captured to 256


def test_ranks_that_share_experts_step_together() -> None:
    one, other = ([700] * 40, []), ([500] * 100, [(600, 0)])
    assert parts_of(QWEN, one, other) == pytest.approx(parts_of(QWEN, other, one))
    idle, padded = parts_of(QWEN, ([700] * 40, []), ([], [])), parts_of(QWEN, one, one)
    assert idle[law.PART_EXPERTS] == padded[law.PART_EXPERTS]  # a step runs as large on both
    assert idle[law.PART_COMMUNICATION] == padded[law.PART_COMMUNICATION]
    # without experts in common, ranks only wait for each other
    apart = replace(LLAMA, data_parallel=2)
    assert parts_of(apart, one, other) == pytest.approx(np.maximum(parts_of(apart, one), parts_of(apart, other)))


def test_awake_experts() -> None:
    """The law of popularity against the choices of DeepSeek-V2-Lite (64 experts, top 6), layer by layer."""
    even = awake(popularity(64, 6, 0.0), np.array([16.0]))[0]
    assert even == pytest.approx(64 * (1 - (1 - 6 / 64) ** 16))
    assert popularity(64, 6, 3.0).sum() == pytest.approx(6)
    rng = np.random.default_rng(1)
    shares: dict[int, list[float]] = {4: [], 16: [], 64: [], 256: []}
    for task in ("intent", "law"):
        with gzip.open(TRACES / f"deepseek_v2_lite_{task}.csv.gz", "rt") as file:
            table = np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.int64)
        for layer in np.unique(table[:, 0]):
            rows = table[table[:, 0] == layer][:, -6:]
            for tokens, found in shares.items():
                draws = [len(np.unique(rows[rng.integers(len(rows), size=tokens)])) for _ in range(40)]
                found.append(float(np.mean(draws)))
    for tokens, found in shares.items():
        expected = awake(popularity(64, 6, FINE), np.array([float(tokens)]))[0]
        assert np.mean(found) == pytest.approx(expected, rel=0.04), tokens


def test_experts_of_half_the_model() -> None:
    """The fused layer on one of two GPUs, tokens and experts halved, as vLLM ran it: the fit saw whole models only.

    LLMServingSim @ 0d3de681, moe.csv of Qwen3-30B-A3B on an RTX PRO 6000, ep 2, all 64 experts awake.
    """
    tokens = np.array([64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0])
    timed = np.array([425.8, 433.2, 445.0, 467.9, 506.6, 564.9])
    ours = experts_us(replace(QWEN, skew=0.0), GpuModel("rtx_pro_6000"), tokens) / 48
    assert np.abs(ours / timed - 1).max() < 0.03


def test_collectives() -> None:
    shards = replace(LLAMA, gpu="h100_sxm", tensor_parallel=4)
    (message,) = token_messages(shards)
    assert message == ("all_reduce", 65, 4, 1, 8192)
    gather, scatter = token_messages(QWEN)
    assert (gather.bytes, scatter.bytes, gather.repeats) == (2 * (4096 + 64), 2 * 4096, 48)
    with_it = parts_of(shards, ([500] * 64, []))[law.PART_COMMUNICATION]
    assert with_it == pytest.approx(messages_us(shards, [message], np.array([64.0]))[0])
    assert parts_of(replace(shards, communication=False), ([500] * 64, []))[law.PART_COMMUNICATION] == 0
    assert token_messages(replace(LLAMA, data_parallel=2)) == []


def test_shards_and_overhead() -> None:
    whole, split = (replace(LLAMA, gpu="h100_sxm", tensor_parallel=n) for n in (1, 4))
    for part in (law.PART_DENSE, law.PART_ATTENTION):
        assert 2 < parts_of(whole, ([], [(2048, 0)]))[part] / parts_of(split, ([], [(2048, 0)]))[part] < 4.5
    slow = replace(LLAMA, step_us=100.0, sequence_us=2.0)
    assert parts_of(slow, ([5, 6], [(9, 0)]))[law.PART_OVERHEAD] == 106
    assert sources_of(LLAMA).keys() - sources_of(slow).keys() == {"overhead"}
    assert sources_of(QWEN)["dense"] == "vLLM's layer profile of rtx_pro_6000"
    assert (
        sources_of(replace(LLAMA, gpu="rtx_4090", tensor_parallel=2))["communication"]
        == "calibrated collective of l40s"
    )


@pytest.mark.parametrize("model", ["llama-3.1-70b", "gpt-oss-120b", "deepseek-v3", "qwen2.5-7b"])
def test_more_work_takes_longer(model: str) -> None:
    setup = Setup(architecture(model), "h200_sxm", data_parallel=4, tensor_parallel=2, expert_parallel=True)
    rank = ([2000] * 32, [])
    base = parts_of(setup, *[rank] * 4).sum()
    for more in (([2000] * 64, []), ([8000] * 32, []), ([2000] * 32, [(1500, 0)])):
        assert parts_of(setup, more, *[rank] * 3).sum() > base
    long = replace(setup, token_budget=8192)
    assert parts_of(long, *[rank] * 4).sum() == pytest.approx(base)


def test_what_was_not_measured() -> None:
    with pytest.raises(InputError, match="no GEMM times of fp8"):
        costs_of(replace(LLAMA, gpu="a100_sxm", dtype="fp8"))
    with pytest.raises(InputError, match="no measured moe data for 'rtx_4090'"):
        costs_of(replace(QWEN, gpu="rtx_4090"))
    with pytest.raises(InputError, match=r"no whole iterations of llama-3\.1-8b"):
        costs_of(replace(LLAMA, kind="splitwise"))


def test_fits_of_your_own(tmp_path: Path) -> None:
    """A fitted file of one kind takes the place of the preset's; the rest stays the preset's."""
    fits = json.loads(path_of("rtx_pro_6000", "attention").read_text())
    law_of_decode = fits["systems"]["rtx_pro_6000"]["attention"]["phases"]["generation"]["law"]
    law_of_decode[5] += 100.0  # microseconds of a launch
    own = tmp_path / "own.json"
    own.write_text(json.dumps(fits))
    plain, slow = (parts_of(replace(LLAMA, gpu=gpu), ([900] * 64, [])) for gpu in ("rtx_pro_6000", str(own)))
    assert slow[law.PART_ATTENTION] > plain[law.PART_ATTENTION] + 32 * 50
    assert slow[law.PART_HEAD] == pytest.approx(plain[law.PART_HEAD], rel=0.2)  # GEMMs instead of the layer profile
    costs_of(replace(QWEN, gpu=str(own)))
