"""Independent agents that plan in parallel on what they last saw, and commit to one shared state.

Source: Racedo et al., "Asynchronous Multi-Agent Reinforcement Learning for 5G Routing under Side Constraints", arXiv
2602.00035: an agent for each service, which commits changes of resources to a shared environment. Taken over is that
coordination: an agent plans on the state as it was when it began, for as long as ``time`` says; at its commit every
demand is proven again against the state of then, and one that no longer fits is a conflict, planned again up to
``retries`` times. Not modelled are learning, the services' own rewards, computing resources and the paper's network;
its numbers can't be compared. An agent's plan comes from ``plan_of``: here the greedy one, where a learned planner
would stand. ``split`` says who decides about a demand: the agent of its priority (a service), of its source, or the
next in turn. The default ``time`` is a convention of this program.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from sim.dispatch.api import ControllerParams, Field, Plan, Problem, TimeOrMeasured, importance, place
from sim.dispatch.views import AdmissionView

Rule = Literal["shortest", "widest", "least_loaded"]


class Params(ControllerParams):
    time: TimeOrMeasured = Field(default=10**10, description="time of an agent's decision, or `measured`")
    agents: int = Field(default=3, ge=1, le=1000, description="Agents, each with demands of its own.")
    split: Literal["priority", "source", "number"] = Field(
        default="priority", description="What of a demand, modulo the agents, says whose it is."
    )
    path: Rule = Field(default="shortest", description="Which of the ways that fit a demand gets.")
    retries: int = Field(default=3, ge=0, le=10**6, description="Times that a demand is planned again.")


def plan_of(problem: Problem, path: Rule, rng: np.random.Generator) -> Plan:
    """What an agent decides alone, for its own demands. A learned planner takes this function's place."""
    return place(problem, importance(problem), path)


class Policy:
    def __init__(self, params: Params, view: AdmissionView) -> None:
        self.agents, self.retries = params.agents, params.retries
        self._split, self._path = params.split, params.path

    def agent_of(self, demand: int, src: int, dst: int, priority: int) -> int:
        return {"priority": priority, "source": src, "number": demand}[self._split] % self.agents

    def decide(self, problem: Problem, rng: np.random.Generator) -> Plan:
        return plan_of(problem, self._path, rng)
