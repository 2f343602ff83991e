"""Tokens per expert on the most loaded rank, for the routings that the measured MoE tables name.

The tables time one GPU: EP rank 0, with experts permuted so that it is the most loaded one. ``balanced``: token ``t``
takes experts ``t + i x stride``. ``power_law_A``: expert loads drawn from a density x^-A on [1, 0.8 tokens] (or
[0.01, 2] when there are fewer choices than experts), scaled to tokens x top-k; the time is a mean of five draws.
``_eplb``: the hottest experts get the spare slots, slots are packed heaviest first on the lightest rank with room.
Our draws come from an integer hash: the same for everyone, and not the collector's own.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from models.jit import njit

DRAWS = 5
_ROUTING = re.compile(r"(balanced|uniform|power_law_(\d+(\.\d+)?))(_eplb)?\Z")


class Routing(NamedTuple):
    """What a name of the ``distribution`` column says."""

    exponent: float  # 0: balanced
    eplb: bool


def routing_of(name: str) -> Routing | None:
    """``balanced``, ``uniform``, ``power_law_1.2``, each with ``_eplb`` behind or not; None: no such routing."""
    found = _ROUTING.match(name)
    return Routing(float(found[2] or 0), bool(found[4])) if found else None


@njit("f8(i8, i8)", internal=True)
def _uniform(draw: Any, index: Any) -> Any:
    """In [0, 1), from (draw, index): splitmix64."""
    z = np.uint64(draw * 1000003 + index + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) / 9007199254740992.0


@njit("i8[::1](i8, i8, i8)", internal=True)
def _balanced(tokens: Any, experts: Any, top_k: Any) -> Any:
    """Counts when choice i of token t is expert t + i x stride; few tokens are spread over the stride."""
    loads = np.zeros(experts, np.int64)
    stride = -(-experts // top_k)
    whole = tokens // experts if tokens >= stride else 0
    loads += whole * top_k
    for t in range(whole * experts, tokens):
        for i in range(top_k):
            first = t if tokens >= stride else t * stride // tokens
            loads[(first + i * stride) % experts] += 1
    return loads


@njit("i8[::1](i8, i8, i8, f8, i8)", internal=True)
def _power_law(tokens: Any, experts: Any, top_k: Any, exponent: Any, draw: Any) -> Any:
    """Counts of one draw, rounded to a sum of tokens x top-k."""
    total = tokens * top_k
    low, high = (1.0, tokens * 0.8) if total > experts else (0.01, 2.0)
    bend = 1 - exponent
    from_low, to_high = low**bend, high**bend
    share = np.empty(experts)
    for e in range(experts):
        share[e] = ((to_high - from_low) * _uniform(draw, e) + from_low) ** (1 / bend)
    share *= total / share.sum()
    loads = np.empty(experts, np.int64)
    for e in range(experts):
        loads[e] = round(share[e])
    rest = total - loads.sum()
    order = np.argsort(-loads)
    for i in range(abs(rest)):
        if rest > 0:
            loads[order[i % experts]] += 1
        else:
            e = order[experts - 1 - i % experts]
            loads[e if loads[e] > 0 else np.argmax(loads)] -= 1
    return loads


@njit("i8[::1](i8[::1], i8, i8)", internal=True)
def _slots_of_heaviest(loads: Any, slots: Any, ranks: Any) -> Any:
    """Slot loads of the heaviest rank after replication to ``slots`` and packing of equal numbers a rank."""
    experts = len(loads)
    copies = np.ones(experts, np.int64)
    for _ in range(slots - experts):
        best = 0
        for e in range(1, experts):
            if loads[e] * copies[best] > loads[best] * copies[e]:
                best = e
        copies[best] += 1
    each = np.empty(slots, np.int64)
    at = 0
    for e in range(experts):
        for c in range(copies[e]):
            each[at] = loads[e] * (c + 1) // copies[e] - loads[e] * c // copies[e]
            at += 1
    room = slots // ranks
    weight, used = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    held = np.zeros((ranks, room), np.int64)
    for s in np.argsort(-each):
        light = -1
        for r in range(ranks):
            if used[r] < room and (light < 0 or weight[r] < weight[light]):
                light = r
        held[light, used[light]] = each[s]
        weight[light] += each[s]
        used[light] += 1
    return held[np.argmax(weight)].copy()


@njit("i8[::1](i8, i8, i8, i8, i8, f8, b1, i8)")
def heaviest_rank(
    tokens: Any, experts: Any, slots: Any, top_k: Any, ranks: Any, exponent: Any, eplb: Any, draw: Any
) -> Any:
    """int64 [slots // ranks]: tokens by expert (slot) of the most loaded of ``ranks``; ``exponent`` 0: balanced."""
    if exponent <= 0:
        loads = _balanced(tokens, experts, top_k)
    else:
        loads = _power_law(tokens, experts, top_k, exponent, draw)
    if eplb:
        return _slots_of_heaviest(loads, slots, ranks)
    local = experts // ranks
    best = 0
    most = -1
    for r in range(ranks):
        load = loads[r * local : (r + 1) * local].sum()
        if load > most:
            best, most = r, load
    return loads[best * local : (best + 1) * local].copy()
