"""How many token copies each expert gets. No GPU needed: integers and a seeded generator of the standard library.

The synthetic distributions of the measured MoE tables (aiconfigurator's collector, Apache-2.0): ``balanced``, and
``power_law_A`` with exponent A, in which the rank with most copies is rank 0, the one that is timed.
"""

from __future__ import annotations

import random
from itertools import pairwise


def even(copies: int, experts: int) -> list[int]:
    """``copies`` over ``experts`` as evenly as integers allow, the larger shares spread out and expert 0 among them."""
    bounds = [-(-expert * copies // experts) for expert in range(experts + 1)]
    return [high - low for low, high in pairwise(bounds)]


def power_law(tokens: int, experts: int, top_k: int, alpha: float, ranks: int, rng: random.Random) -> list[int]:
    """Copies by expert: drawn from x^-alpha by its inverse, scaled to tokens x top_k, none above ``tokens``.

    The range of x is 1 to 0.8 tokens, or 0.01 to 2 where there are no more copies than experts. Rank 0 changes places
    with the rank that has most.
    """
    total = tokens * top_k
    low, high = (1.0, 0.8 * tokens) if total > experts else (0.01, 2.0)
    power = 1.0 - alpha
    drawn = [
        ((high**power - low**power) * rng.random() + low**power) ** (1.0 / power)
        for _ in range(experts)
    ]  # fmt: skip
    scale = total / sum(drawn)
    counts = [min(tokens, round(share * scale)) for share in drawn]
    order = sorted(range(experts), key=lambda expert: -drawn[expert])
    step = 1 if sum(counts) < total else -1
    while sum(counts) != total:  # rounding and the cap: a copy at a time, at the largest that can take or give one
        missing = abs(total - sum(counts))
        able = [expert for expert in order if 0 <= counts[expert] + step <= tokens]
        for expert in able[:missing]:
            counts[expert] += step
    size = experts // ranks
    loads = [sum(counts[rank * size : (rank + 1) * size]) for rank in range(ranks)]
    most = loads.index(max(loads)) * size
    counts[:size], counts[most : most + size] = counts[most : most + size], counts[:size]
    return counts


def draw(distribution: str, tokens: int, experts: int, top_k: int, ranks: int, seed: int) -> list[int]:
    """Copies of rank 0's experts, in a layer of ``experts`` over ``ranks`` that gets ``tokens`` tokens in all.

    ``distribution`` is ``balanced`` or ``power_law_A``. ValueError where the experts do not divide among the ranks.
    """
    if experts % ranks:
        raise ValueError(f"{experts} experts do not divide among {ranks} ranks")
    if distribution == "balanced":
        counts = even(tokens * top_k, experts)
    else:
        alpha = float(distribution.removeprefix("power_law_"))
        counts = power_law(tokens, experts, top_k, alpha, ranks, random.Random(seed))
    return counts[: experts // ranks]


def draws(distribution: str, quick: bool) -> int:
    """How many draws a row is the mean of: the balanced case has no chance in it."""
    return 1 if quick or distribution == "balanced" else 3
