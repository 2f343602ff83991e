"""One layer of a mixture of experts on one GPU: the times of its kernels, and the memory of its buffers.

Kernels come in two kinds. ``grouped``: one fused kernel runs all experts of a GPU, and the dispatch kernels sort the
tokens themselves. ``loop``: tokens are sorted by memory passes, and every expert runs two GEMMs and an activation, as
plain PyTorch code does. Times are microseconds on the GPU of the cost model that is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.architectures import Architecture
from models.compute import GpuModel

DENSE, EXPERTS = "dense", "experts"  # kinds of layers

BYTES = {"bf16": 2, "fp8": 1}
GEMM_DTYPE = {"bf16": "bfloat16", "fp8": "fp8"}
SCALE_BLOCK = 128  # fp8 tokens carry a 4-byte scale for each block of so many elements (DeepEP)

# Passes over rows of the hidden (D) or inner (H) dimension that plain PyTorch makes, read or write. Receiver: gather
# by expert, scatter (2 x read, write). Activation: split, clamp, sigmoid, two products. Sender and return: at least 5
# (gather, un-sort, weighted sum); 16 makes LLEP's 26 published speed-ups fit best, of which half could be fp32 sums.
SEND_PASSES, RECEIVE_PASSES, RETURN_PASSES, ACTIVATION_PASSES = 6, 4, 10, 10
FUSED_ACTIVATION_PASSES = 3  # read 2H, write H

# Rows of buffers alive at the peak, per copy that a GPU works on: 3 of width D (received, sorted, result) and 7 of
# width H (gate and up, activation and its temporaries). The published peaks of LLEP's figure 4 are linear in the load
# with 10.00 rows of D at H = D and 5.00 at H = 0.286 D, which these two whole numbers give exactly.
HIDDEN_ROWS, INNER_ROWS = 3, 7
BATCH_HIDDEN_ROWS = 4  # where experts run one by one: the rows of one are gathered once more


def token_bytes(hidden: int, dtype: str) -> int:
    """Bytes of one token's hidden state on the wire: bf16, or fp8 with its scales (Source: DeepEP's tests)."""
    if dtype == "fp8":
        return hidden + 4 * -(-hidden // SCALE_BLOCK)
    return 2 * hidden


@dataclass(frozen=True)
class LayerCosts:
    """Kernel times in us. ``shards``: GPUs that share every expert's inner dimension (tensor parallelism)."""

    gpu: GpuModel
    architecture: Architecture
    dtype: str  # of the experts: bf16, fp8
    kernels: str  # grouped, loop
    shards: int = 1

    @property
    def _inner(self) -> int:
        return max(1, self.architecture.expert_inner // self.shards)

    def gate(self, tokens: int) -> float:
        """Router: a GEMM onto the experts, softmax and top-k over its logits (fp32)."""
        logits = 4 * tokens * self.architecture.experts
        return self.gpu.gemm("bfloat16", tokens, self.architecture.experts, self.architecture.hidden) + self.gpu.memory(
            3 * logits
        )

    def send(self, copies: int) -> float:
        """Sorting of the copies before they leave."""
        if self.kernels == "grouped" or copies == 0:
            return 0.0
        return self.gpu.memory(SEND_PASSES * copies * self.architecture.hidden * 2)

    def experts(self, copies: NDArray[np.int64]) -> float:
        """[slots] copies of tokens for each expert of this GPU."""
        work = copies[copies > 0]
        if not len(work):
            return 0.0
        hidden, inner = self.architecture.hidden, self._inner
        if self.kernels == "grouped":
            return self.gpu.grouped(GEMM_DTYPE[self.dtype], hidden, inner, copies)
        dtype = GEMM_DTYPE[self.dtype]
        total = int(work.sum())
        time = self.gpu.memory(RECEIVE_PASSES * total * hidden * 2)
        for rows in work.tolist():
            time += self.gpu.gemm(dtype, rows, 2 * inner, hidden) + self.gpu.gemm(dtype, rows, hidden, inner)
            time += self.gpu.memory(ACTIVATION_PASSES * rows * inner * 2)
        return time

    def shared(self, tokens: int) -> float:
        """The shared experts, which see every token of this GPU."""
        inner = self.architecture.shared_experts * self.architecture.expert_inner
        return self._gated(tokens, inner) if inner else 0.0

    def dense(self, tokens: int) -> float:
        """The feed-forward block of a layer without experts."""
        return self._gated(tokens, self.architecture.dense_inner)

    def _gated(self, tokens: int, inner: int) -> float:
        hidden = self.architecture.hidden
        up, down = (
            self.gpu.gemm("bfloat16", tokens, 2 * inner, hidden),
            self.gpu.gemm("bfloat16", tokens, hidden, inner),
        )
        return up + down + self.gpu.memory(FUSED_ACTIVATION_PASSES * tokens * inner * 2)

    def receive(self, copies: int) -> float:
        """Un-sorting and the weighted sum of the copies that came back."""
        if self.kernels == "grouped" or copies == 0:
            return 0.0
        return self.gpu.memory(RETURN_PASSES * copies * self.architecture.hidden * 2)

    def attention(self, tokens: int, phase: str, sequence: int) -> float:
        """Attention block of one layer, projections and norms included, on one GPU's own tokens.

        The projections are charged as one GEMM of all their weights; latent attention (MLA) is computed with its
        heads expanded, as in prefill.
        """
        arch = self.architecture
        time = self.gpu.gemm("bfloat16", tokens, arch.attention_parameters // arch.hidden, arch.hidden)
        time += self.gpu.memory(6 * tokens * arch.hidden * 2)  # two norms and the residual
        heads, kv_heads, size = arch.heads, arch.kv_heads, arch.head_dim
        if phase == "prefill":
            length = min(sequence, tokens)
            batch = -(-tokens // length)
            return time + self.gpu.attention("context", batch, length, length, heads, kv_heads, size)
        return time + self.gpu.attention("generation", tokens, 1, sequence, heads, kv_heads, size)


@dataclass(frozen=True)
class LayerMemory:
    """Bytes of one layer on one GPU. ``batch``: whether buffers of width H hold one expert's batch at a time."""

    architecture: Architecture
    dtype: str
    batch: bool
    shards: int = 1

    @property
    def expert_bytes(self) -> int:
        """Weights of one expert (its shard)."""
        return self.architecture.expert_parameters * BYTES[self.dtype] // self.shards

    def inputs(self, tokens: int) -> int:
        """The layer's input and output, its logits, and the input's copies before they leave."""
        return (
            2 + self.architecture.top_k
        ) * tokens * self.architecture.hidden * 2 + 4 * tokens * self.architecture.experts

    def buffers(self, copies: int, largest: int) -> int:
        """For all ``copies`` on a GPU, the ``largest`` number that one of its experts has."""
        inner = self.architecture.expert_inner // self.shards
        rows, wide = (BATCH_HIDDEN_ROWS, largest) if self.batch else (HIDDEN_ROWS, copies)
        return 2 * (rows * copies * self.architecture.hidden + INNER_ROWS * wide * inner)

    @property
    def attention_bytes(self) -> int:
        """Weights of one layer's attention, bf16."""
        return 2 * self.architecture.attention_parameters

    @property
    def dense_bytes(self) -> int:
        """Weights of one feed-forward block without experts, bf16."""
        return 2 * self.architecture.matrices * self.architecture.hidden * self.architecture.dense_inner
