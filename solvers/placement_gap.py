"""How far a plan's busiest rank is from the best possible: against bounds, against LPT, against an integer programme.

Two problems. Splittable: an expert's copies may be spread over any ranks, so nothing beats ceil(copies / ranks), which
some assignment reaches. Whole: each expert is computed on one rank; minimising the largest load is makespan scheduling
on identical machines, NP-hard, here a mixed integer programme solved by HiGHS up to a number of branches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, identity, kron

from solvers.expert_plan import Array, ExpertPlan
from solvers.lpt import greedy_lpt


@dataclass(frozen=True)
class WholeOptimum:
    """The integer programme's answer, in copies. ``status`` is "optimal" or "limit"; at a limit the bounds differ."""

    status: str
    bound: int  # no assignment of whole experts has a smaller largest load
    load: int  # of the best assignment found


@dataclass(frozen=True)
class Gap:
    """Copies of the busiest rank: the plan's, and what it is to be held against."""

    load: int  # the plan's
    splittable: int  # the optimum where copies of an expert may be split
    lpt: int  # whole experts, longest processing time first
    whole: WholeOptimum | None  # whole experts, the optimum; None if it was not asked for

    @property
    def over_splittable(self) -> float:
        """The plan's load over the splittable optimum, less one: 0 is optimal."""
        return self.load / self.splittable - 1 if self.splittable else 0.0

    @property
    def over_whole(self) -> float | None:
        """The plan's load over the bound of whole experts, less one; below 0 where splitting beats it."""
        return self.load / self.whole.bound - 1 if self.whole and self.whole.bound else None


def gap(plan: ExpertPlan, *, branches: int | None = 10_000) -> Gap:
    """Of a plan, for the copies that it computes. ``branches``: limit of the integer programme; None: without it.

    The programme is for small instances: some hundred experts times ranks.
    """
    slots = plan.slot_load
    load = np.zeros(int(plan.slot_expert.max(initial=-1)) + 1, dtype=np.int64)
    np.add.at(load, plan.slot_expert, slots)
    rank = greedy_lpt(load, plan.ranks)
    lpt = np.zeros(plan.ranks, dtype=np.int64)
    np.add.at(lpt, rank, load)
    whole = None if branches is None else whole_optimum(load, plan.ranks, branches)
    splittable = -(-int(load.sum()) // plan.ranks)
    return Gap(int(plan.load.max(initial=0)), splittable, int(lpt.max(initial=0)), whole)


def whole_optimum(load: Array, ranks: int, branches: int = 10_000) -> WholeOptimum:
    """The smallest largest load of ``ranks`` ranks with whole experts of ``load`` [N] copies."""
    load = np.sort(load[load > 0])[::-1]
    experts = len(load)
    if experts == 0:
        return WholeOptimum("optimal", 0, 0)
    simple = max(-(-int(load.sum()) // ranks), int(load[0]))
    # x[e, r] whether expert e is on rank r, expert-major; then the largest load
    on_one = hstack([kron(identity(experts), np.ones((1, ranks))), csr_array((experts, 1))])
    below = hstack([kron(load[None, :].astype(np.float64), identity(ranks)), csr_array(-np.ones((ranks, 1)))])
    size = experts * ranks
    upper = np.append(np.ones(size), np.inf)
    for expert in range(min(experts, ranks)):  # ranks are alike: the e-th heaviest is on one of the first e + 1
        upper[expert * ranks + expert + 1 : (expert + 1) * ranks] = 0
    result = milp(
        np.append(np.zeros(size), 1.0),
        integrality=np.append(np.ones(size), 0),
        bounds=Bounds(np.append(np.zeros(size), simple), upper),
        constraints=[LinearConstraint(csr_array(on_one), 1, 1), LinearConstraint(csr_array(below), -np.inf, 0)],
        options={"node_limit": branches, "mip_rel_gap": 0.0},
    )
    chosen = greedy_lpt(load, ranks)
    found = int(np.bincount(chosen, weights=load).max())
    if result.x is not None:
        rank = result.x[:size].reshape(experts, ranks).argmax(axis=1)
        found = min(found, int(np.bincount(rank, weights=load).max()))
    bound = simple
    if result.mip_dual_bound is not None and np.isfinite(result.mip_dual_bound):
        bound = max(simple, int(np.ceil(result.mip_dual_bound - 1e-6)))
    return WholeOptimum("optimal" if bound >= found else "limit", min(bound, found), found)
