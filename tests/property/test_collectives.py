"""Schedules of collectives: run with random delays, every rank ends with every contribution, each exactly once.

Each test knows the algorithm's own meaning of a message (which chunks it carries, added up or copied) and follows the
data. A dependency that is missing sends an incomplete sum in some order of arrivals.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.dispatch.api import Message
from sim.dispatch.collective import direct, double_binary_tree, halving_doubling, ring
from sim.dispatch.collective._schedule import chunks
from sim.processes.collective import Plan
from tests.property.ranks import REDUCING, SIZES, Ranks, check_result, everything, start_of


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 9), SIZES, REDUCING, st.integers(0, 999))
def test_ring(ranks: int, size: int, operation: str, seed: int) -> None:
    messages, counts = ring.Policy(ring.Params()).schedule(operation, ranks, size)
    sizes, offset = chunks(size, ranks), 0 if operation == "all_gather" else 1
    step_of: dict[int, int] = {}
    for index, message in enumerate(messages):  # the step from the gates: a message opens those of its own step
        step_of[index] = 0 if message.waits_for < 0 else message.waits_for // ranks + 1

    def meaning(message: Message, index: int) -> tuple[list[int], bool]:
        step = step_of[index]
        chunk = (message.src - step - offset) % ranks
        assert message.dst == (message.src + 1) % ranks
        assert message.bytes == sizes[chunk]
        return [chunk], operation != "all_gather" and step < ranks - 1

    data = Ranks(ranks, start_of(operation), ranks)
    data.run(messages, counts, ranks, meaning, seed)
    check_result(data.state, operation, sizes)
    if size >= ranks:
        assert max(step_of.values()) + 1 == (2 if operation == "all_reduce" else 1) * (ranks - 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), SIZES, REDUCING, st.integers(0, 999))
def test_halving_doubling(levels: int, size: int, operation: str, seed: int) -> None:
    ranks = 1 << levels
    messages, counts = halving_doubling.Policy(halving_doubling.Params()).schedule(operation, ranks, size)
    sizes = chunks(size, ranks)
    seen = Counter[tuple[int, int]]()
    reduce_indexes = set()
    for index, message in enumerate(messages):  # the first exchange of a pair in an all_reduce adds up
        if message.bytes:
            pair = (message.src, message.dst)
            if operation == "reduce_scatter" or (operation == "all_reduce" and not gathers(message, seen, sizes)):
                reduce_indexes.add(index)
            seen[pair] += 1

    def meaning(message: Message, index: int) -> tuple[list[int], bool]:
        bit = message.src ^ message.dst
        mask, adds = 2 * bit - 1, index in reduce_indexes
        keeper = message.dst if adds else message.src
        carried = [chunk for chunk in range(ranks) if (chunk ^ keeper) & mask == 0]
        assert message.bytes == sum(sizes[chunk] for chunk in carried)
        return carried, adds

    data = Ranks(ranks, start_of(operation), ranks)
    data.run(messages, counts, ranks, meaning, seed)
    check_result(data.state, operation, sizes)


def gathers(message: Message, seen: Counter[tuple[int, int]], sizes: list[int]) -> bool:
    """Whether an all_reduce message belongs to the second half: its reducing partner was sent, or had 0 bytes."""
    bit = message.src ^ message.dst
    kept = sum(size for chunk, size in enumerate(sizes) if (chunk ^ message.dst) & (2 * bit - 1) == 0)
    return kept == 0 or seen[message.src, message.dst] > 0


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 9), SIZES, REDUCING, st.integers(0, 999))
def test_direct(ranks: int, size: int, operation: str, seed: int) -> None:
    messages, counts = direct.Policy(direct.Params()).schedule(operation, ranks, size)
    sizes = chunks(size, ranks)

    def meaning(message: Message, index: int) -> tuple[list[int], bool]:
        adds = operation == "reduce_scatter" or message.opens >= 0
        chunk = message.dst if adds else message.src
        assert message.bytes == sizes[chunk]
        return [chunk], adds

    data = Ranks(ranks, start_of(operation), ranks)
    data.run(messages, counts, ranks, meaning, seed)
    check_result(data.state, operation, sizes)


@pytest.mark.parametrize("ranks", [2, 5, 8])
def test_direct_all_to_all_and_broadcast(ranks: int) -> None:
    policy = direct.Policy(direct.Params())
    messages, counts = policy.schedule("all_to_all", ranks, 1003)
    sizes = chunks(1003, ranks)
    assert counts == []
    assert [(m.src, m.dst, m.bytes) for m in messages] == [
        (src, (src + step) % ranks, sizes[(src + step) % ranks]) for src in range(ranks) for step in range(1, ranks)
    ]
    messages, _ = policy.schedule("broadcast", ranks, 77)
    assert [(m.src, m.dst, m.bytes) for m in messages] == [(0, other, 77) for other in range(1, ranks)]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 13), st.sampled_from([1, 5, 64, 700]), st.booleans(), st.integers(1, 3), st.integers(0, 999))
def test_double_binary_tree(ranks: int, size: int, reduces: bool, window: int, seed: int) -> None:
    params = double_binary_tree.Params(chunk="16B", window=window)
    operation = "all_reduce" if reduces else "broadcast"
    messages, counts = double_binary_tree.Policy(params).schedule(operation, ranks, size)
    above = [double_binary_tree.parents(ranks, tree) for tree in (0, 1)]
    halves = chunks(size, 2)
    numbers = [-(-half // 16) for half in halves]
    first = [0, numbers[0]]  # number of each tree's first chunk
    trees = tree_of_messages(messages, above, numbers, reduces)

    def meaning(message: Message, index: int) -> tuple[list[int], bool]:
        tree, chunk = trees[index]
        return [first[tree] + chunk], above[tree][message.src] == message.dst and reduces

    def held(rank: int, chunk: int) -> Counter[int]:
        return Counter([rank]) if reduces or rank == 0 else Counter()

    data = Ranks(ranks, held, sum(numbers))
    data.run(messages, counts, ranks, meaning, seed)
    wanted = everything(ranks) if reduces else Counter([0])
    assert all(content == wanted for rank in data.state for content in rank)
    received = Counter[int]()
    for message in messages:
        received[message.dst] += message.bytes
    if not reduces:
        assert all(received[rank] == size for rank in range(1, ranks))
        assert received[0] == 0
    else:
        assert sum(received.values()) == 2 * (ranks - 1) * size


def tree_of_messages(
    messages: list[Message], above: list[list[int]], numbers: list[int], reduces: bool
) -> dict[int, tuple[int, int]]:
    """(tree, chunk) of each message: the first tree's come first, the chunks of an edge in order."""
    per_tree = [numbers[0] * (len(above[0]) - 1) * (2 if reduces else 1)]
    found: dict[int, tuple[int, int]] = {}
    seen: Counter[tuple[int, int, int]] = Counter()
    number = 0
    for index, message in enumerate(messages):
        if message.bytes:
            tree = int(number >= per_tree[0])
            edge = (tree, message.src, message.dst)
            found[index] = (tree, seen[edge])
            seen[edge] += 1
            number += 1
    return found


@pytest.mark.parametrize("ranks", range(2, 40))
def test_two_trees_share_the_work(ranks: int) -> None:
    trees = [double_binary_tree.parents(ranks, tree) for tree in (0, 1)]
    children = [[above.count(rank) for rank in range(ranks)] for above in trees]
    for above, below in zip(trees, children, strict=True):
        assert above.count(-1) == 1
        assert max(below) <= 2
        depths = []
        for rank in range(ranks):
            depth = 0
            at = rank
            while above[at] >= 0:
                at, depth = above[at], depth + 1
            depths.append(depth)
        assert max(depths) <= ranks.bit_length()
    leaves = [{rank for rank in range(ranks) if below[rank] == 0} for below in children]
    if ranks % 2 == 0:  # a leaf in one tree, inner in the other
        assert leaves[0] | leaves[1] == set(range(ranks))
        assert not leaves[0] & leaves[1]


@pytest.mark.parametrize("ranks", [2, 4, 16])
@pytest.mark.parametrize("module", [direct, ring, halving_doubling])
def test_bytes_are_the_bandwidth_bound(module, ranks: int) -> None:
    size = 16 * 1024
    for operation, factor in (("all_reduce", 2), ("reduce_scatter", 1), ("all_gather", 1)):
        messages, _ = module.Policy(module.Params()).schedule(operation, ranks, size)
        for end in (0, 1):
            total = Counter[int]()
            for message in messages:
                total[message[end]] += message.bytes
            assert dict(total) == dict.fromkeys(range(ranks), factor * (ranks - 1) * size // ranks)


def critical_steps(messages: list[Message], counts: list[int]) -> int:
    """Longest chain of messages, signals not counted."""
    openers: dict[int, list[int]] = {}
    for index, message in enumerate(messages):
        openers.setdefault(message.opens, []).append(index)
    known: dict[int, int] = {}

    def depth(index: int) -> int:
        if index not in known:
            gate = messages[index].waits_for
            before = max((depth(opener) for opener in openers.get(gate, ())), default=0) if gate >= 0 else 0
            known[index] = before + (messages[index].bytes > 0)
        return known[index]

    return max(depth(index) for index in range(len(messages)))


@pytest.mark.parametrize(
    ("module", "operation", "steps"),
    [
        (direct, "all_to_all", 1),
        (direct, "all_reduce", 2),
        (ring, "all_reduce", 14),
        (ring, "all_gather", 7),
        (ring, "broadcast", 14),  # 8 chunks over 7 hops
        (halving_doubling, "all_reduce", 6),
        (halving_doubling, "reduce_scatter", 3),
        (double_binary_tree, "all_reduce", 6),  # 3 levels up, 3 down; one chunk
    ],
)
def test_steps_of_eight_ranks(module, operation: str, steps: int) -> None:
    assert critical_steps(*module.Policy(module.Params()).schedule(operation, 8, 8000)) == steps


def test_ring_broadcast_is_a_pipeline() -> None:
    messages, counts = ring.Policy(ring.Params()).schedule("broadcast", 4, 10)
    seen: Counter[int] = Counter()

    def meaning(message: Message, index: int) -> tuple[list[int], bool]:
        seen[message.src] += 1
        return [seen[message.src] - 1], False

    data = Ranks(4, lambda rank, chunk: Counter([0]) if rank == 0 else Counter(), 4)
    data.run(messages, counts, 4, meaning, 5)
    assert all(content == Counter([0]) for rank in data.state for content in rank)
    assert [m.bytes for m in messages if m.src == 2 and m.bytes] == [2, 3, 2, 3]


def test_problems_are_told() -> None:
    policy = halving_doubling.Policy(halving_doubling.Params())
    assert policy.problem("all_reduce", 6) == "halving_doubling needs a power of two of ranks; the group has 6"
    assert policy.problem("all_reduce", 8) is None
    for module in (direct, ring, halving_doubling, double_binary_tree):
        made = module.Policy(module.Params())
        assert "at least 2 ranks" in (made.problem("all_reduce", 1) or "")
        with pytest.raises(ValueError, match="nothing to send"):
            made.schedule("all_reduce", 4, 0)


@pytest.mark.parametrize(
    ("messages", "counts", "said"),
    [
        ([Message(0, 5, 1)], [], "can't be"),
        ([Message(0, 1, 1, waits_for=0)], [], "not there"),
        ([Message(0, 1, 1, waits_for=0)], [1], "waits for 1 arrivals, but 0"),
        ([Message(0, 1, 1, opens=0), Message(1, 0, 1, 0), Message(0, 1, 1, 0)], [1], "two ranks"),
    ],
)
def test_impossible_schedules_are_refused(messages: list[Message], counts: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Plan(messages, counts, 2)
