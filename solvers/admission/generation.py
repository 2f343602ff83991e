"""One generation of the genetic algorithm, compiled: parents, crossover, mutation, decoding, local search.

A gene a demand: the number of its way, -1 rejected. Decoding makes a plan of any genes, so every individual is
feasible; what it places is written back to the genes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from solvers.admission.decode import WORLD, fits, take, world_of
from solvers.admission.improve import ADVICE, STATE, draw, improve, load_plan
from solvers.admission.problem import Ints, Problem
from solvers.admission.profit import level_of


@njit(f"i8({WORLD}, i8[::1], f8[::1], i8, b1, f8)", internal=True)
def _cheapest(world: Any, free: Any, cost: Any, demand: Any, stay: Any, most: Any) -> Any:
    """The fitting way that costs least and at most ``most``; with ``stay`` only the current one. -1: none."""
    _, bandwidth, _, first, start, link, _, current, _ = world
    best = -1
    for way in range(first[demand], first[demand + 1]):
        if cost[way] > most or (best >= 0 and cost[way] >= cost[best]) or (stay and way != current[demand]):
            continue
        if fits(free, link, start[way], start[way + 1], bandwidth[demand]):
            best = way
    return best


@njit(f"b1({WORLD}, f8[::1], i8[::1], f8, i8[::1], i8[::1])")
def decode(world: Any, cost: Any, order: Any, slack: Any, genes: Any, free: Any) -> Any:
    """Makes ``genes`` a plan; whether every required demand has a way.

    In ``order`` (required ones first) the demands get the way of their gene if it fits. Those that did not get it are
    tried on their cheapest way, if it costs at most ``slack`` more than their weight; at last whatever fits is taken.
    Required demands, and all of a strict plan, come to that in their turn.
    """
    capacity, bandwidth, weight, _, start, link, required, current, (moves, strict) = world
    free[:] = capacity
    moved = np.int64(0)
    for turn in range(3):
        for demand in order:
            at_once = required[demand] or strict
            if turn and (genes[demand] >= 0 or at_once):
                continue
            wanted = genes[demand]
            genes[demand] = -1
            stay = current[demand] >= 0 and 0 <= moves <= moved
            chosen = np.int64(-1)
            allowed = turn == 0 and wanted >= 0 and (not stay or wanted == current[demand])
            if allowed and fits(free, link, start[wanted], start[wanted + 1], bandwidth[demand]):
                chosen = wanted
            if chosen < 0 and (turn or at_once):
                chosen = _cheapest(world, free, cost, demand, stay, weight[demand] + slack if turn == 1 else np.inf)
            if chosen >= 0:
                take(free, link, start[chosen], start[chosen + 1], bandwidth[demand])
                genes[demand] = chosen
                moved += current[demand] >= 0 and chosen != current[demand]
            elif required[demand]:
                return False
    return True


def in_order(problem: Problem, way: Ints) -> Ints:
    """A strict plan in which no rejected demand would fit if there were no less important ones: those make room."""
    order = np.lexsort((way < 0, level_of(problem), ~problem.required)).astype(np.int64)
    genes, free = way.copy(), np.empty(problem.links, np.int64)
    decode(world_of(problem), problem.hops.astype(np.float64), order, 0.0, genes, free)
    return genes


@njit("i8(i8[:, ::1], i8, i8)", internal=True)
def _compare(values: Any, one: Any, other: Any) -> Any:
    """The difference of two individuals at the first level where they differ."""
    for level in range(values.shape[1]):
        if values[one, level] != values[other, level]:
            return values[one, level] - values[other, level]
    return np.int64(0)


@njit(
    f"void({WORLD}, {STATE}, {ADVICE}, i8[::1], i8[:, ::1], i8[:, ::1], i8, f8, f8, i8, f8, f8, u8[::1])",
)
def generation(
    world: Any, state: Any, advice: Any, order: Any, people: Any, values: Any, children: Any, mutation: Any,
    slack: Any, steps: Any, hot: Any, cold: Any, seed: Any,
) -> None:  # fmt: skip
    """Fills the last ``children`` rows of ``people`` [individuals, demands] and ``values`` [individuals, levels].

    The others are the parents. Of each child two, each the better of two drawn; genes that they share come first when
    it is decoded, of the others it gets one or the other by the toss of a coin. A mutated gene is drawn anew.
    """
    first, cost = world[3], advice[0]
    parents, demands = people.shape[0] - children, people.shape[1]
    free, turn = np.empty(len(world[0]), np.int64), np.empty(demands, np.int64)
    genes = np.empty(demands, np.int64)
    for child in range(parents, people.shape[0]):
        chosen = np.empty(2, np.int64)
        for number in range(2):
            one, other = np.int64(draw(seed) * parents), np.int64(draw(seed) * parents)
            chosen[number] = one if _compare(values, one, other) >= 0 else other
        mother, father = people[chosen[0]], people[chosen[1]]
        shared, rest = 0, demands
        for demand in order:
            if mother[demand] == father[demand] or world[6][demand] or world[8][1]:
                turn[shared] = demand
                shared += 1
            else:
                rest -= 1
                turn[rest] = demand
        turn[rest:] = turn[rest:][::-1].copy()
        for demand in range(demands):
            genes[demand] = mother[demand] if draw(seed) < 0.5 else father[demand]
            if draw(seed) < mutation:
                genes[demand] = first[demand] - 1 + np.int64(draw(seed) * (first[demand + 1] - first[demand] + 1))
                if genes[demand] < first[demand]:
                    genes[demand] = -1
        if not decode(world, cost, turn, slack, genes, free):
            genes[:] = mother
        load_plan(world, state, genes)
        improve(world, state, advice, steps, hot, cold, seed, people[child], values[child])
