"""The equal-cost paths of a pair for policies that look at all of them, shared by the hosts of one edge switch.

Hosts that hang on one switch by one cable share everything but their own link. So the ways between (the links after the
source's and before the destination's own) are kept by (edge switch, destination group) and not by pair. In clusters a
way between is what lies between the NICs' links into the fabric.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.attachment import domain_groups
from models.errors import InputError, Problem
from models.paths import Routes
from sim.dispatch.views import PathView

Path = tuple[int, ...]
_KEPT = 2_000_000  # links in kept ways before they are dropped


class EqualCost:
    """Numbered equal-cost paths under the view's present routes. Path numbers hold for a batch of destinations."""

    def __init__(self, view: PathView) -> None:
        self._view = view
        topology = view.topology
        self._clustered, self._scale_up, self._domain = topology.clustered, topology.scale_up, topology.domain.tolist()
        first = int(topology.nics.max()) + 1 if self._clustered else 0
        self._inner = (topology.link_src >= first) & (topology.link_dst >= first)  # [links] of a cluster's fabric
        self._load(view.routes)

    def _load(self, routes: Routes) -> None:
        self._routes = routes
        self._first, self._last = routes.first_link, routes.last_link
        self._group: list[int] = routes.group_of_host.tolist()
        if self._clustered:
            self._near, self._far = (numbers.tolist() for numbers in domain_groups(routes.topology, routes.up))
        self._ways: dict[tuple[int, int], list[Path]] = {}
        self._kept = 0

    def refresh(self) -> bool:
        """Take over new routes; whether there were any. To be called before the others, once a decision."""
        if self._routes is self._view.routes:
            return False
        self._load(self._view.routes)
        return True

    def batch(self, src: int, dst: int) -> int:
        """The same for destinations whose paths from ``src`` have the same numbers: those of one leaf.

        In clusters these are the GPUs whose NICs hang on the same leaves; below 0: those reached over scale-up links.
        """
        if not self._clustered:
            return self._group[dst]
        if self._domain[src] != self._domain[dst]:
            return int(self._far[dst])
        links = self._routes.next_links(src, dst)
        # a GPU of the node that scale-up links don't lead to is a batch of its own
        return -1 - int(self._near[dst]) if links and self._scale_up[links[0]] else len(self._far) + dst

    def local(self, src: int, dst: int) -> bool:
        """Whether no choice of paths is to be expected: both hosts hang on one leaf, or are of one node."""
        if not self._clustered:
            return self._group[src] == self._group[dst]
        return self._domain[src] == self._domain[dst] or bool(self._far[src] == self._far[dst])

    def between(self, path: Path) -> Path:
        """A path without the links of its hosts, in clusters those of their NICs too."""
        if not self._clustered:
            return path[1:-1]
        return tuple(link for link in path if self._inner[link])

    def key(self, src: int, dst: int) -> tuple[int, int]:
        """The same for pairs that share their ways: edge switch and destination group, or -1 - host for others."""
        begin = self._view.edge(src) if self._first[src] >= 0 else -1 - src
        return begin, (self._group[dst] if self._last[dst] >= 0 else -1 - dst)

    def ways(self, src: int, dst: int) -> list[Path]:
        """The paths without the links of the hosts, by number; empty if ``dst`` can't be reached."""
        key = self.key(src, dst)
        found = self._ways.get(key)
        if found is None:
            found = [self.between(path) for path in self._all(src, dst)]
            self._kept += sum(map(len, found)) + 1
            if self._kept > _KEPT:
                self._ways.clear()
                self._kept = sum(map(len, found)) + 1
            self._ways[key] = found
        return found

    def _all(self, src: int, dst: int) -> list[Path]:
        try:
            return self._routes.paths(src, dst)
        except ValueError as error:
            hint = "this policy looks at every path, use another (ecmp, static, spray)"
            raise InputError([Problem("dispatch.path", 0, 0, f"{error}; {hint}")]) from None

    def paths(self, src: int, dst: int, numbers: Sequence[int]) -> list[Path]:
        """The pair's paths of these numbers."""
        first, last = self._first[src], self._last[dst]
        if first < 0 or last < 0:
            every = self._all(src, dst)
            return [every[number] for number in numbers]
        ways = self.ways(src, dst)
        return [(first, *ways[number], last) for number in numbers]
