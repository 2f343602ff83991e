"""Matrix products: y[m, n] = x[m, k] W[n, k]^T in bfloat16 and in FP8 with one scale a tensor (the product alone)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.gpu.grids import Gemm
from benchmarks.gpu.timer import Pool

COLUMNS = ("system", "dtype", "kernel", "m", "n", "k", "time_us", "tflops")
KEYS = ("dtype", "n", "k", "m")
KERNELS = {"bfloat16": "torch.nn.functional.linear", "fp8": "torch._scaled_mm"}


def dtypes(capability: tuple[int, int]) -> list[str]:
    """What a GPU of this compute capability multiplies."""
    return ["bfloat16", "fp8"] if capability >= (8, 9) else ["bfloat16"]


def calls(point: Gemm, pool: Pool, sets: Callable[[int], int]) -> list[Callable[[], Any]]:
    """The product with as many weights as ``sets`` says for their bytes; x is the same."""
    import torch
    from torch.nn.functional import linear

    _, m, n, k = point
    if point.dtype == "bfloat16":
        x = pool.take((m, k))
        return [partial(linear, x, pool.take((n, k))) for _ in range(sets(2 * n * k))]
    x = pool.take((m, k), torch.float8_e4m3fn)
    one = torch.ones((), dtype=torch.float32, device=x.device)
    return [
        partial(
            torch._scaled_mm, x, pool.take((n, k), torch.float8_e4m3fn).t(), scale_a=one, scale_b=one,
            out_dtype=torch.bfloat16, use_fast_accum=True,
        )
        for _ in range(sets(n * k))
    ]  # fmt: skip


def row(system: str, point: Gemm, us: float) -> dict[str, object]:
    tflops = 2.0 * point.m * point.n * point.k / us / 1e6
    return {"system": system, "kernel": KERNELS[point.dtype], **point._asdict(), "time_us": us, "tflops": tflops}
