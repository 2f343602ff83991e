"""An independent validator of expert plans: it knows what a plan must keep to, and nothing of how it was made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solvers.expert_plan import Array, Choices, ExpertPlan, expert_counts

Pair = tuple[int, int]


def check(
    plan: ExpertPlan,
    tokens_per_rank: Array,
    top_k: int,
    native: Array,
    *,
    choices: Choices | None = None,
    counts: Array | None = None,
    before: Array | None = None,
    bound: int | None = None,
) -> list[str]:
    """What is wrong with a plan; empty if it can be carried out and serves every copy once or says what it dropped.

    ``tokens_per_rank`` [P] with ``top_k`` copies each; ``native`` [N] is each expert's own rank. ``choices`` [T, K] or
    ``counts`` [P, N] of them: what was asked, where it is known. ``before`` [m, 2] is the ``resident`` of the plan
    before for this layer (None: native). ``bound``: copies that no rank may have more of, unless the plan says that it
    forced some or stood aside.
    """
    faults = list(_shape_faults(plan, len(tokens_per_rank), len(native)))
    if faults:
        return faults
    faults += _copy_faults(plan, tokens_per_rank, top_k, len(native), choices, counts)
    faults += _weight_faults(plan, native, before)
    if bound is not None and not plan.forced and not plan.closed and plan.load.max(initial=0) > bound:
        faults.append(f"rank {plan.load.argmax()} has {plan.load.max()} copies; the bound is {bound}")
    return faults


def _shape_faults(plan: ExpertPlan, ranks: int, experts: int) -> Iterator[str]:
    slots = len(plan.slot_expert)
    arrays = {"slot_expert": plan.slot_expert, "slot_rank": plan.slot_rank, "copies": plan.copies}
    for name, array in (arrays | {"transfers": plan.transfers}).items():
        if array.dtype != np.int64:
            yield f"{name} has type {array.dtype}, not int64"
    if plan.slot_expert.shape != (slots,) or plan.slot_rank.shape != (slots,) or plan.copies.shape != (ranks, slots):
        yield f"copies have shape {plan.copies.shape}, not {ranks} ranks x {slots} slots"
        return
    if plan.transfers.ndim != 2 or plan.transfers.shape[1] != 3:
        yield f"transfers have shape {plan.transfers.shape}, not n x 3"
        return
    pairs = [np.stack([plan.slot_expert, plan.slot_rank], axis=1), plan.transfers[:, [0, 1]], plan.transfers[:, [0, 2]]]
    if plan.resident is not None:
        if plan.resident.ndim != 2 or plan.resident.shape[1] != 2:
            yield f"resident has shape {plan.resident.shape}, not m x 2"
            return
        pairs.append(plan.resident)
    for pair in pairs:
        if len(pair) and (pair.min() < 0 or pair[:, 0].max() >= experts or pair[:, 1].max() >= ranks):
            yield f"an expert or rank is outside 0..{experts - 1}, 0..{ranks - 1}"
    if slots and plan.copies.min() < 0:
        yield "negative copies"
    if min(plan.dropped, plan.rerouted, plan.added, plan.forced) < 0:
        yield "a count (dropped, rerouted, added, forced) is negative"


def _copy_faults(
    plan: ExpertPlan, tokens: Array, top_k: int, experts: int, choices: Choices | None, counts: Array | None
) -> Iterator[str]:
    """Every copy served once, or counted as dropped."""
    asked = int(tokens.sum()) * top_k
    served = int(plan.copies.sum())
    if served != asked - plan.dropped + plan.added:
        yield f"{served} copies served, but {asked} asked, {plan.dropped} dropped and {plan.added} added"
    if choices is not None and counts is None:
        counts = expert_counts(choices, tokens, experts)
    due = counts
    if plan.choices is not None:
        if len(plan.choices) != int(tokens.sum()):
            yield f"{len(plan.choices)} tokens in the plan's choices, not {tokens.sum()}"
            return
        try:
            due = expert_counts(plan.choices, tokens, experts)
        except ValueError as error:
            yield str(error)
            return
        yield from _choice_faults(plan, top_k, choices)
    elif plan.dropped or plan.rerouted or plan.added:
        yield "copies were dropped, rerouted or added, but the plan has no choices"
    if due is None:
        return
    by_expert = np.zeros((len(tokens), experts), dtype=np.int64)
    for slot, expert in enumerate(plan.slot_expert.tolist()):
        by_expert[:, expert] += plan.copies[:, slot]
    for rank, expert in np.argwhere(by_expert != due)[:3].tolist():
        yield f"rank {rank} has {due[rank, expert]} copies for expert {expert}; {by_expert[rank, expert]} are planned"


def _choice_faults(plan: ExpertPlan, top_k: int, asked: Choices | None) -> Iterator[str]:
    """What the policy made of the tokens' choices, against its own counts."""
    assert plan.choices is not None
    width = plan.choices.shape[1]
    own = np.sort(plan.choices, axis=1)
    twice = np.flatnonzero(((own[:, 1:] == own[:, :-1]) & (own[:, 1:] >= 0)).any(axis=1))
    repeats = asked is not None and bool((np.diff(np.sort(asked, axis=1), axis=1) == 0).any())
    if len(twice) and not repeats:
        yield f"token {twice[0]} has an expert twice: {plan.choices[twice[0]].tolist()}"
    kept = int((plan.choices >= 0).sum())
    if kept != len(plan.choices) * top_k - plan.dropped + plan.added:
        yield f"the choices hold {kept} copies, which dropped {plan.dropped} and added {plan.added} don't explain"
    if plan.added == 0 and width != top_k:
        yield f"{width} choices a token, but top-{top_k} and nothing added"
    if asked is not None:
        found = (plan.choices[:, :, None] == asked[:, None, :]).any(axis=2) | (plan.choices < 0)
        other = int((~found).sum())
        if other != plan.rerouted + plan.added:
            yield f"{other} copies at experts that were not chosen; rerouted {plan.rerouted}, added {plan.added}"


def _weight_faults(plan: ExpertPlan, native: Array, before: Array | None) -> Iterator[str]:
    """Slots only where the expert's weights are, and weights sent only by those who have them."""
    kept: set[Pair]
    if before is None:
        kept = set(enumerate(native.tolist()))
    else:
        kept = {(expert, rank) for expert, rank in before.tolist()}
    here = set(kept)
    for expert, src, dst in plan.transfers.tolist():
        if (expert, src) not in kept:
            yield f"rank {src} sends expert {expert}, which it does not hold"
        if (expert, dst) in here:
            yield f"expert {expert} is sent to rank {dst}, which has it"
        here.add((expert, dst))
    load = plan.slot_load.tolist()
    for expert, rank, work in zip(plan.slot_expert.tolist(), plan.slot_rank.tolist(), load, strict=True):
        if work and (expert, rank) not in here:
            yield f"rank {rank} computes {work} copies of expert {expert}, whose weights it does not have"
    if plan.resident is not None:
        after = {(expert, rank) for expert, rank in plan.resident.tolist()}
        if len(after) != len(plan.resident):
            yield "resident names a weight twice"
        for expert, rank in sorted(after - here)[:1]:
            yield f"expert {expert} is to stay on rank {rank}, where it is not"
        for expert in sorted(set(range(len(native))) - {expert for expert, _ in after})[:1]:
            yield f"expert {expert} stays nowhere"
