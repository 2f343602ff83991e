"""Hashed paths for the policies of this folder: one key a flow or piece, one seed a stage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.jit import njit
from models.mix import combine
from sim.dispatch.api import Flow
from sim.dispatch.views import PathView

_STAGES = 64  # hops with a seed of their own; later hops use the last


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


class HashedPaths:
    """Paths by hash of (source, destination, flow id, piece), each stage with its own seed or all with one."""

    def __init__(self, view: PathView, *, same_seed: bool, weighted: bool = False) -> None:
        self._view = view
        self._weighted = weighted
        self._seeds: NDArray[np.uint64] = stage_seeds(view.key, 1 if same_seed else _STAGES)

    def draw(self, flows: Sequence[Flow], pieces: int = 1) -> list[tuple[int, ...]]:
        """[flows x pieces] paths, the pieces of a flow together; () where no path leads to the destination."""
        src, dst, key = spread_out(np.array(flows, dtype=np.int64), pieces)
        links, start = self._view.routes.hashed(src, dst, key, self._seeds, self._weighted)
        link, bound = links.tolist(), start.tolist()
        return [tuple(link[begin:end]) for begin, end in pairwise(bound)]
