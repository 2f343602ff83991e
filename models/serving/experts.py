"""Routed experts of an iteration: how many a batch wakes, and what the fused layers take on a GPU.

A token picks ``top_k`` of N experts, expert e with probability p_e (their sum is ``top_k``), so T tokens wake
sum_e 1 - (1 - p_e)^T of them. Popularity is log-normal, p_e in proportion to exp(``skew`` z_e) at the quantiles z_e of
the normal. ``FINE`` is what DeepSeek-V2-Lite's own choices have (64 experts, top 6, eight layers, three tasks: 0.93,
0.87, 0.95 and 0.995 of an even choice at 4, 16, 64 and 256 tokens; the law gives 0.93, 0.87, 0.96 and 0.999), and the
0.87 that LLMServingSim states for Qwen3-30B-A3B. ``COARSE``: Mixtral-8x7B, 0.99.

Experts are shared evenly over the GPUs of a replica: whole ones under expert parallelism, else a slice of each; the
pairs (token, expert) are spread evenly over those awake.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from models.compute import GpuModel
from models.serving.dense import GEMM_DTYPE, share
from models.serving.setup import Setup

FINE, COARSE, MANY = 0.7, 0.15, 32  # the skew of models with MANY experts and more, and with fewer
DTYPE = {"mxfp4": "w4a16_mxfp4"}  # where the experts' differs from the other layers'
_Array = NDArray[np.float64]


def popularity(experts: int, top_k: int, skew: float) -> _Array:
    """[experts] probability that a token picks each; at most 1."""
    weights = np.exp(skew * ndtri((np.arange(experts) + 0.5) / experts))
    chance: _Array = top_k * weights / weights.sum()
    while chance.max() > 1.0:
        full = chance >= 1.0
        chance[full] = 1.0
        chance[~full] *= (top_k - full.sum()) / chance[~full].sum()
    return chance


def awake(chance: _Array, tokens: _Array) -> _Array:
    """Expected number of distinct experts that each number of tokens picks."""
    return np.array([float((1.0 - (1.0 - chance) ** count).sum()) for count in tokens])


def skew_of(setup: Setup) -> float:
    """The scenario's, else the measured one of models of this granularity."""
    if setup.skew is not None:
        return setup.skew
    return FINE if setup.architecture.experts >= MANY else COARSE


def kernel_of(gpu: GpuModel, dtype: str, expert_parallel: bool) -> str | None:
    """What vLLM runs: of its measured kernels the CUTLASS one for whole experts, else the other; None: the default.

    (On Hopper that is TensorRT-LLM's kernel for wide expert parallelism, three times slower on sliced experts.)
    """
    ours = [name for name in gpu.expert_kernels(dtype) if name.startswith("vllm")]
    fitting = [name for name in ours if ("cutlass" in name) == expert_parallel]
    return next(iter(fitting or ours), None)


def experts_us(setup: Setup, gpu: GpuModel, tokens: _Array) -> _Array:
    """All layers with experts, by the tokens of all ranks of the replica."""
    model = setup.architecture
    if not model.moe_layers:
        return np.zeros(len(tokens))
    group = setup.tensor_parallel * setup.data_parallel
    parts = group if setup.expert_parallel else 1
    inner = model.expert_inner if setup.expert_parallel else share(model.expert_inner, group)
    local = share(model.experts, parts)
    active = awake(popularity(model.experts, model.top_k, skew_of(setup)), tokens) / parts
    dtype = DTYPE.get(setup.dtype, GEMM_DTYPE[setup.dtype])

    kernel = kernel_of(gpu, dtype, setup.expert_parallel)

    def layer(pairs: int, experts: int) -> float:
        each, more = divmod(pairs, experts)
        loads = np.full(experts, each, np.int64)
        loads[:more] += 1
        return gpu.grouped(dtype, model.hidden, inner, loads, kernel)

    found = []
    for count, expected in zip(tokens, active, strict=True):
        pairs = max(1, round(count * model.top_k / parts))
        some = min(max(float(expected), 1.0), local, pairs)
        low, high = math.floor(some), math.ceil(some)
        time = layer(pairs, low)
        if high > low:
            time += (some - low) * (layer(pairs, high) - time)
        found.append(model.moe_layers * time if count > 0 else 0.0)
    return np.array(found, np.float64)
