"""Minimal splitting: every path carries the same, with as few pieces as possible."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.splitting import cut, equal_groups, pieces_per_leftover, split

FLOWS, PATHS = st.integers(1, 200), st.integers(1, 64)


def loads(plan: list[list[tuple[int, int]]], paths: int) -> np.ndarray:
    total = np.zeros(paths, dtype=np.int64)
    for parts in plan:
        for size, slot in parts:
            total[slot] += size
    return total


def balances(flows: int, paths: int, pieces: int) -> bool:
    """Whether the left-overs in so many equal pieces, dealt round robin, load all paths alike."""
    left = flows % paths
    dealt = [0] * paths
    for piece in range(left * pieces):
        dealt[piece % paths] += 1
    return len(set(dealt)) == 1


@given(FLOWS, PATHS)
def test_no_smaller_number_of_equal_pieces_balances(flows: int, paths: int) -> None:
    least = next(pieces for pieces in range(1, paths + 1) if balances(flows, paths, pieces))
    assert pieces_per_leftover(flows, paths) == least


@given(FLOWS, PATHS, st.integers(0, 63))
def test_loads_are_equal_where_the_size_is_a_multiple_of_the_pieces(flows: int, paths: int, first: int) -> None:
    size = 12 * pieces_per_leftover(flows, paths)
    plan, _ = split([size] * flows, paths, first)
    assert set(loads(plan, paths)) == {Fraction(flows * size, paths)}


@given(FLOWS, PATHS, st.integers(1, 10**6), st.integers(0, 63))
def test_any_size_leaves_at_most_one_byte_between_paths(flows: int, paths: int, size: int, first: int) -> None:
    plan, _ = split([size] * flows, paths, first)
    assert [sum(part for part, _ in parts) for parts in plan] == [size] * flows
    total = loads(plan, paths)
    assert total.max() - total.min() <= 1
    assert all(part > 0 for parts in plan for part, _ in parts)


@given(FLOWS, PATHS, st.integers(64, 10**6), st.data())
def test_sizes_a_byte_apart_stay_within_k_bytes(flows: int, paths: int, size: int, data: st.DataObject) -> None:
    larger = data.draw(st.integers(0, flows))
    sizes = [size + 1] * larger + [size] * (flows - larger)
    plan, _ = split(sizes, paths)
    total = loads(plan, paths)
    assert total.max() - total.min() <= max(1, pieces_per_leftover(flows, paths))


def test_whole_flows_first_then_pieces_dealt_on() -> None:
    # 5 flows over 4 paths: 4 whole, the fifth in 4 pieces of 2 or 3 bytes; dealing starts at path 1
    plan, after = split([10] * 5, 4, first=1)
    assert plan == [[(10, 1)], [(10, 2)], [(10, 3)], [(10, 0)], [(3, 1), (3, 2), (2, 3), (2, 0)]]
    assert after == 1


def test_direct_all_to_all_of_full_leaves_is_not_split() -> None:
    plan, _ = split([62500] * 16, 16)
    assert all(len(parts) == 1 for parts in plan)


def test_cut_turns_the_larger_pieces() -> None:
    assert [cut(11, 4, turn) for turn in range(3)] == [[3, 3, 3, 2], [3, 3, 2, 3], [3, 2, 3, 3]]


def test_equal_groups() -> None:
    assert equal_groups([5, 5, 5]) == [[0, 1, 2]]
    assert equal_groups([7, 9, 8, 100, 6, 9]) == [[3], [1, 5, 2], [0, 4]]


@pytest.mark.parametrize(("flows", "paths"), [(-1, 3), (4, 0)])
def test_impossible_numbers(flows: int, paths: int) -> None:
    with pytest.raises(ValueError, match="paths"):
        pieces_per_leftover(flows, paths)
