"""What a replica keeps in the memory of a GPU, and how many blocks of KV cache fit beside it.

vLLM's own account (``gpu_memory_utilization``): of ``memory_share`` of the memory that CUDA reports, the weights, the
most that a forward pass of a full batch allocates, and what libraries hold are taken off; the rest is KV cache::

    blocks = floor((share x memory - weights - activations - libraries) / (block_tokens x KV bytes of a token))

The pass is sized by the profile run of vLLM v1: ``token_budget`` tokens through the widest layer (their hidden state
and residual, and the feed-forward's, the experts' or the attention's arrays), or ``max_sequences`` rows of logits in
the sampler, whichever is more. 38 B a logit and the libraries' share are read off public start-up logs: 1.19 GiB for
llama-3.1-8b (256 sequences, one A100) and 1.45 GiB for qwen3-8b (256 sequences, 8,192 tokens, four GPUs); 0.12 GiB
outside PyTorch on one GPU, 0.2 to 0.25 GiB on two to four, 0.9 to 2.2 GiB on sixteen. CUDA graphs come on top of
``memory_share``, as in the versions that printed those logs.

Sharding: heads, feed-forward and vocabulary over ``tensor_parallel`` GPUs, a KV head on at least one; the low ranks of
latent attention and their cache are whole on each. Experts are shared by all GPUs of a replica: whole ones with
``expert_parallel``, else a slice of each. ``data_parallel`` ranks hold everything else once each.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.architectures import Architecture
from models.errors import InputError, Problem

GIB = 2**30
#: Bytes of an element of the linear layers; embedding and output head stay at 2. nvfp4: a scale for 16 elements.
WEIGHTS = {"bf16": 2.0, "fp8": 1.0, "nvfp4": 0.5 + 1 / 16, "mxfp4": 2.0}
#: The same of routed experts, where they differ. mxfp4: a scale for 32 elements.
EXPERTS = {"mxfp4": 0.5 + 1 / 32}
#: Bytes of an element of the KV cache.
CACHE = {"bf16": 2, "fp8": 1}
WIDE = 2  # bytes of an activation and of an embedding
LOGIT = 38  # bytes that the sampler's arrays take for each logit: bf16, float32, sorted with 8-byte indices, summed
LIBRARIES, A_PEER = 0.12 * GIB, 0.07 * GIB  # of one GPU, and for each further one that it talks to


def _share(count: int, parts: int) -> int:
    """Of the GPU that has most."""
    return -(-count // parts)


def _attention(model: Architecture, shards: int) -> int:
    """Elements of one block's attention on a GPU."""
    heads = _share(model.heads, shards)
    if model.kv_rank == 0:
        return model.hidden * model.head_dim * 2 * (heads + _share(model.kv_heads, shards))
    wide = heads * (model.head_dim + model.rope_dim)
    query = model.query_rank * (model.hidden + wide) if model.query_rank else model.hidden * wide
    low = model.hidden * (model.kv_rank + model.rope_dim)
    return query + low + heads * model.head_dim * (2 * model.kv_rank + model.hidden)


def weight_bytes(
    model: Architecture, dtype: str, tensor_parallel: int = 1, data_parallel: int = 1, expert_parallel: bool = False
) -> int:
    """Bytes of weights on the GPU that holds most."""
    group = tensor_parallel * data_parallel
    if expert_parallel:
        routed = _share(model.experts, group) * model.expert_parameters
    else:
        routed = model.experts * model.matrices * model.hidden * _share(model.expert_inner, group)
    inner = model.moe_layers * model.shared_experts * _share(model.expert_inner, tensor_parallel)
    inner += model.dense_layers * _share(model.dense_inner, tensor_parallel)
    linear = model.matrices * model.hidden * inner + model.layers * _attention(model, tensor_parallel)
    size = linear * WEIGHTS[dtype] + model.moe_layers * routed * EXPERTS.get(dtype, WEIGHTS[dtype])
    return round(size) + _share(model.embedding_parameters, tensor_parallel) * WIDE


def kv_bytes_per_token(model: Architecture, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
    """Bytes of KV cache of a token on one GPU, all layers; ``dtype`` is the cache's: bf16 unless asked otherwise."""
    if model.kv_rank:
        return model.layers * model.kv_elements * CACHE[dtype]
    return model.layers * 2 * _share(model.kv_heads, tensor_parallel) * model.head_dim * CACHE[dtype]


def activation_bytes(
    model: Architecture, token_budget: int, max_sequences: int, tensor_parallel: int = 1, data_parallel: int = 1
) -> int:
    """The most that a pass of a full batch allocates on a GPU."""
    heads, kv_heads = _share(model.heads, tensor_parallel), _share(model.kv_heads, tensor_parallel)
    row = 2 * (heads + kv_heads) * model.head_dim + (heads + kv_heads) * model.rope_dim
    if model.dense_layers:
        row = max(row, model.matrices * _share(model.dense_inner, tensor_parallel))
    if model.moe_layers:  # gate and up (its memory is the result's again), their product; tokens of all ranks come
        inner = _share(model.expert_inner, tensor_parallel * data_parallel)
        row = max(row, data_parallel * model.top_k * (max(2 * inner, model.hidden) + inner))
    hidden = 2 * token_budget * model.hidden * WIDE
    return max(hidden + token_budget * row * WIDE, hidden // 2 + max_sequences * model.vocabulary * LOGIT)


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU of a replica; ``cache`` may be negative: then the model doesn't fit."""

    total: int
    weights: int
    activations: int
    libraries: int

    @property
    def cache(self) -> int:
        return self.total - self.weights - self.activations - self.libraries


def memory_of(
    model: Architecture,
    dtype: str,
    gpu_memory: int,
    memory_share: float,
    tensor_parallel: int,
    data_parallel: int,
    expert_parallel: bool,
    token_budget: int,
    max_sequences: int = 128,
) -> Memory:
    """Where the memory goes. ``gpu_memory``: bytes, ``Gpu.visible_bytes`` unless the scenario gives another."""
    peers = tensor_parallel * (data_parallel if expert_parallel else 1) - 1
    return Memory(
        int(gpu_memory * memory_share),
        weight_bytes(model, dtype, tensor_parallel, data_parallel, expert_parallel),
        activation_bytes(model, token_budget, max_sequences, tensor_parallel, data_parallel),
        round(LIBRARIES + peers * A_PEER),
    )


def kv_blocks_of(
    model: Architecture,
    dtype: str,
    gpu_memory: int,
    memory_share: float,
    tensor_parallel: int,
    data_parallel: int,
    expert_parallel: bool,
    token_budget: int,
    block_tokens: int,
    max_sequences: int = 128,
    cache_dtype: str = "bf16",
) -> int:
    """Blocks of KV cache of each scheduler. InputError where not even one fits, saying by how much."""
    found = memory_of(
        model, dtype, gpu_memory, memory_share, tensor_parallel, data_parallel, expert_parallel, token_budget,
        max_sequences,
    )  # fmt: skip
    block = block_tokens * kv_bytes_per_token(model, cache_dtype, tensor_parallel)
    if found.cache < block:
        message = (
            f"{model.name} in {dtype} on {tensor_parallel} x {data_parallel} GPUs doesn't fit: each needs "
            f"{found.weights / GIB:.2f} GiB of weights, {(found.activations + found.libraries) / GIB:.2f} GiB to work "
            f"and a block of KV cache, {(block - found.cache) / GIB:.2f} GiB more than {memory_share:g} of its "
            f"{gpu_memory / GIB:.2f} GiB"
        )
        raise InputError([Problem("memory", 0, 0, message)])
    return found.cache // block
