"""Candidate ways against networkx: the same costs for every pair, and a disjoint pair wherever there is one."""

from __future__ import annotations

from itertools import islice, pairwise

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.builders import edges, gpu_cluster, leaf_spine, star, torus
from models.candidates import By, Candidates, Protection, Way
from models.topology import Topology, TopologyBuilder

LINK = (10**10, 1000)


def graph_of(cables: list[tuple[int, int, int, int]], nodes: int, hosts: int) -> Topology:
    """Switches n0, n1, ... with cables (a, b, Gbit/s, ns); the first ``hosts`` of them have a host each."""
    builder = TopologyBuilder("test")
    for host in range(hosts):
        builder.add_node(f"host{host}", host=True, tier=0)
    for node in range(nodes):
        builder.add_node(f"n{node}", host=False, tier=1)
    for host in range(hosts):
        builder.add_cable(f"host{host}", f"n{host}", 10**11, 500)
    for a, b, rate, delay in cables:
        builder.add_cable(f"n{a}", f"n{b}", rate * 10**9, delay * 1000)
    return builder.freeze()


@st.composite
def networks(draw: st.DrawFn) -> tuple[Topology, np.ndarray]:
    """A small network, perhaps not connected, with parallel cables and delays of 0; and which links are up."""
    nodes = draw(st.integers(2, 7))
    ends = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)).filter(lambda pair: pair[0] != pair[1])
    cable = st.tuples(ends, st.sampled_from([1, 4, 10]), st.integers(0, 3)).map(lambda c: (*c[0], c[1], c[2]))
    topology = graph_of(draw(st.lists(cable, min_size=1, max_size=14)), nodes, draw(st.integers(0, 2)))
    down = draw(st.sets(st.integers(0, topology.links - 1), max_size=3))
    up = np.ones(topology.links, dtype=np.bool_)
    up[list(down)] = False
    return topology, up


def cost_of(topology: Topology, by: By, link: int) -> int:
    if by == "hops":
        return 1
    if by == "delay":
        return int(topology.link_delay[link])
    return int(topology.link_rate.max()) * 2**20 // int(topology.link_rate[link])


def second_way(topology: Topology, up: np.ndarray, by: By, src: int, dst: int) -> networkx.DiGraph:
    """Every link is a node, so that parallel cables stay apart; hosts that are not ends are left out."""
    graph = networkx.DiGraph()
    graph.add_nodes_from([("node", src), ("node", dst)])
    for link in np.flatnonzero(up).tolist():
        a, b = int(topology.link_src[link]), int(topology.link_dst[link])
        if all(node >= topology.hosts or node in (src, dst) for node in (a, b)):
            graph.add_edge(("node", a), ("link", link), cost=cost_of(topology, by, link), capacity=1)
            graph.add_edge(("link", link), ("node", b), cost=0, capacity=1)
    return graph


def prove(topology: Topology, up: np.ndarray, way: Way, src: int, dst: int) -> None:
    """Both paths are simple, connected, up, and end where they should."""
    for path in filter(None, (way.links[: way.backup], way.links[way.backup :])):
        nodes = [src] + [int(topology.link_dst[link]) for link in path]
        assert [int(topology.link_src[link]) for link in path] == nodes[:-1]
        assert nodes[-1] == dst
        assert len(set(nodes)) == len(nodes)
        assert all(node >= topology.hosts for node in nodes[1:-1])
        assert all(up[link] for link in path)


@settings(max_examples=50, deadline=None)
@given(networks(), st.sampled_from(["hops", "delay", "inverse_capacity"]), st.integers(1, 6))
def test_the_costs_of_the_k_shortest_paths_are_those_of_networkx(
    network: tuple[Topology, np.ndarray], by: By, paths: int
) -> None:
    topology, up = network
    candidates = Candidates(topology, paths, by, up=up)
    for src in range(topology.nodes):
        for dst in set(range(topology.nodes)) - {src}:
            ways = candidates.ways(src, dst)
            order = [(sum(cost_of(topology, by, e) for e in w.links), len(w.links), w.links) for w in ways]
            assert order == sorted(set(order))
            for way in ways:
                prove(topology, up, way, src, dst)
                assert way.backup == len(way.links)
                assert way.delay == sum(int(topology.link_delay[link]) for link in way.links)
            graph = second_way(topology, up, by, src, dst)
            try:
                found = networkx.shortest_simple_paths(graph, ("node", src), ("node", dst), weight="cost")
                wanted = [networkx.path_weight(graph, path, "cost") for path in islice(found, paths)]
            except networkx.NetworkXNoPath:
                wanted = []
            assert [cost for cost, _, _ in order] == wanted


@settings(max_examples=50, deadline=None)
@given(networks(), st.sampled_from(["hops", "delay", "inverse_capacity"]), st.sampled_from(["link", "node"]))
def test_a_disjoint_pair_is_found_where_there_is_one_and_the_cheapest_is_first(
    network: tuple[Topology, np.ndarray], by: By, protection: Protection
) -> None:
    topology, up = network
    candidates = Candidates(topology, 4, by, protection, up)
    for src in range(topology.hosts, min(topology.nodes, topology.hosts + 3)):
        for dst in set(range(topology.hosts, topology.nodes)) - {src}:
            ways = candidates.ways(src, dst)
            for way in ways:
                prove(topology, up, way, src, dst)
                first, second = way.links[: way.backup], way.links[way.backup :]
                assert first
                assert second
                assert not {link // 2 for link in first} & {link // 2 for link in second}
                if protection == "node":
                    inner = [{int(topology.link_dst[link]) for link in path[:-1]} for path in (first, second)]
                    assert not inner[0] & inner[1]
            costs = [sum(cost_of(topology, by, link) for link in way.links) for way in ways]
            assert costs == sorted(costs)
            wanted = cheapest_pair(topology, up, by, protection, src, dst)
            assert costs[:1] == ([] if wanted is None else [wanted])


def cheapest_pair(topology: Topology, up: np.ndarray, by: By, protection: Protection, src: int, dst: int) -> int | None:
    """By networkx's flow of two units; None: only one fits. With ``node``, a node is an edge of capacity 1."""
    graph = networkx.DiGraph()
    for number, (kind, a) in enumerate(second_way(topology, up, by, src, dst).nodes):
        room = 1 if protection == "node" and kind == "node" and a not in (src, dst) else 2
        graph.add_edge((kind, a, "in"), (kind, a, "out"), capacity=room, weight=0, number=number)
    for (kind_a, a), (kind_b, b), data in second_way(topology, up, by, src, dst).edges(data=True):
        graph.add_edge((kind_a, a, "out"), (kind_b, b, "in"), capacity=1, weight=data["cost"])
    graph.add_edge("source", ("node", src, "out"), capacity=2, weight=0)
    graph.add_edge(("node", dst, "in"), "sink", capacity=2, weight=0)
    flow = networkx.max_flow_min_cost(graph, "source", "sink")
    if sum(flow["source"].values()) < 2:
        return None
    return int(networkx.cost_of_flow(graph, flow))


def test_the_trap() -> None:
    """The shortest path 0-1-2-3 leaves no disjoint one; the pair goes around it on both sides."""
    topology = graph_of([(0, 1, 1, 0), (1, 2, 1, 0), (2, 3, 1, 0), (0, 4, 1, 0), (4, 2, 1, 0), (1, 5, 1, 0)], 6, 0)
    assert Candidates(topology, protection="link").ways(0, 3) == []
    cables = [(0, 1, 1, 1), (1, 2, 1, 1), (2, 3, 1, 1), (0, 2, 1, 5), (1, 3, 1, 5)]
    trap = graph_of(cables, 4, 0)
    for protection in ("link", "node"):
        (way,) = Candidates(trap, by="delay", protection=protection).ways(0, 3)  # type: ignore[arg-type]
        assert [trap.link_name[link] for link in way.links] == ["n0->n1", "n1->n3", "n0->n2", "n2->n3"]
        assert (way.backup, way.delay) == (2, 6000)


def test_hosts_are_only_ends_and_their_only_link_is_in_both_paths() -> None:
    topology = leaf_spine.build(2, 2, 2, LINK, LINK)
    plain, protected = Candidates(topology), Candidates(topology, protection="node")
    assert [len(way.links) for way in plain.ways(0, 3)] == [4, 4]
    assert len(plain.ways(0, 1)) == 1
    (pair,) = protected.ways(0, 3)
    assert pair.backup == 4
    assert pair.links[0] == pair.links[4]
    assert protected.ways(0, 1) == plain.ways(0, 1)  # one switch: nothing to protect
    assert Candidates(star.build(3, LINK)).ways(0, 2)[0].links == (0, 5)


def test_hosts_forward_where_there_are_no_switches() -> None:
    rows = [{"src": a, "dst": b, "rate": 10**9, "delay": 5} for a, b in pairwise("abcda")]
    ring = edges.build(links=rows, hosts=["a", "b", "c", "d"])
    assert [len(way.links) for way in Candidates(ring).ways(0, 1)] == [1, 3]
    assert [way.backup for way in Candidates(ring, protection="node").ways(0, 2)] == [2]


def test_hosts_with_several_links_are_protected_up_to_themselves() -> None:
    rows = [{"src": "h", "dst": s, "rate": 10**9, "delay": 5} for s in "ab"]
    rows += [{"src": s, "dst": "g", "rate": 10**9, "delay": 5} for s in "ab"]
    (way,) = Candidates(edges.build(links=rows, hosts=["h", "g"]), protection="node").ways(0, 1)
    assert way.links == (0, 4, 2, 6)
    switched = gpu_cluster.ScaleUp("nvswitch", 10**12, 1000)
    cluster = gpu_cluster.build(leaf_spine.build(2, 2, 2, LINK, LINK), 2, 2, 1, switched, LINK)
    ways = Candidates(cluster).ways(0, 3)
    assert len(ways) > 1
    for way in ways:
        prove(cluster, np.ones(cluster.links, dtype=np.bool_), way, 0, 3)


@pytest.mark.parametrize("protection", ["none", "link"])
def test_links_that_go_down_and_come_back(protection: Protection) -> None:
    topology = torus.build((3, 3), LINK, LINK)
    candidates = Candidates(topology, 5, protection=protection)
    pairs = [(a, b) for a in range(topology.nodes) for b in range(topology.nodes) if a != b]
    before = {pair: candidates.ways(*pair) for pair in pairs}
    up = np.ones(topology.links, dtype=np.bool_)
    for link in (20, 21, 30):
        up[link] = False
        candidates.set_up(up.copy())
        fresh = Candidates(topology, 5, protection=protection, up=up)
        assert all(candidates.ways(*pair) == fresh.ways(*pair) for pair in pairs)
    up[:] = True
    candidates.set_up(up)
    assert {pair: candidates.ways(*pair) for pair in pairs} == before
    assert candidates.ways(0, 1) is candidates.ways(0, 1)
    up = np.ones(topology.links, dtype=np.bool_)
    up[0] = False  # host0's only link out
    candidates.set_up(up)
    assert candidates.ways(0, 5) == []
    assert candidates.ways(5, 0)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="paths is 0; at least 1 is due"):
        Candidates(star.build(2, LINK), 0)
