"""All2All policies by hand-made cases, what they refuse, and what launches and messages cost on a plain clock."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import simpy

from models.builders import gpu_cluster, star
from models.builders.gpu_cluster import ScaleUp
from models.comms.messages import MessageProfile
from sim.dispatch.api import Exchange, Layout, Message
from sim.dispatch.collective import bilevel, direct, hierarchical, hierarchical_dedup, low_latency, ring
from sim.dispatch.groups import layout_of, problem_of, schedule_of
from sim.processes.collective import Collective, Collectives
from sim.processes.plan import Plan, exchange_of, priced, profile_named
from solvers.expert_plan import Traffic

FOUR = Layout(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))  # two nodes of two
TWO_LEVELS = (bilevel, hierarchical, hierarchical_dedup)


def made(module, **params):
    return module.Policy(module.Params(**params))


def traffic(layout: Layout, *tokens: tuple[int, ...]) -> Traffic:
    """Of tokens (source rank, ranks of its experts ...)."""
    ranks, nodes = len(layout.node), int(layout.node.max()) + 1
    copies, to_rank = np.zeros((2, ranks, ranks), dtype=np.int64)
    to_node = np.zeros((ranks, nodes), dtype=np.int64)
    for source, *targets in tokens:
        np.add.at(copies[source], targets, 1)
        to_rank[source, np.unique(targets)] += 1
        to_node[source, np.unique(layout.node[targets])] += 1
    return Traffic(copies, to_rank, to_node)


def sends(exchange: Exchange) -> list[tuple[int, int, int]]:
    """(src, dst, bytes) of what is no signal."""
    rows = zip(exchange.src.tolist(), exchange.dst.tolist(), exchange.bytes.tolist(), strict=True)
    return [row for row in rows if row[2]]


# one token of rank 0 with two experts on rank 3 and one on rank 2, one of rank 0 for rank 1, one of rank 1 for rank 3
TOKENS = traffic(FOUR, (0, 3, 3, 2), (0, 1), (1, 3), (2, 2))


def test_direct_sends_copies_or_each_token_once_a_rank() -> None:
    assert sends(made(direct).exchange(TOKENS, FOUR, 10, False)) == [(0, 1, 10), (0, 2, 10), (0, 3, 20), (1, 3, 10)]
    once = made(direct, dedup="rank").exchange(TOKENS, FOUR, 10, False)
    assert sends(once) == [(0, 1, 10), (0, 2, 10), (0, 3, 10), (1, 3, 10)]
    back = made(direct).exchange(TOKENS, FOUR, 10, True)
    assert sends(back) == [(1, 0, 10), (2, 0, 10), (3, 0, 20), (3, 1, 10)]


def test_low_latency_counts_a_message_a_copy() -> None:
    exchange = made(low_latency).exchange(TOKENS, FOUR, 10, False)
    assert sends(exchange) == [(0, 1, 10), (0, 2, 10), (0, 3, 20), (1, 3, 10)]
    assert exchange.units.tolist() == [1, 1, 2, 1]


def test_bilevel_goes_along_the_rail_and_then_inside() -> None:
    exchange = made(bilevel).exchange(TOKENS, FOUR, 10, False)
    assert sends(exchange) == [(0, 2, 30), (1, 3, 10), (0, 1, 10), (2, 3, 20)]
    assert exchange.opens.tolist() == [2, 3, -1, -1, 0, 1]
    assert exchange.waits_for.tolist()[:4] == [-1, -1, 0, 2]  # rank 2 passes on when all from its rail has come
    assert exchange.bytes.tolist()[4:] == [0, 0]  # nothing comes to ranks 0 and 1 over rails: they go on at once
    assert exchange.counts == [1, 1, 1, 1]
    back = made(bilevel).exchange(TOKENS, FOUR, 10, True)
    assert sends(back) == [(1, 0, 10), (3, 2, 20), (2, 0, 30), (3, 1, 10)]
    assert back.waits_for.tolist()[:4] == [-1, -1, 2, 3]


def test_dedup_crosses_once_and_is_copied_inside() -> None:
    policy = made(hierarchical_dedup, chunks=1)
    exchange = policy.exchange(TOKENS, FOUR, 10, False)
    assert sends(exchange) == [(0, 2, 10), (1, 3, 10), (2, 3, 10), (0, 1, 10)]
    assert exchange.waits_for.tolist() == [-1, -1, 2, -1]
    back = policy.exchange(TOKENS, FOUR, 10, True)
    assert sorted(sends(back)) == [(1, 0, 10), (2, 0, 10), (3, 1, 10), (3, 2, 10)]


def test_all_parts_but_the_last_go_beside_the_first_half() -> None:
    tokens = traffic(FOUR, *[(0, 3)] * 5)
    exchange = made(hierarchical_dedup, chunks=2).exchange(tokens, FOUR, 10, False)
    assert sends(exchange) == [(0, 2, 50), (2, 3, 30), (2, 3, 20)]
    env = simpy.Environment(initial_time=0)
    flows = Wires(env)
    finish = run(env, flows, Plan(exchange, exchange.counts, 4))
    # the last part is passed on when all has come, which takes the 100 ps of a flow
    assert flows.sent == [(0, 0, 2, 50, 0), (0, 2, 3, 20, 0), (100, 2, 3, 30, 0)]
    assert finish == [100, 0, 200, 200]


def test_buffers_on_two_levels() -> None:
    for module in (bilevel, hierarchical_dedup):
        messages, counts = made(module).schedule("all_to_all", 4, 4003, FOUR)
        exchange = exchange_of(messages, counts)
        into = np.bincount(exchange.dst, weights=exchange.bytes, minlength=4)
        out = np.bincount(exchange.src, weights=exchange.bytes, minlength=4)
        # rank d is due its chunk from three others; what comes for others of its node goes out again
        chunks = np.array([1000, 1001, 1001, 1001])
        forwarded = into - 3 * chunks
        assert forwarded.tolist() == chunks[[1, 0, 3, 2]].tolist(), module
        assert (out == 4003 - chunks + forwarded).all(), module


# what is refused


@pytest.mark.parametrize("module", TWO_LEVELS)
def test_nodes_must_match(module) -> None:
    policy = made(module)
    operation = min(policy.operations)
    odd = Layout(np.array([0, 0, 1]), np.array([0, 1, 0]))
    text = problem_of(policy, operation, 3, odd)
    assert text is not None
    assert "node 0 has 2 of the group's ranks, node 1 has 1" in text
    crossed = Layout(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2]))
    assert "node 0 has ranks on rails 0, 1, node 1 on 0, 2" in (problem_of(policy, operation, 4, crossed) or "")
    assert problem_of(policy, operation, 4, FOUR) is None
    assert problem_of(policy, operation, 4) is None  # not known yet
    assert "at least 2 ranks" in (problem_of(policy, operation, 1) or "")
    with pytest.raises(ValueError, match="node 0 has 2"):
        schedule_of(policy, operation, 3, 100, odd)


def test_only_several_rings_need_equal_nodes() -> None:
    odd = Layout(np.array([0, 0, 1]), np.array([0, 1, 0]))
    assert problem_of(made(ring), "all_reduce", 3, odd) is None
    assert "same size" in (problem_of(made(ring, channels=2), "all_reduce", 3, odd) or "")


# layouts


def test_layout_of_a_cluster() -> None:
    fabric = star.build(8, (10**11, 10**6))
    cluster = gpu_cluster.build(fabric, 4, 4, 0.5, ScaleUp("nvswitch", 10**12, 10**5), (10**11, 10**5))
    layout = layout_of(cluster, [15, 4, 5, 6, 12])
    assert layout.node.tolist() == [1, 0, 0, 0, 1]
    assert layout.rail.tolist() == [1, 0, 0, 1, 0]  # two GPUs on a NIC
    src, dst = np.array([0, 1, 0, 1]), np.array([4, 2, 3, 0])
    assert layout.kinds(src, dst).tolist() == [0, 0, 1, 2]
    plain = star.build(3, (10**11, 10**6))
    assert layout_of(plain, [2, 0]) == (pytest.approx([1, 0]), pytest.approx([0, 0]))


# costs


class Wires:
    """Delivers everything 100 ps after its start."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.sent: list[tuple[int, int, int, int, int]] = []
        self.cause = -1

    def because_of(self, cause: int):
        return nullcontext()

    def send_many(self, src, dsts, sizes, callbacks, job="", overheads=None) -> None:
        for dst, size, call, extra in zip(dsts, sizes, callbacks, overheads or [0] * len(dsts), strict=True):
            self.sent.append((self.env.now, src, dst, size, extra))
            self.env.timeout(100).callbacks.append(lambda event, call=call: call())


def run(env: simpy.Environment, flows: Wires, plan: Plan, joins: dict[int, int] | None = None) -> list[int]:
    """When each rank is done; rank i joins at ``joins[i]``, else at 0."""
    records = Collectives()
    begin = partial(records.begin, "x", "y", plan.ranks, 1)
    operation = Collective(env, flows, plan, list(range(plan.ranks)), begin)

    def gpu(rank: int):
        yield env.timeout((joins or {}).get(rank, 0))
        yield operation.join(rank)

    env.run(env.all_of([env.process(gpu(rank)) for rank in range(plan.ranks)]))
    assert operation.over
    return records.rows[0].finish


def test_each_phase_is_launched() -> None:
    env = simpy.Environment(initial_time=0)
    flows = Wires(env)
    exchange = made(bilevel).exchange(TOKENS, FOUR, 10, False)
    plan = Plan(exchange, exchange.counts, 4, overheads=[1, 2, 3, 4, 0, 0], launch=1000, relaunch=50)
    finish = run(env, flows, plan, {1: 30})
    assert flows.sent == [
        (1000, 0, 2, 30, 1), (1030, 1, 3, 10, 2), (1050, 0, 1, 10, 3), (1150, 2, 3, 20, 4)
    ]  # fmt: skip
    assert finish == [1150, 1150, 1250, 1250]


def test_a_gate_that_opens_during_the_launch_waits_for_its_end() -> None:
    env = simpy.Environment(initial_time=0)
    flows = Wires(env)
    plan = Plan([Message(0, 1, 8, opens=0), Message(1, 0, 9, waits_for=0)], [1], 2, launch=200)
    assert run(env, flows, plan, {1: 150}) == [450, 450]
    assert flows.sent == [(200, 0, 1, 8, 0), (350, 1, 0, 9, 0)]


def test_a_rank_with_nothing_to_do_is_done_after_its_launch() -> None:
    env = simpy.Environment(initial_time=0)
    plan = Plan([Message(0, 1, 8)], [], 3, launch=200)
    assert run(env, Wires(env), plan) == [300, 300, 200]


def test_prices_follow_the_profile() -> None:
    profile = profile_named("nccl")
    exchange = made(bilevel).exchange(TOKENS, FOUR, 1000, False)
    plan = priced(exchange, FOUR, profile, launches_phases=True)
    kinds = np.array([1, 1, 0, 0, 0, 0])
    assert plan.overheads == profile.overhead(exchange.bytes, exchange.units, kinds).tolist()
    assert plan.launch == round(profile.remote_launch_us * 1e6)  # between nodes
    assert plan.relaunch == round(profile.launch_us * 1e6)  # inside
    back = made(bilevel).exchange(TOKENS, FOUR, 1000, True)
    assert priced(back, FOUR, profile, launches_phases=True).launch == plan.relaunch
    assert priced(back, FOUR, profile, launches_phases=True).relaunch == plan.launch
    flat = made(direct).exchange(TOKENS, FOUR, 1000, False)
    assert priced(flat, FOUR, profile, launches_phases=False).launch == plan.launch
    near = traffic(FOUR, (0, 1))
    assert (
        priced(made(direct).exchange(near, FOUR, 1000, False), FOUR, profile, launches_phases=False).launch
        == plan.relaunch
    )
    inside = priced(made(bilevel).exchange(near, FOUR, 1000, False), FOUR, profile, launches_phases=True)
    assert (inside.launch, inside.relaunch) == (0, plan.relaunch)  # no phase between nodes
    free = priced(flat, FOUR, profile_named("none"), launches_phases=False)
    assert (free.overheads, free.launch, free.relaunch) == (None, 0, 0)


def test_size_only_leaves_the_loss_across_rails_to_the_fabric() -> None:
    size, one, kind = np.array([2**20]), np.array([1]), np.array([2])
    whole, part = (profile_named(name).overhead(size, one, kind) for name in ("efa", "efa_size_only"))
    assert whole > part
    assert part == MessageProfile.named("efa").overhead(size, one, np.array([1]))
