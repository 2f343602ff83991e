"""Expert policies as stories: what each does with one batch, and from one batch to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.errors import InputError
from models.routing.formulas import Balanced, Hot
from models.routing.measured import Trace
from models.routing.popularity import LogNormal, Zipf
from models.routing.source import Source
from sim.dispatch.kit.__main__ import check as kit
from sim.dispatch.registry import Registry
from sim.dispatch.views import Batch, ExpertView
from solvers.expert_check import check
from solvers.expert_plan import ExpertPlan, native_ranks, traffic
from solvers.placement_gap import gap

REGISTRY = Registry()
TRACES = Path(__file__).parents[2] / "scenarios" / "traces"


def view(ranks: int = 4, experts: int = 16, top_k: int = 2, per_node: int = 2, groups: int = 1) -> ExpertView:
    node = np.arange(ranks, dtype=np.int64) // per_node
    return ExpertView(ranks, node, experts, top_k, groups, native_ranks(experts, ranks), np.random.default_rng(11))


def policy(name: str, sees: ExpertView, **params: Any) -> Any:
    found = REGISTRY.load("expert", name)
    return found.module.Policy(found.Params(**params), sees)


def batch_of(source: Source, sees: ExpertView, tokens: int, *, gate: bool, step: int = 0, layer: int = 0) -> Batch:
    each, rng = np.full(sees.ranks, tokens, dtype=np.int64), np.random.default_rng([5, step, layer])
    if gate:
        return Batch(step, layer, each, None, source.scores(each, step, layer, rng))
    return Batch(step, layer, each, source.choices(each, step, layer, rng))


def valid(plan: ExpertPlan, batch: Batch, sees: ExpertView, before: Any = None) -> ExpertPlan:
    faults = check(plan, batch.tokens_per_rank, sees.top_k, sees.native, choices=batch.choices, before=before)
    assert faults == []
    return plan


def max_vio(plan: ExpertPlan, experts: int) -> float:
    load = np.bincount(plan.slot_expert, weights=plan.slot_load, minlength=experts)
    return float(load.max() / load.mean() - 1)


def test_static_leaves_all_where_it_is() -> None:
    sees = view()
    batch = batch_of(Hot(16, 2, 0.5, 4), sees, 100, gate=False)
    plan = valid(policy("static", sees).plan(batch), batch, sees)
    assert len(plan.transfers) == 0
    assert plan.max_over_mean == pytest.approx(0.5 * 4)
    assert np.array_equal(plan.copies, batch.counts(16))


def test_least_loaded_evens_out_and_lists_the_weights() -> None:
    sees = view()
    batch = batch_of(Hot(16, 2, 0.5, 4), sees, 1000, gate=False)
    chosen = policy("least_loaded", sees, min_tokens=0)
    plan = valid(chosen.plan(batch), batch, sees)
    assert plan.max_over_mean == 1
    assert set(plan.transfers[:, 1].tolist()) == {0}
    assert plan.load.max() <= chosen.bound(batch)
    assert plan.resident is None  # foreign weights are dropped after use
    sent = traffic(batch.choices, batch.tokens_per_rank, plan, sees.node)  # type: ignore[arg-type]
    assert sent.copies.sum(axis=0).tolist() == plan.load.tolist()


def test_threshold_of_code_and_paper() -> None:
    """Ranks are even, experts are not: the code stands aside, the paper's algorithm as written does not."""
    sees = view(ranks=4, experts=16, top_k=1)
    choices = np.repeat(np.array([0, 4, 8, 12], dtype=np.int32), 100)[:, None]
    batch = Batch(0, 0, np.full(4, 100), choices)
    code = policy("least_loaded", sees).plan(batch)
    assert code.closed
    assert code.notes == ("balanced below the threshold",)
    paper = policy("least_loaded", sees, semantics="paper").plan(batch)
    assert not paper.closed
    assert policy("least_loaded", sees, threshold=0).plan(batch).closed is False


@pytest.mark.parametrize(("share", "threshold", "closed"), [
    (0.15, 1.7, False), (0.15, 2.0, True), (0.2, 2.0, False), (0.2, 2.3, True), (0.3, 2.6, False),
])  # fmt: skip
def test_threshold_flips_where_the_paper_shows_it(share: float, threshold: float, closed: bool) -> None:
    """The ablation of lambda, 8 GPUs and 128 experts, 4 of them hot: 1.86, 2.22 and 2.94 times the mean."""
    sees = view(ranks=8, experts=128, top_k=4, per_node=8)
    batch = batch_of(Hot(128, 4, share, 4), sees, 8192, gate=False)
    assert policy("least_loaded", sees, threshold=threshold).plan(batch).closed is closed


def test_planner_time_of_least_loaded() -> None:
    sees = view(ranks=8, experts=128, top_k=4, per_node=8)
    chosen = policy("least_loaded", sees, planner={"constant_us": 10, "expert_us": 1, "pair_us": 0.5, "part_us": 2})
    even = batch_of(Balanced(128, 4), sees, 1024, gate=False)
    chosen.plan(even)
    assert chosen.planner_us(even) == 10
    skewed = batch_of(Hot(128, 4, 0.3, 1), sees, 8192, gate=False)
    plan = chosen.plan(skewed)
    assert chosen.planner_us(skewed) == 10 + 128 + 8 * (64 + 2 * len(plan.transfers))


def test_least_loaded_refuses_unknown_semantics() -> None:
    with pytest.raises(ValidationError, match="semantics"):
        policy("least_loaded", view(), semantics="both")


def test_eplb_places_after_the_first_step_and_then_by_interval() -> None:
    sees = view(ranks=8, experts=32, top_k=2, per_node=4, groups=4)
    source = Zipf(32, 2, 3, 0.6)  # no expert has more than a GPU's share
    chosen = policy("eplb", sees, extra=2, interval=3)
    before, moved, balance = None, [], []
    for step in range(6):
        batch = batch_of(source, sees, 2000, gate=False, step=step)
        plan = valid(chosen.plan(batch), batch, sees, before)
        before = plan.resident
        moved.append(len(plan.transfers) > 0)
        balance.append(plan.max_over_mean)
        assert len(plan.slot_expert) == (32 if step == 0 else 48)
    assert moved[:4] == [False, True, False, False]
    assert max(balance[1:]) < 1.1 < balance[0]


def test_eplb_with_foresight_is_the_bound_of_prediction() -> None:
    sees = view(ranks=8, experts=32, top_k=2, per_node=4)
    source = LogNormal(32, 2, 3, 0.7, drift=0.7)
    found = {}
    for predict in ("history", "current"):
        chosen = policy("eplb", sees, extra=2, interval=1, start=0, predict=predict)
        before, balance = None, []
        for step in range(6):
            batch = batch_of(source, sees, 1000, gate=False, step=step)
            plan = valid(chosen.plan(batch), batch, sees, before)
            before = plan.resident
            balance.append(plan.max_over_mean)
        found[predict] = np.mean(balance[1:])
    assert found["current"] < 1.1 < found["history"]


def test_eplb_takes_the_nearest_replica() -> None:
    sees = view(ranks=4, experts=8, top_k=1, per_node=2)
    batch = batch_of(Hot(8, 1, 0.9, 1), sees, 400, gate=False)
    sent = {}
    for replica in ("even", "nearest"):
        plan = policy("eplb", sees, start=0, predict="current", replica=replica).plan(batch)
        valid(plan, batch, sees)
        sent[replica] = traffic(batch.choices, batch.tokens_per_rank, plan, sees.node)  # type: ignore[arg-type]
    across = {name: int(one.to_node[:2, 1].sum() + one.to_node[2:, 0].sum()) for name, one in sent.items()}
    assert across["nearest"] < 0.3 * across["even"]


def test_eplb_hierarchical_keeps_groups_on_a_node() -> None:
    sees = view(ranks=8, experts=32, top_k=2, per_node=4, groups=4)
    batch = batch_of(Zipf(32, 2, 3, 1.0), sees, 500, gate=False)
    plan = policy("eplb", sees, mode="hierarchical", start=0, predict="current").plan(batch)
    nodes = [set(sees.node[plan.slot_rank[plan.slot_expert // 8 == group]].tolist()) for group in range(4)]
    assert all(len(own) == 1 for own in nodes)
    with pytest.raises(InputError, match="hierarchical placement needs groups that the nodes divide"):
        policy("eplb", view(ranks=8, experts=32, per_node=4, groups=1), mode="hierarchical")


def test_greedy_lpt_moves_whole_experts_and_as_few_as_possible() -> None:
    sees = view(ranks=4, experts=16, top_k=2)
    chosen = policy("greedy_lpt", sees)
    first = batch_of(Zipf(16, 2, 3, 0.5), sees, 2000, gate=False)
    plan = valid(chosen.plan(first), first, sees)
    found = gap(plan)
    assert found.whole is not None
    assert found.load == found.lpt <= found.whole.load * (4 / 3)
    assert plan.max_over_mean < 1.12
    assert len(plan.slot_expert) == 16
    again = batch_of(Zipf(16, 2, 3, 0.5), sees, 2000, gate=False)  # the same counts: nothing to do
    assert len(valid(chosen.plan(again), again, sees, plan.resident).transfers) == 0
    calm = policy("greedy_lpt", sees, threshold=4.0).plan(first)
    assert calm.closed
    assert len(calm.transfers) == 0
    assert np.bincount(policy("greedy_lpt", sees, most=1).plan(first).slot_rank).tolist() == [4, 4, 4, 4]


def test_capacity_drops_the_last_ones() -> None:
    """4 tokens of one rank, one expert each, capacity 2: the third and fourth token of expert 0 are dropped."""
    sees = view(ranks=1, experts=2, top_k=1, per_node=1)
    batch = Batch(0, 0, np.array([4]), np.zeros((4, 1), dtype=np.int32))
    plan = valid(policy("capacity_drop", sees, factor=1.0).plan(batch), batch, sees)
    assert plan.choices is not None
    assert plan.choices.ravel().tolist() == [0, 0, -1, -1]
    assert plan.dropped == 2


def test_first_choices_come_before_second_ones() -> None:
    sees = view(ranks=1, experts=4, top_k=2, per_node=1)
    choices = np.array([[1, 0], [0, 2], [0, 3], [2, 0]], dtype=np.int32)
    plan = policy("capacity_drop", sees, factor=1.0).plan(Batch(0, 0, np.array([4]), choices))
    assert plan.choices.tolist() == [[1, -1], [0, 2], [0, 3], [2, -1]]


def test_rectification_at_home_and_by_filling() -> None:
    """Expert 0 is everyone's first choice; rank 1 holds experts 2 and 3."""
    sees = view(ranks=2, experts=4, top_k=1, per_node=2)
    row = [[0.6, 0.1, 0.2, 0.1]] * 2 + [[0.6, 0.2, 0.05, 0.15]] * 2
    scores = np.array(row * 2, dtype=np.float32)
    batch = Batch(0, 0, np.array([4, 4]), None, scores)

    def plan(rectify: str) -> ExpertPlan:
        return valid(policy("capacity_drop", sees, factor=2.0, rectify=rectify).plan(batch), batch, sees)

    home = plan("intra_gpu")
    assert home.choices.ravel().tolist() == [0, 0, 1, 1, 0, 0, 3, 3]  # type: ignore[union-attr]
    assert (home.dropped, home.rerouted, home.added) == (0, 4, 0)
    filled = plan("fill_in")
    assert filled.choices[:4].tolist() == [[0, 2], [0, 2], [-1, 1], [-1, 1]]  # type: ignore[index]
    assert (filled.dropped, filled.rerouted, filled.added) == (4, 0, 8)
    both = plan("both")
    assert (both.dropped, both.rerouted) == (0, 4)
    assert both.choices[2].tolist() == [1, -1]  # type: ignore[index]
    assert both.metrics["score_kept"] > home.metrics["score_kept"]


def balance_over(name: str, steps: int, **params: Any) -> list[float]:
    """MaxVio of 64 experts, top-6, log-normal popularity, by step."""
    sees = view(ranks=8, experts=64, top_k=6, per_node=4)
    source, chosen, found = LogNormal(64, 6, 3, 0.8), policy(name, sees, **params), []
    for step in range(steps):
        batch = batch_of(source, sees, 256, gate=True, step=step)
        plan = valid(chosen.plan(batch), batch, sees)
        assert plan.metrics["max_vio"] == pytest.approx(max_vio(plan, 64))
        assert 0 < plan.metrics["score_kept"] <= 1
        found.append(max_vio(plan, 64))
    return found


def test_loss_free_bias_balances_in_the_end() -> None:
    found = balance_over("loss_free_bias", 120, rate=0.01)
    assert found[0] > 3
    assert np.mean(found[100:]) < 0.4
    assert np.mean(balance_over("loss_free_bias", 5, rate=0.001)) > 3  # slow and steady
    assert np.mean(balance_over("loss_free_bias", 120, rate=0.05, update="error")[100:]) < 0.4


def test_bip_and_sinkhorn_balance_from_the_first_step() -> None:
    assert max(balance_over("bip", 4)) < 0.6
    assert max(balance_over("bip", 4, scope="rank")) < 0.6
    assert max(balance_over("sinkhorn", 4)) < 0.35
    plain = balance_over("sinkhorn", 4, probability=0.0)
    assert min(plain) > 3


def test_bip_starts_from_the_last_prices_of_the_layer() -> None:
    sees = view(ranks=2, experts=16, top_k=2, per_node=2)
    source, chosen = LogNormal(16, 2, 3, 1.0), policy("bip", sees, rounds=1)
    first = max_vio(chosen.plan(batch_of(source, sees, 1000, gate=True)), 16)
    for step in range(1, 8):
        last = max_vio(chosen.plan(batch_of(source, sees, 1000, gate=True, step=step)), 16)
    fresh = max_vio(chosen.plan(batch_of(source, sees, 1000, gate=True, layer=1)), 16)
    assert last < first
    assert last < fresh
    assert chosen.planner_us(batch_of(source, sees, 1, gate=True)) == 20


def test_locality_keeps_tokens_on_their_node() -> None:
    sees = view(ranks=8, experts=64, top_k=4, per_node=4)
    batch = batch_of(Zipf(64, 4, 3, 0.5), sees, 300, gate=True)
    local = []
    for strength in (0.0, 1.0, 20.0):
        plan = valid(policy("locality", sees, strength=strength).plan(batch), batch, sees)
        sent = traffic(plan.choices, batch.tokens_per_rank, plan, sees.node)  # type: ignore[arg-type]
        near = sent.copies[:4, :4].sum() + sent.copies[4:, 4:].sum()
        assert plan.metrics["local_share"] == pytest.approx(near / sent.copies.sum())
        local.append(plan.metrics["local_share"])
    assert local[0] == pytest.approx(0.5, abs=0.03)
    assert local[0] < local[1] < local[2]
    assert local[2] == 1


def test_bilevel_takes_the_best_place_of_the_best_node() -> None:
    """Node 1 has 0.55 of the score, places 0.36, 0.12, 0.19 and 0.33: expert 4, though expert 3 scores highest."""
    sees = view(ranks=4, experts=8, top_k=1, per_node=2)
    scores = np.array([[0.05, 0.02, 0.08, 0.30, 0.31, 0.10, 0.11, 0.03]], dtype=np.float32)
    plan = policy("bilevel", sees).plan(Batch(0, 0, np.array([1, 0, 0, 0]), None, scores))
    assert plan.choices.tolist() == [[4]]
    assert plan.metrics["mean_weight"] == pytest.approx(0.55 * 0.36)
    # one token: f is 1 for its node, so the losses are factor x number x its probability
    assert plan.metrics["loss_between_nodes"] == pytest.approx(0.01 * 2 * 0.55)
    assert plan.metrics["loss_within_nodes"] == pytest.approx(0.01 * 4 * 0.36)
    assert plan.metrics["loss"] == pytest.approx(0.01 * (1.1 + 1.44))


def test_bilevel_losses_are_one_in_balance() -> None:
    sees = view(ranks=4, experts=4, top_k=1, per_node=2)
    batch = batch_of(Balanced(4, 1), sees, 4000, gate=True)
    plan = valid(policy("bilevel", sees, alpha=1.0, beta=1.0).plan(batch), batch, sees)
    assert plan.metrics["loss_between_nodes"] == pytest.approx(1, abs=0.01)
    assert plan.metrics["loss_within_nodes"] == pytest.approx(1, abs=0.01)


def test_bilevel_refuses_other_models() -> None:
    with pytest.raises(InputError, match="sends a token to one expert, but the model's top-k is 2"):
        policy("bilevel", view(top_k=2))
    with pytest.raises(InputError, match="as many experts on every node; there are 4 to 8"):
        policy("bilevel", view(ranks=3, experts=12, top_k=1, per_node=2))


def test_a_gate_without_scores_says_so() -> None:
    sees = view()
    with pytest.raises(ValueError, match="needs a batch with scores"):
        policy("bip", sees).plan(batch_of(Balanced(16, 2), sees, 4, gate=False))
    with pytest.raises(ValueError, match="no choices yet"):
        policy("static", sees).plan(batch_of(Balanced(16, 2), sees, 4, gate=True))


def test_measured_routing_under_every_policy() -> None:
    """DeepSeek-V2-Lite on the law task, layer 24 of the model, 8 ranks: what the dispatchers are for."""
    sees = view(ranks=8, experts=64, top_k=6, per_node=8)
    source = Trace.read(TRACES / "deepseek_v2_lite_law.csv.gz", 64, 6, layers=[24])
    found = {}
    for name in ("static", "least_loaded", "eplb", "loss_free_bias", "bip", "sinkhorn", "greedy_lpt"):
        params = {"least_loaded": {"min_tokens": 16}, "eplb": {"extra": 2}, "loss_free_bias": {"rate": 0.01}}
        chosen = policy(name, sees, **params.get(name, {}))
        before = None
        for step in range(4):
            batch = batch_of(source, sees, 256, gate=chosen.gate, step=step)
            plan = valid(chosen.plan(batch), batch, sees, before)
            before = plan.resident
        found[name] = plan.max_over_mean
    assert found["static"] > 1.4
    assert found["least_loaded"] < 1.01
    assert found["bip"] < 1.1
    assert found["sinkhorn"] < 0.9 * found["static"]
    assert found["eplb"] < 0.85 * found["static"]
    assert found["greedy_lpt"] < found["static"]


OWN = '''"""Plain expert parallelism. Source: own."""

import random

from sim.dispatch.api import ExpertPlan, Field, PolicyParams, native_plan

LEVEL = "expert"


class Params(PolicyParams):
    pass


class Policy:
    gate = False

    def __init__(self, params, view):
        self.view = view

    def plan(self, batch):
        counts = batch.counts(self.view.experts)
        return native_plan(counts, self.view.native)

    def planner_us(self, batch):
        return 1.5
'''

PLAN = "        return native_plan(counts, self.view.native)"
OWN_FAULTS = {
    # what is replaced, by what, and the check that must notice
    "none": ("", "", ""),
    "no_plan": (PLAN, "        return counts", "answers: an ExpertPlan"),
    "raises": (PLAN, "        return 1 // 0", "answers: an ExpertPlan"),
    "loses_copies": (PLAN, "        return native_plan(counts // 2, self.view.native)", "plans: every copy once"),
    "no_weights": (PLAN, "        return native_plan(counts, 0 * self.view.native)", "plans: every copy once"),
    "over_its_bound": ("    gate =", "    def bound(self, batch):\n        return 0\n\n    gate =", "plans: within"),
    "negative_time": ("1.5", "-1", "planner_us"),
    "changes_the_batch": (PLAN, "        batch.tokens_per_rank[:] += 1\n" + PLAN, "view and batches"),
    "changes_by_chance": (
        PLAN,
        PLAN + " if random.random() < 0.5 else native_plan(counts, self.view.native[::-1])",
        "",
    ),
    "global_random": (PLAN, "        random.random()\n" + PLAN, "no draw"),
    "no_gate": ("    gate = False", "", "Policy(params, view)"),
    "gate_without_choices": ("False", "True", "answers: an ExpertPlan"),
}


@pytest.mark.parametrize("name", OWN_FAULTS)
def test_the_kit_finds_faults_of_own_policies(name: str, tmp_path: Path) -> None:
    old, new, expected = OWN_FAULTS[name]
    file = tmp_path / f"{name}.py"
    file.write_text(OWN.replace(old, new) if old else OWN)
    report = kit(Registry().add_plugin(file))
    assert report.passed is (name == "none")
    assert any(fault.startswith(expected) for fault in report.faults()) or name == "none"
