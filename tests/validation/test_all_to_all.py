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


def test_the_order_changes_with_the_size() -> None:
    """Two levels of whole copies beat one with few tokens and lose with many; sending each token once beats both."""
    few, many = ({policy: took(policy, 8, tokens) for policy in all_to_all.POLICIES} for tokens in (64, 2048))
    assert few["bilevel"] < 0.9 * few["direct"]
    assert many["bilevel"] > 1.2 * many["direct"]
    assert few["low_latency"] < 0.7 * few["direct"]
    assert many["low_latency"] == pytest.approx(many["direct"], rel=0.1)
    assert many["hierarchical_dedup"] < 0.6 * many["direct"]


def took(policy: str, nodes: int, tokens: int) -> float:
    """us of dispatch and combine."""
    found = all_to_all.layer(policy, nodes, tokens)
    return found.mean_us("dispatch") + found.mean_us("combine")
