"""The loops of ``expert_plan.py`` over every token, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit


@njit("int64(int32[:, ::1], int64[::1], int64[:, ::1])")
def count(choices: Any, tokens: Any, counts: Any) -> Any:
    """Adds the copies of each rank and expert to ``counts``; the first token with an unknown expert, or -1."""
    token = 0
    experts = counts.shape[1]
    for rank in range(len(tokens)):
        row = counts[rank]
        for _ in range(tokens[rank]):
            for slot in range(choices.shape[1]):
                expert = choices[token, slot]
                if expert < -1 or expert >= experts:
                    return token
                if expert >= 0:
                    row[expert] += 1
            token += 1
    return -1


@njit(
    "int64(int32[:, ::1], int64, int64, int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1],"
    " int64[::1], int64[::1])",
    internal=True,
)
def _walk_native(
    choices: Any, begin: Any, end: Any, target_of: Any, node: Any, own: Any, allowed: Any, to_rank: Any, to_node: Any,
    seen_rank: Any, seen_node: Any,
) -> Any:  # fmt: skip
    """``walk`` for the tokens begin to end - 1 of a rank, where no expert has more than one slot.

    ``own`` [N] becomes the copies for each expert, ``allowed`` [N] is what the plan has.
    """
    own[:] = 0
    for token in range(begin, end):
        for choice in range(choices.shape[1]):
            expert = choices[token, choice]
            if expert >= 0:
                own[expert] += 1
                target = np.uint64(target_of[expert])
                to_rank[target] += seen_rank[target] != token
                seen_rank[target] = token
                place = np.uint64(node[target])
                to_node[place] += seen_node[place] != token
                seen_node[place] = token
    if (own <= allowed).all():
        return -1
    own[:] = 0
    for token in range(begin, end):
        for choice in range(choices.shape[1]):
            expert = choices[token, choice]
            if expert >= 0:
                own[expert] += 1
                if own[expert] > allowed[expert]:
                    return token
    return -1


@njit(
    "int64(int32[:, ::1], int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1],"
    " int64[:, ::1], int64[:, ::1], int64[:, ::1])"
)
def walk(
    choices: Any, tokens: Any, planned: Any, slot_rank: Any, first: Any, node: Any, copies: Any, to_rank: Any,
    to_node: Any,
) -> Any:  # fmt: skip
    """Deals every copy to its slot; slots are sorted by expert. The first token that can't be dealt, or -1."""
    ranks = len(tokens)
    experts = len(first) - 1
    seen_rank = np.full(ranks, -1, dtype=np.int64)
    seen_node = np.full(to_node.shape[1], -1, dtype=np.int64)
    at = np.empty(experts, dtype=np.int64)
    left = np.empty(experts, dtype=np.int64)  # of the slot that an expert is at
    target_of = np.zeros(experts, dtype=np.int64)
    own = np.empty(experts, dtype=np.int64)
    native = True
    for expert in range(experts):
        if first[expert] < first[expert + 1]:
            target_of[expert] = slot_rank[first[expert]]
        native &= first[expert + 1] - first[expert] <= 1
    token = 0
    for rank in range(ranks):
        for expert in range(experts):
            at[expert] = first[expert]
            left[expert] = planned[rank, first[expert]] if first[expert] < first[expert + 1] else 0
        if native:
            end = token + tokens[rank]
            fault = _walk_native(
                choices, token, end, target_of, node, own, left, to_rank[rank], to_node[rank], seen_rank, seen_node
            )
            if fault >= 0:
                return fault
            for expert in range(experts):
                copies[rank, target_of[expert]] += own[expert]
            token = end
            continue
        for _ in range(tokens[rank]):
            for choice in range(choices.shape[1]):
                expert = choices[token, choice]
                if expert < 0:
                    continue
                while left[expert] == 0:
                    at[expert] += 1
                    if at[expert] >= first[expert + 1]:
                        return token
                    left[expert] = planned[rank, at[expert]]
                left[expert] -= 1
                target = slot_rank[at[expert]]
                copies[rank, target] += 1
                if seen_rank[target] != token:
                    seen_rank[target] = token
                    to_rank[rank, target] += 1
                    place = node[target]
                    if seen_node[place] != token:
                        seen_node[place] = token
                        to_node[rank, place] += 1
            token += 1
    return -1


@njit("void(int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1])")
def ranges(counts: Any, slot_expert: Any, begin: Any, end: Any, copies: Any) -> Any:
    """Of each rank's copies, numbered rank by rank, those with numbers from begin to end - 1 of the slot's expert."""
    seen = np.zeros(counts.shape[1], dtype=np.int64)
    for rank in range(len(counts)):
        for slot in range(len(slot_expert)):
            low = seen[slot_expert[slot]]
            high = low + counts[rank, slot_expert[slot]]
            copies[rank, slot] = max(min(high, end[slot]) - max(low, begin[slot]), 0)
        for expert in range(len(seen)):
            seen[expert] += counts[rank, expert]


@njit("void(int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1])")
def turns(counts: Any, slot_expert: Any, turn: Any, slots: Any, copies: Any) -> Any:
    """Of each rank's copies, numbered rank by rank, those whose number is ``turn`` modulo the slots of the expert."""
    seen = np.zeros(counts.shape[1], dtype=np.int64)
    for rank in range(len(counts)):
        for slot in range(len(slot_expert)):
            expert = slot_expert[slot]
            own, every = counts[rank, expert], slots[expert]
            past = seen[expert] - turn[slot] + every - 1
            copies[rank, slot] = (past + own) // every - past // every if own > 0 else 0
        for expert in range(len(seen)):
            seen[expert] += counts[rank, expert]


@njit("void(int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1])")
def nearest(counts: Any, order: Any, first: Any, slot_rank: Any, node: Any, copies: Any) -> Any:
    """Each rank's copies shared evenly over the nearest slots of the expert: order[first[e]] .. order[first[e+1]-1].

    What does not divide goes round: the ranks begin with different slots.
    """
    seen = np.zeros(counts.shape[1], dtype=np.int64)
    chosen = np.empty(len(order), dtype=np.int64)
    for rank in range(len(counts)):
        for expert in range(counts.shape[1]):
            own = counts[rank, expert]
            if own == 0:
                continue
            best = number = 0
            for at in range(first[expert], first[expert + 1]):
                target = slot_rank[order[at]]
                near = 2 if target == rank else (1 if node[target] == node[rank] else 0)
                if near > best:
                    best, number = near, 0
                if near == best:
                    chosen[number] = order[at]
                    number += 1
            for place in range(number):
                copies[rank, chosen[place]] = own // number
            for more in range(own % number):
                copies[rank, chosen[(seen[expert] + more) % number]] += 1
            seen[expert] += own
