"""The experts of one rank: SwiGLU in bfloat16, by a loop over experts (cuBLAS) and by a grouped product.

A call takes the tokens that reached the rank, gathers their copies by expert, multiplies by gate and up, applies
silu(gate) * up, multiplies by down, weighs, and adds the copies of a token. Gate, routing and dispatch are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.gpu.grids import Moe, Shape
from benchmarks.gpu.timer import Pool

COLUMNS = (
    "model_shape", "dtype", "hidden_size", "inter_size", "num_experts", "topk", "moe_tp_size", "moe_ep_size",
    "distribution", "num_tokens", "time_us", "kernel",
)  # fmt: skip
DRAW_COLUMNS = (*COLUMNS, "draw", "copies", "tokens_per_expert")  # time_us of this draw
ACTIVATED_COLUMNS = ("tokens", "activated_experts", "time_us", "model_shape", "dtype", "kernel")
KEYS = (*COLUMNS[:10], "kernel")
LOOP, LOOP_GRAPH, GROUPED = "torch_loop", "torch_loop_graph", "torch_grouped_mm"


class Experts:
    """The weights of ``count`` experts of a shape, each cut into ``tp`` parts of which this GPU holds one."""

    def __init__(self, shape: Shape, count: int, tp: int, pool: Pool, device: str) -> None:
        import torch

        self.hidden, self.inner = shape.hidden, shape.inner // tp
        sides = [(count, 2 * self.inner, self.hidden), (count, self.hidden, self.inner)]
        empty = [torch.empty(side, dtype=torch.bfloat16, device=device) for side in sides]
        # Of the size that keeps values of the order of one through both products.
        self.gate_up = pool.fill(empty[0]).mul_(self.hidden**-0.5)
        self.down = pool.fill(empty[1]).mul_(self.inner**-0.5)

    @staticmethod
    def size(shape: Shape, count: int, tp: int) -> int:
        """Bytes of the weights."""
        return 6 * count * shape.hidden * shape.inner // tp


class Batch:
    """The copies that land on the rank: ``counts`` by expert, of ``tokens`` tokens in the whole layer.

    No token is twice with an expert: copies in order of experts go to the tokens in turn, in an order of its own.
    """

    def __init__(self, counts: Sequence[int], tokens: int, hidden: int, pool: Pool, device: str) -> None:
        import torch

        copies = sum(counts)
        self.counts, self.tokens = list(counts), min(copies, tokens)
        self.x = pool.take((self.tokens, hidden))
        order = torch.randperm(self.tokens, device=device)
        self.token = order[torch.arange(copies, device=device) % self.tokens]
        self.weight = torch.rand((copies, 1), device=device).to(torch.bfloat16)
        self.ends = torch.tensor(counts, device=device).cumsum(0).to(torch.int32)


def kernels() -> dict[str, Callable[[Experts, Batch], Any]]:
    """The ways to compute a rank's experts, by the name in the table; the loop in a graph and from the host."""
    import torch

    found: dict[str, Callable[[Experts, Batch], Any]] = {LOOP: loop, LOOP_GRAPH: loop}
    product = getattr(torch.nn.functional, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
    if product is not None:
        found[GROUPED] = lambda experts, batch: grouped(experts, batch, product)
    return found


def loop(experts: Experts, batch: Batch) -> Any:
    """Two products an expert that has tokens."""
    import torch
    from torch.nn.functional import linear, silu

    rows = batch.x.index_select(0, batch.token)
    out = torch.empty_like(rows)
    at = 0
    for expert, count in enumerate(batch.counts):
        if count:
            part = linear(rows[at : at + count], experts.gate_up[expert])
            part = silu(part[:, : experts.inner]) * part[:, experts.inner :]
            torch.mm(part, experts.down[expert].t(), out=out[at : at + count])
            at += count
    return _combine(out, batch)


def grouped(experts: Experts, batch: Batch, product: Callable[..., Any]) -> Any:
    """One grouped product for gate and up of all experts, one for down."""
    from torch.nn.functional import silu

    rows = batch.x.index_select(0, batch.token)
    part = product(rows, experts.gate_up.transpose(1, 2), offs=batch.ends)
    part = silu(part[:, : experts.inner]) * part[:, experts.inner :]
    return _combine(product(part, experts.down.transpose(1, 2), offs=batch.ends), batch)


def _combine(out: Any, batch: Batch) -> Any:
    import torch

    return torch.zeros_like(batch.x).index_add_(0, batch.token, out.mul_(batch.weight))


def row(point: Moe, kernel: str, us: float) -> dict[str, object]:
    return {
        "model_shape": point.shape.name,
        "dtype": "bfloat16",
        "hidden_size": point.shape.hidden,
        "inter_size": point.shape.inner,
        "num_experts": point.shape.experts,
        "topk": point.shape.top_k,
        "moe_tp_size": point.tp,
        "moe_ep_size": point.ep,
        "distribution": point.distribution,
        "num_tokens": point.tokens,
        "time_us": us,
        "kernel": kernel,
    }
