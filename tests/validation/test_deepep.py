"""Exchanges of tokens on a simulated cluster against DeepEP's published times, and EFA's rails against each other.

Measured: DeepEP README (dd758caf, MIT), H800 with a 400 Gb/s NIC each, 7168 wide, top-8 of 256 experts. Normal kernels:
4096 tokens a GPU, experts of at most 4 nodes a token, bandwidth as counted there: distinct (token, node) pairs, the own
node's included, times bytes, over time (one node: distinct (token, rank) pairs). Low-latency kernels: 128 tokens a GPU.
EFA: uccl-project/uccl da914a20 (Apache-2.0), two nodes of eight H100 with 50 GB/s of NICs each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.dispatch.api import Layout
from sim.dispatch.collective import hierarchical_dedup, low_latency
from solvers.expert_plan import Traffic
from tests.validation.exchanges import SLOTS, Cluster, pairs

EXPERTS, TOP = 256, 8
FP8, BF16 = 7168 + 7168 // 128 * 4, 2 * 7168  # of a token, with its scales; of a result


def drawn(layout: Layout, tokens: int, nodes_of_a_token: int) -> Traffic:
    """Random gates as in DeepEP's tests: the best nodes by their best expert, then the best experts there."""
    rng = np.random.default_rng(3)
    ranks, nodes = len(layout.node), int(layout.node.max()) + 1
    copies, to_rank = np.zeros((2, ranks, ranks), dtype=np.int64)
    to_node = np.zeros((ranks, nodes), dtype=np.int64)
    rows = np.arange(tokens)[:, None]
    for source in range(ranks):
        scores = 1 + np.abs(rng.standard_normal((tokens, nodes, EXPERTS // nodes)))
        best = np.argsort(-scores.max(axis=2), axis=1)[:, :nodes_of_a_token]
        kept = np.zeros((tokens, nodes), dtype=np.bool_)
        kept[rows, best] = True
        scores = np.where(kept[:, :, None], scores, 0).reshape(tokens, EXPERTS)
        target = np.argpartition(-scores, TOP, axis=1)[:, :TOP] // (EXPERTS // ranks)
        used = np.zeros((tokens, ranks), dtype=np.bool_)
        used[rows, target] = True
        copies[source] = np.bincount(target.ravel(), minlength=ranks)
        to_rank[source] = used.sum(axis=0)
        to_node[source] = used.reshape(tokens, nodes, SLOTS).any(axis=2).sum(axis=0)
    return Traffic(copies, to_rank, to_node)


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("ranks", "dispatch", "combine"),
    [(8, 153, 158), (16, 43, 43), (32, 58, 57), pytest.param(64, 51, 50, marks=slow)],
)
def test_normal_kernels_by_nodes(ranks: int, dispatch: float, combine: float) -> None:
    cluster = Cluster(ranks // SLOTS, 200)
    traffic = drawn(cluster.layout, 4096, 4)
    policy: Any = hierarchical_dedup.Policy(hierarchical_dedup.Params())
    counted = traffic.to_rank if ranks == SLOTS else traffic.to_node
    for size, back, measured in ((FP8, False, dispatch), (BF16, True, combine)):
        us = cluster.time(policy.exchange(traffic, cluster.layout, size, back), policy.messages)
        assert counted.sum(axis=1).mean() * size / us / 1e3 == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize(
    ("ranks", "dispatch", "combine"),
    [(8, 77, 114), (16, 118, 195), pytest.param(64, 173, 314, marks=slow), pytest.param(128, 192, 369, marks=slow)],
)
def test_low_latency_kernels_by_ranks(ranks: int, dispatch: float, combine: float) -> None:
    cluster = Cluster(ranks // SLOTS, 200)
    traffic = drawn(cluster.layout, 128, ranks // SLOTS)
    policy: Any = low_latency.Policy(low_latency.Params())
    for size, back, measured in ((FP8 + 16, False, dispatch), (BF16, True, combine)):
        us = cluster.time(policy.exchange(traffic, cluster.layout, size, back), policy.messages)
        assert us == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize(
    ("size", "aligned", "crossing"), [(2**13, 13.8, 6.1), (2**16, 36.9, 15.6), (2**20, 43.5, 19.0), (2**22, 43.7, 20.1)]
)
def test_efa_along_rails_and_across(size: int, aligned: float, crossing: float) -> None:
    """Messages of every GPU to one of the other node: its own rail's, or the next one's."""
    cluster, number = Cluster(2, 450), 64
    for shift, measured in ((0, aligned), (1, crossing)):
        us = cluster.time(pairs(2, shift, size, number), "efa", launch=False)
        assert number * size / us / 1e3 == pytest.approx(measured, rel=0.05)
