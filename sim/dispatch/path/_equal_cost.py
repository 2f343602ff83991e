"""The equal-cost paths of a pair for policies that look at all of them, shared by the hosts of one edge switch.

Hosts that hang on one switch by one cable share everything but their own link. So the ways between (the links after the
source's and before the destination's own) are kept by (edge switch, destination group) and not by pair.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import InputError, Problem
from models.paths import Routes
from sim.dispatch.views import PathView

Path = tuple[int, ...]
_KEPT = 2_000_000  # links in kept ways before they are dropped


class EqualCost:
    """Numbered equal-cost paths under the view's present routes. Path numbers hold for a whole destination group."""

    def __init__(self, view: PathView) -> None:
        self._view = view
        self._load(view.routes)

    def _load(self, routes: Routes) -> None:
        self._routes = routes
        self._first, self._last = routes.first_link, routes.last_link
        self.group: list[int] = routes.group_of_host.tolist()
        self._ways: dict[tuple[int, int], list[Path]] = {}
        self._kept = 0

    def refresh(self) -> bool:
        """Take over new routes; whether there were any. To be called before the others, once a decision."""
        if self._routes is self._view.routes:
            return False
        self._load(self._view.routes)
        return True

    def key(self, src: int, dst: int) -> tuple[int, int]:
        """The same for pairs that share their ways: edge switch and destination group, or -1 - host for others."""
        begin = self._view.edge(src) if self._first[src] >= 0 else -1 - src
        return begin, (self.group[dst] if self._last[dst] >= 0 else -1 - dst)

    def ways(self, src: int, dst: int) -> list[Path]:
        """The paths without the links of the hosts, by number; empty if ``dst`` can't be reached."""
        key = self.key(src, dst)
        found = self._ways.get(key)
        if found is None:
            found = [path[1:-1] for path in self._all(src, dst)]
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
