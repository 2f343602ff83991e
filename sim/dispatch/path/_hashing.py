"""Hashed paths for the policies of this folder: one key a flow or piece, one seed a stage."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.jit import njit
from models.mix import combine
from models.path_kernels import HASHING, hashed
from models.paths import Routes
from sim.dispatch.api import Flow
from sim.dispatch.views import PathView

STAGES = 64  # hops with a seed of their own; later hops use the last
_SHORT = 16  # hops of a path that goes the quick way


@njit("uint64[::1](uint64, int64)")
def stage_seeds(key: Any, stages: Any) -> Any:
    """[stages] seeds of a run: stage s of every path hashes with seed s."""
    seeds = np.empty(stages, dtype=np.uint64)
    for stage in range(stages):
        seeds[stage] = combine(key, np.uint64(stage))
    return seeds


@njit("Tuple((int64[::1], int64[::1], uint64[::1]))(int64[:, ::1], int64)")
def spread_out(flows: Any, pieces: Any) -> Any:
    """(src, dst, key) of ``pieces`` pieces a flow; ``flows`` [n, 5] as the fields of ``Flow``."""
    total = len(flows) * pieces
    src = np.empty(total, dtype=np.int64)
    dst = np.empty(total, dtype=np.int64)
    key = np.empty(total, dtype=np.uint64)
    for flow in range(len(flows)):
        pair = combine(np.uint64(flows[flow, 1]), np.uint64(flows[flow, 2]))
        own = combine(pair, np.uint64(flows[flow, 0]))
        for piece in range(pieces):
            at = flow * pieces + piece
            src[at] = flows[flow, 1]
            dst[at] = flows[flow, 2]
            key[at] = combine(own, np.uint64(piece))
    return src, dst, key


@njit(f"int64({HASHING}, int64, int64, int64, uint64[::1], boolean, int32[::1])")
def draw_one(
    offset: Any, out_start: Any, out_link: Any, link_dst: Any, up: Any, link_rate: Any, distance: Any, capacity: Any,
    group_of_host: Any, flow: Any, src: Any, dst: Any, seeds: Any, weighted: Any, path: Any,
) -> Any:  # fmt: skip
    """The path of one flow into ``path``, as far as it has room; its length."""
    ends = np.array([src, dst])
    key = np.empty(1, dtype=np.uint64)
    key[0] = combine(combine(combine(np.uint64(src), np.uint64(dst)), np.uint64(flow)), np.uint64(0))
    links, _ = hashed(
        offset, out_start, out_link, link_dst, up, link_rate, distance, capacity, group_of_host,
        ends[:1], ends[1:], key, seeds, weighted,
    )  # fmt: skip
    room = min(len(links), len(path))
    path[:room] = links[:room]
    return len(links)


class HashedPaths:
    """Paths by hash of (source, destination, flow id, piece), each stage with its own seed or all with one."""

    def __init__(self, view: PathView, *, same_seed: bool, weighted: bool = False) -> None:
        self._view = view
        self._weighted = weighted
        self._complete: Routes | None = None  # the routes that the arguments hold for, whatever the destination
        self._arguments: tuple[Any, ...] = ()
        self._path = np.empty(_SHORT, dtype=np.int32)
        self._seeds: NDArray[np.uint64] = stage_seeds(view.key, 1 if same_seed else STAGES)

    def draw(self, flows: Sequence[Flow], pieces: int = 1) -> list[tuple[int, ...]]:
        """[flows x pieces] paths, the pieces of a flow together; () where no path leads to the destination."""
        routes = self._view.routes
        if routes is not self._complete:
            targets = np.array([flow.dst for flow in flows], dtype=np.int64)
            self._arguments = routes.hashing(targets, self._weighted)
            self._complete = routes if routes.complete(self._weighted) else None
        if len(flows) == 1 and pieces == 1:
            flow = flows[0]
            length = draw_one(*self._arguments, flow.id, flow.src, flow.dst, self._seeds, self._weighted, self._path)
            if length <= len(self._path):
                return [tuple(self._path.tolist()[:length])]
        table = np.array(array("q", chain.from_iterable(flows))).reshape(-1, 5)
        src, dst, key = spread_out(table, pieces)
        links, start = hashed(*self._arguments, src, dst, key, self._seeds, self._weighted)
        link = links.tolist()
        return [tuple(link[begin:end]) for begin, end in pairwise(start.tolist())]
