"""Problems from a topology, demands and their candidate ways.

``Builder`` keeps the arrays of each pair's ways, so a controller that decides single demands pays for their links only
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from models.candidates import Candidates, Way
from models.demands import Demands
from models.topology import Topology
from solvers.admission.problem import Graph, Ints, Problem

_NONE = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class _Pair:
    """The candidate ways of two nodes as arrays. ``source``: the list they were made of, to see when it is another."""

    source: list[Way]
    hops: Ints  # [ways] links of each
    primary: Ints  # [ways] links of its first path
    link: NDArray[np.int32]  # of all, one after the other
    slowest: int  # ps

    def within(self, delay_bound: int) -> _Pair:
        """Only the ways that keep a delay bound (ps, -1: none)."""
        if delay_bound < 0 or self.slowest <= delay_bound:
            return self
        return _pair([way for way in self.source if way.delay <= delay_bound])


def _pair(ways: list[Way]) -> _Pair:
    reserved = [tuple(dict.fromkeys(way.links)) for way in ways]  # once, what both paths share
    return _Pair(
        ways,
        np.array([len(links) for links in reserved], dtype=np.int64),
        np.array([way.backup for way in ways], dtype=np.int64),
        np.array([link for links in reserved for link in links], dtype=np.int32),
        max((way.delay for way in ways), default=0),
    )


def graph_of(topology: Topology) -> Graph:
    """The network of a topology. Hosts are passed through only where there are no switches at all."""
    transit = np.ones(topology.nodes, dtype=np.bool_)
    if topology.nodes > topology.hosts:
        transit[: topology.hosts] = False
    return Graph(
        topology.nodes,
        topology.link_src,
        topology.link_dst,
        topology.link_delay,
        tuple(topology.node_name),
        tuple(topology.link_name),
        transit,
    )


class Builder:
    """Makes problems on one network with one set of candidates."""

    def __init__(self, topology: Topology, candidates: Candidates) -> None:
        self.graph = graph_of(topology)
        self.candidates = candidates
        self._rate: Ints = topology.link_rate.astype(np.int64)
        self._pairs: dict[tuple[int, int], _Pair] = {}

    def problem(
        self,
        src: Sequence[int],
        dst: Sequence[int],
        bandwidth: Sequence[int],
        priority: Sequence[int],
        *,
        delay_bound: Sequence[int] | None = None,
        capacity: Ints | None = None,
        required: Sequence[bool] | None = None,
        current: Sequence[Way | None] | None = None,
        strict: bool = False,
        moves: int = -1,
    ) -> Problem:
        """A problem of demands given by column.

        ``capacity`` [links] is what they may use, by default all of every link that is up. ``current``: the way that a
        demand has now; it becomes a candidate where it is none (behind the others, whatever its delay).
        """
        count = len(bandwidth)
        pairs = [self._pair(a, b) for a, b in zip(src, dst, strict=True)]
        if delay_bound is not None:
            pairs = [pair.within(bound) for pair, bound in zip(pairs, delay_bound, strict=True)]
        place = [-1] * count
        if current is not None:
            for demand, way in enumerate(current):
                if way is not None:
                    pairs[demand], place[demand] = _with(pairs[demand], way)
        first = np.array([0, *accumulate(len(pair.source) for pair in pairs)], dtype=np.int64)
        hops = np.concatenate([pair.hops for pair in pairs]) if pairs else np.zeros(0, dtype=np.int64)
        start = np.zeros(len(hops) + 1, dtype=np.int64)
        np.cumsum(hops, out=start[1:])
        primary = np.concatenate([pair.primary for pair in pairs]) if pairs else hops
        at = np.array(place, dtype=np.int64)
        return Problem(
            graph=self.graph,
            capacity=self._free() if capacity is None else np.asarray(capacity, dtype=np.int64),
            src=np.array(src, dtype=np.int64),
            dst=np.array(dst, dtype=np.int64),
            bandwidth=np.array(bandwidth, dtype=np.int64),
            weight=np.array(priority, dtype=np.int64),
            delay_bound=np.array([-1] * count if delay_bound is None else delay_bound, dtype=np.int64),
            first=first,
            start=start,
            link=np.concatenate([pair.link for pair in pairs]) if pairs else _NONE,
            backup=start[:-1] + primary,
            required=np.array([False] * count if required is None else required, dtype=np.bool_),
            current=np.where(at >= 0, first[:-1] + at, -1) if current is not None else at,
            moves=moves,
            strict=strict,
        )

    def _free(self) -> Ints:
        free = self._rate.copy()
        free[~self.candidates.up] = 0
        return free

    def _pair(self, src: int, dst: int) -> _Pair:
        ways = self.candidates.ways(src, dst)
        found = self._pairs.get((src, dst))
        if found is None or found.source is not ways:  # another list: links failed or came back
            found = self._pairs[src, dst] = _pair(ways)
        return found


def _with(pair: _Pair, way: Way) -> tuple[_Pair, int]:
    """The pair with ``way`` among its candidates, and the number of it there."""
    for number, known in enumerate(pair.source):
        if known.links == way.links and known.backup == way.backup:
            return pair, number
    return _pair([*pair.source, way]), len(pair.source)


def problem_of(
    topology: Topology,
    demands: Demands,
    candidates: Candidates,
    *,
    capacity: Ints | None = None,
    required: Sequence[bool] | None = None,
    current: Sequence[Way | None] | None = None,
    strict: bool = False,
    moves: int = -1,
) -> Problem:
    """The problem of a table of demands; the keywords are those of ``Builder.problem``."""
    return Builder(topology, candidates).problem(
        demands.src.tolist(),
        demands.dst.tolist(),
        demands.bandwidth.tolist(),
        demands.priority.tolist(),
        delay_bound=demands.delay_bound.tolist(),
        capacity=capacity,
        required=required,
        current=current,
        strict=strict,
        moves=moves,
    )
