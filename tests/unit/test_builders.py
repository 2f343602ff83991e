"""Shapes by closed form, names, and what impossible shapes say."""

from __future__ import annotations

import numpy as np
import pytest

from models.builders import dragonfly, fat_tree, leaf_spine, star, torus
from models.builders.override import with_links
from models.topology import Topology

HOST, FABRIC = (400 * 10**9, 500_000), (100 * 10**9, 700_000)
SAME = (HOST, HOST)


def degrees(topology: Topology, name: str) -> set[int]:
    """Cables of the nodes whose names begin with ``name``."""
    number = np.bincount(topology.link_src, minlength=topology.nodes)
    return {int(number[node]) for node, label in enumerate(topology.node_name) if label.startswith(name)}


def test_leaf_spine_shape_names_and_order() -> None:
    topology = leaf_spine.build(3, 2, 4, HOST, FABRIC)
    assert (topology.hosts, topology.nodes, topology.links) == (12, 17, 2 * (12 + 6))
    assert topology.cable_name[:2] == ["host0-leaf0", "host1-leaf0"]
    assert topology.cable_name[12:15] == ["leaf0-spine0", "leaf0-spine1", "leaf1-spine0"]
    assert topology.find_links("leaf0->spine1") == (26,)
    assert topology.find_links("spine1-leaf0") == (26, 27)
    assert set(topology.link_rate[:24]) == {HOST[0]}
    assert set(topology.link_delay[24:]) == {FABRIC[1]}
    assert topology.edge_of_host.tolist() == [12] * 4 + [13] * 4 + [14] * 4


@pytest.mark.parametrize("k", [2, 4, 6, 8])
def test_fat_tree_three_tiers(k: int) -> None:
    topology = fat_tree.build(*SAME, k=k)
    assert topology.hosts == k**3 // 4
    assert topology.nodes - topology.hosts == k * k + (k // 2) ** 2
    assert topology.links == 2 * 3 * k**3 // 4
    for name in ("edge", "agg", "core"):
        assert degrees(topology, name) == {k}


def test_fat_tree_oversubscribed_keeps_hosts_and_sheds_uplinks() -> None:
    topology = fat_tree.build(*SAME, k=8, oversubscription=2)
    assert topology.hosts == 128
    assert degrees(topology, "edge") == {4 + 2}
    assert degrees(topology, "agg") == {8}
    assert degrees(topology, "core") == {8}
    assert sum(name.startswith("core") for name in topology.node_name) == 8
    assert fat_tree.build(*SAME, k=16, oversubscription=8 / 3).hosts == 1024


def test_fat_tree_two_tiers_and_rates() -> None:
    topology = fat_tree.build(*SAME, k=8, tiers=2, oversubscription=4)
    assert topology.hosts == 32
    assert degrees(topology, "edge") == {4 + 1}
    assert degrees(topology, "core") == {8}
    # uplinks four times as fast: a quarter of them does
    fast = fat_tree.build((100 * 10**9, 1), (400 * 10**9, 1), k=8)
    assert degrees(fast, "edge") == {4 + 1}
    assert degrees(fat_tree.build((100 * 10**9, 1), (400 * 10**9, 1), k=8, oversubscription=None), "edge") == {8}


def test_fat_tree_by_number_of_hosts() -> None:
    assert fat_tree.build(*SAME, hosts=1024).links == fat_tree.build(*SAME, k=16).links
    with pytest.raises(ValueError, match=r"1000 hosts; nearest: 686 \(k=14\) or 1024 \(k=16\)"):
        fat_tree.build(*SAME, hosts=1000)
    with pytest.raises(ValueError, match=r"nearest: 32 \(k=8\) or 50 \(k=10\)"):
        fat_tree.build(*SAME, hosts=40, tiers=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 5}, "must be even"),
        ({"k": 0}, "must be even and at least 2"),
        ({"k": 8, "oversubscription": 3}, r"nearest possible: 4 \(1 uplinks\) or 2 \(2 uplinks\)"),
        ({"k": 8, "oversubscription": 0.5}, "at least 1"),
        ({"k": 8, "oversubscription": "nan"}, "a number of at least 1"),
        ({"k": 8, "tiers": 4}, "2 or 3"),
        ({"k": 4, "hosts": 16}, "either k or hosts"),
    ],
)
def test_impossible_fat_trees(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fat_tree.build(*SAME, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of 4 uplinks"):
        fat_tree.build(HOST, FABRIC, k=8)  # four times slower uplinks can't be 1:1


def test_dragonfly_canonical() -> None:
    topology = dragonfly.build(*SAME)
    groups, routers = 9, 4
    assert topology.hosts == groups * routers * 2
    assert degrees(topology, "router") == {2 + 3 + 2}
    router = (topology.link_src - topology.hosts) // routers
    other = (topology.link_dst - topology.hosts) // routers
    between = {(int(a), int(b)) for a, b in zip(router, other, strict=True) if a >= 0 and b >= 0 and a != b}
    assert between == {(a, b) for a in range(groups) for b in range(groups) if a != b}


def test_dragonfly_with_fewer_groups_has_parallel_ways() -> None:
    topology = dragonfly.build(*SAME, groups=5)
    assert degrees(topology, "router") == {2 + 3 + 2}
    with pytest.raises(ValueError, match="nearest number of groups: 5 or 9"):
        dragonfly.build(*SAME, groups=7)
    with pytest.raises(ValueError, match="at most 9 groups"):
        dragonfly.build(*SAME, groups=10)
    assert dragonfly.build(*SAME, groups=1).links == 2 * (8 + 6)


@pytest.mark.parametrize(
    ("dims", "cables"), [([4, 4], 32), ([2, 2], 4), ([1, 3], 3), ([2, 3, 4], 12 + 24 + 24), ([1], 0), ([5], 5)]
)
def test_torus_cables(dims: list[int], cables: int) -> None:
    topology = torus.build(dims, *SAME)
    assert topology.links == 2 * (cables + int(np.prod(dims)))
    assert len(set(topology.cable_name)) == topology.links // 2


def test_star_and_wrong_counts() -> None:
    assert star.build(5, HOST).links == 10
    for wrong in (
        lambda: star.build(0, HOST),
        lambda: leaf_spine.build(0, 1, 1, HOST, HOST),
        lambda: torus.build([], HOST, HOST),
        lambda: torus.build([4, 0], HOST, HOST),
        lambda: dragonfly.build(HOST, HOST, routers_per_group=0),
    ):
        with pytest.raises(ValueError, match="at least"):
            wrong()


def test_override_changes_one_direction_of_a_copy() -> None:
    topology = leaf_spine.build(2, 2, 1, HOST, HOST)
    changed = with_links(topology, {4: (10**9, None), 5: (None, 7)})
    assert changed.link_rate[4] == 10**9
    assert changed.link_delay[4] == HOST[1]
    assert changed.link_delay[5] == 7
    assert changed.link_rate[5] == topology.link_rate[4] == HOST[0]
    for wrong in ({4: (0, None)}, {4: (None, -1)}, {99: (1, 1)}):
        with pytest.raises(ValueError, match=r"above 0|negative|no link"):
            with_links(topology, wrong)  # type: ignore[arg-type]
