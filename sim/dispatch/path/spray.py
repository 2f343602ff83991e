"""Packet spraying: a flow may use all its equal-cost paths at once, packet by packet.

Source: Dixit et al., "On the Impact of Packet Spraying in Data Center Networks", INFOCOM 2013. Where the packets go is
the packet policy's decision (``follow_path``: a random path a packet); in fluid the bytes are split evenly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.dispatch.api import Flow, Piece, PolicyParams
from sim.dispatch.views import PathView


class Params(PolicyParams):
    pass


class Policy:
    batch_timer = 0
    jitter = 0
    reroutes = True

    def __init__(self, params: Params, view: PathView) -> None:
        pass

    def assign(self, flows: Sequence[Flow], rng: np.random.Generator) -> list[list[Piece]]:
        return [[Piece(flow.bytes, None)] for flow in flows]
