"""Counts of whole fabrics by closed form."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest

from models.builders import dragonfly, edges, fat_tree, leaf_spine, star, torus
from models.builders.override import with_links
from models.paths import Routes
from models.structure import describe, longest_rtt

RATE = 400 * 10**9
LINK = (RATE, 500_000)


@pytest.mark.parametrize("k", [4, 6, 8])
def test_fat_tree(k: int) -> None:
    found = describe(fat_tree.build(LINK, LINK, k=k))
    half = k // 2
    assert found.switches == {"edge": k * half, "agg": k * half, "core": half**2}
    assert (found.paths_min, found.paths_median, found.paths_max) == (half, half**2, half**2)
    assert found.hops_max == 6
    assert found.bisection == k**3 // 8 * RATE
    assert found.oversubscription_min == found.oversubscription_max == found.oversubscription_whole == 1
    assert found.disconnected_pairs == 0
    assert found.paths_exact


@pytest.mark.parametrize("ratio", [2, 4])
def test_oversubscribed_fat_tree(ratio: int) -> None:
    found = describe(fat_tree.build(LINK, LINK, k=8, oversubscription=ratio))
    assert found.oversubscription_min == found.oversubscription_max == found.oversubscription_whole == ratio
    assert found.paths_max == 16 // ratio


def test_leaf_spine_round_trip() -> None:
    topology = leaf_spine.build(4, 2, 2, LINK, (100 * 10**9, 700_000))
    found = describe(topology, wire_mtu=4160, ack=64)
    # ps: 4160 B take 83.2 ns at 400 and 332.8 ns at 100 Gbit/s, 64 B 1.28 and 5.12 ns
    assert found.rtt_max == 2 * (2 * 500_000 + 83_200 + 1_280) + 2 * (2 * 700_000 + 332_800 + 5_120)
    assert found.oversubscription_min == 4
    assert found.hops_max == 4
    slow = with_links(topology, {topology.find_links("spine1->leaf3")[0]: (None, 900_000)})
    assert longest_rtt(Routes(slow), 4160, 64) == found.rtt_max + 200_000
    far = with_links(topology, {topology.find_links("leaf3->host7")[0]: (None, 600_000)})
    assert longest_rtt(Routes(far), 4160, 64) == found.rtt_max + 100_000


@pytest.mark.parametrize("n", [4, 6])
def test_torus(n: int) -> None:
    found = describe(torus.build([n, n], LINK, LINK))
    assert found.hops_max == 2 * (n // 2) + 2
    assert found.bisection == 2 * n * RATE  # two cuts of n cables
    assert found.paths_min == 1
    # two equal ways in each dimension to the opposite node
    steps = n // 2
    ways = 1
    for step in range(steps):
        ways = ways * (2 * steps - step) // (step + 1)
    assert found.paths_max == 4 * ways


def test_star_and_dragonfly() -> None:
    found = describe(star.build(6, LINK))
    assert (found.paths_max, found.hops_max, found.bisection) == (0, 2, 3 * RATE)
    assert found.oversubscription_min is None
    found = describe(dragonfly.build(LINK, LINK))
    assert found.hops_max == 5
    assert found.switches == {"router": 36}


def test_disconnected_pairs_and_switchless() -> None:
    def row(a: str, b: str) -> dict[str, object]:
        return {"src": a, "dst": b, "rate": 10**9, "delay": 1}

    parts = edges.build(links=[row("a", "s"), row("b", "s"), row("c", "t"), row("d", "t"), row("e", "t")])
    assert describe(parts).disconnected_pairs == 2 * 2 * 3
    ring = describe(edges.build(links=[row("a", "b"), row("b", "c"), row("c", "d"), row("d", "a")]))
    assert (ring.hops_max, ring.bisection, ring.disconnected_pairs, ring.switches) == (2, 2 * 10**9, 0, {})
    direct = edges.build(links=[row("a", "b"), row("c", "s"), row("d", "s")], hosts=list("abcd"))
    assert describe(direct).disconnected_pairs == 12 - 4


def test_rates_without_a_common_unit() -> None:
    topology = leaf_spine.build(2, 1, 1, LINK, LINK)
    odd = with_links(topology, {topology.find_links("leaf0->spine0")[0]: (3_000_000_007, None)})
    assert describe(odd).bisection == 3_000_000_007


@pytest.mark.slow
def test_sixty_five_thousand_hosts() -> None:
    """k = 64: built, routed and described in seconds and well under a gigabyte of growth."""
    begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    topology = fat_tree.build(LINK, LINK, k=64)
    built = time.process_time() - begin
    assert topology.hosts == 65_536
    rng = np.random.default_rng(1)
    src, dst = np.arange(topology.hosts), rng.permutation(topology.hosts)
    key = rng.integers(0, 2**63, topology.hosts).astype(np.uint64)
    begin = time.process_time()
    links, start = Routes(topology).hashed(src, dst, key, np.arange(6, dtype=np.uint64), False)
    hashed = time.process_time() - begin
    assert (topology.link_dst[links[start[1:][np.diff(start) > 0] - 1]] == dst[np.diff(start) > 0]).all()
    begin = time.process_time()
    found = describe(topology)
    described = time.process_time() - begin
    assert (found.paths_max, found.hops_max, found.oversubscription_whole) == (1024, 6, 1)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    print(f"built {built:.1f} s, hashed {hashed:.1f} s, described {described:.1f} s, {growth:.2f} GB more")
    assert built < 20
    assert hashed < 20
    assert growth < 1.0
