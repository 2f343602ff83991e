"""Placing demands one by one on the free capacity of their candidate ways, compiled: what the heuristics build on.

Bandwidths and free capacities are whole bit/s, so what fits here fits. A way has no link twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from solvers.admission.problem import Ints, Problem

PATH_RULES = ("shortest", "widest", "least_loaded")
SHORTEST, WIDEST, LEAST_LOADED = range(3)

# capacity, bandwidth, weight, first, start, link, required, current, and (moves, strict)
WORLD = "Tuple((i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i4[::1], b1[::1], i8[::1], UniTuple(i8, 2)))"
World = tuple[Any, ...]


def world_of(problem: Problem) -> World:
    """The problem's arrays as the kernels take them."""
    arrays = (
        problem.capacity, problem.bandwidth, problem.weight, problem.first, problem.start, problem.link,
        problem.required, problem.current,
    )  # fmt: skip
    whole = [array if array.flags.carray else np.array(array) for array in arrays]
    return (*whole, (int(problem.moves), int(problem.strict)))


def importance(problem: Problem) -> Ints:
    """[demands] the order in which they are placed: required ones, then by falling priority, of one priority those that
    have a way already, then those that ask for least (bandwidth times links of their shortest way), then by number."""
    if problem.demands <= 1:
        return np.arange(problem.demands, dtype=np.int64)
    shortest = np.zeros(problem.demands, dtype=np.int64)
    some = problem.first[1:] > problem.first[:-1]
    if some.any():
        shortest[some] = np.minimum.reduceat(problem.hops, problem.first[:-1][some])
    asked = shortest * problem.bandwidth.astype(np.float64)
    return np.lexsort((asked, problem.current < 0, -problem.weight, ~problem.required)).astype(np.int64)


@njit("b1(i8[::1], i4[::1], i8, i8, i8)", inline=True)
def fits(free: Any, link: Any, begin: Any, end: Any, size: Any) -> Any:
    for at in range(begin, end):  # noqa: SIM110 (compiled)
        if free[link[at]] < size:
            return False
    return True


@njit("void(i8[::1], i4[::1], i8, i8, i8)", inline=True)
def take(free: Any, link: Any, begin: Any, end: Any, size: Any) -> None:
    """Takes ``size`` bit/s from every link of a way; a negative size gives them back."""
    for at in range(begin, end):
        free[link[at]] -= size


@njit(f"i8({WORLD}, i8[::1], i8, i8)", internal=True)
def choose(world: Any, free: Any, demand: Any, rule: Any) -> Any:
    """The fitting way of a demand by the rule, the first among equals; -1 if none fits.

    Shortest: the first in the order of the ways. Widest: the most free capacity on its fullest link. Least loaded: the
    lowest utilisation, with the demand on it, of its fullest link.
    """
    capacity, bandwidth, _, first, start, link, _, _, _ = world
    size = bandwidth[demand]
    best, best_value = -1, 0.0
    for way in range(first[demand], first[demand + 1]):
        if not fits(free, link, start[way], start[way + 1], size):
            continue
        if rule == SHORTEST:
            return way
        value = np.inf
        for at in range(start[way], start[way + 1]):
            room = free[link[at]]
            value = min(value, float(room) if rule == WIDEST else (room - size) / capacity[link[at]])
        if best < 0 or value > best_value:
            best, best_value = way, value
    return best


@njit(f"i8({WORLD}, i8[::1], i8[::1], i8[::1], i8, i8[::1], b1[::1])", internal=True)
def _preempt(world: Any, present: Any, way: Any, free: Any, newcomer: Any, victims: Any, marked: Any) -> Any:
    """The way on which the newcomer costs least in dropped demands, or -1; how many and which in ``victims``.

    ``present``: the demands that may go, the most important first. On each way the least important go first, if they
    are in its way, until the newcomer fits; those that could have stayed then come back, the most important first.
    Nothing is dropped yet.
    """
    _, bandwidth, weight, first, start, link, required, _, (_, strict) = world
    size, obliged = bandwidth[newcomer], required[newcomer]
    best, best_cost = -1, 0
    dropped = np.empty(len(present), np.int64)
    victims[0] = 0
    for candidate in range(first[newcomer], first[newcomer + 1]):
        for at in range(start[candidate], start[candidate + 1]):
            marked[link[at]] = True
        number = 0
        open_ = fits(free, link, start[candidate], start[candidate + 1], size)
        for place in range(len(present) - 1, -1, -1):
            demand = present[place]
            if open_ or (weight[demand] >= weight[newcomer] and not obliged):
                break
            if way[demand] < 0:
                continue
            begin, end = start[way[demand]], start[way[demand] + 1]
            for at in range(begin, end):
                if marked[link[at]] and free[link[at]] < size:
                    take(free, link, begin, end, -bandwidth[demand])
                    dropped[number] = demand
                    number += 1
                    open_ = fits(free, link, start[candidate], start[candidate + 1], size)
                    break
        cost, kept = 0, 0
        for index in range(number - 1, -1, -1):
            demand = dropped[index]
            take(free, link, start[way[demand]], start[way[demand] + 1], bandwidth[demand])
            if not fits(free, link, start[candidate], start[candidate + 1], size):
                take(free, link, start[way[demand]], start[way[demand] + 1], -bandwidth[demand])
                cost += weight[demand]
                dropped[index] = -demand - 1  # goes
        worth_it = open_ and (obliged or strict or cost < weight[newcomer]) and (best < 0 or cost < best_cost)
        for index in range(number - 1, -1, -1):
            if dropped[index] < 0:
                demand = -dropped[index] - 1
                take(free, link, start[way[demand]], start[way[demand] + 1], bandwidth[demand])
                if worth_it:
                    kept += 1
                    victims[kept] = demand
        if worth_it:
            best, best_cost, victims[0] = candidate, cost, kept
        for at in range(start[candidate], start[candidate + 1]):
            marked[link[at]] = False
    return best


@njit(f"i8({WORLD}, i8[::1], i8, i8[::1], i8[::1])")
def place_in_order(world: Any, order: Any, rule: Any, way: Any, free: Any) -> Any:
    """Fills ``way`` [demands] and what is left ``free`` [links]; returns the weights of all that fit somewhere alone.

    Whoever has a way keeps it if it still fits. Then the others in their order, each by the rule; who fits nowhere
    drops demands of lower priority that are not required, of a plan that is not strict only if they are worth less
    together. Who was dropped, or found no room before others were, is tried once more at the end.
    """
    capacity, bandwidth, weight, first, start, link, required, current, (moves, _) = world
    way[:] = -1
    free[:] = capacity
    present, stay = np.empty(len(order), np.int64), 0
    for demand in order:
        kept = current[demand]
        if kept >= 0 and fits(free, link, start[kept], start[kept + 1], bandwidth[demand]):
            take(free, link, start[kept], start[kept + 1], bandwidth[demand])
            way[demand] = kept
            if not required[demand]:
                present[stay] = demand
                stay += 1
    moved, dropped = np.int64(0), False
    victims, marked = np.empty(stay + 1, np.int64), np.zeros(len(capacity), np.bool_)
    for turn in range(2):
        for demand in order:
            if way[demand] >= 0:
                continue
            kept = current[demand]
            if kept >= 0 and fits(free, link, start[kept], start[kept + 1], bandwidth[demand]):
                chosen = kept
            elif kept >= 0 and 0 <= moves <= moved:
                continue
            else:
                chosen = choose(world, free, demand, rule)
            if chosen < 0 and turn == 0 and stay > 0:
                chosen = _preempt(world, present[:stay], way, free, demand, victims, marked)
                if chosen >= 0:
                    dropped = True
                    for index in range(1, victims[0] + 1):
                        victim = victims[index]
                        take(free, link, start[way[victim]], start[way[victim] + 1], -bandwidth[victim])
                        if current[victim] >= 0 and way[victim] != current[victim]:
                            moved -= 1
                        way[victim] = -1
            if chosen >= 0:
                take(free, link, start[chosen], start[chosen + 1], bandwidth[demand])
                way[demand] = chosen
                moved += kept >= 0 and chosen != kept
        if not dropped:
            break
    most = np.int64(0)
    for demand in order:
        possible = way[demand] >= 0
        for other in range(first[demand], first[demand + 1]):
            if possible:
                break
            movable = current[demand] < 0 or moves != 0 or other == current[demand]
            possible = movable and fits(capacity, link, start[other], start[other + 1], bandwidth[demand])
        most += weight[demand] if possible else 0
    return most
