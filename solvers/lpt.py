"""Longest processing time first: whole experts to ranks, heaviest first, each to the rank with the least load.

Source: R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 17, 1969: at most
4/3 - 1/(3P) of the best assignment of whole experts (without a limit of experts a rank).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from models.jit import njit
from solvers.expert_plan import Array


def greedy_lpt(load: Array, ranks: int, most: int = 0) -> Array:
    """[N] the rank of each expert. ``most`` experts a rank at most; 0: no limit. Ties go to the lowest rank.

    Experts without load fill up the ranks with the fewest experts.
    """
    if most and most * ranks < len(load):
        raise ValueError(f"{len(load)} experts do not fit on {ranks} ranks of {most}")
    order = np.argsort(-load, kind="stable").astype(np.int64)
    rank: Array = _deal(np.ascontiguousarray(load, dtype=np.int64), order, ranks, most or len(load))
    return rank


@njit("int64[::1](int64[::1], int64[::1], int64, int64)")
def _deal(load: Any, order: Any, ranks: Any, most: Any) -> Any:
    chosen = np.empty(len(load), dtype=np.int64)
    held = np.zeros(ranks, dtype=np.int64)
    number = np.zeros(ranks, dtype=np.int64)
    for expert in order:
        best = np.int64(-1)
        for rank in range(ranks):
            if number[rank] >= most:
                continue
            if best < 0 or held[rank] < held[best] or (held[rank] == held[best] and number[rank] < number[best]):
                best = np.int64(rank)
        chosen[expert] = best
        held[best] += load[expert]
        number[best] += 1
    return chosen


def relabel(wanted: Array, present: Array, ranks: int) -> Array:
    """``wanted`` [N] with its ranks renamed, so that as many experts as possible stay where they are (``present``).

    Ranks are interchangeable for a balance, not for the weights that must move: an assignment problem.
    """
    shared = np.zeros((ranks, ranks), dtype=np.int64)
    np.add.at(shared, (wanted, present), 1)
    _, names = linear_sum_assignment(shared, maximize=True)
    return np.asarray(names, dtype=np.int64)[wanted]
