"""Routes against networkx on random graphs: distances, all shortest paths, shares, flows, hashing, dead links."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.builders import edges, fat_tree
from models.paths import Routes
from models.topology import Topology

SEEDS = np.array([5, 6, 7], dtype=np.uint64)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Topology, np.ndarray]:
    """A random multigraph of switches with single- and multi-homed hosts, some links down."""
    switches = draw(st.integers(1, 7))
    hosts = draw(st.integers(2, 5))
    rates = st.sampled_from([10**9, 4 * 10**9, 10**10, 3_000_000_007])
    rows: list[dict[str, Any]] = []
    for host in range(hosts):
        for switch in draw(st.lists(st.integers(0, switches - 1), min_size=1, max_size=2)):
            rows.append({"src": f"host{host}", "dst": f"s{switch}", "rate": draw(rates), "delay": 1})
    for a, b in draw(st.lists(st.tuples(st.integers(0, switches - 1), st.integers(0, switches - 1)), max_size=14)):
        if a != b:
            rows.append({"src": f"s{a}", "dst": f"s{b}", "rate": draw(rates), "delay": 1})
    for a, b in draw(st.lists(st.tuples(st.integers(0, hosts - 1), st.integers(0, hosts - 1)), max_size=1)):
        if a != b:
            rows.append({"src": f"host{a}", "dst": f"host{b}", "rate": draw(rates), "delay": 1})
    topology = edges.build(links=rows, hosts=[f"host{host}" for host in range(hosts)])
    down = draw(st.lists(st.integers(0, topology.links - 1), max_size=4))
    up = np.ones(topology.links, dtype=bool)
    up[down] = False
    return topology, up


def graph_of(topology: Topology, up: np.ndarray, src: int, dst: int) -> nx.MultiDiGraph:
    """The links a packet from src to dst may use: no other host forwards."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(topology.nodes))
    for link in np.flatnonzero(up).tolist():
        a, b = int(topology.link_src[link]), int(topology.link_dst[link])
        if all(end >= topology.hosts or end in (src, dst) for end in (a, b)):
            graph.add_edge(a, b, key=link, capacity=int(topology.link_rate[link]))
    return graph


def shortest(graph: nx.MultiDiGraph, src: int, dst: int) -> list[tuple[int, ...]]:
    """All shortest paths as links, by networkx."""
    if not nx.has_path(graph, src, dst):
        return []
    found: list[tuple[int, ...]] = []
    for nodes in {tuple(path) for path in nx.all_shortest_paths(nx.DiGraph(graph), src, dst)}:
        ways: list[tuple[int, ...]] = [()]
        for a, b in pairwise(nodes):
            ways = [(*way, link) for way in ways for link in graph[a][b]]
        found += ways
    return sorted(found)


@settings(max_examples=150, deadline=None)
@given(networks(), st.integers(0, 2**62))
def test_one_pair_after_another(network: tuple[Topology, np.ndarray], key: int) -> None:
    topology, up = network
    routes = Routes(topology, up)
    for src in range(topology.hosts):
        for dst in range(topology.hosts):
            if src == dst:
                continue
            graph = graph_of(topology, up, src, dst)
            wanted = shortest(graph, src, dst)
            assert routes.paths(src, dst) == wanted
            assert routes.count(src, dst) == len(wanted)
            assert routes.hops(src, dst) == (len(wanted[0]) if wanted else -1)
            links, share = routes.share(src, dst)
            crossed = {link: sum(link in path for path in wanted) / len(wanted) for path in wanted for link in path}
            assert dict(zip(links.tolist(), share.tolist(), strict=True)) == pytest.approx(crossed)
            capacity = nx.DiGraph()
            capacity.add_nodes_from((src, dst))
            for link in crossed:
                a, b = int(topology.link_src[link]), int(topology.link_dst[link])
                before = capacity.get_edge_data(a, b, {"capacity": 0})["capacity"]
                capacity.add_edge(a, b, capacity=before + int(topology.link_rate[link]))
            assert routes.max_flow(src, dst) == nx.maximum_flow_value(capacity, src, dst)
            for weighted in (False, True):
                one = np.array([src]), np.array([dst]), np.array([key], dtype=np.uint64)
                path = tuple(routes.hashed(*one, SEEDS, weighted)[0].tolist())
                assert path in wanted if wanted else path == ()


@settings(max_examples=60, deadline=None)
@given(networks())
def test_tables_lead_where_next_links_do(network: tuple[Topology, np.ndarray]) -> None:
    topology, up = network
    routes = Routes(topology, up)
    table = routes.tables()
    for node in range(topology.nodes):
        for host in range(topology.hosts):
            if node == host:
                continue
            entry = node * routes.groups + int(table.group[host])
            ports = table.port[table.start[entry] : table.start[entry + 1]].tolist()
            last = table.last_link[table.last_start[host] : table.last_start[host + 1]].tolist()
            here = [link for link in last if topology.link_src[link] == node]
            assert (here or ports) == routes.next_links(node, host)
            assert not (here and ports)
            if node < topology.hosts:
                weights = table.weight[table.start[entry] : table.start[entry + 1]]
                assert weights.sum() + len(here) == routes.count(node, host)


def test_hashed_pairs_agree_one_by_one() -> None:
    topology = fat_tree.build((10**9, 1), (10**9, 1), k=8, oversubscription=2)
    rng = np.random.default_rng(1)
    src, dst = rng.integers(0, 128, 500), rng.integers(0, 128, 500)
    key = rng.integers(0, 2**63, 500).astype(np.uint64)
    routes = Routes(topology)
    links, start = routes.hashed(src, dst, key, SEEDS, False)
    for pair in range(500):
        path = tuple(links[start[pair] : start[pair + 1]].tolist())
        if src[pair] == dst[pair]:
            assert path == ()
        else:
            assert path in routes.paths(int(src[pair]), int(dst[pair]))
        alone = Routes(topology).hashed(src[pair : pair + 1], dst[pair : pair + 1], key[pair : pair + 1], SEEDS, False)
        assert tuple(alone[0].tolist()) == path
