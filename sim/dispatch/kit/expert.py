"""Checks of an expert policy: it plans batches of many skews on small groups of ranks, step after step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.routing.formulas import Balanced, Hot
from models.routing.popularity import Dirichlet, Zipf
from models.routing.source import Source
from sim.dispatch.kit.report import GlobalRandomness, Report
from sim.dispatch.registry import Policy
from sim.dispatch.views import Batch, ExpertView
from solvers.expert_check import check
from solvers.expert_plan import ExpertPlan, native_ranks, traffic

_SEED, _KEY = 20_407, 77
_STEPS = 3
_SHAPE = "answers: an ExpertPlan for every batch"
_VALID = "plans: every copy once or counted as dropped, and only where its expert's weights are"
_BOUND = "plans: within the policy's own bound, or said"
_TRAFFIC = "plans: every copy of a token can be dealt to a slot"
_TIME = "planner_us: a number of microseconds, 0 or more"
_LEFT = "view and batches left as they were"
_SAME = "same seed, same answer"
_GLOBAL = "no draw from global generators"
_CHECKS = (_SHAPE, _VALID, _BOUND, _TRAFFIC, _TIME, _LEFT, _SAME)


class Group(NamedTuple):
    """Ranks that share the experts of a layer."""

    ranks: int
    per_node: int
    experts: int
    top_k: int
    groups: int = 1

    @property
    def name(self) -> str:
        return f"{self.ranks} ranks, {self.experts} experts, top-{self.top_k}"

    def view(self) -> ExpertView:
        node = np.arange(self.ranks, dtype=np.int64) // self.per_node
        native = native_ranks(self.experts, self.ranks)
        rng = np.random.default_rng(_SEED)
        return ExpertView(self.ranks, node, self.experts, self.top_k, self.groups, native, rng)


GROUPS = (
    Group(1, 1, 4, 2),
    Group(4, 2, 8, 1),
    Group(8, 4, 32, 4, 4),
    Group(16, 4, 16, 2),
    Group(6, 3, 12, 1, 2),
)


def sources(group: Group) -> list[tuple[str, Source]]:
    """Even and skewed choices, by name."""
    number, width = group.experts, group.top_k
    return [
        ("balanced", Balanced(number, width)),
        ("hot", Hot(number, width, 0.8, min(2, number - width))),
        ("zipf", Zipf(number, width, _KEY, 1.2, drift=0.2)),
        ("sparse", Dirichlet(number, width, _KEY, 0.05)),
    ]


def token_counts(ranks: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Tokens of each rank: many, few and uneven, none."""
    uneven = np.arange(ranks, dtype=np.int64) * 7 % 11
    uneven[0] = 0
    many = np.full(ranks, 300, dtype=np.int64)
    return [("300 tokens a rank", many), ("uneven tokens", uneven), ("no tokens", np.zeros(ranks, dtype=np.int64))]


def check_expert(report: Report, policy: Policy) -> None:
    """All checks of the level, on every group of ranks."""
    shared = GlobalRandomness()
    if not report.run("Policy(params, view): gate, plan, planner_us", lambda: _attribute_faults(policy)):
        return
    faults: dict[str, list[str]] = {what: [] for what in _CHECKS}
    plans, spent, refused = 0, 0.0, []
    for group in GROUPS:
        if _made(policy, group) is None:
            refused.append(group.name)
            continue
        for source_name, source in sources(group):
            for tokens_name, tokens in token_counts(group.ranks):
                label = f"{group.name}, {source_name}, {tokens_name}"
                trials = []
                for _ in range(2):
                    trial = _Trial(policy, group, source, tokens)
                    try:
                        trial.run()
                    except Exception as error:  # the policy's code
                        trial.fault(trial.doing, report.explain(error))
                    trials.append(trial)
                    if trial.faults:
                        break
                for what, text in trials[-1].faults:
                    faults[what].append(f"{label}: {text}")
                if len(trials) == 2 and not _same(trials[0].plans, trials[1].plans):
                    faults[_SAME].append(f"{label}: a fresh policy with the same seed answered otherwise")
                plans += len(trials[0].plans)
                spent += trials[0].seconds
    for what in _CHECKS:
        report.check(what, faults[what])
    report.check(_GLOBAL, shared.faults())
    report.note("groups of ranks", "; ".join(group.name for group in GROUPS if group.name not in refused))
    if refused:
        report.note("refused with a message", "; ".join(refused))
    if plans:
        report.note("plans", f"{plans}, {1e6 * spent / plans:.0f} us each (small groups)")


def _made(policy: Policy, group: Group) -> Any:
    """The policy for a group, or None where it refuses it as wrong input."""
    try:
        return policy.module.Policy(policy.Params(), group.view())
    except InputError:
        return None


def _attribute_faults(policy: Policy) -> Iterator[str]:
    made = [instance for group in GROUPS if (instance := _made(policy, group)) is not None]
    if not made:
        yield "the policy refuses every group of ranks"
        return
    if not isinstance(getattr(made[0], "gate", None), bool):
        yield "'gate' must be True or False"
    for name in ("plan", "planner_us"):
        if not callable(getattr(made[0], name, None)):
            yield f"'{name}' can't be called"


class _Trial:
    """One fresh policy over some steps of two layers. ``faults`` are (check, text)."""

    def __init__(self, policy: Policy, group: Group, source: Source, tokens: NDArray[np.int64]) -> None:
        self.group, self.source, self.tokens = group, source, tokens
        self.doing = _SHAPE
        self.view = group.view()
        self.policy = policy.module.Policy(policy.Params(), self.view)
        self.plans: list[ExpertPlan] = []
        self.faults: list[tuple[str, str]] = []
        self.seconds = 0.0

    def fault(self, what: str, text: str) -> None:
        self.faults.append((what, text))

    def run(self) -> None:
        before: dict[int, NDArray[np.int64] | None] = {}
        for step in range(_STEPS):
            for layer in range(2):
                rng = np.random.default_rng([_SEED, step, layer])
                make = self.source.scores if self.policy.gate else self.source.choices
                given: Any = make(self.tokens, step, layer, rng)
                choices, scores = (None, given) if self.policy.gate else (given, None)
                kept = [array.copy() for array in (given, self.tokens, self.view.node, self.view.native)]
                batch = Batch(step, layer, self.tokens, choices, scores)
                self.doing = _SHAPE
                start = time.perf_counter()
                plan = self.policy.plan(batch)
                self.seconds += time.perf_counter() - start
                if not isinstance(plan, ExpertPlan):
                    self.fault(_SHAPE, f"{plan!r} is no ExpertPlan")
                    return
                self.doing = _LEFT
                now = (given, self.tokens, self.view.node, self.view.native)
                if not all(np.array_equal(one, other) for one, other in zip(kept, now, strict=True)):
                    self.fault(_LEFT, "an array of the batch or the view was changed")
                self._check(plan, batch, before.get(layer))
                before[layer] = plan.resident
                self.plans.append(plan)

    def _check(self, plan: ExpertPlan, batch: Batch, before: NDArray[np.int64] | None) -> None:
        self.doing = _VALID
        width, native = self.group.top_k, self.view.native
        found = check(plan, self.tokens, width, native, choices=batch.choices, before=before)
        for text in found:
            self.fault(_VALID, text)
        if found:
            return
        self.doing = _BOUND
        if hasattr(self.policy, "bound"):
            bound = self.policy.bound(batch)
            for text in check(plan, self.tokens, width, native, choices=batch.choices, before=before, bound=bound):
                self.fault(_BOUND, text)
        self.doing = _TRAFFIC
        taken = plan.choices if plan.choices is not None else batch.choices
        if taken is None:
            self.fault(_TRAFFIC, "a policy with gate = True must put its choices into the plan")
        else:
            try:
                traffic(taken, self.tokens, plan, self.view.node)
            except ValueError as error:
                self.fault(_TRAFFIC, str(error))
        self.doing = _TIME
        took = self.policy.planner_us(batch)
        if not isinstance(took, (int, float)) or not 0 <= took < float("inf"):
            self.fault(_TIME, f"planner_us is {took!r}")


def _same(one: list[ExpertPlan], other: list[ExpertPlan]) -> bool:
    names = ("slot_expert", "slot_rank", "copies", "transfers", "resident", "choices")
    return len(one) == len(other) and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        if getattr(first, name) is not None and getattr(second, name) is not None
        else getattr(first, name) is getattr(second, name)
        for first, second in zip(one, other, strict=True)
        for name in names
    )
