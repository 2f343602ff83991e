"""Whole experts to ranks by longest processing time first, for every batch anew: what moving experts alone can do.

Source: R. L. Graham, SIAM J. Appl. Math. 17, 1969 (``solvers/lpt.py``). A baseline that knows the batch's own counts:
no copy is split off its expert, and weights stay where they were moved until the next batch of the layer. Ranks are
named so that as few experts as possible move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import ExpertPlan, Field, PolicyParams
from sim.dispatch.expert._placement import moves
from sim.dispatch.expert._planner import Planner
from sim.dispatch.views import Batch, ExpertView
from solvers.lpt import greedy_lpt, relabel


class Params(PolicyParams):
    most: int = Field(default=0, ge=0, description="Experts a rank, at most; 0: no limit.")
    threshold: float = Field(default=1.0, ge=1, description="Imbalance of the placement that is, from which it acts.")
    planner: Planner = Field(default=Planner(), description="Time of the planner.")


class Policy:
    gate = False

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._params = params
        self._view = view
        self._rank: dict[int, NDArray[np.int64]] = {}  # by layer: [N] where each expert is

    def plan(self, batch: Batch) -> ExpertPlan:
        view, params = self._view, self._params
        counts = batch.counts(view.experts)
        load = counts.sum(axis=0)
        before = self._rank.get(batch.layer, view.native)
        after = before
        busy = np.bincount(before, weights=load, minlength=view.ranks)
        if busy.max() > params.threshold * busy.mean():
            most = max(params.most, -(-view.experts // view.ranks)) if params.most else 0
            after = relabel(greedy_lpt(load, view.ranks, most), before, view.ranks)
        self._rank[batch.layer] = after
        every = np.arange(view.experts, dtype=np.int64)
        resident = np.stack([every, after], axis=1)
        moved = moves(view, np.stack([every, before], axis=1), resident)
        return ExpertPlan(every, after, counts, transfers=moved, resident=resident, closed=after is before)

    def planner_us(self, batch: Batch) -> float:
        return self._params.planner.cost(self._view.experts, self._view.ranks)
