"""Equal-cost paths: closed forms, shares, hashing, dead links, tables."""

from __future__ import annotations

import numpy as np
import pytest

from models.builders import edges, fat_tree, leaf_spine, torus
from models.builders.override import with_links
from models.mix import combine, mix
from models.paths import Routes
from models.topology import Topology

LINK = (400 * 10**9, 500_000)
SEEDS = np.array([11, 22, 33], dtype=np.uint64)


def cable(src: str, dst: str, rate: int = 10**9, **more: object) -> dict[str, object]:
    return {"src": src, "dst": dst, "rate": rate, "delay": 1000, **more}


def walk(topology: Topology, path: tuple[int, ...]) -> list[int]:
    """The nodes of a path; fails where links don't meet."""
    nodes = [int(topology.link_src[path[0]])]
    for link in path:
        assert topology.link_src[link] == nodes[-1]
        nodes.append(int(topology.link_dst[link]))
    return nodes


@pytest.mark.parametrize("k", [4, 6, 8])
def test_counts_in_a_k_ary_fat_tree(k: int) -> None:
    routes = Routes(fat_tree.build(LINK, LINK, k=k))
    half = k // 2
    assert routes.count(0, half * half) == half**2  # between pods
    assert routes.count(0, half) == half  # within a pod
    assert routes.count(0, 1) == 1  # on one edge switch
    assert routes.hops(0, half * half) == 6
    assert routes.hops(0, half) == 4
    assert routes.hops(0, 1) == 2


def test_all_paths_are_there_once_in_order() -> None:
    topology = fat_tree.build(LINK, LINK, k=6)
    routes = Routes(topology)
    paths = routes.paths(0, 30)
    assert len(paths) == len(set(paths)) == 9
    assert paths == sorted(paths)
    for path in paths:
        nodes = walk(topology, path)
        assert (nodes[0], nodes[-1], len(nodes)) == (0, 30, 7)
    with pytest.raises(ValueError, match="9 equal-cost paths from host0 to host30; the limit is 8"):
        routes.paths(0, 30, limit=8)


def test_share_of_a_fat_tree() -> None:
    topology = fat_tree.build(LINK, LINK, k=4)
    links, share = Routes(topology).share(0, 15)
    assert len(set(links.tolist())) == len(links)
    assert sorted(share.tolist()) == [0.25] * 8 + [0.5] * 4 + [1.0] * 2
    assert share.sum() == pytest.approx(6)


def test_parallel_cables_count_and_share() -> None:
    topology = edges.build(links=[cable("a", "s"), cable("s", "t", parallel=3), cable("t", "b")], hosts=["a", "b"])
    routes = Routes(topology)
    assert routes.count(0, 1) == 3
    assert len(routes.paths(0, 1)) == 3
    assert sorted(routes.share(0, 1)[1].tolist()) == [1 / 3] * 3 + [1, 1]
    assert routes.max_flow(0, 1) == 10**9


def test_hosts_with_two_switches() -> None:
    rows = [cable("a", "s"), cable("a", "t"), cable("s", "b"), cable("t", "b", rate=3 * 10**9), cable("s", "t")]
    routes = Routes(edges.build(links=rows, hosts=["a", "b"]))
    topology = routes.topology
    assert routes.count(0, 1) == 2
    assert [walk(topology, path)[1] for path in routes.paths(0, 1)] == [2, 3]
    links, share = routes.share(0, 1)
    assert dict(zip(links.tolist(), share.tolist(), strict=True)) == {0: 0.5, 2: 0.5, 4: 0.5, 6: 0.5}
    assert routes.max_flow(0, 1) == 2 * 10**9
    assert routes.max_flow(1, 0) == 2 * 10**9


def test_hosts_forward_only_without_switches() -> None:
    ring = edges.build(links=[cable("a", "b"), cable("b", "c"), cable("c", "d"), cable("d", "a")])
    assert ring.hosts == 4
    routes = Routes(ring)
    assert routes.count(0, 2) == 2
    assert routes.count(0, 1) == 1
    assert [walk(ring, path) for path in routes.paths(0, 2)] == [[0, 1, 2], [0, 3, 2]]
    # the same ring with one switch: hosts no longer pass traffic on
    mixed = Routes(
        edges.build(links=[cable("a", "b"), cable("b", "s"), cable("s", "c"), cable("c", "a")], hosts=list("abc"))
    )
    assert mixed.count(0, 1) == 1
    assert mixed.paths(1, 2) == [(2, 4)]


def test_unreachable_is_empty_everywhere() -> None:
    topology = leaf_spine.build(2, 2, 2, LINK, LINK)
    up = np.ones(topology.links, dtype=bool)
    up[list(topology.find_links("host3-leaf1"))] = False
    routes = Routes(topology, up)
    assert routes.count(0, 3) == routes.max_flow(0, 3) == 0
    assert routes.paths(0, 3) == []
    assert routes.hops(0, 3) == -1
    assert len(routes.share(3, 0)[0]) == 0
    links, start = routes.hashed(np.array([0, 0]), np.array([3, 2]), np.array([1, 2], dtype=np.uint64), SEEDS, False)
    assert start.tolist() == [0, 0, 4]
    assert walk(topology, tuple(links.tolist()))[-1] == 2


def test_a_dead_link_takes_its_paths_with_it() -> None:
    topology = leaf_spine.build(2, 3, 2, LINK, LINK)
    up = np.ones(topology.links, dtype=bool)
    up[topology.find_links("leaf0->spine1")[0]] = False
    routes = Routes(topology, up)
    assert routes.count(0, 2) == 2
    assert routes.count(2, 0) == 3  # the other direction lives
    assert routes.next_links(4, 2) == [8, 12]
    # a dead down link is seen from the source: its spine is no longer on a shortest path
    up[topology.find_links("spine2->leaf1")[0]] = False
    assert Routes(topology, up).paths(0, 2) == [(0, 8, 15, 5)]


def test_hashed_paths_are_paths_and_use_all_ports() -> None:
    topology = leaf_spine.build(4, 8, 8, LINK, LINK)
    routes = Routes(topology)
    rng = np.random.default_rng(3)
    src = rng.integers(0, 8, 4000)
    dst = rng.integers(8, 32, 4000)
    key = rng.integers(0, 2**63, 4000).astype(np.uint64)
    links, start = routes.hashed(src, dst, key, SEEDS, False)
    second = links[start[:-1] + 1]
    for pair in range(50):
        path = tuple(links[start[pair] : start[pair + 1]].tolist())
        assert path in routes.paths(int(src[pair]), int(dst[pair]))
    counts = np.unique(second, return_counts=True)[1]
    assert len(counts) == 8
    assert abs(counts - 500).max() < 5 * np.sqrt(500)  # 5 standard deviations
    again, _ = Routes(topology).hashed(src, dst, key, SEEDS, False)
    assert (again == links).all()
    one, _ = routes.hashed(src[:1], dst[:1], key[:1], SEEDS, False)
    assert one.tolist() == links[: start[1]].tolist()


def test_equal_seeds_polarise() -> None:
    """With one seed for all stages, aggregation switch j only ever uses its j-th core: 1/8 of the ways."""
    topology = fat_tree.build(LINK, LINK, k=16)
    routes = Routes(topology)
    src, dst = np.zeros(2000, dtype=np.int64), np.full(2000, 1000)
    key = np.arange(2000).astype(np.uint64)
    used = {}
    for name, seeds in (("own", SEEDS), ("equal", SEEDS[:1])):
        links, start = routes.hashed(src, dst, key, seeds, False)
        used[name] = len(np.unique(links[start[:-1] + 2]))
    assert used == {"own": 64, "equal": 8}


def test_weighted_hashing_follows_capacity() -> None:
    topology = leaf_spine.build(2, 4, 2, LINK, LINK)
    slow = topology.find_links("spine3->leaf1")[0]
    routes = Routes(with_links(topology, {slow: (100 * 10**9, None)}))
    pairs = 13_000
    key = np.arange(pairs).astype(np.uint64)
    src, dst = np.zeros(pairs, dtype=np.int64), np.full(pairs, 2)
    links, start = routes.hashed(src, dst, key, SEEDS, True)
    counts = np.unique(links[start[:-1] + 1], return_counts=True)[1]
    assert np.abs(counts - np.array([4, 4, 4, 1]) * 1000).max() < 5 * np.sqrt(4000)


def test_max_flow_through_unequal_paths() -> None:
    topology = leaf_spine.build(2, 2, 2, LINK, (100 * 10**9, 1))
    assert Routes(topology).max_flow(0, 2) == 200 * 10**9
    odd = with_links(topology, {topology.find_links("spine0->leaf1")[0]: (10**9 + 7, None)})
    assert Routes(odd).max_flow(0, 2) == 101 * 10**9 + 7  # no common unit fits int32


def test_tables_agree_with_next_links() -> None:
    for topology in (
        fat_tree.build(LINK, LINK, k=4),
        torus.build([3, 4], LINK, LINK),
        edges.build(links=[cable("a", "b"), cable("b", "c"), cable("c", "d"), cable("d", "a")]),
        edges.build(links=[cable("a", "s"), cable("a", "t"), cable("s", "b"), cable("t", "b")], hosts=["a", "b"]),
    ):
        routes = Routes(topology)
        table = routes.tables()
        for node in range(topology.nodes):
            for host in range(topology.hosts):
                if node == host:
                    continue
                entry = node * routes.groups + table.group[host]
                ports = table.port[table.start[entry] : table.start[entry + 1]].tolist()
                last = table.last_link[table.last_start[host] : table.last_start[host + 1]]
                direct = [int(link) for link in last if topology.link_src[link] == node]
                wanted = routes.next_links(node, host)
                if node < topology.hosts <= topology.nodes - 1 and not direct and not ports:
                    assert wanted == []
                else:
                    assert (direct or ports) == wanted
                weights = table.weight[table.start[entry] : table.start[entry + 1]]
                if node < topology.hosts and ports:
                    assert weights.sum() == routes.count(node, host)


def test_counts_beyond_float_are_exact() -> None:
    routes = Routes(torus.build([60, 60], LINK, LINK))
    from math import comb

    assert routes.count(0, 29 * 60 + 29) == comb(58, 29)
    assert routes.count(0, 30 * 60 + 30) == 4 * comb(60, 30)


def test_distance_has_all_nodes() -> None:
    topology = leaf_spine.build(2, 1, 1, LINK, LINK)
    routes = Routes(topology)
    assert routes.distance(int(routes.group_of_host[0])).tolist() == [1, 3, 0, 2, 1]


def test_mix_is_splitmix64() -> None:
    # third output of the generator seeded with 1234567 is mix(1234567 + 3 * golden), Vigna's reference code
    golden = 0x9E3779B97F4A7C15
    outputs = [int(mix(np.uint64((1234567 + (i + 1) * golden) % 2**64))) for i in range(3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert int(mix(np.uint64(0))) == 0
    assert combine(np.uint64(1), np.uint64(2)) != combine(np.uint64(2), np.uint64(1))
