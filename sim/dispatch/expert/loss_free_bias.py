"""Auxiliary-loss-free balancing: a bias an expert, for the choice only, that follows the load from step to step.

Source: Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts", arXiv 2408.15664. The experts
of a token are the top-k of score + b; after each batch b_i += rate * sign(mean load - load_i), or with ``update:
error`` rate * (mean load - load_i) / mean load. The rate of 0.001 is for the paper's sigmoid gate. Scores come as a
softmax; ``score: sigmoid`` takes the sigmoid of their logits, whose mean over a token's experts is set to 0, as a
softmax leaves it open.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import ExpertPlan, Field, PolicyParams
from sim.dispatch.expert._gates import gate_plan, scores_of
from sim.dispatch.views import Batch, ExpertView
from solvers.gates import top_k


class Params(PolicyParams):
    rate: float = Field(default=0.001, ge=0, le=1, description="Step of the bias after each batch (paper: u).")
    score: Literal["sigmoid", "softmax"] = Field(default="sigmoid", description="What the bias is added to.")
    update: Literal["sign", "error"] = Field(default="sign", description="By the error's sign, or in proportion.")


class Policy:
    gate = True

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._params = params
        self._view = view
        self._bias: dict[int, NDArray[np.float64]] = {}  # by layer: [N]

    def plan(self, batch: Batch) -> ExpertPlan:
        view = self._view
        bias = self._bias.setdefault(batch.layer, np.zeros(view.experts))
        scores = scores_of(batch)
        if self._params.score == "sigmoid":
            logits = np.log(scores)
            scores = 1 / (1 + np.exp(logits.mean(axis=1, keepdims=True) - logits))
        plan = gate_plan(batch, view, top_k(scores, view.top_k, bias))
        load = plan.slot_load
        error = (load.mean() - load) / max(load.mean(), 1.0)
        bias += self._params.rate * (np.sign(error) if self._params.update == "sign" else error)
        return plan

    def planner_us(self, batch: Batch) -> float:
        return 0.0
