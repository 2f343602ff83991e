"""Resilient hashing: the hash goes on indexing the tables as they were before anything failed.

A switch looks at the tables of this moment only where the port that the hash gives leads nowhere any more; there the
same hash chooses among the ports that are left. So a failure moves nobody whose path is alive, nor where later flows
would go, and when the link is back the old choices are back too. As in the switch code of Ethereal's authors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.mix import combine, mix
from models.paths import Routes
from sim.dispatch.api import Flow
from sim.dispatch.path._hashing import STAGES, HashedPaths, stage_seeds
from sim.dispatch.views import PathView

Path = tuple[int, ...]


class ResilientPaths:
    """As ``HashedPaths``, for policies that don't weigh their candidates."""

    def __init__(self, view: PathView, *, same_seed: bool) -> None:
        self._view = view
        self._whole = PathView(view.topology, view.routes, view.key, lambda: view.now)  # tables without failures
        self._paths = HashedPaths(self._whole, same_seed=same_seed)
        self._seeds: list[np.uint64] = list(stage_seeds(np.uint64(view.key), 1 if same_seed else STAGES))
        self._looked: Routes = view.routes  # the tables that the next two hold for
        self._changed = False
        self._up: list[bool] = []

    def draw(self, flows: Sequence[Flow], pieces: int = 1) -> list[Path]:
        """[flows x pieces] paths, the pieces of a flow together; () where no path leads to the destination."""
        if self._view.routes is not self._looked:
            self._look()
        paths = self._paths.draw(flows, pieces)
        if not self._changed:
            return paths
        up = self._up
        for at, path in enumerate(paths):
            if not path or not all(up[link] for link in path):
                paths[at] = self._around(flows[at // pieces], at % pieces)
        return paths

    def _look(self) -> None:
        """Takes over new tables. Links that were never up before are new to the hash too."""
        routes, whole = self._view.routes, self._whole.routes
        if (routes.up & ~whole.up).any():
            self._whole.routes = whole = Routes(routes.topology, routes.up | whole.up)
        self._looked, self._changed = routes, not np.array_equal(routes.up, whole.up)
        self._up = routes.up.tolist()

    def _around(self, flow: Flow, piece: int) -> Path:
        """Hop by hop: the port of the whole tables where it still leads on, else one of those that are left."""
        target = self._view.topology.link_dst
        own = combine(combine(np.uint64(flow.src), np.uint64(flow.dst)), np.uint64(flow.id))
        key = combine(own, np.uint64(piece))
        node = flow.src
        links: list[int] = []
        while node != flow.dst:
            live = self._view.routes.next_links(node, flow.dst)
            if not live:
                return ()
            draw = int(mix(key ^ self._seeds[min(len(links), len(self._seeds) - 1)]))
            ports = self._whole.routes.next_links(node, flow.dst)
            port = ports[draw % len(ports)] if ports else -1
            links.append(port if port in live else live[draw % len(live)])
            node = int(target[links[-1]])
        return tuple(links)
