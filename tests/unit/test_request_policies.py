"""Routers of requests: who gets the request by each policy's definition, and what the kit finds in a faulty one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from sim.dispatch.api import DECODE, PREFILL, Incoming
from sim.dispatch.kit.__main__ import check
from sim.dispatch.kit.fleet import Fleet
from sim.dispatch.registry import Registry
from sim.dispatch.request._prefix_tree import PrefixTree
from sim.dispatch.request.kv_cost import costs, softly
from sim.dispatch.router import Router

ROOT = Path(__file__).parents[2]
GOOD = (ROOT / "docs" / "plugins" / "free_blocks.py").read_text(encoding="utf-8")
END = "return view.pick(-free, room, rng) if len(room) else HOLD"
SHAPE, HELD, LEFT, SAME, FAIR = "answers: a replica", "held requests", "request and view", "same seed", "no equal"
FAULTS = {
    "not_offered": (END, "return 1", SHAPE),
    "no_number": (END, "return None", SHAPE),
    "raises": (END, "return view.nothing", SHAPE),
    "no_choose": ("def choose", "def chooses", "Policy(params, view)"),
    "sent_is_no_function": ("self.view = view ", "self.view, self.sent = view, 1 ", "Policy(params"),
    "holds_for_ever": (END, "return HOLD", HELD),
    "holds_the_last": (END, "return HOLD if request.id % 20 == 19 else view.pick(-free, room, rng)", HELD),
    "writes_the_view": (END, "view.kv_blocks[replicas[0]] += 1\n        " + END, LEFT),
    "writes_the_request": (END, "request.hashes[:1] = 0\n        " + END, LEFT),
    "own_randomness": (END, "return int(np.random.default_rng().choice(replicas))", SAME),
    "global_randomness": (END, "return int(np.random.choice(replicas))", "no draw from global"),
    "always_the_last": (END, "return int(replicas[-1])", FAIR),
    "ties_to_the_first": (END, "return int(replicas[np.argmin(view.requests[replicas] > 50)])", FAIR),
}  # fmt: skip


def loaded(folder: Path, text: str):
    file = folder / "own.py"
    file.write_text(text.replace("from sim.dispatch.api", "import numpy as np\nfrom sim.dispatch.api"))
    return Registry().add_plugin(file)


@pytest.mark.parametrize("case", FAULTS)
def test_the_kit_finds_each_fault(case: str, tmp_path: Path) -> None:
    old, new, what = FAULTS[case]
    assert old in GOOD
    found = check(loaded(tmp_path, GOOD.replace(old, new))).faults()
    assert any(name.startswith(what) for name in found), found


def test_parameters_of_a_router_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"derived from sim\.dispatch\.api\.RouterParams"):
        loaded(tmp_path, GOOD.replace("RouterParams", "PolicyParams"))


class Place:
    """A policy in front of a few replicas whose loads the test sets."""

    def __init__(self, replicas: int, name: str, **params: object) -> None:
        self.fleet = Fleet((0,) * replicas)
        policy = Registry().load("request", name)
        made = policy.Params.model_validate({"ties": "first", **params})
        self.router = Router(policy.module.Policy, made, self.fleet.view(made), np.random.default_rng(1))
        self.everyone = np.arange(replicas)
        self.count = 0

    def ask(self, among: list[int] | None = None, **fields: object) -> int:
        hashes = np.array(fields.pop("hashes", []), dtype=np.int64)
        request = Incoming(self.count, 0, hashes=hashes, **{"prompt": 160, **fields})
        self.fleet.requests[self.count] = request
        self.count += 1
        return self.router.route(request, self.everyone if among is None else np.array(among))

    def loads(self, **columns: list[int]) -> None:
        for name, values in columns.items():
            self.fleet.loads[name] = values


def test_round_robin_goes_on_where_a_replica_is_away() -> None:
    place = Place(3, "round_robin")
    assert [place.ask() for _ in range(4)] == [0, 1, 2, 0]
    assert [place.ask(among=[0, 2]) for _ in range(3)] == [0, 2, 0]
    assert [place.ask(stage=PREFILL), place.ask(stage=DECODE), place.ask(stage=PREFILL)] == [0, 0, 1]


def test_random_is_even() -> None:
    place = Place(4, "random")
    count = Counter(place.ask() for _ in range(4000))
    assert all(abs(count[replica] - 1000) < 3 * 28 for replica in range(4))


def test_least_requests_and_least_tokens() -> None:
    loads = {
        "waiting": [0, 1, 2],
        "running": [4, 2, 0],
        "outstanding_tokens": [90, 80, 85],
        "waiting_tokens": [10, 70, 5],
    }
    for name, chosen, prefill in (("least_requests", 2, 2), ("least_tokens", 1, 2)):
        place = Place(3, name)
        place.loads(**loads)
        assert (place.ask(), place.ask(stage=PREFILL), place.ask(among=[0])) == (chosen, prefill, 0)


def test_power_of_two_draws_pairs_evenly_and_takes_the_shorter_queue() -> None:
    """Of four with rising loads the first gets the 3 of 6 pairs that it is in, then 2, 1, and the last one none."""
    place = Place(4, "power_of_two")
    place.loads(running=[0, 1, 2, 3])
    count = Counter(place.ask() for _ in range(6000))
    assert [count[replica] for replica in range(4)] == pytest.approx([3000, 2000, 1000, 0], abs=110)
    again = Place(4, "power_of_two", distinct=False)  # with replacement: (7, 5, 3, 1) of 16
    again.loads(running=[0, 1, 2, 3])
    count = Counter(again.ask() for _ in range(8000))
    assert [count[replica] for replica in range(4)] == pytest.approx([3500, 2500, 1500, 500], abs=130)
    every = Place(4, "power_of_two", choices=9)
    every.loads(running=[3, 2, 0, 1])
    assert {every.ask() for _ in range(20)} == {2}


def test_sessions_stay_and_only_those_of_a_lost_replica_move() -> None:
    place = Place(8, "session_affinity")
    before = [place.ask(session=session) for session in range(800)]
    assert before == [place.ask(session=session) for session in range(800)]
    counts = Counter(before)
    assert min(counts.values()) > 50
    assert max(counts.values()) < 160
    after = [place.ask(among=[0, 1, 2, 4, 5, 6, 7], session=session) for session in range(800)]
    assert all(new == old for new, old in zip(after, before, strict=True) if old != 3)
    assert len({new for new, old in zip(after, before, strict=True) if old == 3}) > 3
    by_tenant = Place(8, "session_affinity", by="tenant")
    assert len({by_tenant.ask(session=session, tenant=5) for session in range(20)}) == 1


def test_bounded_loads_pass_over_a_full_replica() -> None:
    """One session alone: with the bound 1.25 nobody has more than ceil(1.25 x mean)."""
    place = Place(4, "session_affinity", bound=1.25, network="1s")  # those on their way count
    counts = Counter(place.ask(session=1) for _ in range(100))
    assert sorted(counts.values()) == pytest.approx([7, 30, 31, 32], abs=2)
    assert max(counts.values()) <= 32


def test_prefix_aware_follows_the_published_rules() -> None:
    place = Place(3, "prefix_aware")
    chain = list(range(100, 110))
    assert place.ask(hashes=chain) == 0  # nothing known: the smallest tree
    assert place.ask(hashes=list(range(200, 210))) == 1
    assert place.ask(hashes=[*chain[:4], *range(300, 306)]) == 0  # 4 of 10 blocks > 0.3
    assert place.ask(hashes=[*chain[:3], *range(400, 407)]) == 2  # 3 of 10 are not
    place.loads(running=[64, 0, 0])
    assert place.ask(hashes=chain) == 0  # 64 more is balanced
    place.loads(running=[65, 0, 0])
    assert place.ask(hashes=chain) == 1  # out of balance: the fewest requests, and its tree learns
    place.loads(running=[65, 1, 1])
    assert place.ask(hashes=chain, among=[0, 1]) == 1  # 64 apart: to who had it last
    place.loads(running=[300, 210, 205])
    assert place.ask(hashes=chain, among=[0, 2]) == 0  # 95 apart, but within the factor 1.5
    assert place.ask(hashes=chain, stage=DECODE) == 2


def prompt(number: int, *blocks: int, more: int = 0) -> Incoming:
    """Blocks of 16 tokens, and more tokens without a hash."""
    return Incoming(number, 0, 16 * len(blocks) + more, hashes=np.array(blocks, dtype=np.int64))


def test_the_tree_gives_up_the_least_recent_leaf() -> None:
    tree, both = PrefixTree(2, most=64, hash_tokens=16), np.arange(2)
    tree.insert(prompt(0, 1, 2, 3), 0)
    tree.insert(prompt(1, 1, 2), 1)
    assert tree.matches(prompt(2, 1, 2, 3, 4), both).tolist() == [48, 32]
    assert tree.longest(prompt(2, 1, 2, 9), both) == (32, 1)  # both have it; 1 had it last
    assert tree.longest(prompt(2, 1, 2, 3), np.array([1])) == (32, 1)
    tree.insert(prompt(2, 1, 5), 0)
    tree.insert(prompt(3, 1, 6), 0)  # 3 was the oldest leaf
    assert tree.matches(prompt(4, 1, 2, 3), both).tolist() == [32, 32]
    tree.insert(prompt(4, 7), 0)  # then 2
    assert tree.matches(prompt(5, 1, 2), both).tolist() == [16, 32]
    assert tree.sizes.tolist() == [64, 32]
    tree.insert(prompt(5, more=40), 1)  # what has no hash takes room: 2 goes, and 1 with it
    assert tree.matches(prompt(6, 1, 2), both).tolist() == [16, 16]
    tree.insert(prompt(6, more=30), 1)
    assert tree.matches(prompt(7, 1, 2), both).tolist() == [16, 0]
    assert tree.sizes.tolist() == [64, 30]


def test_prompts_without_a_match_even_out_the_trees() -> None:
    place = Place(2, "prefix_aware")
    assert [place.ask(prompt=tokens) for tokens in (1000, 300, 300, 300, 300, 100)] == [0, 1, 1, 1, 1, 0]


def test_kv_cost_is_dynamos_worked_example() -> None:
    """10 blocks to prefill; cached 2, 5, 8; held with the request 10, 5, 9: costs 18, 10 and 11."""
    out, zero = np.zeros(3), np.zeros(3, dtype=np.int64)
    cached, held, block = np.array([32, 80, 128]), np.array([10, 5, 9]), np.full(3, 16)
    costs(out, np.arange(3), cached, zero, held, zero, block, 160, False, 1.0, 0.0, 1.0, 0.0)
    assert (out - 10).tolist() == [18.0, 10.0, 11.0]  # the request's own blocks are 10 everywhere
    place = Place(3, "kv_cost")
    place.loads(used_blocks=[10, 5, 9])
    for replica, blocks in enumerate((2, 5, 8)):
        place.fleet.cached[replica] = set(range(blocks))
    assert place.ask(hashes=list(range(10))) == 1
    assert place.ask(hashes=list(range(10)), among=[0, 2]) == 2


def test_kv_cost_decay_scale_weight_and_the_decode_half() -> None:
    out, everyone, block = np.zeros(2), np.arange(2), np.full(2, 16)
    cached, queued, held, requests = np.array([160, 0]), np.array([160, 0]), np.array([4, 6]), np.array([3, 1])
    asked = (everyone, cached, queued, held, requests, block, 160)
    costs(out, *asked, False, 1.0, 0.0, 2.0, 0.5)
    assert out.tolist() == [2.0 * 10 + 14 + 1.5, 2.0 * 10 + 16 + 0.5]
    costs(out, *asked, False, 1.0, 1.0, 1.0, 0.0)  # one request's blocks in excess: half the credit
    assert out.tolist() == [20 - 5 + 14, 10 + 16]
    costs(out, *asked, True, 1.0, 0.0, 1.0, 1.0)
    assert out.tolist() == [4 + 3, 16 + 1]


def test_the_softmax_of_kv_cost() -> None:
    """exp(0), exp(-0.5 / T), exp(-1 / T) whatever the scale of the costs."""
    costs_of = np.array([7.0, 107.0, 207.0])
    draws = np.linspace(0, 1, 20_000, endpoint=False)
    for temperature in (0.2, 1.0):
        expected = np.exp(-np.array([0.0, 0.5, 1.0]) / temperature)
        got = Counter(softly(costs_of, np.arange(3), temperature, draw) for draw in draws.tolist())
        share = [got[replica] / 20_000 for replica in range(3)]
        assert share == pytest.approx((expected / expected.sum()).tolist(), abs=1e-3)
    assert Place(3, "kv_cost", temperature=0.5).ask() in range(3)


def only(**weights: float) -> dict[str, object]:
    every = ("prefix", "kv", "queue", "load", "active", "session", "no_hit_lru")
    return {"weights": {name: weights.get(name, 0.0) for name in every}}


def test_each_score_of_weighted_scorers() -> None:
    loads = {"waiting": [4, 8, 6], "running": [9, 1, 2], "used_blocks": [900, 800, 100]}
    for weights, chosen in (({"queue": 1.0}, 0), ({"active": 1.0}, 2), ({"kv": 1.0}, 2), ({"load": 1.0}, 0)):
        place = Place(3, "weighted_scorers", **only(**weights))
        place.loads(**loads)
        assert place.ask() == chosen, weights
    stays = Place(3, "weighted_scorers", **only(session=2.0, queue=1.0))
    stays.loads(waiting=[5, 0, 5])
    assert stays.ask(session=4) == 1
    stays.loads(waiting=[0, 5, 3])
    assert [stays.ask(session=4), stays.ask(session=5)] == [1, 0]
    full = Place(3, "weighted_scorers", **only(load=1.0, kv=0.1))
    full.loads(waiting=[128, 500, 900], used_blocks=[300, 200, 100])  # all at the threshold or beyond: free blocks tell
    assert full.ask() == 2


def test_cold_prompts_go_round_and_warm_ones_to_their_prefix() -> None:
    for cache in ("approximate", "precise"):
        place = Place(3, "weighted_scorers", cache=cache)
        chains = [list(range(1000 * number, 1000 * number + 10)) for number in range(5)]
        assert [place.ask(hashes=chain) for chain in chains] == [0, 1, 2, 0, 1]
        for number, chain in enumerate(chains):
            place.fleet.cached[number % 3].update(chain)
        assert place.ask(hashes=chains[2]) == 2
        assert place.ask(hashes=[*chains[1][:8], 1, 2]) == 1


def test_a_score_of_weight_0_does_nothing() -> None:
    place = Place(2, "weighted_scorers", **only(queue=1.0))
    place.loads(waiting=[1, 0], running=[0, 60], used_blocks=[0, 4096])
    assert {place.ask(hashes=[1, 2, 3], session=1) for _ in range(5)} == {1}
