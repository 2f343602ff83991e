"""Loops of gates that balance by themselves, over scores [T, N] of T tokens for N experts. Compiled.

``top_k`` chooses by scores with a factor and a bias an expert; ``bip_duals`` and ``sinkhorn_duals`` find such a bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit

_SCORES = "float32[:, ::1]"


@njit(f"void({_SCORES}, float64[::1], float64[::1], int64, int64, int32[:, ::1])")
def top_k_into(scores: Any, scale: Any, bias: Any, begin: Any, end: Any, into: Any) -> Any:
    """Tokens begin..end - 1: the experts with the largest score * scale + bias, largest first; ties: lowest first."""
    width = into.shape[1]
    best = np.empty(width)
    for token in range(begin, end):
        filled = 0
        for expert in range(scores.shape[1]):
            value = scores[token, expert] * scale[expert] + bias[expert]
            if filled == width and value <= best[width - 1]:
                continue
            if filled < width:
                filled += 1
            at = filled - 1
            while at > 0 and best[at - 1] < value:
                best[at] = best[at - 1]
                into[token, at] = into[token, at - 1]
                at -= 1
            best[at] = value
            into[token, at] = expert


def top_k(scores: Any, width: int, bias: Any = None) -> Any:
    """[T, width] the experts with the largest score + bias [N], largest first; ties: lowest expert first."""
    tokens, experts = scores.shape
    if width > experts:
        raise ValueError(f"top-{width} of {experts} experts")
    into = np.empty((tokens, width), dtype=np.int32)
    offset = np.zeros(experts) if bias is None else np.asarray(bias, dtype=np.float64)
    top_k_into(np.ascontiguousarray(scores, dtype=np.float32), np.ones(experts), offset, 0, tokens, into)
    return into


@njit(f"float64({_SCORES}, int32[:, ::1])")
def score_sum(scores: Any, choices: Any) -> Any:
    """Sum of the scores of all choices; -1 counts nothing."""
    total = 0.0
    for token in range(len(choices)):
        for slot in range(choices.shape[1]):
            if choices[token, slot] >= 0:
                total += scores[token, choices[token, slot]]
    return total


@njit(f"void({_SCORES}, float64[::1], int64, int64)")
def bip_duals(scores: Any, prices: Any, width: Any, rounds: Any) -> Any:
    """Alternating dual updates of the assignment programme; ``prices`` [N] are the start and the result.

    Maximise the sum of the scores of the chosen (token, expert) pairs with at most K = ``width`` experts a token and
    T K / N tokens an expert. A round sets each token's price to the (K+1)-th largest of score - price of expert, and
    each expert's to the (T K / N + 1)-th largest of score - price of token, both at least 0.
    """
    tokens, experts = scores.shape
    share = tokens * width // experts
    best = np.empty(width + 1)
    excess = np.empty(2 * tokens * width + experts)  # of score over the token's price, where there is one
    of = np.empty(len(excess), dtype=np.int32)  # whose score
    for _ in range(rounds):
        start = np.zeros(experts + 1, dtype=np.int64)
        size = 0
        for token in range(tokens):
            filled = 0
            for expert in range(experts):
                value = scores[token, expert] - prices[expert]
                if filled > width and value <= best[width]:
                    continue
                if filled <= width:
                    filled += 1
                at = filled - 1
                while at > 0 and best[at - 1] < value:
                    best[at] = best[at - 1]
                    at -= 1
                best[at] = value
            own = max(best[width], 0.0) if filled > width else 0.0
            if size + experts > len(excess):
                excess = np.concatenate((excess, np.empty(len(excess))))
                of = np.concatenate((of, np.empty(len(of), dtype=np.int32)))
            for expert in range(experts):
                if scores[token, expert] > own:
                    excess[size] = scores[token, expert] - own
                    of[size] = expert
                    size += 1
                    start[expert + 1] += 1
        start = np.cumsum(start)
        place = start[:-1].copy()
        sorted_excess = np.empty(size)
        for item in range(size):
            sorted_excess[place[of[item]]] = excess[item]
            place[of[item]] += 1
        for expert in range(experts):
            found = sorted_excess[start[expert] : start[expert + 1]]
            if len(found) > share:
                prices[expert] = np.partition(found, len(found) - 1 - share)[len(found) - 1 - share]
            else:
                prices[expert] = 0.0


@njit(f"Tuple((float64[::1], int64, float64))({_SCORES}, float64, int64, float64)")
def sinkhorn_duals(scores: Any, softness: Any, rounds: Any, tolerance: Any) -> Any:
    """(log v [N], rounds done, largest relative error of a column) of entropic optimal transport.

    The plan is u_i score_ij^(1/softness) v_j with rows that sum to 1 and columns that sum to T / N: cost
    -log(score), weight ``softness`` of the entropy. Ends when no column is off by more than ``tolerance`` of its due.
    """
    tokens, experts = scores.shape
    due = tokens / experts
    power = 1.0 / softness
    factor = np.ones(experts)
    weight = np.empty(experts)
    done, worst = 0, np.inf
    while done < rounds and worst > tolerance:
        column = np.zeros(experts)
        for token in range(tokens):
            total = 0.0
            for expert in range(experts):
                score = float(scores[token, expert])
                weight[expert] = (score if power == 1.0 else score**power) * factor[expert]
                total += weight[expert]
            for expert in range(experts):
                column[expert] += weight[expert] / total
        worst = 0.0
        for expert in range(experts):
            worst = max(worst, abs(column[expert] / due - 1.0))
            factor[expert] *= due / max(column[expert], 1e-300)
        factor /= factor.max()
        done += 1
    return np.log(np.maximum(factor, 1e-300)), done, worst
