"""Equal-cost multi-path: one path a flow, by a hash of source, destination and flow id at every switch.

Source: C. Hopps, "Analysis of an Equal-Cost Multi-Path Algorithm", RFC 2992, 2000 (hash of the flow, modulo next hops).
Every stage hashes with its own seed. ``same_seed`` gives all stages one: then the switches behind one port see only
flows with the same remainder and choose alike, the polarisation that real fabrics suffered from. Hashing is resilient:
a failure moves only flows whose own path is dead (``_resilient.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.dispatch.api import Field, Flow, Piece, PolicyParams
from sim.dispatch.path._resilient import ResilientPaths
from sim.dispatch.views import PathView


class Params(PolicyParams):
    same_seed: bool = Field(default=False, description="All stages hash with one seed, which polarises.")


class Policy:
    batch_timer = 0
    jitter = 0
    reroutes = True

    def __init__(self, params: Params, view: PathView) -> None:
        self._paths = ResilientPaths(view, same_seed=params.same_seed)

    def assign(self, flows: Sequence[Flow], rng: np.random.Generator) -> list[list[Piece]]:
        paths = self._paths.draw(flows)
        return [[Piece(flow.bytes, path)] for flow, path in zip(flows, paths, strict=True)]
