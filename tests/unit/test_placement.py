"""Placement solvers against published placements, hand-made cases and exhaustive search."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from models.architectures import architecture
from models.routing.formulas import hot_from_text
from solvers.eplb import balanced_packing, rebalance, replicate
from solvers.expert_check import check
from solvers.expert_plan import (
    ExpertPlan,
    deal_evenly,
    deal_nearest,
    deal_ranges,
    expert_counts,
    native_plan,
    native_ranks,
    traffic,
)
from solvers.least_loaded import cap_of, least_loaded
from solvers.lpt import greedy_lpt, relabel
from solvers.placement_gap import gap, whole_optimum

# the published example of EPLB: 12 experts, 16 replicas, 4 groups, 2 nodes, 8 GPUs
EPLB_LOADS = [
    [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
    [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
]
EPLB_SLOTS = [
    [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
    [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
]
EPLB_BALANCE = [1.208, 1.242]  # max/mean of the GPUs

# skew: max/mean of plain expert parallelism, weight transfers, most sends of a GPU; gpt-oss-120b, deepseek-v3, kimi-k2
LLEP = {
    "30:16": ((2.400, 9, 9), (2.775, 12, 12), (2.884, 13, 13)),
    "30:4": ((2.942, 10, 10), (3.019, 10, 10), (3.066, 10, 10)),
    "30:1": ((3.060, 7, 7), (3.081, 7, 7), (3.088, 7, 7)),
    "50:16": ((4.000, 9, 9), (4.266, 13, 13), (4.344, 13, 13)),
    "50:4": ((4.387, 10, 10), (4.441, 9, 9), (4.473, 10, 10)),
    "50:1": ((4.473, 7, 7), (4.484, 7, 7), (4.482, 7, 7)),
    "80:16": ((6.400, 10, 10), (6.509, 13, 13), (6.541, 13, 13)),
    "80:4": ((6.555, 10, 10), (6.578, 10, 10), (6.593, 10, 10)),
    "80:1": ((6.588, 7, 7), (6.597, 7, 7), (6.583, 7, 7)),
    "95:16": ((7.600, 10, 10), (7.631, 18, 10), (7.631, 22, 10)),
    "95:4": ((7.639, 10, 10), (7.644, 14, 9), (7.664, 20, 12)),
    "95:1": ((7.645, 7, 7), (7.654, 7, 7), (7.646, 7, 7)),
}
MODELS = {"gpt-oss-120b": 32768, "deepseek-v3": 16384, "kimi-k2": 16384}  # tokens a GPU


@pytest.mark.parametrize("layer", [0, 1])
def test_eplb_published_placement(layer: int) -> None:
    load = np.array(EPLB_LOADS[layer], dtype=np.float64)
    slots = rebalance(load, 16, 4, 2, 8)
    assert slots.tolist() == EPLB_SLOTS[layer]
    gpus = (load / np.bincount(slots))[slots].reshape(8, 2).sum(axis=1)
    assert gpus.max() / gpus.mean() == pytest.approx(EPLB_BALANCE[layer], abs=5e-4)


def test_eplb_goes_global_where_nodes_do_not_divide_the_groups() -> None:
    load = np.array(EPLB_LOADS[0], dtype=np.float64)
    assert np.array_equal(rebalance(load, 16, 3, 2, 8), rebalance(load, 16, 1, 1, 8))
    assert not np.array_equal(rebalance(load, 16, 4, 2, 8), rebalance(load, 16, 1, 1, 8))


def test_eplb_refuses_what_does_not_divide() -> None:
    load = np.ones(12)
    for numbers in ((11, 4, 2, 8), (18, 4, 2, 8), (16, 5, 1, 8), (16, 4, 4, 6)):
        with pytest.raises(ValueError, match=r"slots|experts|GPUs"):
            rebalance(load, *numbers)


def test_packing_and_replicas_by_hand() -> None:
    pack, place = balanced_packing(np.array([5.0, 9.0, 1.0, 7.0]), 2)
    assert pack.tolist() == [1, 0, 0, 1]
    assert place.tolist() == [1, 0, 1, 0]
    assert replicate(np.array([6.0, 5.0, 1.0]), 6).tolist() == [0, 1, 2, 0, 1, 0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("skew", LLEP)
def test_least_loaded_published_plans(model: str, skew: str) -> None:
    """The statistics of the plan for every skew of the paper's figure 4, and a load that is even."""
    shape = architecture(model)
    tokens = np.full(8, MODELS[model])
    choices = hot_from_text(skew, shape.experts, shape.top_k, 8).choices(tokens, 0, 0, np.random.default_rng(0))
    counts = expert_counts(choices, tokens, shape.experts)
    native = native_ranks(shape.experts, 8)
    imbalance, transfers, sends = LLEP[skew][list(MODELS).index(model)]
    assert native_plan(counts, native).max_over_mean == pytest.approx(imbalance, abs=5e-4)
    cap = cap_of(int(counts.sum()), 8, 1.0)
    parts = least_loaded(counts.sum(axis=0), native, 8, cap, 1024, paper=False)
    moved = parts.rank != native[parts.expert]
    assert moved.sum() == transfers
    assert np.bincount(native[parts.expert[moved]]).max() == sends
    load = np.bincount(parts.rank, weights=parts.copies)
    assert load.max() / load.mean() == pytest.approx(1, abs=5e-4)


def test_least_loaded_by_hand() -> None:
    """Two ranks of two experts, cap 10: rank 0 keeps 10 of its 15 copies. Expert 1 waits for expert 0: case by case."""
    native = np.array([0, 0, 1, 1])
    # expert 0 has 9, expert 1 has 6: the first finds 10 - 6 = 4 free, so 5 move; the second then fits
    parts = least_loaded(np.array([9, 6, 3, 2]), native, 2, 10, 0, paper=False)
    assert list(zip(*parts[:3], strict=True)) == [(0, 0, 4), (0, 1, 5), (1, 0, 6), (2, 1, 3), (3, 1, 2)]
    assert parts.forced == 0
    # expert 0 has 4, expert 1 has 3, but expert 2 fills its rank; the two that have no room at home move whole
    parts = least_loaded(np.array([4, 3, 12, 0]), np.array([0, 0, 0, 1]), 2, 10, 0, paper=False)
    assert list(zip(*parts[:3], strict=True)) == [(2, 0, 3), (2, 1, 9), (0, 0, 4), (1, 0, 3)]


def test_small_parts_are_forced_whole_or_kept() -> None:
    """The helper has room for 3 of 5 copies: below the least part of 4, so all 5 go there; on paper all stay."""
    native = np.array([0, 1])
    code = least_loaded(np.array([15, 7]), native, 2, 10, 4, paper=False)
    assert list(zip(*code[:3], strict=True)) == [(0, 0, 10), (0, 1, 5), (1, 1, 5), (1, 0, 2)]
    assert code.forced == 2 + 2  # two past the cap of rank 1, and the two of expert 1 that find rank 0 full
    paper = least_loaded(np.array([13, 7]), native, 2, 10, 4, paper=True)
    assert list(zip(*paper[:3], strict=True)) == [(0, 0, 13), (1, 1, 7)]
    assert paper.forced == 3


def test_one_rank_keeps_everything() -> None:
    parts = least_loaded(np.array([5, 3]), np.zeros(2, dtype=np.int64), 1, 4, 0, paper=False)
    assert parts.copies.tolist() == [5, 3]
    assert parts.forced == 4 + 3  # one of the first five has room beside the three to come; then it is full


def test_cap() -> None:
    assert cap_of(7, 8, 1.0) == 1
    assert cap_of(80, 8, 1.25) == 12
    assert cap_of(83, 8, 1.0) == 10


def test_lpt_by_hand_and_within_its_bound() -> None:
    rank = greedy_lpt(np.array([7, 7, 6, 6, 5, 5, 4, 4, 4]), 3)
    assert np.bincount(rank, weights=[7, 7, 6, 6, 5, 5, 4, 4, 4]).max() <= 16 * (4 / 3 - 1 / 9)
    rng = np.random.default_rng(5)
    for _ in range(40):
        load, ranks = rng.integers(1, 50, 7), int(rng.integers(2, 4))
        best = min(np.bincount(way, weights=load, minlength=ranks).max() for way in product(range(ranks), repeat=7))
        own = np.bincount(greedy_lpt(load, ranks), weights=load).max()
        assert best <= own <= best * (4 / 3 - 1 / (3 * ranks)) + 1e-9


def test_lpt_with_a_limit() -> None:
    rank = greedy_lpt(np.array([100, 1, 1, 1, 1, 1]), 2, most=3)
    assert np.bincount(rank).tolist() == [3, 3]
    with pytest.raises(ValueError, match="6 experts do not fit on 2 ranks of 2"):
        greedy_lpt(np.ones(6, dtype=np.int64), 2, most=2)


def test_renamed_ranks_keep_the_parts_together_and_move_less() -> None:
    present = np.array([0, 0, 1, 1, 2, 2])
    wanted = np.array([2, 2, 0, 0, 1, 0])
    renamed = relabel(wanted, present, 3)
    assert (renamed != present).sum() == 1
    assert len(set(zip(wanted.tolist(), renamed.tolist(), strict=True))) == 3


def test_whole_optimum_against_exhaustive_search() -> None:
    rng = np.random.default_rng(8)
    for _ in range(25):
        load, ranks = rng.integers(0, 40, 7), int(rng.integers(2, 4))
        best = min(np.bincount(way, weights=load, minlength=ranks).max() for way in product(range(ranks), repeat=7))
        found = whole_optimum(load, ranks)
        assert (found.status, found.bound, found.load) == ("optimal", best, best)
    assert whole_optimum(np.zeros(3, dtype=np.int64), 2).load == 0


def test_gap_of_a_plan() -> None:
    """Loads 9, 5, 4 on two ranks: whole 9 against 9 is best, and 9 is what splitting allows too."""
    counts = np.array([[9, 5, 4, 0], [0, 0, 0, 0]])
    found = gap(native_plan(counts, np.array([0, 0, 1, 1])))
    assert (found.load, found.splittable, found.lpt) == (14, 9, 9)
    assert found.whole is not None
    assert found.whole.load == 9
    assert found.over_splittable == pytest.approx(5 / 9)
    assert found.over_whole == pytest.approx(5 / 9)
    assert gap(native_plan(counts, np.array([0, 0, 1, 1])), branches=None).whole is None


def test_ranges_are_dealt_in_rank_major_order() -> None:
    """Expert 0 has 4 + 6 copies; its first 7 are one slot's, its last 3 the other's."""
    counts = np.array([[4, 1], [6, 2]])
    dealt = deal_ranges(counts, np.array([0, 0, 1]), np.array([7, 3, 3]))
    assert dealt.tolist() == [[4, 0, 1], [3, 3, 2]]


def test_even_shares_differ_by_one() -> None:
    counts = np.array([[5, 1], [6, 2], [0, 4]])
    dealt = deal_evenly(counts, np.array([0, 1, 0, 0]))
    assert dealt.sum(axis=0).tolist() == [4, 7, 4, 3]
    assert dealt[:, [0, 2, 3]].sum(axis=1).tolist() == [5, 6, 0]
    assert dealt[0].tolist() == [2, 1, 2, 1]
    with pytest.raises(ValueError, match="has no slot"):
        deal_evenly(counts, np.array([0, 0]))


def test_nearest_slots_take_the_copies() -> None:
    """Expert 0 has slots on ranks 0, 1 and 3; ranks 2 and 3 are a node, rank 4 one of its own."""
    counts = np.array([[5], [6], [3], [4], [7]])
    dealt = deal_nearest(counts, np.zeros(3, dtype=np.int64), np.array([0, 1, 3]), np.array([0, 0, 1, 1, 2]))
    assert dealt.tolist() == [[5, 0, 0], [0, 6, 0], [0, 0, 3], [0, 0, 4], [3, 2, 2]]
    with pytest.raises(ValueError, match="has no slot"):
        deal_nearest(counts, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(5, dtype=np.int64))


def test_traffic_by_hand() -> None:
    """Two nodes of two ranks, an expert a rank; a token with two experts on one node crosses to it once."""
    choices = np.array([[0, 1], [2, 3], [3, 0], [1, 2]], dtype=np.int32)
    tokens = np.array([2, 1, 1, 0])
    plan = native_plan(expert_counts(choices, tokens, 4), np.arange(4))
    sent = traffic(choices, tokens, plan, np.array([0, 0, 1, 1]))
    assert sent.copies.tolist() == [[1, 1, 1, 1], [1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert sent.to_rank.tolist() == sent.copies.tolist()
    assert sent.to_node.tolist() == [[1, 1], [1, 1], [1, 1], [0, 0]]


def test_traffic_counts_a_token_with_two_experts_on_one_rank_once() -> None:
    choices = np.array([[0, 1], [1, 0]], dtype=np.int32)
    plan = native_plan(expert_counts(choices, np.array([1, 1]), 2), np.array([1, 1]))
    sent = traffic(choices, np.array([1, 1]), plan, np.array([0, 0]))
    assert sent.copies.tolist() == [[0, 2], [0, 2]]
    assert sent.to_rank.tolist() == [[0, 1], [0, 1]]


def test_traffic_of_one_slot_an_expert_is_that_of_the_general_way() -> None:
    """An idle second slot of one expert takes the way through slots that fill up; nothing else differs."""
    rng = np.random.default_rng(5)
    tokens = np.array([40, 0, 70, 20])
    choices = np.argsort(rng.random((130, 12)) * np.arange(1, 13), axis=1)[:, :3].astype(np.int32)
    choices[::7, 1] = -1  # dropped
    slots, ranks, node = np.arange(12), np.repeat(np.arange(4), 3), np.array([0, 0, 1, 1])
    copies = np.zeros((4, 12), dtype=np.int64)
    for rank, rows in enumerate(np.split(choices, tokens.cumsum()[:-1])):
        np.add.at(copies[rank], rows[rows >= 0], 1)
    one = ExpertPlan(slots, ranks, copies)
    more = ExpertPlan(np.append(slots, 11), np.append(ranks, 0), np.pad(copies, ((0, 0), (0, 1))))
    for quick, general in zip(traffic(choices, tokens, one, node), traffic(choices, tokens, more, node), strict=True):
        assert quick.tolist() == general.tolist()


def test_traffic_refuses_another_plan() -> None:
    choices = np.array([[0], [0]], dtype=np.int32)
    tokens = np.array([2])
    few = ExpertPlan(np.array([0]), np.array([0]), np.array([[1]]))
    many = ExpertPlan(np.array([0]), np.array([0]), np.array([[3]]))
    with pytest.raises(ValueError, match="does not serve the choices of token 1"):
        traffic(choices, tokens, few, np.array([0]))
    with pytest.raises(ValueError, match="more copies than the tokens have"):
        traffic(choices, tokens, many, np.array([0]))


def test_counts_refuse_unknown_experts_and_other_tokens() -> None:
    with pytest.raises(ValueError, match=r"token 1 chooses an expert outside 0\.\.2: \[3\]"):
        expert_counts(np.array([[0], [3]], dtype=np.int32), np.array([2]), 3)
    with pytest.raises(ValueError, match="there are 2 tokens"):
        expert_counts(np.array([[0], [1]], dtype=np.int32), np.array([3]), 3)
    with pytest.raises(ValueError, match="can't be split evenly over 3 ranks"):
        native_ranks(8, 3)


def sound() -> dict[str, np.ndarray]:
    """A plan of two ranks with an expert each, one copy of expert 0 served on rank 1 after a transfer."""
    return {
        "slot_expert": np.array([0, 0, 1]),
        "slot_rank": np.array([0, 1, 1]),
        "copies": np.array([[2, 0, 1], [0, 1, 2]]),
        "transfers": np.array([[0, 0, 1]]),
    }


ASKED = np.array([[2, 1], [1, 2]])


def faults_of(**changed: object) -> list[str]:
    fields: dict[str, object] = {**sound(), **changed}
    plan = ExpertPlan(**fields)  # type: ignore[arg-type]
    return check(plan, np.array([3, 3]), 1, np.array([0, 1]), counts=ASKED, bound=5)


WRONG = {
    "a copy too few": ({"copies": np.array([[1, 0, 1], [0, 1, 2]])}, "5 copies served, but 6 asked"),
    "on another expert": ({"copies": np.array([[1, 0, 2], [0, 1, 2]])}, "rank 0 has 2 copies for expert 0; 1"),
    "negative": ({"copies": np.array([[3, -1, 1], [0, 1, 2]])}, "negative copies"),
    "no weights": ({"transfers": np.empty((0, 3), dtype=np.int64)}, "rank 1 computes 1 copies of expert 0, whose"),
    "sent by another": ({"transfers": np.array([[0, 1, 1]])}, "rank 1 sends expert 0, which it does not hold"),
    "sent twice": ({"transfers": np.array([[0, 0, 1], [0, 0, 1]])}, "expert 0 is sent to rank 1, which has it"),
    "no such rank": ({"slot_rank": np.array([0, 2, 1])}, "an expert or rank is outside 0..1, 0..1"),
    "shape": ({"copies": np.array([[2, 0], [0, 1]])}, "copies have shape (2, 2), not 2 ranks x 3 slots"),
    "type": ({"copies": np.array([[2.0, 0, 1], [0, 1, 2]])}, "copies has type float64, not int64"),
    "unsaid drop": ({"dropped": 1}, "6 copies served, but 6 asked, 1 dropped"),
    "lost weight": ({"resident": np.array([[1, 1]])}, "expert 0 stays nowhere"),
    "kept without": (
        {"resident": np.array([[0, 0], [1, 1], [1, 0]])},
        "expert 1 is to stay on rank 0, where it is not",
    ),
    "above the bound": (
        {"slot_rank": np.array([0, 0, 0]), "transfers": np.array([[1, 1, 0]])},
        "rank 0 has 6 copies; the bound is 5",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_validator_names_the_fault(name: str) -> None:
    changed, expected = WRONG[name]
    assert any(text.startswith(expected) for text in faults_of(**changed)), faults_of(**changed)


def test_validator_passes_sound_plans_and_said_exceptions() -> None:
    assert faults_of() == []
    above = {"slot_rank": np.array([0, 0, 0]), "transfers": np.array([[1, 1, 0]])}
    assert faults_of(**above, forced=1) == []
    assert faults_of(**above, closed=True) == []


def test_validator_of_choices() -> None:
    tokens, native = np.array([2, 0]), np.array([0, 1])
    asked = np.array([[0], [0]], dtype=np.int32)

    def found(choices: list[list[int]], **told: int) -> list[str]:
        table = np.array(choices, dtype=np.int32)
        plan = native_plan(expert_counts(table, tokens, 2), native, choices=table, **told)
        return check(plan, tokens, 1, native, choices=asked)

    assert found([[0], [0]]) == []
    assert found([[0], [1]], rerouted=1) == []
    assert found([[0], [-1]], dropped=1) == []
    assert found([[0, 1], [0, -1]], added=1) == []
    assert found([[0], [1]]) == ["1 copies at experts that were not chosen; rerouted 0, added 0"]
    assert "asked, 0 dropped" in found([[0], [-1]])[0]
    assert any("has an expert twice" in text for text in found([[0, 0], [0, -1]], added=1))


# ---- gates
