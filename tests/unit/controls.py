"""A flow under a congestion control, called one event at a time."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from sim.dispatch.api import (
    ON_ACK,
    RATE,
    WINDOW,
    PathFacts,
)
from sim.dispatch.transport import constant, credit, dcqcn, dctcp, hpcc, nscc, swift, timely

G, US = 10**9, 10**6
MTU = 4150
# uet-htsim's three-tier fat-tree: 100 Gb/s, RTT 14.02 us
FACTS = PathFacts(14_020_000, 100 * G, 175_250, MTU, 4086, 64, 6, 10**6, True)
CONTROLS = [constant, credit, dcqcn, dctcp, hpcc, nscc, swift, timely]
NO_PATH = np.zeros(0)


class Flow:
    """A flow's memory under a control, and its calls."""

    def __init__(self, module: ModuleType, facts: PathFacts = FACTS, **params: Any) -> None:
        self.react = module.react
        self.own = module.memory(module.Params().model_copy(update=params), facts)  # in base units
        self.now = 0

    def call(self, event: int, **what: Any) -> None:
        self.now = what.get("now", self.now)
        path = what.get("path", NO_PATH)
        names = ("rtt", "marked", "acked", "lost", "in_flight", "sequence", "next", "key")
        rest = [int(what.get(name, -1 if name == "rtt" else 0)) for name in names]
        self.react(self.own, path, len(path) // 4, event, self.now, *rest)

    def ack(self, **what: Any) -> None:
        self.call(ON_ACK, **{"acked": MTU, **what})

    @property
    def window(self) -> float:
        return float(self.own[WINDOW])

    @property
    def rate(self) -> float:
        return float(self.own[RATE])
