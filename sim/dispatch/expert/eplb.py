"""Replicated placement: the busiest experts get replicas, and all are packed to the GPUs anew every so many steps.

Source: deepseek-ai/EPLB (the algorithm, in ``solvers/eplb.py``); DeepSeek, "Day 6: One More Thing", open-infra-index
2025 (one redundant expert a GPU in prefill with EP32); the interval of 100 steps is the set-up of ADRS's and vLLM's
benchmarks of it. The load that is expected is the mean of the last ``window`` steps of the layer; ``predict: current``
takes the batch's own counts instead, which no system can know, as the bound of what prediction may bring.

EPLB does not say which replica serves a copy. ``replica: even`` deals the copies of an expert over its replicas in
turn, as the algorithm assumes; ``nearest`` takes those on the token's own rank, else on its node, else all.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from sim.dispatch.api import ExpertPlan, Field, PolicyParams, deal_evenly, deal_nearest
from sim.dispatch.expert._placement import moves
from sim.dispatch.expert._planner import Planner
from sim.dispatch.views import Batch, ExpertView
from solvers.eplb import rebalance

Array = NDArray[np.int64]


class Params(PolicyParams):
    extra: int = Field(default=1, ge=0, le=4096, description="Slots a rank beyond its own experts, for replicas.")
    mode: Literal["auto", "hierarchical", "global"] = Field(
        default="auto", description="Groups of experts kept on one node; auto: if the nodes divide the model's groups."
    )
    interval: int = Field(default=100, ge=1, description="Steps between placements.")
    start: int = Field(default=1, ge=0, description="Step of the first placement; before it experts are native.")
    window: int = Field(default=100, ge=1, description="Steps whose mean load is the expected one.")
    predict: Literal["history", "current"] = Field(default="history", description="Past steps, or the batch itself.")
    replica: Literal["even", "nearest"] = Field(default="even", description="Which replica serves a copy.")
    planner: Planner = Field(default=Planner(), description="Time of the planner; in practice it runs aside.")


class Policy:
    gate = False

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._params = params
        self._view = view
        self._past: dict[int, deque[Array]] = {}  # by layer: [N] copies of the last steps
        self._slots: dict[int, tuple[Array, Array]] = {}  # by layer: expert and rank of every slot
        self._last: dict[int, int] = {}  # by layer: step of the last placement
        self._order = np.argsort(view.node, kind="stable").astype(np.int64)  # GPU of the algorithm -> rank
        self._groups, self._nodes = self._hierarchy()

    def _hierarchy(self) -> tuple[int, int]:
        """Expert groups and nodes for the algorithm; 1 and 1 for the global mode."""
        view = self._view
        number = np.bincount(view.node)
        fits = view.groups % view.nodes == 0 and number.min() == number.max()
        if self._params.mode == "hierarchical" and not fits:
            text = f"{view.groups} groups of experts on {view.nodes} nodes of {number.min()} to {number.max()} GPUs"
            reason = f"eplb: hierarchical placement needs groups that the nodes divide; here are {text}"
            raise InputError([Problem("dispatch.expert.mode", 0, 0, reason)])
        return (view.groups, view.nodes) if fits and self._params.mode != "global" else (1, 1)

    def plan(self, batch: Batch) -> ExpertPlan:
        view, layer = self._view, batch.layer
        counts = batch.counts(view.experts)
        expert, rank = self._slots.get(layer, (np.arange(view.experts, dtype=np.int64), view.native))
        before = after = _pairs(expert, rank)
        expected = self._expected(layer, counts)
        if expected is not None and self._due(batch.step, layer):
            self._last[layer] = batch.step
            slots = view.experts + view.ranks * self._params.extra
            expert = rebalance(expected, slots, self._groups, self._nodes, view.ranks)
            rank = np.repeat(self._order, slots // view.ranks)
            self._slots[layer] = (expert, rank)
            after = _pairs(expert, rank)
        self._past.setdefault(layer, deque(maxlen=self._params.window)).append(counts.sum(axis=0))
        return ExpertPlan(
            expert,
            rank,
            self._deal(counts, expert, rank),
            transfers=moves(view, before, after),
            resident=after,
        )

    def _expected(self, layer: int, counts: Array) -> NDArray[np.float64] | None:
        """[N] copies of each expert that the next steps are expected to have; None before there is any step."""
        past = [counts.sum(axis=0)] if self._params.predict == "current" else self._past.get(layer)
        return np.mean(past, axis=0, dtype=np.float64) if past else None

    def _due(self, step: int, layer: int) -> bool:
        if layer not in self._last:
            return step >= self._params.start
        return step - self._last[layer] >= self._params.interval

    def _deal(self, counts: Array, expert: Array, rank: Array) -> Array:
        """[P, S] copies of each rank in each slot."""
        if self._params.replica == "even":
            return deal_evenly(counts, expert)
        return deal_nearest(counts, expert, rank, self._view.node)

    def planner_us(self, batch: Batch) -> float:
        placed = self._last.get(batch.layer) == batch.step
        return self._params.planner.cost(self._view.experts, self._view.ranks) if placed else 0.0


def _pairs(expert: Array, rank: Array) -> Array:
    """[m, 2] (expert, rank) of the slots, each once."""
    return np.unique(np.stack([expert, rank], axis=1), axis=0)
