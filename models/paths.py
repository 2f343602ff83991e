"""Equal-cost shortest paths (by hop count) under the links that routing tables believe to be up.

Routing is by destination group: hosts that hang on the same switches share distances and tables, so a fabric of
65,536 hosts and 2,048 edge switches keeps 2,048 rows over its switches, each computed when first asked for. Hosts
forward other hosts' traffic only where the topology has no switches at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import path_kernels
from models.attachment import find_groups, lone_links
from models.max_flow import flow_between
from models.topology import Topology

_ONE = np.ones(1)
_CACHED_ENTRIES = 4_000_000  # link shares and paths kept before their caches are emptied


class Tables(NamedTuple):
    """Forwarding tables of every node, for kernels.

    ``port[start[node * groups + group] : start[... + 1]]`` are the next links of ``node`` towards a host of ``group``,
    ascending; ``weight`` beside it counts the shortest paths through each (beyond 2^53, in proportion). An entry is
    empty where nothing leads on, and at the nodes a host of the group hangs on: there, the links node -> host among
    ``last_link[last_start[host] : last_start[host + 1]]`` are the candidates.
    """

    start: NDArray[np.int64]  # [nodes * groups + 1]
    port: NDArray[np.int32]
    weight: NDArray[np.int64]
    group: NDArray[np.int32]  # [hosts]
    last_start: NDArray[np.int64]  # [hosts + 1]
    last_link: NDArray[np.int32]


class Routes:
    """All equal-cost shortest paths of a topology; rows are computed on demand and kept."""

    def __init__(self, topology: Topology, up: NDArray[np.bool_] | None = None) -> None:
        """``up`` [links]: which directed links may be used; None: all."""
        self.topology = topology
        state = np.ones(topology.links, dtype=np.bool_) if up is None else np.array(up, dtype=np.bool_)
        if len(state) != topology.links:
            raise ValueError(f"{len(state)} link states for {topology.links} links")
        self.up: NDArray[np.bool_] = state
        self._offset = topology.hosts if topology.nodes > topology.hosts else 0
        self._rate = np.ascontiguousarray(topology.link_rate, dtype=np.int64)
        dst = np.ascontiguousarray(topology.link_dst, dtype=np.int32)
        self._graph: tuple[Any, ...] = (self._offset, topology.out_start, topology.out_link, dst, state)
        found = find_groups(topology, state)
        self.group_of_host, self.groups = found.group_of_host, len(found.seed_start) - 1
        self._group: list[int] = found.group_of_host.tolist()
        self._seed_start, self._seed_node, self._seed_rate = found.seed_start, found.seed_node, found.seed_rate
        self._last_start, self._last_link = found.last_start, found.last_link
        # [hosts] a host's only link to a switch and from one; -1: none or several
        self.first_link, self.last_link = lone_links(topology, state)
        # the switch behind the first link; what an entry of -1 gives is not looked at
        self._switch: list[int] = topology.link_dst[self.first_link].tolist() if topology.links else []
        self._every = np.arange(topology.links, dtype=np.int32)
        forwarding = topology.nodes - self._offset
        self._distance = np.empty((self.groups, forwarding), dtype=np.int16)
        self._known = np.zeros(self.groups, dtype=np.bool_)
        self._all_known = False
        self._capacity: NDArray[np.int64] = np.empty((1, 1), dtype=np.int64)
        self._capacity_known = np.zeros(self.groups, dtype=np.bool_)
        self._all_capacity = False
        self._number: dict[tuple[int, int], int] = {}
        self._counts: dict[int, NDArray[np.float64]] = {}
        self._spread: dict[tuple[int, int], tuple[NDArray[np.int32], NDArray[np.float64]]] = {}
        self._middle: dict[tuple[int, int], list[tuple[tuple[int, ...], int]]] = {}
        self._max_flow: dict[tuple[int, int, int, int], int] = {}
        self._cached = 0
        self._tables: Tables | None = None

    # rows, on demand

    def _row(self, group: int) -> NDArray[np.int16]:
        if not self._known[group]:
            self._fill(np.array([group], dtype=np.int64))
        row: NDArray[np.int16] = self._distance[group]
        return row

    def _fill(self, groups: NDArray[np.int64]) -> None:
        if self._all_known:
            return
        missing = np.unique(groups[~self._known[groups]])
        if len(missing):
            path_kernels.fill_distance(*self._graph, missing, self._seed_start, self._seed_node, self._distance)
            self._known[missing] = True
            self._all_known = bool(self._known.all())

    def _seeds(self, group: int) -> slice:
        return slice(int(self._seed_start[group]), int(self._seed_start[group + 1]))

    def _count_row(self, group: int) -> NDArray[np.float64]:
        row = self._counts.get(group)
        if row is None:
            row = np.empty(self._distance.shape[1])
            path_kernels.fill_count(*self._graph, self._seed_node[self._seeds(group)], self._row(group), row)
            self._counts[group] = row
        return row

    def _fill_capacity(self, groups: NDArray[np.int64]) -> None:
        if self._all_capacity:
            return
        missing = np.unique(groups[~self._capacity_known[groups]])
        if len(missing) and self._capacity.shape != self._distance.shape:
            self._capacity = np.empty(self._distance.shape, dtype=np.int64)
        for group in missing.tolist():
            seeds = self._seeds(group)
            path_kernels.fill_capacity(
                *self._graph,
                self._rate,
                self._seed_node[seeds],
                self._seed_rate[seeds],
                self._distance[group],
                self._capacity[group],
            )
        self._capacity_known[missing] = True
        self._all_capacity = bool(self._capacity_known.all())

    def distance(self, group: int) -> NDArray[np.int16]:
        """[nodes] hops to the nearest node that the group hangs on (0 there), -1 where unreachable."""
        row = self._row(group)
        if self._offset == 0:
            return row.copy()
        seeds = self._seed_node[self._seeds(group)]
        hosts = [path_kernels.hops_left(*self._graph, row, host, -1) for host in range(self.topology.hosts)]
        near = np.array(hosts, dtype=np.int16)
        near[seeds[seeds < self._offset]] = 0
        return np.concatenate([near, row])

    def longest(self, group: int, cost: NDArray[np.int64]) -> NDArray[np.int64]:
        """[forwarding nodes] cost of the dearest equal-cost path to the group, by the sum of ``cost`` [links]."""
        found = np.empty(self._distance.shape[1], dtype=np.int64)
        path_kernels.fill_longest(*self._graph, cost, self._row(group), found)
        return found

    def rows(self, group: int) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
        """([forwarding nodes] hops, -1 unreachable; [forwarding nodes] number of paths). Read only."""
        return self._row(group), self._count_row(group)

    @property
    def first_forwarding(self) -> int:
        """The node that the rows begin with: the first switch, or 0 where hosts forward."""
        return self._offset

    # one pair

    def next_links(self, node: int, dst_host: int) -> list[int]:
        """Candidate links of ``node`` towards a host, ascending; at a node the host hangs on: the links to it."""
        row = self._row(int(self.group_of_host[dst_host]))
        found: list[int] = path_kernels.next_links(*self._graph, row, node, dst_host).tolist()
        return found

    def hops(self, src: int, dst: int) -> int:
        """Links on a shortest path between two hosts; -1 if there is none, 0 from a host to itself."""
        if src == dst:
            return 0
        left = int(path_kernels.hops_left(*self._graph, self._row(int(self.group_of_host[dst])), src, dst))
        return left + 1 if left >= 0 else -1

    def pair_class(self, src: int, dst: int) -> tuple[int, int]:
        """The same for pairs that share all but their hosts' own links; -1 - host where these are not lone links."""
        return (
            self._switch[src] if self.first_link[src] >= 0 else -1 - src,
            self._group[dst] if self.last_link[dst] >= 0 else -1 - dst,
        )

    def count(self, src: int, dst: int) -> int:
        """The number of equal-cost paths between two hosts, exactly; 0: unreachable."""
        if src == dst:
            return 0
        if self.first_link[src] >= 0:
            key = (self._switch[src], self._group[dst])
            known = self._number.get(key)
            if known is None:
                known = self._number[key] = self._count(src, dst)
            return known
        return self._count(src, dst)

    def _count(self, src: int, dst: int) -> int:
        first = self.next_links(src, dst)
        if not first:
            return 0
        after = self.topology.link_dst[first]
        if dst in after:
            return len(first)
        group = int(self.group_of_host[dst])
        total = float(self._count_row(group)[after - self._offset].sum())
        return int(total) if total < 2.0**53 else self._exact_count(src, dst)

    def _exact_count(self, src: int, dst: int) -> int:
        """Path counts above 2^53 (large tori) in Python integers: level by level from the source."""
        level = {src: 1}
        while dst not in level:
            after: dict[int, int] = {}
            for node, number in level.items():
                for link in self.next_links(node, dst):
                    target = int(self.topology.link_dst[link])
                    after[target] = after.get(target, 0) + number
            level = after
        return level[dst]

    def paths(self, src: int, dst: int, limit: int = 4096) -> list[tuple[int, ...]]:
        """All equal-cost paths of two hosts, lexicographic by link index. ValueError if more than ``limit``."""
        number = self.count(src, dst)
        if number > limit:
            names = self.topology.node_name
            raise ValueError(f"{number} equal-cost paths from {names[src]} to {names[dst]}; the limit is {limit}")
        if number == 0:
            return []
        first = self.next_links(src, dst)
        target = self.topology.link_dst[first].tolist()
        if dst in target:
            return [(link,) for link in first]
        ends = self._ends(dst)
        return [
            (link, *middle, last)
            for link, node in zip(first, target, strict=True)
            for middle, end in self._middles(node, dst)
            for last in ends[end]
        ]

    def _ends(self, dst: int) -> dict[int, list[int]]:
        """The links to a host by the node they leave."""
        ends: dict[int, list[int]] = {}
        for link in self._last_link[self._last_start[dst] : self._last_start[dst + 1]].tolist():
            ends.setdefault(int(self.topology.link_src[link]), []).append(link)
        return ends

    def _middles(self, node: int, dst: int) -> list[tuple[tuple[int, ...], int]]:
        """(links, last node) of every shortest way from a forwarding node to one that ``dst`` hangs on."""
        group = int(self.group_of_host[dst])
        kept = self._middle.get((node, group))
        if kept is None:
            row = self._row(group)
            kept = [((), node)]
            for _ in range(int(row[node - self._offset])):
                kept = [
                    ((*links, link), int(self.topology.link_dst[link]))
                    for links, here in kept
                    for link in self.next_links(here, dst)
                ]
            self._make_room(sum(len(links) for links, _ in kept))
            self._middle[node, group] = kept
        return kept

    def _make_room(self, entries: int) -> None:
        self._cached += entries
        if self._cached > _CACHED_ENTRIES:
            self._middle.clear()
            self._spread.clear()
            self._cached = entries

    def share(self, src: int, dst: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """(links, share): the fraction of the pair's equal-cost paths that pass each link. Empty if unreachable."""
        if self.first_link[src] >= 0 and self.last_link[dst] >= 0 and self.count(src, dst):
            parts, shares = self._share_parts(src, dst)
            return np.concatenate(parts), np.concatenate(shares)
        first = self.next_links(src, dst) if src != dst else []
        if not first:
            return np.empty(0, dtype=np.int32), np.empty(0)
        target = self.topology.link_dst[first]
        if dst in target:
            return np.array(first, dtype=np.int32), np.full(len(first), 1.0 / len(first))
        last = self._last_link[self._last_start[dst] : self._last_start[dst + 1]]
        return self._share_of_many(first, self._group[dst], last)

    def _share_parts(self, src: int, dst: int) -> tuple[tuple[NDArray[np.int32], ...], tuple[NDArray[np.float64], ...]]:
        """The share in parts, those between two switches being shared by all their hosts."""
        first, last = self.first_link[src], self.last_link[dst]
        if first < 0 or last < 0 or not self.count(src, dst):
            links, share = self.share(src, dst)
            return (links,), (share,)
        links, share = self._spread_from(self._switch[src], self._group[dst])
        return (self._every[first : first + 1], links, self._every[last : last + 1]), (_ONE, share, _ONE)

    def shares(
        self, src: Sequence[int], dst: Sequence[int]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
        """(links, share, number): ``share`` of many pairs one after the other, and how many links each pair has."""
        link_parts: list[NDArray[np.int32]] = []
        share_parts: list[NDArray[np.float64]] = []
        number = np.zeros(len(src), dtype=np.int64)
        for pair, (begin, end) in enumerate(zip(src, dst, strict=True)):
            links, share = self._share_parts(begin, end)
            link_parts += links
            share_parts += share
            number[pair] = sum(map(len, links))
        return np.concatenate(link_parts), np.concatenate(share_parts), number

    def _share_of_many(
        self, first: list[int], group: int, last: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The share where the source or the destination has several links."""
        count = self._count_row(group)
        target = self.topology.link_dst[first]
        begin = count[target - self._offset]
        begin = begin / begin.sum()
        mass: dict[int, float] = {}
        arrived: dict[int, float] = {}
        row = self._row(group)
        for link, node, part in zip(first, target.tolist(), begin.tolist(), strict=True):
            mass[link] = part
            if row[node - self._offset] == 0:
                arrived[node] = arrived.get(node, 0.0) + part
                continue
            links, share = self._spread_from(node, group)
            for middle, fraction in zip(links.tolist(), share.tolist(), strict=True):
                mass[middle] = mass.get(middle, 0.0) + part * fraction
                end = int(self.topology.link_dst[middle])
                if row[end - self._offset] == 0:
                    arrived[end] = arrived.get(end, 0.0) + part * fraction
        for link in last.tolist():
            node = int(self.topology.link_src[link])
            if node in arrived:
                mass[link] = arrived[node] / count[node - self._offset]
        links = np.array(sorted(mass), dtype=np.int32)
        return links, np.array([mass[link] for link in links.tolist()])

    def _spread_from(self, node: int, group: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        kept = self._spread.get((node, group))
        if kept is None:
            kept = path_kernels.spread(*self._graph, self._row(group), self._count_row(group), node)
            self._make_room(len(kept[0]))
            self._spread[node, group] = kept
        return kept

    def max_flow(self, src: int, dst: int) -> int:
        """bit/s that fit through the union of the pair's equal-cost paths; 0 if unreachable."""
        first, last = self.first_link[src], self.last_link[dst]
        if first < 0 or last < 0 or src == dst:
            return self._max_flow_of(src, dst)
        # the fabric between two switches is the same for all their hosts
        key = (self._switch[src], self._group[dst], int(self._rate[first]), int(self._rate[last]))
        known = self._max_flow.get(key)
        if known is None:
            known = self._max_flow[key] = self._max_flow_of(src, dst)
        return known

    def _max_flow_of(self, src: int, dst: int) -> int:
        links, share = self.share(src, dst)
        if len(links) == 0:
            return 0
        rate = self.topology.link_rate[links]
        leaving = self.topology.link_src[links] == src
        arriving = self.topology.link_dst[links] == dst
        bound = int(min(rate[leaving].sum(), rate[arriving].sum()))
        # an even split that fills the hosts' own links is a largest flow
        filled = bool(np.all(rate >= bound * share * (1.0 - 1e-12)))
        return bound if filled else flow_between(self.topology, links, rate, src, dst)

    # many pairs

    def hashed(
        self,
        src: NDArray[np.int64],
        dst: NDArray[np.int64],
        key: NDArray[np.uint64],
        seeds: NDArray[np.uint64],
        weighted: bool,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(links, start): a hashed path for each pair, links[start[i] : start[i+1]]; empty if there is none.

        At hop s the path takes next link number mix(key ^ seeds[min(s, last)]) mod n; ``weighted`` (WCMP): candidates
        in proportion to the capacity behind them. All seeds equal gives the polarised hashing of real fabrics.
        """
        arguments = self.hashing(dst, weighted)
        found: tuple[Any, Any] = path_kernels.hashed(*arguments, src, dst, key, seeds, weighted)
        return found

    def hashing(self, dst: NDArray[np.int64], weighted: bool) -> tuple[Any, ...]:
        """The leading arguments of ``path_kernels.hashed``, filled for these destinations; see ``complete``."""
        if not self._all_known:
            self._fill(self.group_of_host[dst].astype(np.int64))
        if weighted and not self._all_capacity:
            self._fill_capacity(self.group_of_host[dst].astype(np.int64))
        return (*self._graph, self._rate, self._distance, self._capacity, self.group_of_host)

    def complete(self, weighted: bool) -> bool:
        """Whether the arguments of ``hashing`` hold for all destinations by now."""
        return self._all_known and (self._all_capacity or not weighted)

    def tables(self) -> Tables:
        """The forwarding tables of every node; nodes x groups entries, so for fabrics of a few thousand hosts."""
        if self._tables is None:
            self._fill(np.arange(self.groups, dtype=np.int64))
            counts = np.stack([self._count_row(group) for group in range(self.groups)])
            start, port, weight = path_kernels.tables(
                *self._graph, self._seed_start, self._seed_node, self._distance, counts
            )
            self._tables = Tables(start, port, weight, self.group_of_host, self._last_start, self._last_link)
        return self._tables
