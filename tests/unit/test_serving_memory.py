"""Memory of a replica's GPU: what vLLM's start-up logs print, and the sums that sharding must keep."""

from __future__ import annotations

import pytest

from models.architectures import ARCHITECTURES, architecture
from models.errors import InputError
from models.hardware import GPUS
from models.serving.memory import GIB, kv_blocks_of, kv_bytes_per_token, memory_of, weight_bytes


@pytest.mark.parametrize(
    ("name", "gpu", "share", "shards", "budget", "weights", "activations", "libraries", "cache"),
    [
        ("llama-3.1-8b", 79.14, 0.90, 1, 2048, 14.99, 1.19, 0.12, 54.93),
        ("qwen3-8b", 21.48, 0.93, 4, 8192, 3.85, 1.45, 0.20, 14.49),
    ],
)
def test_parts_are_those_of_public_logs(
    name: str, gpu: float, share: float, shards: int, budget: int,
    weights: float, activations: float, libraries: float, cache: float,
) -> None:  # fmt: skip
    """GiB as printed by vLLM 0.6 to 0.8 with 256 sequences; the parts fit each other within a percent of the whole."""
    found = memory_of(architecture(name), "bf16", int(gpu * GIB), share, shards, 1, False, budget, 256)
    slack = 0.01 * gpu
    assert found.weights / GIB == pytest.approx(weights, abs=slack)
    assert found.activations / GIB == pytest.approx(activations, rel=0.02)
    assert found.libraries / GIB == pytest.approx(libraries, abs=slack)
    assert found.cache / GIB == pytest.approx(cache, rel=0.01)


def test_blocks_of_llama_on_an_a100() -> None:
    """54.93 GiB in blocks of 16 tokens of 128 KiB: 28,124."""
    memory = GPUS["a100_sxm"].visible_bytes
    blocks = kv_blocks_of(architecture("llama-3.1-8b"), "bf16", memory, 0.9, 1, 1, False, 2048, 16, 256)
    assert blocks == pytest.approx(28_124, rel=0.01)


def test_a_logged_card_that_set_nothing() -> None:
    """RTX A5000, vLLM v1, eager: 43,296 tokens. No constant here was read off that log."""
    blocks = kv_blocks_of(architecture("llama-3.1-8b"), "bf16", int(23.57 * GIB), 0.9, 1, 1, False, 2048, 16, 256)
    assert 16 * blocks == pytest.approx(43_296, rel=0.08)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_gpu_holds_all_and_two_hold_no_less(name: str) -> None:
    model = architecture(name)
    assert weight_bytes(model, "bf16") == 2 * model.derived_parameters
    for expert_parallel in (False, True):
        half = weight_bytes(model, "bf16", 2, 1, expert_parallel)
        assert weight_bytes(model, "bf16") <= 2 * half < 1.1 * weight_bytes(model, "bf16")
        spread = weight_bytes(model, "bf16", 1, 2, expert_parallel)  # only the experts are shared
        assert half <= spread <= weight_bytes(model, "bf16")
        assert (spread == weight_bytes(model, "bf16")) == model.dense
    linear = weight_bytes(model, "bf16") - 2 * model.embedding_parameters
    assert weight_bytes(model, "fp8") == linear // 2 + 2 * model.embedding_parameters


def test_gpt_oss_in_mxfp4() -> None:
    """The authors' checkpoints take 60.8 and 12.8 GiB (arXiv 2508.10925, table 1)."""
    for name, size in (("gpt-oss-120b", 60.8), ("gpt-oss-20b", 12.8)):
        assert weight_bytes(architecture(name), "mxfp4") / GIB == pytest.approx(size, rel=0.02)


def test_kv_heads_are_shared_out_and_latents_are_not() -> None:
    llama, deepseek = architecture("llama-3.1-70b"), architecture("deepseek-v3")
    assert kv_bytes_per_token(llama) == 80 * 2 * 8 * 128 * 2
    assert [kv_bytes_per_token(llama, "bf16", shards) // 1024 for shards in (1, 2, 8, 16)] == [320, 160, 40, 40]
    assert [kv_bytes_per_token(deepseek, "fp8", shards) for shards in (1, 8)] == [61 * 576, 61 * 576]


def test_what_does_not_fit_says_by_how_much() -> None:
    memory = GPUS["h100_sxm"].visible_bytes
    with pytest.raises(InputError, match=r"llama-3.1-70b in bf16 on 1 x 1 GPUs doesn't fit.* 131.41 GiB of weights"):
        kv_blocks_of(architecture("llama-3.1-70b"), "bf16", memory, 0.9, 1, 1, False, 2048, 16)
    assert kv_blocks_of(architecture("llama-3.1-70b"), "fp8", memory, 0.9, 2, 1, False, 2048, 16) > 1000
