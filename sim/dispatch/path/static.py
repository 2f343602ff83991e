"""One fixed path a pair, without a hash: D-mod-k, the routing of InfiniBand fat-trees.

Source: Zahavi, Johnson, Kerbyson, Lang, "Optimized InfiniBand fat-tree routing for shift all-to-all communication
patterns", CCPE 2010. On the way up, the first switch with n choices takes number d mod n, the next (d div n) mod n,
and so on, where d is the destination's host number; so shifts of hosts do not collide in a full fat-tree.
``by_source`` does the same with the source's number (S-mod-k); ``first`` takes the lowest link at every switch: one
path for all pairs of two leaves, the worst case of a single path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from models.paths import Routes
from sim.dispatch.api import Field, Flow, Piece, PolicyParams
from sim.dispatch.views import PathView

_KEPT = 200_000  # table entries kept before they are dropped


class Params(PolicyParams):
    choice: Literal["by_destination", "by_source", "first"] = Field(
        default="by_destination", description="The number whose digits choose the path; first: the lowest link always."
    )


class Policy:
    batch_timer = 0
    jitter = 0
    reroutes = True

    def __init__(self, params: Params, view: PathView) -> None:
        self._choice = params.choice
        self._view = view
        self._load(view.routes)

    def _load(self, routes: Routes) -> None:
        self._routes = routes
        self._group: list[int] = routes.group_of_host.tolist()
        self._target: list[int] = routes.topology.link_dst.tolist()
        self._first, self._last = routes.first_link, routes.last_link
        # (node, destination group) -> candidate links; None at nodes that the group's hosts hang on
        self._table: dict[tuple[int, int], list[int] | None] = {}

    def _candidates(self, node: int, dst: int) -> list[int]:
        key = (node, self._group[dst])
        if key not in self._table:
            if len(self._table) >= _KEPT:
                self._table.clear()
            found = self._routes.next_links(node, dst)
            self._table[key] = None if found and self._target[found[0]] == dst else found
            return found
        known = self._table[key]
        if known is not None:
            return known
        return [self._last[dst]] if self._last[dst] >= 0 else self._routes.next_links(node, dst)

    def _path(self, src: int, dst: int) -> tuple[int, ...]:
        """() where no path leads to ``dst``."""
        digits = {"by_destination": dst, "by_source": src, "first": 0}[self._choice]
        node, links = src, []
        if self._first[src] >= 0:  # the same link whatever the table says
            links.append(self._first[src])
            node = self._target[links[0]]
        while node != dst:
            choices = self._candidates(node, dst)
            if not choices:
                return ()
            digits, chosen = divmod(digits, len(choices))
            links.append(choices[chosen])
            node = self._target[links[-1]]
        return tuple(links)

    def assign(self, flows: Sequence[Flow], rng: np.random.Generator) -> list[list[Piece]]:
        if self._routes is not self._view.routes:
            self._load(self._view.routes)
        return [[Piece(flow.bytes, self._path(flow.src, flow.dst))] for flow in flows]
