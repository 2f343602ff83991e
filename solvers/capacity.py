"""Expert capacities: which copies find a place, where the others may go, and what fills the places left. Compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit


@njit("int64[:, ::1](int32[:, ::1], int64[::1], int64[::1], int64)")
def drop(choices: Any, tokens: Any, capacity: Any, experts: Any) -> Any:
    """Sets the copies without a place to -1; returns [P, N] the places taken.

    Every source rank r has ``capacity``[r] places at each expert. All first choices come before the second ones, and
    so on; among equals the order of the tokens counts.
    """
    taken = np.zeros((len(tokens), experts), dtype=np.int64)
    begin = 0
    for rank in range(len(tokens)):
        for slot in range(choices.shape[1]):
            for token in range(begin, begin + tokens[rank]):
                expert = choices[token, slot]
                if taken[rank, expert] < capacity[rank]:
                    taken[rank, expert] += 1
                else:
                    choices[token, slot] = -1
        begin += tokens[rank]
    return taken


@njit("int64(float32[:, ::1], int32[:, ::1], int32[:, ::1], int64[::1], int64[::1])")
def rescue_at_home(scores: Any, choices: Any, asked: Any, tokens: Any, native: Any) -> Any:
    """Gives dropped copies to the best-scoring expert on the token's own rank that the token neither has nor asked for.

    Changes ``choices``; returns how many copies found one. No capacity holds there: nothing is sent.
    """
    found = 0
    token = 0
    for rank in range(len(tokens)):
        for _ in range(tokens[rank]):
            for slot in range(choices.shape[1]):
                if choices[token, slot] >= 0:
                    continue
                best = np.int64(-1)
                for expert in range(len(native)):
                    if native[expert] != rank or (best >= 0 and scores[token, expert] <= scores[token, best]):
                        continue
                    free = True
                    for other in range(choices.shape[1]):
                        if choices[token, other] == expert or asked[token, other] == expert:
                            free = False
                    if free:
                        best = np.int64(expert)
                if best >= 0:
                    choices[token, slot] = best
                    found += 1
            token += 1
    return found


@njit("int64(int32[::1], int64[::1], int32[:, ::1], int64[::1], int64[:, ::1], int64[::1], int32[::1])")
def fill_in(wanted: Any, order: Any, choices: Any, rank: Any, taken: Any, capacity: Any, added: Any) -> Any:
    """Gives free places to the tokens of ``order`` that want one: token t the expert wanted[t] besides its choices.

    ``added`` [T] gets the expert or -1; returns how many. ``rank`` [T] is the source rank of each token.
    """
    found = 0
    added[:] = -1
    for token in order:
        expert = wanted[token]
        has = False
        for slot in range(choices.shape[1]):
            if choices[token, slot] == expert:
                has = True
        if not has and taken[rank[token], expert] < capacity[rank[token]]:
            taken[rank[token], expert] += 1
            added[token] = expert
            found += 1
    return found
