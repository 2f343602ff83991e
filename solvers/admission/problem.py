"""What an admission solver is asked: which demands to admit, each on one of its candidate ways.

    maximise   sum of weight[d] over the admitted demands d
    subject to each demand on at most one of its ways,
               for every link the bandwidths of the ways over it at most capacity[link],
               required demands admitted, and at most ``moves`` of the demands with a current way on another one.

The path form of unsplittable flow with profits; the names follow the contract (weight = priority, larger = more
important). ``strict`` replaces the sum by the lexicographic order of ``levels``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """The network that the candidate ways come from, for what needs more than them (the arc form, checks).

    Links 2c and 2c + 1 are the two directions of cable c.
    """

    nodes: int
    link_src: NDArray[np.int32]  # [links]
    link_dst: NDArray[np.int32]  # [links]
    link_delay: Ints  # [links] ps
    node_name: tuple[str, ...]
    link_name: tuple[str, ...]
    transit: NDArray[np.bool_]  # [nodes] whether a path may lead through the node

    @cached_property
    def hops(self) -> list[tuple[int, int, int]]:
        """[links] source, destination and delay as plain integers, for what walks single paths."""
        return list(zip(self.link_src.tolist(), self.link_dst.tolist(), self.link_delay.tolist(), strict=True))

    @cached_property
    def may_transit(self) -> list[bool]:
        """[nodes] ``transit`` as plain values."""
        flags: list[bool] = self.transit.tolist()
        return flags


@dataclass(frozen=True)
class Problem:
    """Arrays by demand, by way and by link. Ways of demand d are ``first[d]`` to ``first[d + 1] - 1``, in their order.

    A way is the links ``link[start[w]:start[w + 1]]`` from the demand's source to its destination, none twice. With
    protection it is two paths one after the other, the second of which begins at ``backup[w]`` (an index into ``link``;
    ``start[w + 1]`` where there is none); both are reserved. Of the second path the links that the first has too are
    left out, since they are reserved once: the only link of a host, at either end (``paths_of`` has them).
    """

    graph: Graph
    capacity: Ints  # [links] bit/s that these demands may use; 0 on links that are down
    src: Ints  # [demands] node
    dst: Ints  # [demands] node
    bandwidth: Ints  # [demands] bit/s, above 0
    weight: Ints  # [demands] the priority, above 0
    delay_bound: Ints  # [demands] ps, -1: none. Ways that are slower are no candidates
    first: Ints  # [demands + 1]
    start: Ints  # [ways + 1]
    link: NDArray[np.int32]
    backup: Ints  # [ways]
    required: NDArray[np.bool_]  # [demands] a plan without it is no plan
    current: Ints  # [demands] the way (its number) that the demand has now; -1: it has none
    moves: int = -1  # demands that may leave their current way for another; -1: all
    strict: bool = False

    @property
    def demands(self) -> int:
        return len(self.bandwidth)

    @property
    def ways(self) -> int:
        return len(self.start) - 1

    @property
    def links(self) -> int:
        return len(self.capacity)

    @cached_property
    def demand_of(self) -> Ints:
        """[ways] the demand of each way."""
        return np.repeat(np.arange(self.demands, dtype=np.int64), np.diff(self.first))

    @cached_property
    def hops(self) -> Ints:
        """[ways] links of each way, those of a backup path included."""
        return np.diff(self.start)

    @cached_property
    def levels(self) -> list[Ints]:
        """The demands by order of importance: priority, and within one those that have a way already before new ones.

        A strict plan admits as many as it can of the first level, of these plans as many as it can of the second, ...
        So an admitted demand makes room only for one of higher priority.
        """
        order: dict[tuple[int, bool], list[int]] = {}
        for demand, (weight, current) in enumerate(zip(self.weight.tolist(), self.current.tolist(), strict=True)):
            order.setdefault((-weight, current < 0), []).append(demand)
        return [np.array(order[key], dtype=np.int64) for key in sorted(order)]

    def links_of(self, way: int) -> tuple[int, ...]:
        """The links of a way, those that it reserves; of a protected one of both paths."""
        return tuple(self.link[self.start[way] : self.start[way + 1]].tolist())

    def paths_of(self, way: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The links of a way's path and of its second path, each from source to destination; () where it has none."""
        links = self.links_of(way)
        cut = int(self.backup[way] - self.start[way])
        path, rest = links[:cut], links[cut:]
        if not rest:
            return path, ()
        head = path[:1] if self.graph.link_src[rest[0]] == self.graph.link_dst[path[0]] else ()
        tail = path[-1:] if self.graph.link_dst[rest[-1]] == self.graph.link_src[path[-1]] else ()
        return path, head + rest + tail

    def load(self, way: Ints) -> Ints:
        """[links] bit/s that a choice of ways [demands] (-1: rejected) puts on each link."""
        chosen = way[way >= 0]
        lengths = self.hops[chosen]
        ends = np.cumsum(lengths)
        index = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(self.start[chosen] - ends + lengths, lengths)
        load = np.zeros(self.links, dtype=np.int64)
        np.add.at(load, self.link[index], np.repeat(self.bandwidth[way >= 0], lengths))
        return load


@dataclass(frozen=True)
class Limits:
    """When a solver stops. With ``seconds`` None the result depends on the seed alone, not on the machine."""

    seconds: float | None = None
    nodes: int | None = None  # of a branch-and-bound tree
    generations: int | None = None  # of a population
    seed: int = 1
