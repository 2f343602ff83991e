"""Attention by ``scaled_dot_product_attention``, bfloat16, grouped queries, causal in the prompt phase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.gpu.grids import HEAD_DIM, Attention
from benchmarks.gpu.timer import Pool

COLUMNS = (
    "phase", "attn_dtype", "kv_cache_dtype", "head_dim", "num_heads", "num_key_value_heads", "batch_size", "isl",
    "kv_len", "time_us", "kernel_source",
)  # fmt: skip
KEYS = ("phase", "num_heads", "num_key_value_heads", "batch_size", "isl", "kv_len", "kernel_source")
KERNELS = {"torch_sdpa_flash": "FLASH_ATTENTION", "torch_sdpa_cudnn": "CUDNN_ATTENTION"}


def kernels() -> dict[str, Any]:
    """The kernels that this PyTorch knows, by the name in the table."""
    from torch.nn.attention import SDPBackend

    return {name: getattr(SDPBackend, backend) for name, backend in KERNELS.items() if hasattr(SDPBackend, backend)}


def calls(point: Attention, backend: Any, pool: Pool, sets: Callable[[int], int]) -> list[Callable[[], Any]]:
    """One call a set of keys and values; tensors lie as [batch, length, heads, head_dim], as a model writes them."""
    from torch.nn.attention import sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    def take(length: int, heads: int) -> Any:
        return pool.take((point.batch, length, heads, HEAD_DIM)).transpose(1, 2)

    def call(keys: Any, values: Any) -> Callable[[], Any]:
        def attend() -> Any:
            with sdpa_kernel(backend):
                return scaled_dot_product_attention(
                    queries, keys, values, is_causal=causal, enable_gqa=point.heads != point.kv_heads
                )

        return attend

    queries, causal = take(point.queries, point.heads), point.phase == "context"
    size = 4 * point.batch * point.kv_len * point.kv_heads * HEAD_DIM
    return [call(take(point.kv_len, point.kv_heads), take(point.kv_len, point.kv_heads)) for _ in range(sets(size))]


def row(point: Attention, kernel: str, us: float) -> dict[str, object]:
    return {
        "phase": point.phase,
        "attn_dtype": "bfloat16",
        "kv_cache_dtype": "bfloat16",
        "head_dim": HEAD_DIM,
        "num_heads": point.heads,
        "num_key_value_heads": point.kv_heads,
        "batch_size": point.batch,
        "isl": point.isl,
        "kv_len": point.kv_len,
        "time_us": us,
        "kernel_source": kernel,
    }
