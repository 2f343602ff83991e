"""Locality: a gate that prefers experts on the token's own node, by so much in the score.

Source: Li et al., "LocMoE", arXiv 2401.13920 (IJCAI 2024): a loss mu KL(present || fully local assignment) added in
training. What such training leads to stands here as what it changes: every expert on the token's node gets ``strength``
more in its logit, the tilt that maximises the expected score less a multiple of that divergence. Strength 0 is the
plain top-k. The paper does not give its mu; the default is ours.
"""

from __future__ import annotations

import numpy as np

from sim.dispatch.api import ExpertPlan, Field, PolicyParams
from sim.dispatch.expert._gates import gate_plan, scores_of
from sim.dispatch.views import Batch, ExpertView
from solvers.gates import top_k_into


class Params(PolicyParams):
    strength: float = Field(default=1.0, ge=0, le=100, description="Added to the logits of experts on the own node.")


class Policy:
    gate = True

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._view = view
        self._factor = float(np.exp(params.strength))

    def plan(self, batch: Batch) -> ExpertPlan:
        view, scores = self._view, scores_of(batch)
        home = view.node[view.native]  # [N] node of each expert
        choices = np.empty((len(scores), view.top_k), dtype=np.int32)
        ends = np.cumsum(batch.tokens_per_rank).tolist()
        local = 0
        for rank, end in enumerate(ends):
            begin = end - int(batch.tokens_per_rank[rank])
            near = home == view.node[rank]
            scale = np.where(near, self._factor, 1.0)
            top_k_into(scores, scale, np.zeros(view.experts), begin, end, choices)
            local += int(near[choices[begin:end]].sum())
        share = local / choices.size if choices.size else 1.0
        return gate_plan(batch, view, choices, metrics={"local_share": share})

    def planner_us(self, batch: Batch) -> float:
        return 0.0
