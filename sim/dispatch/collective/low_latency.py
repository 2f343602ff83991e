"""Every copy of a token is a message of its own, written straight into the memory of the rank that it is for.

Source: DeepEP, https://github.com/deepseek-ai/DeepEP, low-latency kernels. There is no gathering and no forwarding: a
token goes out once for each expert that it has on another rank, and each expert's result comes back. What a copy costs
beyond its bytes is the message profile's. The writes to one rank are one flow that stands for as many messages. In an
all_to_all of buffers there are no tokens: one message a peer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.dispatch.api import Exchange, Layout, Message, PolicyParams
from sim.dispatch.collective._levels import flat, listed, uniform
from sim.dispatch.collective._schedule import too_few

if TYPE_CHECKING:
    from solvers.expert_plan import Traffic


class Params(PolicyParams):
    pass


class Policy:
    operations = frozenset({"all_to_all"})
    messages = "deepep_low_latency"
    needs_counts = False  # every rank has room for all that may come

    def __init__(self, params: Params) -> None:
        pass

    def problem(self, operation: str, ranks: int) -> str | None:
        return too_few(ranks)

    def schedule(self, operation: str, ranks: int, size: int) -> tuple[list[Message], list[int]]:
        return listed(flat(uniform(ranks, size), None, back=False))

    def exchange(self, traffic: Traffic, layout: Layout, token_bytes: int, back: bool) -> Exchange:
        return flat(traffic.copies * token_bytes, traffic.copies, back)
