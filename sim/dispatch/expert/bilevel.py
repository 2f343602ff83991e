"""Two-level routing: a softmax over the nodes, one over the places of a node, the best of each.

Source: He et al., "SMILE: Scaling Mixture-of-Experts with Efficient Bi-level Routing", arXiv 2212.05191. Node i has
probability p_i, place j in a node q_j (the same for all nodes); a token goes to the expert at place argmax q of node
argmax p with weight p q, so routers are n + m wide instead of n m. The balance losses add up: alpha n sum f_i P_i over
the nodes and beta m sum g_j Q_j over the places, with f and g the shares of tokens sent, P and Q the mean
probabilities; both are 1 (times their factor) in balance. The paper has one expert a GPU, so its places are GPUs.

A source of scores has one router, not two: p and q are its scores summed over the places of a node, and over the nodes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from sim.dispatch.api import ExpertPlan, Field, PolicyParams
from sim.dispatch.expert._gates import gate_plan, scores_of
from sim.dispatch.views import Batch, ExpertView


class Params(PolicyParams):
    alpha: float = Field(default=0.01, ge=0, description="Factor of the loss over the nodes.")
    beta: float = Field(default=0.01, ge=0, description="Factor of the loss over the places of a node.")


class Policy:
    gate = True

    def __init__(self, params: Params, view: ExpertView) -> None:
        self._params = params
        self._view = view
        number = np.bincount(view.node[view.native], minlength=view.nodes)
        if view.top_k != 1:
            _refuse(f"bilevel sends a token to one expert, but the model's top-k is {view.top_k}")
        if number.min() != number.max():
            _refuse(f"bilevel needs as many experts on every node; there are {number.min()} to {number.max()}")
        # [nodes, places] the expert at each place, in order of its number
        order = np.argsort(view.node[view.native], kind="stable")
        self._expert = order.reshape(view.nodes, -1).astype(np.int32)

    def plan(self, batch: Batch) -> ExpertPlan:
        scores = scores_of(batch)
        nodes, places = self._expert.shape
        table = scores[:, self._expert.ravel()].reshape(len(scores), nodes, places)
        of_node, of_place = table.sum(axis=2), table.sum(axis=1)
        node, place = of_node.argmax(axis=1), of_place.argmax(axis=1)
        every = np.arange(len(scores))
        weight = of_node[every, node] * of_place[every, place]
        inter = self._params.alpha * _balance(node, of_node)
        intra = self._params.beta * _balance(place, of_place)
        metrics = {
            "loss_between_nodes": inter,
            "loss_within_nodes": intra,
            "loss": inter + intra,
            "mean_weight": float(weight.mean()) if len(weight) else 0.0,
        }
        return gate_plan(batch, self._view, self._expert[node, place][:, None], metrics=metrics)

    def planner_us(self, batch: Batch) -> float:
        return 0.0


def _balance(chosen: NDArray[np.int64], share: NDArray[np.float32]) -> float:
    """n sum f_i P_i: shares of tokens sent times mean probabilities."""
    if not len(chosen):
        return 0.0
    sent = np.bincount(chosen, minlength=share.shape[1]) / len(chosen)
    return float(share.shape[1] * (sent * share.mean(axis=0)).sum())


def _refuse(message: str) -> None:
    raise InputError([Problem("dispatch.expert", 0, 0, message)])
