"""Equal pieces of every flow over independent ECMP hashes: MP-RDMA-k, the baseline of the Ethereal paper.

Source: Lu et al., "Multi-Path Transport for RDMA in Datacenters", NSDI 2018, in the reduced form of Addanki et al.,
arXiv 2407.00550: every flow is cut into k queue pairs. Two pieces may hash to the same path. Pieces have floor or ceil
bytes; a flow of fewer than k bytes has one piece a byte.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.dispatch.api import Field, Flow, Piece, PolicyParams
from sim.dispatch.path._resilient import ResilientPaths
from sim.dispatch.views import PathView
from solvers.splitting import cut


class Params(PolicyParams):
    k: int = Field(default=4, ge=1, le=1024, description="Pieces a flow.")
    same_seed: bool = Field(default=False, description="All stages hash with one seed, which polarises.")


class Policy:
    batch_timer = 0
    jitter = 0
    reroutes = True

    def __init__(self, params: Params, view: PathView) -> None:
        self._pieces = params.k
        self._paths = ResilientPaths(view, same_seed=params.same_seed)

    def assign(self, flows: Sequence[Flow], rng: np.random.Generator) -> list[list[Piece]]:
        paths = self._paths.draw(flows, self._pieces)
        result = []
        for at, flow in enumerate(flows):
            own = paths[at * self._pieces : (at + 1) * self._pieces]
            parts = cut(flow.bytes, self._pieces)
            result.append([Piece(size, path) for size, path in zip(parts, own, strict=True) if size])
        return result
