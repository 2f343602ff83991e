"""Least-loaded assignment of expert copies to ranks, with weight transfers: the planner of LLEP.

Source: "Least-Loaded Expert Parallelism" (arXiv 2601.17111), algorithms 2 to 4, and the authors' code
(SalesforceAIResearch/LeastLoadedEP, ``compute_llep_lpt_plan``). Experts are taken by descending load. Each stays on its
native rank as far as the cap allows, counting what the rank's other experts still have to come; the rest is spilled to
the ranks of least load, piece by piece up to the cap, no piece but the last smaller than ``min_tokens``. What fits
nowhere is forced onto one helper.

The two semantics differ in three things. Code: an expert whose rank is full sees the helpers as they were when its turn
came, so a forced rest goes to the one that was least loaded then. Paper: the order is always the present one, and an
excess below ``min_tokens`` stays on the native rank. (The third, what the threshold is held against, is the caller's.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from models.jit import njit
from solvers.expert_plan import Array


class Assignment(NamedTuple):
    """Parts of experts on ranks, those of one expert together, in the order of its copies' numbers."""

    expert: Array  # [S]
    rank: Array  # [S]
    copies: Array  # [S]
    forced: int  # copies placed past the cap, as ranks stood then: copies still to come may leave later


def cap_of(total: int, ranks: int, alpha: float) -> int:
    """Copies that a rank should have at most: max(1, int(alpha * (total // ranks)))."""
    return max(1, int(alpha * (total // ranks)))


def least_loaded(load: Array, native: Array, ranks: int, cap: int, min_tokens: int, *, paper: bool) -> Assignment:
    """``load`` [N] copies and ``native`` [N] rank of each expert; ``cap`` copies a rank. No part without copies."""
    order = np.argsort(-load, kind="stable").astype(np.int64)
    parts, number, forced = _assign(
        np.ascontiguousarray(load, dtype=np.int64), np.ascontiguousarray(native, dtype=np.int64), order, ranks, cap,
        min_tokens, paper,
    )  # fmt: skip
    expert, rank, copies = np.ascontiguousarray(parts[:number].T)
    return Assignment(expert, rank, copies, int(forced))


@njit("Tuple((int64[:, ::1], int64, int64))(int64[::1], int64[::1], int64[::1], int64, int64, int64, boolean)")
def _assign(load: Any, native: Any, order: Any, ranks: Any, cap: Any, min_tokens: Any, paper: Any) -> Any:
    """Parts [room, 3] (expert, rank, copies), how many of them are filled, copies placed past the cap."""
    held = np.zeros(ranks, dtype=np.int64)  # assigned, and native copies whose turn is still to come
    for expert in range(len(load)):
        held[native[expert]] += load[expert]
    parts = np.empty((2 * len(load) + ranks, 3), dtype=np.int64)
    number = forced = 0
    for expert in order:
        rest = load[expert]
        if rest == 0:
            break
        home = native[expert]
        held[home] -= rest
        own = max(min(rest, cap - held[home]), 0)
        full = own == 0
        if own < rest and (ranks == 1 or (paper and rest - own < min_tokens)):
            forced += rest - own
            own = rest
        held[home] += own
        rest -= own
        if own > 0:
            parts[number] = expert, home, own
            number += 1
        first = np.int64(-1)
        while rest > 0:
            helper = np.int64(-1)
            for rank in range(ranks):
                if rank != home and (helper < 0 or held[rank] < held[helper]):
                    helper = np.int64(rank)
            if first < 0:
                first = helper
            free = cap - held[helper]
            part = min(rest, free)
            if part <= 0 or (part < min_tokens and rest > part):
                # the other helpers have even less room: no piece is possible
                if full and not paper:
                    helper = first
                part = rest
                forced += rest - max(cap - held[helper], 0)
            held[helper] += part
            rest -= part
            if number + 1 >= len(parts):
                wider = np.empty((2 * len(parts), 3), dtype=np.int64)
                wider[:number] = parts[:number]
                parts = wider
            parts[number] = expert, helper, part
            number += 1
    return parts, number, forced
