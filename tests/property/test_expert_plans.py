"""Expert plans of random loads: all dispatchers against the validator, the compiled planner against a literal one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from sim.dispatch.registry import Registry
from sim.dispatch.views import Batch, ExpertView
from solvers.expert_check import check
from solvers.expert_plan import ExpertPlan, deal_evenly, deal_ranges, expert_counts, native_ranks, traffic
from solvers.least_loaded import cap_of, least_loaded

REGISTRY = Registry()
NAMES = REGISTRY.names("expert")
LOADS = 2000
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "least_loaded": [{"threshold": 0}, {"semantics": "paper", "min_tokens": 8}, {"alpha": 1.5, "min_tokens": 4}],
    "eplb": [{"start": 0, "interval": 1}, {"predict": "current", "start": 0, "interval": 1, "replica": "nearest"}],
    "capacity_drop": [
        {"factor": 1.0},
        {"factor": 0.5, "rectify": "intra_gpu"},
        {"rectify": "fill_in"},
        {"rectify": "both"},
    ],
    "greedy_lpt": [{}, {"most": 6}],
    "bip": [{}, {"scope": "rank", "rounds": 2}],
}


class Case(NamedTuple):
    view: ExpertView
    tokens: np.ndarray
    choices: np.ndarray
    scores: np.ndarray


def random_case(rng: np.random.Generator) -> Case:
    """A group of 1 to 12 ranks with 1 to 4 experts each, random popularity from flat to one expert, few tokens."""
    ranks = int(rng.integers(1, 13))
    experts = ranks * int(rng.integers(1, 5))
    top_k = 1 if rng.random() < 0.3 else int(rng.integers(1, min(experts, 6) + 1))
    node = np.sort(rng.integers(0, 3, ranks)) if rng.random() < 0.5 else np.arange(ranks) // 2
    node = np.unique(node, return_inverse=True)[1].astype(np.int64)
    groups = int(rng.choice([number for number in (1, 2, 4) if experts % number == 0]))
    view = ExpertView(ranks, node, experts, top_k, groups, native_ranks(experts, ranks), np.random.default_rng(1))
    tokens = rng.integers(0, 40, ranks) * (rng.random(ranks) < 0.9)
    logits = rng.gumbel(size=(int(tokens.sum()), experts)) + rng.normal(0, rng.uniform(0, 5), experts)
    scores = np.exp(logits - logits.max(axis=1, keepdims=True)) if len(logits) else logits
    scores = np.maximum(scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-9), 1e-30).astype(np.float32)
    choices = np.argsort(-scores, axis=1, kind="stable")[:, :top_k].astype(np.int32)
    return Case(view, tokens.astype(np.int64), choices, scores)


@pytest.mark.parametrize("name", NAMES)
def test_plans_of_2000_random_loads_are_valid(name: str) -> None:
    """Two steps of one layer each; the second starts from what the first left in memory."""
    rng = np.random.default_rng(2024)
    found = REGISTRY.load("expert", name)
    variants = VARIANTS.get(name, [{}])
    made = 0
    for number in range(LOADS // 2):
        case = random_case(rng)
        view = case.view
        if name == "bilevel":  # the one that needs top-1
            case = case._replace(view=ExpertView(view.ranks, view.node, view.experts, 1, 1, view.native, view.rng))
            view = case.view
        try:
            policy = found.module.Policy(found.Params(**variants[number % len(variants)]), view)
        except InputError:
            continue
        before = None
        for step in range(2):
            choices = None if policy.gate else case.choices
            batch = Batch(step, 0, case.tokens, choices, case.scores if policy.gate else None)
            plan = policy.plan(batch)
            bound = policy.bound(batch) if hasattr(policy, "bound") else None
            faults = check(plan, case.tokens, view.top_k, view.native, choices=choices, before=before, bound=bound)
            assert faults == [], (number, faults)
            taken = case.choices if plan.choices is None else plan.choices
            sent = traffic(taken, case.tokens, plan, view.node)
            assert sent.copies.sum() == plan.copies.sum()
            assert np.array_equal(sent.copies.sum(axis=0), plan.load)
            before = plan.resident
            made += 1
    assert made >= (600 if name == "bilevel" else LOADS)


def literal_plan(
    load: list[int], per_rank: int, ranks: int, cap: int, least: int
) -> tuple[list[tuple[int, int, int]], list[int]]:
    """The published procedure with its sorted lists of helpers: (expert, rank, copies), and the load of each rank."""
    pending = [sum(load[rank * per_rank : (rank + 1) * per_rank]) for rank in range(ranks)]
    assigned = [0] * ranks
    plan: list[tuple[int, int, int]] = []

    def helpers(home: int) -> list[tuple[int, int]]:
        others = [(rank, assigned[rank] + pending[rank]) for rank in range(ranks) if rank != home]
        return sorted(others, key=lambda other: other[1])

    def give(expert: int, rank: int, copies: int) -> None:
        plan.append((expert, rank, copies))
        assigned[rank] += copies

    for expert, copies in sorted(enumerate(load), key=lambda item: -item[1]):
        if copies == 0:
            continue
        home = expert // per_rank
        pending[home] -= copies
        free = cap - assigned[home] - pending[home]
        if free >= copies or ranks == 1:
            give(expert, home, copies)
        elif free > 0:
            give(expert, home, free)
            rest = copies - free
            while rest:
                order = helpers(home)
                for rank, held in order:
                    part = min(rest, cap - held)
                    if part > 0 and not (part < least and rest > part):
                        give(expert, rank, part)
                        rest -= part
                        break
                else:
                    give(expert, order[0][0], rest)
                    rest = 0
        else:
            order, rest = helpers(home), copies
            for rank, held in order:
                part = min(rest, cap - held)
                if part > 0 and not (part < least and rest > part):
                    give(expert, rank, part)
                    rest -= part
            if rest:
                give(expert, order[0][0], rest)
    return plan, assigned


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_least_loaded_agrees_with_the_literal_procedure(data: st.DataObject) -> None:
    ranks, per_rank = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 5))
    size = data.draw(st.sampled_from([3, 30, 1000]))
    load = data.draw(st.lists(st.integers(0, size), min_size=ranks * per_rank, max_size=ranks * per_rank))
    alpha, least = data.draw(st.sampled_from([0.5, 1.0, 1.1, 2.0])), data.draw(st.sampled_from([0, 1, 5, 100]))
    cap = cap_of(sum(load), ranks, alpha)
    plan, assigned = literal_plan(load, per_rank, ranks, cap, least)
    native = native_ranks(ranks * per_rank, ranks)
    found = least_loaded(np.array(load), native, ranks, cap, least, paper=False)
    assert list(zip(*(column.tolist() for column in found[:3]), strict=True)) == plan
    assert found.forced > 0 or max(assigned) <= cap


def literal_traffic(case: Case, slots: list[tuple[int, int]], copies: np.ndarray) -> tuple[np.ndarray, ...]:
    """Who sends what, by sets of tokens."""
    ranks, node = case.view.ranks, case.view.node
    left = copies.copy()
    out = np.zeros((ranks, ranks), dtype=np.int64)
    to_rank = np.zeros_like(out)
    to_node = np.zeros((ranks, case.view.nodes), dtype=np.int64)
    owner = np.repeat(np.arange(ranks), case.tokens)
    for rank, row in zip(owner.tolist(), case.choices.tolist(), strict=True):
        reached = set()
        for expert in row:
            slot = next(at for at, (own, _) in enumerate(slots) if own == expert and left[rank, at] > 0)
            left[rank, slot] -= 1
            target = slots[slot][1]
            out[rank, target] += 1
            reached.add(target)
        for target in reached:
            to_rank[rank, target] += 1
        for place in {int(node[target]) for target in reached}:
            to_node[rank, place] += 1
    return out, to_rank, to_node


@pytest.mark.parametrize("seed", range(40))
def test_traffic_agrees_with_sets_of_tokens(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(rng)
    view = case.view
    counts = expert_counts(case.choices, case.tokens, view.experts)
    extra = rng.integers(0, view.experts, 5)
    expert = np.concatenate([np.arange(view.experts), extra]).astype(np.int64)
    rank = np.concatenate([view.native, rng.integers(0, view.ranks, 5)]).astype(np.int64)
    copies = deal_evenly(counts, expert)
    assert np.array_equal(copies.sum(axis=1), counts.sum(axis=1))
    assert np.ptp(copies.sum(axis=0)[expert == expert[-1]]) <= 1
    sent = traffic(case.choices, case.tokens, ExpertPlan(expert, rank, copies), view.node)
    for ours, literal in zip(sent, literal_traffic(case, list(zip(expert, rank, strict=True)), copies), strict=True):
        assert np.array_equal(ours, literal)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.data())
def test_ranges_cut_the_numbered_copies(counts: list[int], data: st.DataObject) -> None:
    """Copies numbered rank by rank: slot by slot, each rank's share is how many of its numbers fall into the range."""
    total = sum(counts)
    cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=4)))
    parts = np.diff([0, *cuts, total])
    dealt = deal_ranges(np.array(counts)[:, None], np.zeros(len(parts), dtype=np.int64), parts)
    owner = np.repeat(np.arange(len(counts)), counts)
    slot = np.repeat(np.arange(len(parts)), parts)
    expected = np.zeros_like(dealt)
    np.add.at(expected, (owner, slot), 1)
    assert np.array_equal(dealt, expected)
