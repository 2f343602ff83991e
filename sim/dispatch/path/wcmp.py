"""Weighted-cost multi-path: as ECMP, but a next hop is drawn in proportion to the capacity behind it.

Source: Zhou et al., "WCMP: Weighted Cost Multipathing for Improved Fairness in Data Centers", EuroSys 2014. There the
weights are entries repeated in a table; here the hash is compared with exact cumulative capacities, the limit of a
large table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.dispatch.api import Field, Flow, Piece, PolicyParams
from sim.dispatch.path._hashing import HashedPaths
from sim.dispatch.views import PathView


class Params(PolicyParams):
    same_seed: bool = Field(default=False, description="All stages hash with one seed, which polarises.")


class Policy:
    batch_timer = 0
    jitter = 0
    reroutes = True

    def __init__(self, params: Params, view: PathView) -> None:
        self._paths = HashedPaths(view, same_seed=params.same_seed, weighted=True)

    def assign(self, flows: Sequence[Flow], rng: np.random.Generator) -> list[list[Piece]]:
        paths = self._paths.draw(flows)
        return [[Piece(flow.bytes, path)] for flow, path in zip(flows, paths, strict=True)]
