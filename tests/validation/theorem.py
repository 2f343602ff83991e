"""Ethereal's theorem in fluid: link bytes under minimal splitting equal those under packet spraying.

Source: Addanki et al., arXiv 2407.00550v2. Spraying loads each of a source's s paths with n f / s bytes for n flows of
f bytes to one leaf; whole flows and left-overs in k = s / gcd(n mod s, s) pieces do the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.builders import leaf_spine
from models.paths import Routes
from models.topology import Topology
from sim.dispatch.api import Flow
from sim.network.protocol import Stream
from solvers.splitting import pieces_per_leftover
from tests.validation.world import assign, collective, drain, fabric_links, fluid

LINK = (100 * 10**9, 500_000)
LEAVES, HOSTS_PER_LEAF = 16, 16
HOSTS = LEAVES * HOSTS_PER_LEAF

Array = NDArray[np.int64]


class Case(NamedTuple):
    """A comparison of link bytes: the largest difference of a link, and the rounding allowed there (0: equality)."""

    name: str
    spines: int
    size: int
    difference: int
    allowed: int
    holds: bool  # on every link


def fabric(spines: int, leaves: int = LEAVES, hosts_per_leaf: int = HOSTS_PER_LEAF) -> tuple[Topology, Routes]:
    topology = leaf_spine.build(
        leaves=leaves, spines=spines, hosts_per_leaf=hosts_per_leaf, host_link=LINK, fabric_link=LINK
    )
    return topology, Routes(topology)


def flows_of(pairs: Iterable[tuple[int, int]], size: int) -> list[Flow]:
    return [Flow(index, src, dst, size, 0) for index, (src, dst) in enumerate(pairs)]


def all_to_all(hosts: int) -> list[tuple[int, int]]:
    return [(src, (src + step) % hosts) for src in range(hosts) for step in range(1, hosts)]


def link_bytes(name: str, topology: Topology, routes: Routes, flows: Sequence[Flow], seed: int = 1) -> Array:
    """Bytes over each link after a fluid run of the policy's pieces."""
    network = fluid(topology, routes)
    stream = 0
    for flow, pieces in zip(flows, assign(name, topology, routes, flows, seed), strict=True):
        for piece in pieces:
            network.add(Stream(stream, flow.src, flow.dst, piece.bytes, piece.path, 1 / len(pieces), notify=False))
            stream += 1
    network.commit(0)
    return network.link_totals(drain(network))["bytes"]


def path_bytes(name: str, topology: Topology, routes: Routes, flows: Sequence[Flow], seed: int) -> Array:
    """The same by adding up single paths, without an engine."""
    pieces = [piece for parts in assign(name, topology, routes, flows, seed) for piece in parts]
    paths = [np.array(piece.path, dtype=np.int64) for piece in pieces]
    weights = np.repeat([piece.bytes for piece in pieces], [len(path) for path in paths])
    return np.bincount(np.concatenate(paths), weights, topology.links).astype(np.int64)


def rounding(topology: Topology, routes: Routes, flows: Sequence[Flow], spines: int) -> Array:
    """[links] bytes by which rounding may move a link: k for every batch that crosses it, and 1 for reading it."""
    group = routes.group_of_host
    batches = Counter((flow.src, int(group[flow.dst])) for flow in flows if group[flow.src] != group[flow.dst])
    edge = topology.edge_of_host
    host_of_group = {int(group[host]): host for host in range(topology.hosts)}
    leaving, entering = np.zeros(topology.nodes, dtype=np.int64), np.zeros(topology.nodes, dtype=np.int64)
    for (src, target), number in batches.items():
        pieces = pieces_per_leftover(number, spines)
        if pieces > 1:
            leaving[edge[src]] += pieces
            entering[edge[host_of_group[target]]] += pieces
    return np.maximum(leaving[topology.link_src], entering[topology.link_dst]) + 1


def compare(
    name: str, pairs: Sequence[tuple[int, int]], size: int, world: tuple[Topology, Routes], seed: int = 1
) -> Case:
    """Ethereal against spray on every fabric link."""
    topology, routes = world
    flows = flows_of(pairs, size)
    links = fabric_links(topology)
    spines = topology.nodes - topology.hosts - routes.groups
    ethereal, spray = (link_bytes(policy, topology, routes, flows, seed)[links] for policy in ("ethereal", "spray"))
    group = routes.group_of_host
    batches = Counter((flow.src, int(group[flow.dst])) for flow in flows if group[flow.src] != group[flow.dst])
    exact = all(size % pieces_per_leftover(number, spines) == 0 for number in batches.values())
    difference = np.abs(ethereal - spray)
    allowed = np.zeros_like(difference) if exact else rounding(topology, routes, flows, spines)[links]
    worst = int(np.argmax(difference))
    return Case(name, spines, size, int(difference[worst]), int(allowed[worst]), bool((difference <= allowed).all()))


def direct(spines: int, size: int, leaves: int = LEAVES, hosts_per_leaf: int = HOSTS_PER_LEAF) -> Case:
    return compare("direct All2All", all_to_all(leaves * hosts_per_leaf), size, fabric(spines, leaves, hosts_per_leaf))


def halving_doubling(spines: int, size: int) -> list[Case]:
    """Every step of halving-doubling over 256 hosts: peer = rank xor 1, 2, 4, ...; the part of step i is size / 2^i."""
    world = fabric(spines)
    return [
        compare(
            f"halving-doubling, xor {1 << bit}",
            [(host, host ^ (1 << bit)) for host in range(HOSTS)],
            size >> bit,
            world,
        )
        for bit in range((HOSTS - 1).bit_length())
    ]


def random_cases(number: int, seed: int = 1) -> list[Case]:
    """Random (n flows, s spines): two leaves; some hosts send n flows each to n hosts of the other leaf."""
    rng = np.random.default_rng(seed)
    cases = []
    for index in range(number):
        spines, flows = int(rng.integers(1, 33)), int(rng.integers(1, 49))
        world = fabric(spines, 2, flows)
        senders = min(flows, int(rng.integers(1, 4)))
        pairs = [(src, flows + dst) for src in range(senders) for dst in range(flows)]
        size = int(rng.integers(1_000, 1_000_000))
        if index % 2:
            size *= spines  # a multiple of every number of pieces
        cases.append(compare(f"{flows} flows", pairs, size, world, index))
    return cases


def least_pieces(flows: int, paths: int) -> int:
    """The least number of equal pieces a left-over flow, by trying: dealt evenly, all paths get the same."""
    left = flows % paths
    pieces = 1
    while left and len(set(np.bincount(np.arange(left * pieces) % paths, minlength=paths).tolist())) > 1:
        pieces += 1
    return pieces


def minimal(limit: int) -> list[tuple[int, int]]:
    """The (flows, paths) up to ``limit`` where k = s / gcd(n mod s, s) is not the least: none."""
    return [
        (flows, paths)
        for flows in range(1, limit)
        for paths in range(1, limit)
        if not least_pieces(flows, paths)
        == pieces_per_leftover(flows, paths)
        == (paths // gcd(flows % paths, paths) if flows % paths else 1)
    ]


def ecmp_ratio(pairs: Sequence[tuple[int, int]], seeds: int) -> Array:
    """[seeds] largest bytes of a fabric link under ECMP over the largest under spray."""
    topology, routes = fabric(16)
    flows = flows_of(pairs, 16_000)
    links = fabric_links(topology)
    spray = link_bytes("spray", topology, routes, flows)[links].max()
    ratios = [path_bytes("ecmp", topology, routes, flows, seed)[links].max() / spray for seed in range(seeds)]
    return np.array(ratios)


def ring_times(
    policies: Sequence[str], leaves: int, hosts_per_leaf: int, operation: str = "all_gather"
) -> dict[str, int]:
    """Completion of a ring collective in ps, by policy."""
    topology, routes = fabric(16, leaves, hosts_per_leaf)
    size = topology.hosts * 16 * 3 * 5 * 7 * 100
    return {
        name: collective(operation, "ring", size, topology, fluid(topology, routes), name).time for name in policies
    }
