"""Plain expert parallelism: every copy is computed on the rank that holds its expert; nothing moves.

Source: Lepikhin et al., "GShard", arXiv 2006.16668 (experts split evenly over the devices, All2All to them and back).
"""

from __future__ import annotations

from sim.dispatch.api import ExpertPlan, PolicyParams, native_plan
from sim.dispatch.views import Batch, ExpertView


class Params(PolicyParams):
    pass


class Policy:
    gate = False

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._view = view

    def plan(self, batch: Batch) -> ExpertPlan:
        return native_plan(batch.counts(self._view.experts), self._view.native)

    def planner_us(self, batch: Batch) -> float:
        return 0.0
