"""What policies that choose the experts themselves have in common: the plan of choices on native ranks, with measures.

Measures of a plan: ``max_vio``, the busiest expert's copies over the mean, less one (MaxVio of Wang et al., arXiv
2408.15664); ``score_kept``, the scores of the chosen experts over those of the plain top-k: what balance costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import ExpertPlan, expert_counts, native_plan
from sim.dispatch.views import Batch, ExpertView
from solvers.gates import score_sum, top_k


def scores_of(batch: Batch) -> NDArray[np.float32]:
    """[T, N]; ValueError where a gate was given none."""
    if batch.scores is None:
        raise ValueError("a policy with gate = True needs a batch with scores")
    return batch.scores


def max_vio(counts: NDArray[np.int64]) -> float:
    """Of [P, N] copies, the busiest expert's over the mean, less one; 0 if there are none."""
    load = counts.sum(axis=0)
    return float(load.max() / load.mean() - 1) if load.sum() else 0.0


def gate_plan(batch: Batch, view: ExpertView, choices: NDArray[np.int32], **told: Any) -> ExpertPlan:
    """The plan in which every copy of ``choices`` [T, W] goes to its expert's native rank."""
    scores = scores_of(batch)
    counts = expert_counts(choices, batch.tokens_per_rank, view.experts)
    best = score_sum(scores, top_k(scores, view.top_k))
    kept = float(score_sum(scores, choices)) / best if best > 0 else 1.0
    metrics = {"max_vio": max_vio(counts), "score_kept": kept, **told.pop("metrics", {})}
    return native_plan(counts, view.native, choices=choices, metrics=metrics, **told)
