"""Candidate ways of a demand: the k shortest simple paths of a pair of nodes, or pairs of disjoint ones.

All candidates are ordered by (cost, hops, link indices): the same topology gives the same ways in the same order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import candidate_kernels
from models.topology import Topology

By = Literal["hops", "delay", "inverse_capacity"]
Protection = Literal["none", "link", "node"]
_ONE = 1 << 20  # inverse capacity of the fastest link: others follow to one part in a million


class Way(NamedTuple):
    """``links`` from source to destination; with protection the links of a second path follow, from ``backup`` on.

    ``backup`` is len(links) where there is none. ``delay`` is the propagation delay in ps, of the slower path of two.
    """

    links: tuple[int, ...]
    backup: int
    delay: int


class Candidates:
    """The ways between any two nodes, computed when first asked for and kept.

    ``by`` is the cost of a link: 1, its delay, or the rate of the fastest link over its own. Hosts are only ends of
    paths, unless there are no switches; of parallel cables each gives a path of its own.

    With ``protection`` a way is two paths that share no cable (``link``) or no node either (``node``), the cheaper one
    first. Where such a pair exists the one of least total cost is found (as minimum-cost flow, so that no trap is
    fallen into); the others are each of the k shortest paths with the cheapest path that is disjoint from it. A host's
    only link can't be protected and is in both paths; two hosts of one switch have a way without a second path.
    """

    def __init__(
        self,
        topology: Topology,
        paths: int = 8,
        by: By = "hops",
        protection: Protection = "none",
        up: NDArray[np.bool_] | None = None,
    ) -> None:
        """At most ``paths`` ways a pair, over the directed links that are ``up`` [links]; None: all."""
        if paths < 1:
            raise ValueError(f"paths is {paths}; at least 1 is due")
        self.topology = topology
        self.paths, self.by, self.protection = paths, by, protection
        self.up: NDArray[np.bool_] = np.ones(topology.links, dtype=np.bool_) if up is None else up.astype(np.bool_)
        offset = topology.hosts if topology.nodes > topology.hosts else 0
        dst = np.ascontiguousarray(topology.link_dst, dtype=np.int32)
        self._graph = (offset, topology.out_start, topology.out_link, dst, _costs(topology, by))
        self._delay: list[int] = topology.link_delay.tolist()
        self._cost: list[int] = self._graph[4].tolist()
        self._dst: list[int] = dst.tolist()
        self._first = _only_links(topology, offset)
        self._kept: dict[tuple[int, int], list[Way]] = {}
        self._cores: dict[tuple[int, int], list[Way]] = {}

    def ways(self, src: int, dst: int) -> list[Way]:
        """At most ``paths`` ways by rising cost; empty: the nodes are not connected, or not twice. ``src != dst``."""
        kept = self._kept.get((src, dst))
        if kept is None:
            kept = self._kept[src, dst] = self._ways(src, dst)
        return kept

    def set_up(self, up: NDArray[np.bool_]) -> None:
        """Other links are up now. Ways that this can't have changed are kept."""
        gone = set(np.flatnonzero(self.up & ~up).tolist())
        back = bool(np.any(up & ~self.up))
        self.up = up.astype(np.bool_)
        if not gone and not back:
            return
        # what comes back may be a better way for any pair; what fails matters where it was in use, but a protected
        # pair also depends on paths that found no partner
        everything = back or self.protection != "none"
        for table in (self._kept, self._cores):
            for pair in [
                p for p, ways in table.items() if everything or any(not gone.isdisjoint(w.links) for w in ways)
            ]:
                del table[pair]

    def _ways(self, src: int, dst: int) -> list[Way]:
        """A host with one link only adds this link to the ways of the node behind it."""
        first, last = self._first[src], self._first[dst]
        if first >= 0 and self._dst[first] == dst:
            return [self._way((first,))] if self.up[first] else []
        head = (first,) if first >= 0 else ()
        tail = (last ^ 1,) if last >= 0 else ()
        if not all(self.up[link] for link in head + tail):
            return []
        a = self._dst[first] if head else src
        b = self._dst[last] if tail else dst
        if a == b:
            return [self._way(head + tail)]
        core = self._cores.get((a, b))
        if core is None:
            core = self._cores[a, b] = self._core(a, b)
        return [
            self._way(
                head + way.links[: way.backup] + tail,
                head + way.links[way.backup :] + tail if way.backup < len(way.links) else (),
            )
            for way in core
        ]

    def _core(self, src: int, dst: int) -> list[Way]:
        flat, start = candidate_kernels.k_shortest(*self._graph, self.up, src, dst, self.paths)
        links, ends = flat.tolist(), start.tolist()
        found = [tuple(links[i:j]) for i, j in pairwise(ends)]
        return [self._way(path) for path in found] if self.protection == "none" else self._pairs(found, src, dst)

    def _pairs(self, shortest: list[tuple[int, ...]], src: int, dst: int) -> list[Way]:
        """Disjoint pairs by (cost of both, first path, second path)."""
        if not shortest:
            return []
        pairs = set()
        both = candidate_kernels.second_flow(
            *self._graph, self.up, np.array(shortest[0], dtype=np.int32), self.protection == "node"
        )
        if not len(both):
            return []
        pairs.add(self._in_order(*self._untangled(both.tolist(), src, dst)))
        for path in shortest:
            other = self._beside(path, src, dst)
            if other:
                pairs.add(self._in_order(path, other))
        order = sorted(pairs, key=lambda pair: (self._key(pair[0] + pair[1]), self._key(pair[0]), pair))
        return [self._way(*pair) for pair in order[: self.paths]]

    def _beside(self, path: tuple[int, ...], src: int, dst: int) -> tuple[int, ...]:
        """The cheapest path that is disjoint from ``path``; empty: none."""
        usable = self.up.copy()
        for link in path:
            usable[link] = usable[link ^ 1] = False
        closed = np.zeros(self.topology.nodes, dtype=np.bool_)
        if self.protection == "node":
            closed[[self._dst[link] for link in path[:-1]]] = True
        found = candidate_kernels.shortest(*self._graph, usable, closed, src, dst)
        return tuple(found.tolist())

    def _untangled(self, links: list[int], src: int, dst: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The two paths that a flow of two units consists of; it has no circles, as every link costs, if only a hop."""
        after: dict[int, list[int]] = {}
        for link in reversed(links):
            after.setdefault(self._dst[link ^ 1], []).append(link)
        paths: list[tuple[int, ...]] = []
        for _ in range(2):
            path, node = [], src
            while node != dst:
                path.append(after[node].pop())
                node = self._dst[path[-1]]
            paths.append(tuple(path))
        return paths[0], paths[1]

    def _key(self, path: tuple[int, ...]) -> tuple[int, int]:
        return sum(self._cost[link] for link in path), len(path)

    def _in_order(self, one: tuple[int, ...], other: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The cheaper path first."""
        return (one, other) if (self._key(one), one) <= (self._key(other), other) else (other, one)

    def _way(self, path: tuple[int, ...], backup: tuple[int, ...] = ()) -> Way:
        delay = max(sum(self._delay[link] for link in part) for part in (path, backup))
        return Way(path + backup, len(path), delay)


def _costs(topology: Topology, by: By) -> NDArray[np.int64]:
    """[links] whole numbers; equal costs are told apart by hops, so 0 is possible."""
    if by == "hops":
        return np.ones(topology.links, dtype=np.int64)
    most = candidate_kernels.FAR // (2 * topology.nodes)  # sums of a path must fit
    if by == "delay":
        return np.minimum(topology.link_delay, most).astype(np.int64)
    fastest = int(topology.link_rate.max(initial=1))
    return np.array([min(fastest * _ONE // rate, most) for rate in topology.link_rate.tolist()], dtype=np.int64)


def _only_links(topology: Topology, offset: int) -> list[int]:
    """[nodes] the only link of a host, where hosts do not forward; -1: a switch, or a host with none or several."""
    only = np.full(topology.nodes, -1, dtype=np.int64)
    number = np.diff(topology.out_start)[:offset]
    alone = np.flatnonzero(number == 1)
    only[alone] = topology.out_link[topology.out_start[alone]]
    result: list[int] = only.tolist()
    return result
