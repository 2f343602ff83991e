"""Group-limited routing: the experts of a token come from few groups of consecutive experts, compiled.

The groups with the best single expert are kept. Source: DeepSeek-V2, arXiv 2405.04434, section 2.2.2, and DeepEP's
tests; DeepSeek-V3 ranks groups by the sum of their two best, which changes little. Where a token's experts come up one
after the other by weight (``draws.py``), the kept groups are the first that come up, so a draw only rejects the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from models.mix import mix
from models.routing.draws import alias

_STEP = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_UNIT = 2.0**-53
_TRIES = 24  # rejected draws before the way through all that are left
_AHEAD = 64  # words drawn in one go
_LEAST = np.float32(1e-30)  # score of an expert in a group that is not kept


@njit("int64(float64[::1], boolean[::1], float64)", internal=True)
def _among(weights: Any, free: Any, uniform: Any) -> Any:
    """One of the free experts by weight."""
    left = 0.0
    for expert in range(len(weights)):
        if free[expert]:
            left += weights[expert]
    left *= uniform
    last = -1
    for expert in range(len(weights)):
        if free[expert]:
            last = expert
            left -= weights[expert]
            if left < 0.0:
                break
    return last


@njit("void(uint64, uint32[::1], uint64[::1], uint64[::1])", internal=True)
def _ahead(state: Any, threshold: Any, either: Any, drawn: Any) -> None:
    """The experts of the next words after ``state``, made in one go so that no branch waits for them."""
    experts = np.uint64(len(threshold))
    for number in range(len(drawn)):
        word = mix(state + np.uint64(number + 1) * _STEP)
        cell = ((word >> _HALF) * experts) >> _HALF
        drawn[number] = either[cell + cell + np.uint64((word & _LOW) > np.uint64(threshold[cell]))]


@njit("int32[:, ::1](float64[::1], int64, int64, uint64, int64, int64)")
def draw_in_groups(weights: Any, tokens: Any, top_k: Any, seed: Any, groups: Any, limit: Any) -> Any:
    """[tokens, top_k] distinct experts of at most ``limit`` of ``groups`` equal groups, drawn by ``weights`` [N].

    All weights are above 0; groups divide N; limit * N / groups is at least top_k.
    """
    threshold, other = alias(weights)
    either = np.empty(2 * len(weights), dtype=np.uint64)  # of each cell: its own expert, the other
    for cell in range(len(weights)):
        either[2 * cell] = cell
        either[2 * cell + 1] = other[cell]
    result = np.empty((tokens, top_k), dtype=np.int32)
    group_of = np.arange(len(weights)) // (len(weights) // groups)
    taken = np.full(len(weights), -1, dtype=np.int64)  # the last token that has each expert
    met = np.full(groups, -1, dtype=np.int64)  # the last token that has an expert of each group
    state = mix(seed)
    drawn = np.empty(_AHEAD, dtype=np.uint64)
    _ahead(state, threshold, either, drawn)
    used = 0  # words after ``state`` that are used up
    for token in range(tokens):
        row = result[token]
        seen = 0
        for slot in range(top_k):
            chosen = np.int64(-1)
            full = seen == limit  # no further group
            for _ in range(_TRIES):
                if used == _AHEAD:
                    state += np.uint64(used) * _STEP
                    _ahead(state, threshold, either, drawn)
                    used = 0
                expert = drawn[used]
                used += 1
                if (taken[expert] != token) & ((not full) | (met[np.uint64(group_of[expert])] == token)):
                    chosen = np.int64(expert)
                    break
            if chosen < 0:
                free = taken != token
                if full:
                    for expert in range(len(weights)):
                        free[expert] &= met[group_of[expert]] == token
                state += np.uint64(used + 1) * _STEP
                used = 0
                chosen = _among(weights, free, (mix(state) >> np.uint64(11)) * _UNIT)
                _ahead(state, threshold, either, drawn)
            row[slot] = chosen
            taken[chosen] = token
            group = group_of[chosen]
            seen += met[group] != token
            met[group] = token
    return result


@njit("void(float32[:, ::1], int64, int64)")
def keep_groups(scores: Any, groups: Any, limit: Any) -> None:
    """Takes away the scores [T, N] of all but the ``limit`` groups with the best expert; rows sum to 1 again."""
    size = scores.shape[1] // groups
    for token in range(len(scores)):
        row = scores[token]
        best = np.empty(groups, dtype=np.float32)
        for group in range(groups):
            best[group] = row[group * size : (group + 1) * size].max()
        kept = np.argsort(-best)[:limit]
        total = np.float32(0.0)
        for group in kept:
            total += row[group * size : (group + 1) * size].sum()
        for group in range(groups):
            here = row[group * size : (group + 1) * size]
            if (kept == group).any():
                here /= total
            else:
                here[:] = _LEAST
