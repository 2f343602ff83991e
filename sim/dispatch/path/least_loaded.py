"""The path whose most loaded link is least loaded, from full and immediate knowledge: an ideal central scheduler.

Source: Al-Fares et al., "Hedera", NSDI 2010 (Global First Fit), without its estimation of demands. The load of a link
is the outstanding bytes that dispatch has put on it, with the flow's own, over its rate. Links that all the pair's
paths share (the hosts' own) are left out, since they would hide the differences. Ties: the lowest path number. Flows
of one batch see each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from models.jit import njit
from sim.dispatch.api import Flow, Piece, PolicyParams
from sim.dispatch.path._equal_cost import EqualCost
from sim.dispatch.views import PathView

_LOADS = types.Array(types.int64, 1, "C", readonly=True)
_KEPT = 4_000_000  # links in kept tables before they are dropped


class Params(PolicyParams):
    pass


@njit(types.int64(types.int32[:, ::1], _LOADS, types.int64[::1], types.float64[::1], types.int64))
def lightest(links: Any, loads: Any, pending: Any, per_byte: Any, size: Any) -> Any:
    """The row of ``links`` [paths, hops] with the least max of (loads + pending + size) x per_byte [links]."""
    best, least = 0, np.inf
    for path in range(links.shape[0]):
        worst = 0.0
        for hop in range(links.shape[1]):
            link = links[path, hop]
            worst = max(worst, (loads[link] + pending[link] + size) * per_byte[link])
        if worst < least:
            best, least = path, worst
    return best


class Policy:
    batch_timer = 0
    jitter = 0
    reroutes = True

    def __init__(self, params: Params, view: PathView) -> None:
        self._view = view
        self._paths = EqualCost(view)
        self._per_byte: NDArray[np.float64] = 1.0 / view.topology.link_rate.astype(np.float64)
        self._pending = np.zeros(view.topology.links, dtype=np.int64)  # of this batch
        self._tables: dict[tuple[int, int], NDArray[np.int32]] = {}
        self._kept = 0

    def _table(self, src: int, dst: int) -> NDArray[np.int32]:
        """[paths, hops] the links in which the pair's paths differ, the hosts' own left out; no row: unreachable."""
        key = self._paths.key(src, dst)
        table = self._tables.get(key)
        if table is None:
            paths = self._paths.paths(src, dst, range(len(self._paths.ways(src, dst))))
            links = np.array(paths or np.empty((0, 0)), dtype=np.int32)
            table = np.ascontiguousarray(links[:, (links != links[:1]).any(axis=0)])
            self._kept += table.size + 1
            if self._kept > _KEPT:
                self._tables.clear()
                self._kept = table.size
            self._tables[key] = table
        return table

    def assign(self, flows: Sequence[Flow], rng: np.random.Generator) -> list[list[Piece]]:
        if self._paths.refresh():
            self._tables.clear()
        pending = self._pending
        result: list[list[Piece]] = []
        for flow in flows:
            table = self._table(flow.src, flow.dst)
            if len(table) == 0:
                result.append([Piece(flow.bytes, ())])
                continue
            number = lightest(table, self._view.loads, pending, self._per_byte, flow.bytes)
            (path,) = self._paths.paths(flow.src, flow.dst, (number,))
            if len(flows) > 1:
                for link in path:
                    pending[link] += flow.bytes
            result.append([Piece(flow.bytes, path)])
        if len(flows) > 1:
            used = {link for pieces in result for link in pieces[0].path or ()}
            pending[list(used)] = 0
        return result
