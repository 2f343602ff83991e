"""One layer's All2All against DeepEP's published kernels, in the shipped scenario; which algorithm is best where."""

from __future__ import annotations

import pytest

from benchmarks.reproduce import all_to_all

slow = pytest.mark.slow


@pytest.mark.parametrize("ranks", [8, 16, pytest.param(64, marks=slow), pytest.param(128, marks=slow)])
def test_low_latency_kernels(ranks: int) -> None:
    for row in all_to_all.low_latency(ranks):
        assert abs(row.error) < all_to_all.BOUND, row


@pytest.mark.parametrize("ranks", [8, 16, 32, pytest.param(64, marks=slow)])
def test_normal_kernels(ranks: int) -> None:
    for row in all_to_all.normal(ranks):
        assert abs(row.error) < all_to_all.BOUND, row


@pytest.mark.parametrize("size", all_to_all.EFA)
def test_efa_by_size(size: int) -> None:
    for row in all_to_all.efa(size):
        assert abs(row.error) < 0.1, row


def test_a_token_crosses_to_a_node_once() -> None:
    """Group-limited routing reaches 2 nodes with almost every token, but 8 experts: a quarter of the copies cross."""
    away = {policy: all_to_all.sent(all_to_all.layer(policy, 2, 256))[0] for policy in ("direct", "hierarchical_dedup")}
    assert away["direct"] / away["hierarchical_dedup"] == pytest.approx(4, rel=0.05)
    assert away["direct"] == pytest.approx(256 * 4 * (7392 + 14336), rel=0.05)


def test_no_algorithm_is_best_everywhere() -> None:
    """Inside a node NCCL's flat exchange starts first; across nodes deduplication wins with many tokens."""
    time = {}
    for nodes, tokens in ((1, 8), (2, 4096)):
        for policy in all_to_all.POLICIES:
            found = all_to_all.layer(policy, nodes, tokens)
            time[policy, nodes] = found.mean_us("dispatch") + found.mean_us("combine")
    assert min(all_to_all.POLICIES, key=lambda policy: time[policy, 2]) == "hierarchical_dedup"
    assert time["bilevel", 2] > time["direct", 2] > 1.5 * time["hierarchical_dedup", 2]
    assert min(all_to_all.POLICIES, key=lambda policy: time[policy, 1]) != "hierarchical_dedup"
