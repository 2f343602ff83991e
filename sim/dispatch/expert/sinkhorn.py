"""Balance by entropic optimal transport: the scores are scaled until every expert is due the same mass, then top-k.

Source: "Selective Sinkhorn Routing", arXiv 2511.08972 (rows sum to 1, columns to tokens / experts, top-k of the plan);
Clark et al., arXiv 2202.01169, for S-BASE, which applies it to every batch. The cost of a pair is -log(score), so with
softness 1 the kernel is the softmax itself. ``probability``: the share of the batches on which it acts (the paper
trains with 0.001 to 0.01); on the others the choice is the plain top-k.
"""

from __future__ import annotations

import numpy as np

from sim.dispatch.api import ExpertPlan, Field, PolicyParams
from sim.dispatch.expert._gates import gate_plan, scores_of
from sim.dispatch.views import Batch, ExpertView
from solvers.gates import sinkhorn_duals, top_k


class Params(PolicyParams):
    softness: float = Field(default=1.0, ge=0.05, le=100, description="Weight of the entropy (paper: xi, 0.5 to 1).")
    rounds: int = Field(default=100, ge=1, le=10_000, description="Scalings of rows and columns, at most.")
    tolerance: float = Field(default=1e-4, gt=0, le=1, description="Error of a column, of its due, at which it ends.")
    probability: float = Field(default=1.0, ge=0, le=1, description="Share of the batches on which it acts.")
    round_us: float = Field(default=20.0, ge=0, description="Time of one scaling: a few kernels over the scores.")


class Policy:
    gate = True

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._params = params
        self._view = view
        self._rounds = 0  # of the last batch

    def plan(self, batch: Batch) -> ExpertPlan:
        params, view, scores = self._params, self._view, scores_of(batch)
        self._rounds = 0
        if not len(scores) or (params.probability < 1 and view.rng.random() >= params.probability):
            return gate_plan(batch, view, top_k(scores, view.top_k), closed=True, notes=("plain top-k",))
        factor, rounds, error = sinkhorn_duals(scores, params.softness, params.rounds, params.tolerance)
        self._rounds = int(rounds)
        # the largest of u_i score_ij^(1/softness) v_j in a row are those of log(score) + softness log(v)
        plan = top_k(np.log(scores), view.top_k, params.softness * factor)
        return gate_plan(batch, view, plan, metrics={"rounds": float(rounds), "column_error": float(error)})

    def planner_us(self, batch: Batch) -> float:
        return self._rounds * self._params.round_us
