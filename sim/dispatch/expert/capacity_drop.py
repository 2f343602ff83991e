"""Expert capacity: copies beyond it are dropped, or rectified.

Source: Lepikhin et al., "GShard", arXiv 2006.16668, and Fedus et al., "Switch Transformers", arXiv 2101.03961: each
rank's tokens have ceil(factor * tokens * top-k / experts) places at every expert; first choices come before second
ones, then the order of the tokens counts. Rectification: Zeng et al., "Turn Waste into Worth: Rectifying Top-k Router
of MoE", arXiv 2402.12399. ``intra_gpu``: a dropped copy goes to the best-scoring expert on the token's own GPU, above
its capacity, as nothing is sent. ``fill_in``: places left are filled with the tokens whose next choice (the k + 1st)
the expert is, highest scores first; such a token then has one more expert. ``both``: one after the other.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from sim.dispatch.api import ExpertPlan, Field, PolicyParams, expert_counts, native_plan
from sim.dispatch.expert._gates import gate_plan, scores_of
from sim.dispatch.views import Batch, ExpertView
from solvers.capacity import drop, fill_in, rescue_at_home
from solvers.gates import top_k


class Params(PolicyParams):
    factor: float = Field(default=1.25, gt=0, le=1e6, description="Places over the balanced number of copies.")
    rectify: Literal["none", "intra_gpu", "fill_in", "both"] = Field(
        default="none", description="What becomes of dropped copies and of places left."
    )


class Policy:
    def __init__(self, params: Params, view: ExpertView) -> None:
        self._params = params
        self._view = view
        self.gate = params.rectify != "none"  # rectification needs the scores

    def plan(self, batch: Batch) -> ExpertPlan:
        view, params, tokens = self._view, self._params, batch.tokens_per_rank
        fills = params.rectify in ("fill_in", "both") and view.top_k < view.experts
        if self.gate:
            ranked = top_k(scores_of(batch), view.top_k + fills)
            asked = np.ascontiguousarray(ranked[:, : view.top_k])
        else:
            assert batch.choices is not None
            asked = batch.choices
        capacity = np.ceil(params.factor * tokens * view.top_k / view.experts).astype(np.int64)
        choices = np.array(asked, dtype=np.int32, order="C")
        taken = drop(choices, tokens, capacity, view.experts)
        dropped, rerouted, added = int((choices < 0).sum()), 0, 0
        if params.rectify in ("intra_gpu", "both"):
            rerouted = int(rescue_at_home(scores_of(batch), choices, asked, tokens, view.native))
            dropped -= rerouted
        if fills:
            wanted = np.ascontiguousarray(ranked[:, -1])
            order = np.argsort(-scores_of(batch)[np.arange(len(wanted)), wanted], kind="stable").astype(np.int64)
            rank = np.repeat(np.arange(view.ranks, dtype=np.int64), tokens)
            more = np.empty(len(wanted), dtype=np.int32)
            added = int(fill_in(wanted, order, choices, rank, taken, capacity, more))
            if added:
                choices = np.ascontiguousarray(np.column_stack([choices, more]))
        if self.gate:
            return gate_plan(batch, view, choices, dropped=dropped, rerouted=rerouted, added=added)
        counts = expert_counts(choices, tokens, view.experts)
        return native_plan(counts, view.native, choices=choices, dropped=dropped)

    def planner_us(self, batch: Batch) -> float:
        return 0.0
