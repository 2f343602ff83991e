"""DeepSeek's expert-parallelism load balancer: which experts get replicas, and on which GPUs all of them lie.

Source: deepseek-ai/EPLB (``rebalance_experts``). Hierarchical, where the nodes divide the expert groups: groups are
packed to nodes, the busiest experts of a node are replicated, and the replicas are packed to its GPUs. Global
otherwise: the same with one group and one node. Loads are compared in double precision (the original: single).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.jit import njit
from solvers.expert_plan import Array

Loads = NDArray[np.float64]


def balanced_packing(weight: Loads, packs: int) -> tuple[Array, Array]:
    """([n] pack of each item, [n] its place in the pack): heaviest first, each on the lightest pack with room.

    Every pack gets n / packs items; with one item a pack, item i is on pack i.
    """
    items = len(weight)
    if packs < 1 or items % packs:
        raise ValueError(f"{items} items can't be packed evenly into {packs}")
    if items == packs:
        return np.arange(items, dtype=np.int64), np.zeros(items, dtype=np.int64)
    order = np.argsort(-weight, kind="stable").astype(np.int64)
    pack, place = _pack(np.ascontiguousarray(weight), order, packs)
    return pack, place


@njit("Tuple((int64[::1], int64[::1]))(float64[::1], int64[::1], int64)")
def _pack(weight: Any, order: Any, packs: Any) -> Any:
    room = len(weight) // packs
    pack = np.empty(len(weight), dtype=np.int64)
    place = np.empty(len(weight), dtype=np.int64)
    heavy = np.zeros(packs)
    filled = np.zeros(packs, dtype=np.int64)
    for item in order:
        best = np.int64(-1)
        for number in range(packs):
            if filled[number] < room and (best < 0 or heavy[number] < heavy[best]):
                best = np.int64(number)
        pack[item] = best
        place[item] = filled[best]
        filled[best] += 1
        heavy[best] += weight[item]
    return pack, place


@njit("int64[::1](float64[::1], int64)")
def replicate(weight: Any, slots: Any) -> Any:
    """[slots] the expert of each: all N once, then again and again the one with the most load a replica."""
    experts = len(weight)
    chosen = np.arange(slots)
    number = np.ones(experts)
    for slot in range(experts, slots):
        best = 0
        for expert in range(1, experts):
            if weight[expert] / number[expert] > weight[best] / number[best]:
                best = expert
        chosen[slot] = best
        number[best] += 1.0
    return chosen


def rebalance(weight: Loads, slots: int, groups: int, nodes: int, gpus: int) -> Array:
    """[slots] the expert of each slot; each GPU has the next slots / gpus, each node the next gpus / nodes GPUs.

    ``weight`` [N] is the expected load of each expert, ``groups`` the model's expert groups. Hierarchical if ``nodes``
    divides ``groups``. ValueError where the numbers do not divide.
    """
    if groups < 1 or nodes < 1 or gpus < 1 or groups % nodes:
        groups = nodes = 1
    experts = len(weight)
    if slots < experts:
        raise ValueError(f"{slots} slots are too few for {experts} experts")
    for name, whole, part in (
        ("experts over groups", experts, groups),
        ("GPUs over nodes", gpus, nodes),
        ("slots over GPUs", slots, gpus),
    ):
        if whole % part:
            raise ValueError(f"{name}: {whole} can't be split evenly over {part}")
    size = experts // groups
    pack, place = balanced_packing(weight.reshape(groups, size).sum(axis=1), nodes)
    order = np.argsort(pack * (groups // nodes) + place, kind="stable")
    of_node = (order[:, None] * size + np.arange(size)).reshape(nodes, experts // nodes)
    result = np.empty(slots, dtype=np.int64)
    a_node, a_gpu = slots // nodes, slots // gpus
    for node in range(nodes):
        own = np.ascontiguousarray(weight[of_node[node]], dtype=np.float64)
        replica = replicate(own, a_node)
        share = (own / np.bincount(replica, minlength=len(own)))[replica]
        gpu, spot = balanced_packing(share, gpus // nodes)
        result[node * a_node + gpu * a_gpu + spot] = of_node[node][replica]
    return result
