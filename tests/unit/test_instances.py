"""Semi-random networks and random and gravity demands: shape, shares, the load asked for, the same for a seed."""

from __future__ import annotations

from pathlib import Path

import networkx
import numpy as np
import pytest

from models.builders import graphml, leaf_spine, torus
from models.candidates import Candidates
from models.demands import Demands, impossible
from models.instances import Lognormal, gravity_demands, load_of, random_demands, semi_random
from models.topology import Topology

GEANT = Path(__file__).parents[2] / "scenarios/traces/geant2012.graphml"


def graph_of(topology: Topology) -> networkx.Graph:
    """The switches alone."""
    graph = networkx.Graph()
    graph.add_nodes_from(range(topology.hosts, topology.nodes))
    ends = zip(topology.link_src[::2].tolist(), topology.link_dst[::2].tolist(), strict=True)
    graph.add_edges_from((a, b) for a, b in ends if a >= topology.hosts and b >= topology.hosts)
    return graph


@pytest.mark.parametrize(("nodes", "degree"), [(2, 1.0), (10, 1.8), (10, 9.0), (30, 3.3), (50, 4.0)])
def test_a_semi_random_network_is_connected_and_has_its_degree(nodes: int, degree: float) -> None:
    for seed in range(5):
        topology = semi_random(nodes, degree, seed, rates=(10**9, 10**10))
        graph = graph_of(topology)
        assert networkx.is_connected(graph)
        assert graph.number_of_edges() == round(nodes * degree / 2) == topology.links // 2 - nodes
        assert set(topology.link_rate[2 * nodes :].tolist()) <= {10**9, 10**10}
        assert set(topology.node_name[nodes:]) == set(topology.place)


def test_semi_random_networks_follow_their_seed_and_prefer_near_nodes() -> None:
    one, same, other = semi_random(30, 4, 1), semi_random(30, 4, 1), semi_random(30, 4, 2)
    assert one.cable_name == same.cable_name
    assert np.array_equal(one.link_rate, same.link_rate)
    assert one.cable_name != other.cable_name
    bare = semi_random(30, 4, 1, hosts_per_node=0)
    assert (bare.hosts, bare.cable_name) == (0, one.cable_name[30:])
    near, far = (
        np.mean([semi_random(30, 4, s, locality=value, hosts_per_node=0).link_delay.mean() for s in range(5)])
        for value in (0.1, 100.0)
    )
    assert near < 0.6 * far
    assert far == pytest.approx(0.52 * 5e9, rel=0.15)  # the mean distance of two points of a square


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": 1}, "nodes is 1; at least 2"),
        ({"degree": 1.7}, r"degree is 1.7; 10 nodes are connected by a mean degree of 1.8 to 9"),
        ({"degree": 9.2}, "degree is 9.2"),
        ({"rates": ()}, "rates is empty"),
        ({"rates": (5, 0)}, r"rates\.1 is 0"),
        ({"locality": 0.0}, "locality is 0"),
        ({"locality": 1e-5}, "locality is 1e-05; so small"),
        ({"hosts_per_node": -1}, "hosts_per_node is -1"),
    ],
)
def test_networks_that_can_not_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        semi_random(**{"nodes": 10, "degree": 3, "seed": 1, **change})  # type: ignore[arg-type]


def feasible_alone(topology: Topology, demands: Demands) -> bool:
    return impossible(demands, Candidates(topology), topology.link_rate) == []


@pytest.mark.parametrize("load", [0.01, 0.5, 1.0])
def test_random_demands_have_the_load_that_was_asked_for(load: float) -> None:
    topology = semi_random(20, 3, 3)
    demands = random_demands(topology, 2000, load, 5)
    assert load_of(topology, demands) == pytest.approx(load, rel=1e-3)
    assert feasible_alone(topology, demands)
    assert (demands.bandwidth % 1000 == 0).all()
    assert np.bincount(demands.priority, minlength=4)[1:] / 2000 == pytest.approx([0.5, 0.3, 0.2], abs=0.05)
    assert set(demands.src.tolist() + demands.dst.tolist()) == set(range(20))
    assert (demands.src != demands.dst).all()
    again, other = (random_demands(topology, 2000, load, seed) for seed in (5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(demands, again, strict=True))
    assert not np.array_equal(demands.src, other.src)


def test_load_by_its_definition() -> None:
    """Four hosts on a square of switches: two demands over 1 and 2 of its 8 directed links."""
    topology = torus.build((4,), (10**9, 5), (10**9, 5))
    one, none = np.array([1, 1]), np.array([-1, -1])
    ends = np.array([0, 0]), np.array([1, 2])
    demands = Demands(["x", "y"], *ends, np.array([3 * 10**8, 10**8]), one, none, 0 * one, none)
    assert load_of(topology, demands) == pytest.approx((0.3 * 1 + 0.1 * 2) / 8)


def test_bandwidths_and_pairs_as_drawn() -> None:
    topology = graphml.build(GEANT, (10**11, 1000))
    drawn = random_demands(topology, 3000, None, 1, bandwidth=(10**6, 5 * 10**6), priorities={7: 1.0})
    assert set(drawn.bandwidth.tolist()) == {10**6, 5 * 10**6}
    assert set(drawn.priority.tolist()) == {7}
    logarithms = np.log(random_demands(topology, 3000, None, 1, bandwidth=Lognormal(10**6, 0.5)).bandwidth)
    assert logarithms.mean() == pytest.approx(np.log(10**6), abs=0.05)
    assert logarithms.std() == pytest.approx(0.5, abs=0.03)
    gravity = random_demands(topology, 3000, None, 1, pairs="gravity")
    full = gravity_demands(topology, 1, total=10**12)
    share = dict.fromkeys(zip(full.src.tolist(), full.dst.tolist(), strict=True), 0.0)
    for pair in zip(gravity.src.tolist(), gravity.dst.tolist(), strict=True):
        share[pair] += 1 / 3000
    wanted = full.bandwidth / full.bandwidth.sum()
    assert np.abs(np.array(list(share.values())) - wanted).max() < 0.006


def test_gravity_demands_follow_the_masses_until_a_path_is_full() -> None:
    topology = semi_random(12, 3, 4, rates=(10**10,))
    demands = gravity_demands(topology, 1, load=0.5)
    assert len(demands.id) == 12 * 11
    assert load_of(topology, demands) == pytest.approx(0.5, rel=1e-4)
    degree = dict(graph_of(topology).degree)
    product = np.array([degree[12 + a] * degree[12 + b] for a, b in zip(demands.src, demands.dst, strict=True)])
    assert demands.bandwidth / product == pytest.approx(demands.bandwidth.sum() / product.sum(), rel=1e-3)
    total = gravity_demands(topology, 1, total=10**11)
    assert total.bandwidth.sum() == pytest.approx(10**11, rel=1e-4)
    full = gravity_demands(topology, 1, load=7.0)
    assert load_of(topology, full) == pytest.approx(7.0, rel=1e-4)
    assert full.bandwidth.max() == 10**10
    assert feasible_alone(topology, full)
    bare = gravity_demands(semi_random(12, 3, 4, rates=(10**10,), hosts_per_node=0), 1, load=0.5)
    assert np.array_equal(bare.bandwidth, demands.bandwidth)


def test_demands_that_can_not_be() -> None:
    topology = semi_random(10, 3, 1)
    with pytest.raises(ValueError, match="load is 9; 3 demands, none above its widest path, offer up to"):
        random_demands(topology, 3, 9.0, 1)
    with pytest.raises(ValueError, match="count is 0"):
        random_demands(topology, 0, 1.0, 1)
    for wrong in ({}, {0: 1.0}, {1: 0.0}, {1: -1.0, 2: 1.0}):
        with pytest.raises(ValueError, match="priorities: whole numbers"):
            random_demands(topology, 5, 0.1, 1, priorities=wrong)
    with pytest.raises(ValueError, match="either load or total"):
        gravity_demands(topology, 1)
    one_leaf = leaf_spine.build(1, 1, 4, (10**9, 5), (10**9, 5))
    for call in (lambda: random_demands(one_leaf, 5, 0.1, 1), lambda: gravity_demands(one_leaf, 1, load=0.1)):
        with pytest.raises(ValueError, match="no two switches with hosts"):
            call()
