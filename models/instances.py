"""Instances of admission: random demands and gravity demands on any topology, at a given load.

Load is the sum of bandwidth x hops of the shortest path over the demands, over the sum of all link rates; of both only
the links between switches count (all links, where hosts forward). So at load 1 every link would be full if each demand
could take a shortest path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.builders.semi_random import build as semi_random
from models.candidates import Candidates
from models.demands import Demands, Ints, widest
from models.offered import fabric_links, fabric_rate, masses
from models.topology import Topology

__all__ = ["BANDWIDTHS", "PRIORITIES", "Lognormal", "gravity_demands", "load_of", "random_demands", "semi_random"]

_STEP = 1000  # bit/s; bandwidths are whole multiples
BANDWIDTHS = tuple(m * 10**6 for m in (10, 20, 50, 100, 200, 500, 1000))
PRIORITIES: Mapping[int, float] = {1: 0.5, 2: 0.3, 3: 0.2}


class Lognormal(NamedTuple):
    """Bandwidths of median ``median`` bit/s, whose logarithm has the standard deviation ``sigma``."""

    median: int
    sigma: float


class _Ends(NamedTuple):
    """Where demands may begin and end: all hosts, or all nodes where there are none; with their masses."""

    node: Ints
    mass: NDArray[np.float64]
    side: Ints  # the same number where demands between two would load no link that counts


def random_demands(
    topology: Topology,
    count: int,
    load: float | None,
    seed: int,
    *,
    bandwidth: Sequence[int] | Lognormal = BANDWIDTHS,
    priorities: Mapping[int, float] = PRIORITIES,
    pairs: Literal["uniform", "gravity"] = "uniform",
) -> Demands:
    """``count`` demands of random pairs, bandwidths and priorities (with the shares given).

    ``pairs`` uniform: any two ends of different switches; gravity: in proportion to the product of their masses. All
    bandwidths are multiplied by one factor so that the load is ``load`` (None: left as drawn), no demand being
    more than its pair's widest path. ValueError where that can't be.
    """
    if count < 1:
        raise ValueError(f"count is {count}; at least 1 is due")
    rng = np.random.default_rng([seed, 1])
    ends = _ends(topology)
    mass = ends.mass if pairs == "gravity" else np.ones(len(ends.node))
    src, dst = _pairs(ends, mass, count, rng)
    if isinstance(bandwidth, Lognormal):
        drawn = bandwidth.median * np.exp(bandwidth.sigma * rng.standard_normal(count))
    else:
        drawn = rng.choice(np.array(bandwidth, dtype=np.float64), size=count)
    return _scaled(topology, src, dst, drawn, load, _drawn_priorities(priorities, count, rng))


def gravity_demands(
    topology: Topology,
    seed: int,
    *,
    load: float | None = None,
    total: int | None = None,
    priorities: Mapping[int, float] = PRIORITIES,
) -> Demands:
    """A demand for every ordered pair of ends, in proportion to the product of their masses; priorities at random.

    The mass of an end is the rate of its switch's links to other switches, shared by its hosts. Give ``load``, or the
    ``total`` bit/s of all demands together. No demand is more than its pair's widest path.
    """
    if (load is None) == (total is None):
        raise ValueError("give either load or total")
    rng = np.random.default_rng([seed, 2])
    ends = _ends(topology)
    one, other = np.nonzero(ends.side[:, None] != ends.side[None, :])
    drawn = ends.mass[one] * ends.mass[other]
    asked = drawn > 0
    one, other, drawn = one[asked], other[asked], drawn[asked]
    if not len(one):
        raise ValueError("the topology has no two switches with hosts and links between switches")
    if total is not None:
        drawn = drawn / drawn.sum() * total
    priority = _drawn_priorities(priorities, len(one), rng)
    return _scaled(topology, ends.node[one], ends.node[other], drawn, load, priority)


def load_of(topology: Topology, demands: Demands) -> float:
    """What ``random_demands`` scales to ``load``."""
    hops = _hops(topology, demands.src, demands.dst)
    return float((demands.bandwidth * hops).sum()) / fabric_rate(topology)


def _ends(topology: Topology) -> _Ends:
    if topology.hosts:
        node = np.arange(topology.hosts, dtype=np.int64)
        side = topology.edge_of_host.astype(np.int64) if topology.nodes > topology.hosts else node
        return _Ends(node, masses(topology), side)
    node = np.arange(topology.nodes, dtype=np.int64)
    mass = np.zeros(topology.nodes)
    np.add.at(mass, topology.link_src, topology.link_rate.astype(np.float64))
    return _Ends(node, mass, node)


def _pairs(ends: _Ends, mass: NDArray[np.float64], count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Two ends of different switches each, in proportion to the product of their masses: drawn again until they are."""
    if len(np.unique(ends.side[mass > 0])) < 2:
        raise ValueError("the topology has no two switches with hosts; demands would not load it")
    share = mass / mass.sum()
    found = np.empty((0, 2), dtype=np.int64)
    while len(found) < count:
        drawn = rng.choice(len(share), size=(2 * count, 2), p=share)
        found = np.concatenate([found, drawn[ends.side[drawn[:, 0]] != ends.side[drawn[:, 1]]]])
    return ends.node[found[:count, 0]], ends.node[found[:count, 1]]


def _drawn_priorities(priorities: Mapping[int, float], count: int, rng: np.random.Generator) -> Ints:
    if not priorities or min(priorities) < 1 or min(priorities.values()) < 0 or sum(priorities.values()) <= 0:
        raise ValueError("priorities: whole numbers from 1, with shares of which at least one is above 0")
    share = np.array(list(priorities.values()), dtype=np.float64)
    return rng.choice(np.array(list(priorities), dtype=np.int64), size=count, p=share / share.sum())


def _scaled(
    topology: Topology, src: Ints, dst: Ints, drawn: NDArray[np.float64], load: float | None, priority: Ints
) -> Demands:
    """Demands ``d0``, ``d1``, ... with bandwidths in proportion to ``drawn``, as far as their widest paths carry it."""
    candidates = Candidates(topology, 1)
    rates = {node: widest(candidates, topology.link_rate.tolist(), node) for node in np.unique(src).tolist()}
    most = np.array([rates[a][b] for a, b in zip(src.tolist(), dst.tolist(), strict=True)], dtype=np.float64)
    factor = 1.0
    if load is not None:
        hops = _hops(topology, src, dst)
        wanted = load * fabric_rate(topology)
        highest = float((most * hops).sum())
        if not 0 < wanted <= highest:
            reach = highest / fabric_rate(topology)
            raise ValueError(
                f"load is {load:g}; {len(src)} demands, none above its widest path, offer up to {reach:.4g}"
            )
        factor = _factor(drawn, most, hops, wanted)
    bandwidth = np.minimum(np.round(drawn * factor / _STEP) * _STEP, most).astype(np.int64)
    none = np.full(len(src), -1, dtype=np.int64)
    return Demands(
        [f"d{number}" for number in range(len(src))],
        src,
        dst,
        np.maximum(bandwidth, np.minimum(_STEP, most.astype(np.int64))),
        priority,
        none,
        np.zeros(len(src), dtype=np.int64),
        none.copy(),
    )


def _factor(drawn: NDArray[np.float64], most: NDArray[np.float64], hops: Ints, wanted: float) -> float:
    """f with sum of min(f x drawn, most) x hops = wanted: those that reach their most first are fixed at it."""
    order = np.argsort(most / drawn, kind="stable")
    full = np.concatenate([[0.0], np.cumsum((most * hops)[order])])
    free = np.cumsum((drawn * hops)[order][::-1])[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):  # pairs of no hops add nothing
        factors = (wanted - full[:-1]) / free
    fits = np.flatnonzero(factors <= (most / drawn)[order] * (1 + 1e-12))
    return float(factors[fits[0]]) if len(fits) else float((most / drawn).max())


def _hops(topology: Topology, src: Ints, dst: Ints) -> Ints:
    """Links of a shortest path that count; ValueError where there is none."""
    candidates = Candidates(topology, 1)
    counts: list[bool] = fabric_links(topology).tolist()
    found = np.empty(len(src), dtype=np.int64)
    for row, (a, b) in enumerate(zip(src.tolist(), dst.tolist(), strict=True)):
        ways = candidates.ways(a, b)
        if not ways:
            names = topology.node_name
            raise ValueError(f"no path from {names[a]} to {names[b]}; demands are made for connected networks")
        found[row] = sum(counts[link] for link in ways[0].links)
    return found
