"""What every token passes on its own rank: projections, norms, dense feed-forward; and the head of sampled rows.

Microseconds of a whole iteration by number of tokens. Where the model was profiled on the GPU (``profile``, bf16) the
layers are the measured ones. Else the calibrated GEMMs of the shards, and element-wise work at the rate of memory: two
norms that add the residual, rotary embedding, activation.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.architectures import Architecture
from models.compute import GpuModel
from models.serving.profile import Profile
from models.serving.setup import Setup

GEMM_DTYPE = {"bf16": "bfloat16", "fp8": "fp8", "nvfp4": "nvfp4", "mxfp4": "bfloat16"}
WIDE = 2  # bytes of an activation
NORM_PASSES = 4  # hidden state and residual, read and written
SAMPLER_BYTES = 10  # a logit: bf16 read, float32 written and read again
LAYER = ("layernorm", "layernorm", "qkv_proj", "qk_norm", "rotary_emb", "o_proj")
FEED_FORWARD = ("gate_up_proj", "act_fn", "down_proj")
ONCE = ("embedding", "final_layernorm")
HEAD = ("lm_head", "sampler")
_Array = NDArray[np.float64]


def share(count: int, parts: int) -> int:
    """Of the GPU that has most."""
    return -(-count // parts)


def dense_us(setup: Setup, gpu: GpuModel, profile: Profile | None, tokens: _Array) -> _Array:
    """All layers, embedding and last norm; without attention itself, experts and communication."""
    model = setup.architecture
    if profile is not None:
        found = sum((model.layers * profile.us(name, tokens) for name in LAYER), np.zeros(len(tokens)))
        found = sum((model.dense_layers * profile.us(name, tokens) for name in FEED_FORWARD), found)
        return sum((profile.us(name, tokens) for name in ONCE), found)
    return np.array([_by_gemm(setup, gpu, int(count)) for count in tokens], np.float64)


def head_us(setup: Setup, gpu: GpuModel, profile: Profile | None, rows: _Array) -> _Array:
    """Output head and sampler of ``rows`` hidden states; the sampler sees the whole vocabulary on every GPU."""
    if profile is not None:
        return sum((profile.us(name, rows) for name in HEAD), np.zeros(len(rows)))
    model = setup.architecture
    wide = share(model.vocabulary, setup.tensor_parallel)
    return np.array(
        [
            gpu.gemm("bfloat16", int(count), wide, model.hidden)
            + gpu.memory(SAMPLER_BYTES * int(count) * model.vocabulary)
            for count in rows
        ]
    )


def _by_gemm(setup: Setup, gpu: GpuModel, tokens: int) -> float:
    if tokens <= 0:
        return 0.0
    model, shards = setup.architecture, setup.tensor_parallel
    dtype = GEMM_DTYPE[setup.dtype]
    norm = gpu.memory(NORM_PASSES * tokens * model.hidden * WIDE)
    layer = 2 * norm + sum(gpu.gemm(dtype, tokens, n, k) for n, k in projections(model, shards))
    layer += gpu.memory(2 * tokens * rotated(model, shards) * WIDE)
    total = model.layers * layer + 2 * norm  # embedding and last norm
    total += model.dense_layers * _gated(gpu, dtype, tokens, model, share(model.dense_inner, shards))
    if model.moe_layers:
        total += model.moe_layers * _gate(gpu, tokens, model.experts, model.hidden)
        inner = share(model.shared_experts * model.expert_inner, shards)
        total += model.moe_layers * _gated(gpu, dtype, tokens, model, inner)
    return total


def projections(model: Architecture, shards: int) -> Iterable[tuple[int, int]]:
    """(n, k) of one layer's attention projections on a shard; a KV head and the low ranks are whole on each GPU."""
    heads, kv_heads = share(model.heads, shards), share(model.kv_heads, shards)
    out = (model.hidden, heads * model.head_dim)
    if not model.kv_rank:
        return ((heads + 2 * kv_heads) * model.head_dim, model.hidden), out
    wide = heads * (model.head_dim + model.rope_dim)
    low = (model.query_rank + model.kv_rank + model.rope_dim, model.hidden)
    query = (wide, model.query_rank or model.hidden)
    return low, query, (2 * heads * model.head_dim, model.kv_rank), out


def rotated(model: Architecture, shards: int) -> int:
    """Elements of a token that the rotary embedding turns."""
    heads, kv_heads = share(model.heads, shards), share(model.kv_heads, shards)
    return (heads + 1) * model.rope_dim if model.kv_rank else (heads + kv_heads) * model.head_dim


def _gate(gpu: GpuModel, tokens: int, experts: int, hidden: int) -> float:
    """Router: a GEMM onto the experts, softmax and top-k over its float32 logits."""
    return gpu.gemm("bfloat16", tokens, experts, hidden) + gpu.memory(3 * 4 * tokens * experts)


def _gated(gpu: GpuModel, dtype: str, tokens: int, model: Architecture, inner: int) -> float:
    """A feed-forward block of this inner width."""
    if not inner:
        return 0.0
    ways = model.matrices - 1
    time = gpu.gemm(dtype, tokens, ways * inner, model.hidden) + gpu.gemm(dtype, tokens, model.hidden, inner)
    return time + gpu.memory((1 + ways) * tokens * inner * WIDE)
