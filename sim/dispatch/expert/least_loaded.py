"""Least-loaded expert parallelism: copies above a rank's share go to the least loaded ranks, their weights with them.

Source: "Least-Loaded Expert Parallelism" (LLEP), arXiv 2601.17111, and the authors' code; defaults are those of the
paper's experiments. The algorithm is in ``solvers/least_loaded.py``. Foreign weights are used once and dropped: they
move again in every layer of every step.

``threshold``: below this imbalance of the native placement the plan is empty, plain expert parallelism. The code holds
it against max/mean of the copies a rank; the paper's algorithm 4 is written with those an expert.

``planner``: every rank plans alike, in Python, from the summed counts. The authors' code reads each count twice from
the GPU (about 10 us a read), and finds the ranges of every expert on every rank with a few array look-ups: the default
costs are estimates of these, not measurements. Where the threshold keeps it from planning only the constant is paid.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import ExpertPlan, Field, PolicyParams, deal_ranges, native_plan
from sim.dispatch.expert._planner import Planner
from sim.dispatch.views import Batch, ExpertView
from solvers.least_loaded import cap_of, least_loaded


class Params(PolicyParams):
    alpha: float = Field(default=1.0, gt=0, le=1e6, description="A rank's share of the mean load (paper: alpha).")
    min_tokens: int = Field(default=1024, ge=0, description="Smallest part but the last of an expert (paper: m).")
    threshold: float = Field(default=1.3, ge=0, description="Imbalance from which it acts; 0: always (paper: lambda).")
    semantics: Literal["code", "paper"] = Field(default="code", description="Where the paper and its code differ.")
    planner: Planner = Field(
        default=Planner(constant_us=100.0, expert_us=20.0, pair_us=1.5, part_us=0.5), description="Time of the planner."
    )


class Policy:
    gate = False

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._params = params
        self._view = view
        self._parts: int | None = None  # moved by the last plan; None where there was none

    def bound(self, batch: Batch) -> int:
        """Copies that no rank has more of, unless the plan says so."""
        return cap_of(int(batch.counts(self._view.experts).sum()), self._view.ranks, self._params.alpha)

    def plan(self, batch: Batch) -> ExpertPlan:
        params, view = self._params, self._view
        counts = batch.counts(view.experts)
        load = counts.sum(axis=0)
        self._parts = None
        if self._stands_aside(load):
            return native_plan(counts, view.native, closed=True, notes=("balanced below the threshold",))
        paper = params.semantics == "paper"
        parts = least_loaded(load, view.native, view.ranks, self.bound(batch), params.min_tokens, paper=paper)
        home = view.native[parts.expert]
        moves = np.stack([parts.expert, home, parts.rank], axis=1)[parts.rank != home]
        self._parts = len(moves)
        _, first = np.unique(moves, axis=0, return_index=True)
        return ExpertPlan(
            parts.expert,
            parts.rank,
            deal_ranges(counts, parts.expert, parts.copies),
            transfers=moves[np.sort(first)],
            forced=parts.forced,
            notes=(f"{parts.forced} copies forced above the cap",) if parts.forced else (),
        )

    def _stands_aside(self, load: NDArray[np.int64]) -> bool:
        if self._params.threshold == 0 or load.sum() == 0:
            return False
        if self._params.semantics == "code":
            load = np.bincount(self._view.native, weights=load, minlength=self._view.ranks).astype(np.int64)
        return bool(load.max() < self._params.threshold * load.mean())

    def planner_us(self, batch: Batch) -> float:
        planner = self._params.planner
        if self._parts is None:
            return planner.constant_us
        return planner.cost(self._view.experts, self._view.ranks, self._parts)
