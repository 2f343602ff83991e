"""Exchanges of random tokens over random layouts: every policy, both ways, run with delays that let messages overtake.

Tokens are drawn one by one, and what each rank must get is counted from them, not from the policies' sums.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.dispatch.api import Exchange, Layout
from sim.dispatch.collective import bilevel, direct, hierarchical_dedup, low_latency
from sim.processes.plan import Plan
from solvers.expert_plan import Traffic

POLICIES = {
    "direct": direct.Policy(direct.Params()),
    "dedup": direct.Policy(direct.Params(dedup="rank")),
    "low_latency": low_latency.Policy(low_latency.Params()),
    "bilevel": bilevel.Policy(bilevel.Params()),
    **{f"hierarchical_{n}": hierarchical_dedup.Policy(hierarchical_dedup.Params(chunks=n)) for n in (1, 3, 8)},
}
TOKEN = 10  # bytes
Heard = Callable[[int], None]


class Case:
    """A layout with shuffled ranks, and the tokens of each rank with the ranks of their experts."""

    def __init__(self, nodes: int, slots: int, shared: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        ranks = nodes * slots
        order = rng.permutation(ranks)  # ranks lie anywhere
        node, rail = np.empty(ranks, dtype=np.int64), np.empty(ranks, dtype=np.int64)
        node[order], rail[order] = np.arange(ranks) // slots, np.arange(ranks) % slots // shared
        self.layout = Layout(node, rail)
        self.ranks = ranks
        copies, to_rank = np.zeros((2, ranks, ranks), dtype=np.int64)
        to_node = np.zeros((ranks, nodes), dtype=np.int64)
        popular = rng.dirichlet(np.full(ranks, 0.3))
        for source in range(ranks):
            for _ in range(rng.integers(0, 12)):
                targets = rng.choice(ranks, size=rng.integers(1, 5), p=popular)
                np.add.at(copies[source], targets, 1)
                to_rank[source, np.unique(targets)] += 1
                to_node[source, np.unique(node[targets])] += 1
        self.traffic = Traffic(copies, to_rank, to_node)

    def due(self, name: str) -> np.ndarray:
        """[src, dst] bytes that end at dst, coming from src."""
        tokens = self.traffic.copies if name in ("direct", "low_latency", "bilevel") else self.traffic.to_rank
        return np.where(np.eye(self.ranks, dtype=bool), 0, tokens * TOKEN)


CASES = st.builds(Case, st.integers(1, 4), st.integers(1, 4), st.integers(1, 2), st.integers(0, 10**6))


def run(exchange: Exchange, ranks: int, seed: int, sent: Heard, arrived: Heard) -> None:
    """Everything is sent and arrives in some order that the gates allow."""
    plan, rng = Plan(exchange, exchange.counts, ranks), np.random.default_rng(seed)
    left, heap = list(plan.counts), list[tuple[float, int]]()
    done = 0

    def count_down(gate: int, now: float) -> None:
        if gate >= 0:
            left[gate] -= 1
            if left[gate] == 0:
                release(plan.at_gate[gate], now)

    def release(indexes: list[int], now: float) -> None:
        nonlocal done
        for index in indexes:
            if plan.size[index]:
                sent(index)
                heapq.heappush(heap, (now + rng.pareto(0.7), index))
            else:
                done += 1
                count_down(plan.opens[index], now)

    for rank in range(ranks):
        release(plan.at_once[rank], 0.0)
    while heap:
        now, index = heapq.heappop(heap)
        done += 1
        arrived(index)
        count_down(plan.opens[index], now)
    assert done == len(exchange.src)


def crossing(exchange: Exchange, layout: Layout) -> np.ndarray:
    return layout.node[exchange.src] != layout.node[exchange.dst]


def table(exchange: Exchange) -> Counter[tuple[int, int, int]]:
    real = exchange.bytes > 0
    columns = (exchange.src[real].tolist(), exchange.dst[real].tolist(), exchange.bytes[real].tolist())
    return Counter(zip(*columns, strict=True))


def between(exchange: Exchange) -> dict[tuple[int, int], int]:
    """Bytes of each pair of ranks."""
    found: dict[tuple[int, int], int] = {}
    for (src, dst, size), number in table(exchange).items():
        found[src, dst] = found.get((src, dst), 0) + size * number
    return found


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None, max_examples=60)
@given(case=CASES, seed=st.integers(0, 10**6))
def test_every_byte_is_sent_and_signals_carry_none(name: str, case: Case, seed: int) -> None:
    for back in (False, True):
        exchange = POLICIES[name].exchange(case.traffic, case.layout, TOKEN, back)
        run(exchange, case.ranks, seed, lambda index: None, lambda index: None)
        assert ((exchange.bytes > 0) == (exchange.units > 0)).all()
        assert (exchange.bytes % TOKEN == 0).all()


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None, max_examples=60)
@given(case=CASES)
def test_the_way_back_is_the_way_out_in_a_mirror(name: str, case: Case) -> None:
    out, back = (POLICIES[name].exchange(case.traffic, case.layout, TOKEN, way) for way in (False, True))
    assert between(out) == {(dst, src): size for (src, dst), size in between(back).items()}
    if not name.startswith("hierarchical"):  # there the last part of the other half is a flow of its own
        assert table(out) == Counter({(dst, src, size): n for (src, dst, size), n in table(back).items()})


@pytest.mark.parametrize("name", ["direct", "dedup", "low_latency"])
@settings(deadline=None, max_examples=40)
@given(case=CASES)
def test_flat_policies_send_what_is_due(name: str, case: Case) -> None:
    exchange = POLICIES[name].exchange(case.traffic, case.layout, TOKEN, False)
    found = np.zeros((case.ranks, case.ranks), dtype=np.int64)
    found[exchange.src, exchange.dst] += exchange.bytes
    assert (found == case.due(name)).all()
    if name == "low_latency":
        assert (exchange.units * TOKEN == exchange.bytes).all()
    else:
        assert (exchange.units == 1).all()
    assert exchange.counts == []


@settings(deadline=None, max_examples=100)
@given(CASES)
def test_bilevel_conserves_bytes_and_stays_on_rails(case: Case) -> None:
    layout = case.layout
    exchange = POLICIES["bilevel"].exchange(case.traffic, layout, TOKEN, False)
    across = crossing(exchange, layout)
    assert (layout.rail[exchange.src] == layout.rail[exchange.dst])[across].all()
    due = case.due("bilevel")
    far = np.not_equal.outer(layout.node, layout.node)
    for rank in range(case.ranks):
        # a rank sends to other nodes exactly what they are due from it, and what it gets in its node is its due
        assert exchange.bytes[across & (exchange.src == rank)].sum() == due[rank, far[rank]].sum()
        into, out = exchange.dst == rank, exchange.src == rank
        through = exchange.bytes[across & into].sum()
        own = due[rank, ~far[rank]].sum()
        for_it = sum(due[peer, rank] for peer in range(case.ranks) if far[peer, rank])
        kept = through + own - exchange.bytes[~across & out].sum()  # of what came over the rail
        assert exchange.bytes[~across & into].sum() + kept == for_it + due[~far[rank], rank].sum()
    # at most one message a peer, and no more than the two levels have
    pairs = [(src, dst) for src, dst, _ in table(exchange).elements()]
    assert len(set(pairs)) == len(pairs)
    slots = case.ranks // (int(layout.node.max()) + 1)
    most = (case.ranks // slots - 1) + (slots - 1)
    assert max(Counter(src for src, _ in pairs).values(), default=0) <= most


@pytest.mark.parametrize("chunks", [1, 3, 8])
@settings(deadline=None, max_examples=60)
@given(case=CASES)
def test_dedup_sends_a_token_to_a_node_once(chunks: int, case: Case) -> None:
    layout, traffic = case.layout, case.traffic
    exchange = POLICIES[f"hierarchical_{chunks}"].exchange(traffic, layout, TOKEN, False)
    across = crossing(exchange, layout)
    assert (layout.rail[exchange.src] == layout.rail[exchange.dst])[across].all()
    between = np.zeros_like(traffic.to_node)
    np.add.at(between, (exchange.src[across], layout.node[exchange.dst[across]]), exchange.bytes[across])
    nodes = np.arange(traffic.to_node.shape[1])
    away = layout.node[:, None] != nodes
    assert (between == np.where(away, traffic.to_node * TOKEN, 0)).all()
    # inside: a rank gets each token that it needs once, but those that crossed to it as the peer of their source
    inside = np.zeros(case.ranks, dtype=np.int64)
    np.add.at(inside, exchange.dst[~across], exchange.bytes[~across])
    peers = {(int(src), int(dst)) for src, dst in zip(exchange.src[across], exchange.dst[across], strict=True)}
    for rank in range(case.ranks):
        wanted = sum(
            int(traffic.to_rank[source, rank]) * TOKEN
            for source in range(case.ranks)
            if source != rank and (source, rank) not in peers
        )
        assert inside[rank] == wanted


@pytest.mark.parametrize("name", ["bilevel", "hierarchical_1"])
@settings(deadline=None, max_examples=60)
@given(case=CASES, seed=st.integers(0, 10**6))
def test_nothing_is_passed_on_before_it_has_come(name: str, case: Case, seed: int) -> None:
    """Out: a peer has sent to no rank more tokens of other nodes than have come. Back: the same in a mirror."""
    layout = case.layout
    out = POLICIES[name].exchange(case.traffic, layout, TOKEN, False)
    across = crossing(out, layout)
    waits = out.waits_for >= 0
    came, passed = np.zeros(case.ranks, dtype=np.int64), np.zeros((case.ranks, case.ranks), dtype=np.int64)
    near = np.where(np.equal.outer(layout.node, layout.node), case.due(name), 0)
    back_own = near.T  # in one message with what is passed on
    own = near if name == "bilevel" else np.zeros_like(near)

    def sent(index: int) -> None:
        src, dst = out.src[index], out.dst[index]
        if waits[index] and not across[index]:
            passed[src, dst] += out.bytes[index] - own[src, dst]
            assert passed[src, dst] <= came[src]

    def arrived(index: int) -> None:
        if across[index]:
            came[out.dst[index]] += out.bytes[index]

    run(out, case.ranks, seed, sent, arrived)

    back = POLICIES[name].exchange(case.traffic, layout, TOKEN, True)
    across_back = crossing(back, layout)
    feeds = ~across_back & (back.opens >= 0)
    missing = np.zeros((case.ranks, case.ranks), dtype=np.int64)  # [from, at] results not added up yet
    np.add.at(missing, (back.src[feeds], back.dst[feeds]), back.bytes[feeds])
    missing -= np.where(missing > 0, back_own, 0)
    unsent = np.zeros(case.ranks, dtype=np.int64)
    np.add.at(unsent, back.src[across_back], back.bytes[across_back])

    def sent_back(index: int) -> None:
        if across_back[index]:
            assert missing[:, back.src[index]].max() <= unsent[back.src[index]]
            unsent[back.src[index]] -= back.bytes[index]
            if unsent[back.src[index]] == 0:
                assert missing[:, back.src[index]].max() <= 0

    def arrived_back(index: int) -> None:
        if feeds[index]:
            missing[back.src[index], back.dst[index]] -= back.bytes[index]

    run(back, case.ranks, seed, sent_back, arrived_back)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("chunks", [3, 8])
@settings(deadline=None, max_examples=60)
@given(case=CASES, seed=st.integers(0, 10**6))
def test_the_last_part_of_each_pair_waits_for_all_that_feeds_its_rank(
    chunks: int, back: bool, case: Case, seed: int
) -> None:
    layout = case.layout
    exchange = POLICIES[f"hierarchical_{chunks}"].exchange(case.traffic, layout, TOKEN, back)
    across = crossing(exchange, layout)
    second = across if back else ~across
    left = np.bincount(exchange.dst[~second & (exchange.bytes > 0)], minlength=case.ranks)
    fed, last = left > 0, exchange.waits_for >= 0
    assert second[last].all()

    def sent(index: int) -> None:
        if last[index]:
            assert left[exchange.src[index]] == 0

    def arrived(index: int) -> None:
        if not second[index]:
            left[exchange.dst[index]] -= 1

    run(exchange, case.ranks, seed, sent, arrived)
    # what passes through a pair of ranks, in tokens: all of it on the way back, out all but what starts in the node
    own = 0 if back else np.where(np.equal.outer(layout.node, layout.node), case.due("dedup"), 0)
    through, waiting = np.zeros((2, case.ranks, case.ranks), dtype=np.int64)
    np.add.at(through, (exchange.src[second], exchange.dst[second]), exchange.bytes[second] // TOKEN)
    np.add.at(waiting, (exchange.src[last], exchange.dst[last]), exchange.bytes[last] // TOKEN)
    through -= np.where(through > 0, own, 0) // TOKEN
    assert (waiting == np.where(fed[:, None], -(-through // chunks), 0)).all()
