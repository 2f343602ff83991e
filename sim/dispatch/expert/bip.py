"""Balance by a binary integer programme: prices of the experts from a few dual steps on every batch.

Source: Yuan Sun, "Binary-Integer-Programming Based Algorithm for Expert Load Balancing", arXiv 2502.15451. The experts
of a token are the top-k of score - price; the prices are alternating dual updates of the assignment of all the batch's
tokens, started from the last batch's (``solvers/gates.py``). It sees the scores of all ranks at once; in a cluster each
round needs them exchanged, or is done on each rank's own tokens: ``scope: rank``, the mean of the ranks' prices.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import ExpertPlan, Field, PolicyParams
from sim.dispatch.expert._gates import gate_plan, scores_of
from sim.dispatch.views import Batch, ExpertView
from solvers.gates import bip_duals, top_k


class Params(PolicyParams):
    rounds: int = Field(default=4, ge=1, le=1000, description="Dual updates a batch (paper: T).")
    scope: Literal["global", "rank"] = Field(default="global", description="Tokens of all ranks, or each rank's own.")
    round_us: float = Field(default=20.0, ge=0, description="Time of one update: a few kernels over the scores.")


class Policy:
    gate = True

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._params = params
        self._view = view
        self._prices: dict[int, NDArray[np.float64]] = {}  # by layer: [N]

    def plan(self, batch: Batch) -> ExpertPlan:
        view, scores = self._view, scores_of(batch)
        start = self._prices.get(batch.layer, np.zeros(view.experts))
        ends = np.cumsum(batch.tokens_per_rank) if self._params.scope == "rank" else np.array([len(scores)])
        found = []
        for part in np.split(scores, ends[:-1]):
            if len(part):
                prices = start.copy()
                bip_duals(np.ascontiguousarray(part), prices, view.top_k, self._params.rounds)
                found.append(prices)
        self._prices[batch.layer] = np.mean(found, axis=0) if found else start
        return gate_plan(batch, view, top_k(scores, view.top_k, -self._prices[batch.layer]))

    def planner_us(self, batch: Batch) -> float:
        return self._params.rounds * self._params.round_us
