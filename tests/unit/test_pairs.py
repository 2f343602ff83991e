"""Who sends to whom: random pairs of flows, and the patterns of matrices."""

from __future__ import annotations

import numpy as np
import pytest

from sim.processes import pairs

RNG = np.random.default_rng


@pytest.mark.parametrize("local", [0.0, 0.3, 1.0])
def test_rack_skew_keeps_its_share_and_is_uniform_within(local: float) -> None:
    rack = [9, 4, 4, 9, 4, 9, 1, 1]
    src, dst = pairs.RackSkewed(rack, local).draw(RNG(2), 200_000)
    same = np.array(rack)[src] == np.array(rack)[dst]
    assert same.mean() == pytest.approx(local, abs=0.005)
    assert (src != dst).all()
    counts = np.zeros((8, 8))
    np.add.at(counts, (src, dst), 1)
    for inside in (True, False):
        mask = (np.equal.outer(rack, rack) == inside) & ~np.eye(8, dtype=bool)
        for host in range(8):
            row = counts[host][mask[host]]
            if row.sum():
                assert row == pytest.approx(row.mean(), rel=0.1)


def test_uniform_pairs() -> None:
    src, dst = pairs.Uniform(4).draw(RNG(2), 120_000)
    counts = np.zeros((4, 4))
    np.add.at(counts, (src, dst), 1)
    assert counts.diagonal().sum() == 0
    assert counts[~np.eye(4, dtype=bool)] == pytest.approx(10_000, rel=0.05)


def test_permutation_pairs_keep_their_partner() -> None:
    src, dst = pairs.Permutation(16, RNG(3)).draw(RNG(4), 1000)
    partner = dict(zip(src.tolist(), dst.tolist(), strict=True))
    assert all(partner[a] == b for a, b in zip(src.tolist(), dst.tolist(), strict=True))
    assert len(set(partner.values())) == len(partner) == 16


def test_derangements_are_uniform() -> None:
    rng, seen = RNG(0), {}
    for _ in range(9000):
        drawn = tuple(pairs.derangement(rng, 4).tolist())
        assert all(at != to for at, to in enumerate(drawn))
        seen[drawn] = seen.get(drawn, 0) + 1
    assert len(seen) == 9
    assert list(seen.values()) == pytest.approx([1000] * 9, rel=0.15)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: pairs.Uniform(1), "at least 2 hosts"),
        (lambda: pairs.Fixed(3, 3), "two different hosts"),
        (lambda: pairs.RackSkewed([0, 0, 1], 0.5), "only one host"),
        (lambda: pairs.RackSkewed([0, 0], 0.5), "only one"),
        (lambda: pairs.RackSkewed([0, 0], 1.5), "outside"),
        (lambda: pairs.pattern("shift", 8, RNG(0), by=16), "to itself"),
        (lambda: pairs.pattern("incast", 8, RNG(0), senders=8), "8 senders and host 0 do not fit"),
        (lambda: pairs.pattern("all_to_all", 1, RNG(0)), "at least 2 hosts"),
    ],
)
def test_impossible_pairs(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_patterns() -> None:
    rng = RNG(0)
    assert pairs.pattern("tornado", 4, rng) == [(0, 2), (1, 3), (2, 0), (3, 1)]
    assert pairs.pattern("shift", 3, rng, by=-1) == [(0, 2), (1, 0), (2, 1)]
    assert pairs.pattern("incast", 9, rng, senders=2) == [(1, 0), (2, 0)]
    assert pairs.pattern("outcast", 3, rng) == [(0, 1), (0, 2)]
    assert pairs.pattern("all_to_all", 3, rng) == [(0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)]
    drawn = pairs.pattern("permutation", 50, rng)
    assert sorted(dst for _, dst in drawn) == list(range(50))
    assert all(src != dst for src, dst in drawn)
