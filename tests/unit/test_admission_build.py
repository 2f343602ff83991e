"""Problems from topologies, demands and candidate ways: a ring of four switches with a host each."""

from __future__ import annotations

import numpy as np

from models.candidates import Candidates, Way
from models.demands import Demands
from models.topology import Topology, TopologyBuilder
from solvers.admission import solve
from solvers.admission.build import Builder, problem_of

GBPS = 10**9


def ring() -> Topology:
    """h0..h3 on s0..s3, cables of 10 Gbit/s and 1 us."""
    builder = TopologyBuilder("ring")
    for number in range(4):
        builder.add_node(f"h{number}", host=True, tier=0)
    for number in range(4):
        builder.add_node(f"s{number}", host=False, tier=1)
    for number in range(4):
        builder.add_cable(f"h{number}", f"s{number}", 10 * GBPS, 10**6)
    for number in range(4):
        builder.add_cable(f"s{number}", f"s{(number + 1) % 4}", 10 * GBPS, 10**6)
    return builder.freeze()


TOPOLOGY = ring()


def names(links: tuple[int, ...]) -> str:
    return " ".join(TOPOLOGY.link_name[link] for link in links)


def test_ways_are_the_candidates_within_the_delay_bound_and_hosts_are_no_transit():
    builder = Builder(TOPOLOGY, Candidates(TOPOLOGY))
    problem = builder.problem([0, 0, 4], [1, 1, 6], [1, 2, 3], [1, 2, 3], delay_bound=[-1, 3 * 10**6, -1])
    assert problem.first.tolist() == [0, 2, 3, 5]
    assert names(problem.links_of(0)) == names(problem.links_of(2)) == "h0->s0 s0->s1 s1->h1"
    assert names(problem.links_of(1)) == "h0->s0 s0->s3 s3->s2 s2->s1 s1->h1"
    assert (problem.backup == problem.start[1:]).all()
    assert problem.graph.may_transit == [False] * 4 + [True] * 4
    assert (problem.capacity == 10 * GBPS).all()
    assert (problem.current == -1).all()


def test_links_that_are_down_have_no_capacity_and_no_way():
    candidates = Candidates(TOPOLOGY)
    builder = Builder(TOPOLOGY, candidates)
    assert builder.problem([0], [1], [1], [1]).ways == 2
    up = np.ones(TOPOLOGY.links, dtype=np.bool_)
    down = list(TOPOLOGY.find_links("s0-s1"))
    up[down] = False
    candidates.set_up(up)
    problem = builder.problem([0], [1], [1], [1])
    assert problem.ways == 1
    assert np.flatnonzero(problem.capacity == 0).tolist() == down


def test_the_access_link_of_a_protected_way_is_reserved_once():
    problem = Builder(TOPOLOGY, Candidates(TOPOLOGY, protection="link")).problem([0], [1], [10 * GBPS], [1])
    assert names(problem.links_of(0)) == "h0->s0 s0->s1 s1->h1 s0->s3 s3->s2 s2->s1"
    path, second = problem.paths_of(0)
    assert names(path) == "h0->s0 s0->s1 s1->h1"
    assert names(second) == "h0->s0 s0->s3 s3->s2 s2->s1 s1->h1"
    assert solve(problem, "ilp").objective == 1  # twice it would not fit


def test_a_present_way_that_is_no_candidate_becomes_one():
    candidates = Candidates(TOPOLOGY, paths=1)
    short = candidates.ways(0, 1)[0]
    long = Candidates(TOPOLOGY, paths=2).ways(0, 1)[1]
    builder = Builder(TOPOLOGY, candidates)
    problem = builder.problem(
        [0, 0, 0], [1, 1, 1], [1] * 3, [1] * 3, current=[long, None, short], delay_bound=[1, -1, -1]
    )
    assert problem.current.tolist() == [0, -1, 2]
    assert problem.first.tolist() == [0, 1, 2, 3]
    assert problem.links_of(0) == long.links
    assert solve(problem, "greedy").way.tolist() == [0, 1, 2]
    assert isinstance(long, Way)


def test_a_table_of_demands_and_one_of_none():
    def column(*values: int) -> np.ndarray:
        return np.array(values, dtype=np.int64)

    table = Demands(
        ["a", "b"], column(0, 2), column(3, 1), column(5, 6), column(1, 2), column(-1, -1), column(0, 0), column(-1, -1)
    )
    problem = problem_of(TOPOLOGY, table, Candidates(TOPOLOGY), strict=True, moves=3)
    assert (problem.src.tolist(), problem.dst.tolist(), problem.weight.tolist()) == ([0, 2], [3, 1], [1, 2])
    assert (problem.strict, problem.moves) == (True, 3)
    empty = Demands([], *[column()] * 7)
    assert problem_of(TOPOLOGY, empty, Candidates(TOPOLOGY)).ways == 0
