"""The shapes that are measured, in an order in which any beginning is a sample of the whole. No GPU needed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple, TypeVar

Point = TypeVar("Point")


class Gemm(NamedTuple):
    dtype: str
    m: int
    n: int
    k: int


class Shape(NamedTuple):
    """The MoE layer of a model: hidden and inner size of an expert, experts, experts a token."""

    name: str
    hidden: int
    inner: int
    experts: int
    top_k: int


class Moe(NamedTuple):
    shape: Shape
    tp: int
    ep: int
    distribution: str
    tokens: int


class Attention(NamedTuple):
    phase: str  # context: every token of the prompt asks; generation: one token a sequence
    heads: int
    kv_heads: int
    batch: int
    isl: int
    kv_len: int

    @property
    def queries(self) -> int:
        return self.isl if self.phase == "context" else 1


class Copy(NamedTuple):
    operation: str
    size: int  # bytes of the tensor


def powers(first: int, last: int, step: int = 2) -> list[int]:
    found = [first]
    while found[-1] * step <= last:
        found.append(found[-1] * step)
    return found


def mixed(points: Sequence[Point]) -> list[Point]:
    """The points shuffled, always alike: a measurement that stops early has a fair sample."""
    found = list(points)
    random.Random(1).shuffle(found)
    return found


# -- matrix products: y[m, n] = x[m, k] W[n, k]^T ----------------------------------------------------------------------

# The values of m and the (n, k) of the measured fine sweep (aiconfigurator, Apache-2.0): both sides of every step.
SWEEP_M = (
    *range(1, 18), 32, 33, 48, 49, 64, 65, 80, 81, 96, 97, 112, 113, 128, 129, 160, 161, 192, 193, 224, 225, 256, 257,
    384, 512, 513, 768, 769, 1024, 1025, 1280, 1281, 1536, 1537, 1792, 1793, 2048, 2049, 2304, 2305, 2560, 2561, 2816,
    2817, 3072, 3073, 3328, 3329, 3584, 3585, 3840, 3841, 4096, 4097, 4352, 4353, 8192, 16384, 32768,
)  # fmt: skip
SWEEP_NK = (
    (512, 7168), (1024, 8192), (2048, 7168), (4096, 4096), (4096, 12288), (6144, 4096), (7168, 2048), (8192, 8192),
    (12288, 4096), (16384, 4096),
)  # fmt: skip


def gemm(dtypes: Sequence[str], quick: bool) -> list[Gemm]:
    sides = [512, 4096] if quick else [128, 512, 1536, 2048, 4096, 7168, 8192, 14336, 28672]
    rows = powers(1, 32768, 16) if quick else powers(1, 32768)
    return mixed([Gemm(*point) for point in product(dtypes, rows, sides, sides)])


def gemm_sweep(dtypes: Sequence[str], quick: bool) -> list[Gemm]:
    rows, sides = (SWEEP_M[17:60:6], SWEEP_NK[3:4]) if quick else (SWEEP_M, SWEEP_NK)
    return mixed([Gemm(dtype, m, n, k) for dtype, m, (n, k) in product(dtypes, rows, sides)])


# -- mixture of experts ------------------------------------------------------------------------------------------------

QWEN_30B = Shape("Qwen3-30B-A3B", 2048, 768, 128, 8)
SHAPES = (
    Shape("Mixtral-8x7B", 4096, 14336, 8, 2),
    Shape("Mixtral-8x22B", 6144, 16384, 8, 2),
    QWEN_30B,
    Shape("Qwen3-235B-A22B", 4096, 1536, 128, 8),
    Shape("DeepSeek-V3/R1", 7168, 2048, 256, 8),
    Shape("Kimi-K2", 7168, 2048, 384, 8),
    Shape("gpt-oss-20b", 2880, 2880, 32, 4),
    Shape("gpt-oss-120b", 2880, 2880, 128, 4),
)
DISTRIBUTIONS = ("balanced", "power_law_1.01", "power_law_1.2")
COPIES = 131_072  # at most, of one rank in the balanced case


def moe(quick: bool) -> list[list[Moe]]:
    """Groups of points with the same weights. Each set of weights comes back three times, each time with a third of
    its points, so that an early end leaves no set out."""
    shapes = SHAPES[2:3] if quick else SHAPES
    groups = []
    for shape in shapes:
        ranks = [8] if quick else [ep for ep in (1, 8, 32) if shape.experts % ep == 0]
        for tp, ep in [(1, ep) for ep in ranks] + ([] if quick else [(4, 1)]):
            most = min(65_536, COPIES * ep // shape.top_k)
            tokens = powers(1, most, 16 if quick else 4)
            groups.append(mixed([Moe(shape, tp, ep, how, many) for how, many in product(DISTRIBUTIONS, tokens)]))
    return [group[turn::3] for turn in range(3) for group in mixed(groups)]


def activated(quick: bool) -> list[tuple[int, int]]:
    """(tokens, activated experts) of one layer of Qwen3-30B-A3B."""
    tokens, experts = (powers(1, 2048, 16), (8, 32, 128)) if quick else (powers(1, 2048), (8, 16, 32, 64, 128))
    return mixed([(many, some) for many, some in product(tokens, experts) if some <= many * QWEN_30B.top_k])


# -- attention ---------------------------------------------------------------------------------------------------------

HEAD_DIM = 128
HEADS = (
    (8, 1), (8, 2), (8, 8), (16, 1), (16, 2), (32, 2), (32, 4), (32, 8), (32, 32), (40, 8), (64, 1), (64, 4), (64, 8),
)  # fmt: skip
PROMPT_TOKENS = 65_536  # batch x length at most
CACHE_BYTES = 8 * 2**30  # keys and values at most


def attention(quick: bool) -> list[Attention]:
    heads = ((32, 8), (64, 8)) if quick else HEADS
    batches = powers(1, 64, 16) if quick else powers(1, 128, 2)
    lengths = (128, 1024, 4096) if quick else (*powers(16, 16384), 1536, 3072, 6144, 10240, 12288)
    points = [
        Attention("context", *pair, batch, length, length)
        for pair, batch, length in product(heads, batches, lengths)
        if batch * length <= PROMPT_TOKENS
    ]
    batches, lengths = (powers(1, 64, 16), powers(128, 8192, 8)) if quick else (powers(1, 512), powers(16, 131_072))
    points += [
        Attention("generation", *pair, batch, 1, length)
        for pair, batch, length in product(heads, batches, lengths)
        if 4 * batch * length * pair[1] * HEAD_DIM <= CACHE_BYTES
    ]
    return mixed(points)


# -- memory and collectives --------------------------------------------------------------------------------------------

OPERATIONS = (
    "memset", "sum", "copy", "silu", "add", "host_to_device", "device_to_host", "host_to_device_pageable",
)  # fmt: skip
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall")


def memory(quick: bool) -> list[Copy]:
    sizes = powers(4096, 2**26, 16) if quick else powers(4096, 2**30)
    return mixed([Copy(*point) for point in product(OPERATIONS, sizes)])


def collectives(quick: bool) -> list[tuple[str, int]]:
    """(collective, bytes), nccl-tests' sizes."""
    return mixed(list(product(COLLECTIVES, powers(512, 2**29, 8 if quick else 2))))


def group_sizes(gpus: int) -> list[int]:
    """How many of the GPUs take part: 2, 4, 8 ... and all of them."""
    return sorted({size for size in (*powers(2, 1024), gpus) if 2 <= size <= gpus})
