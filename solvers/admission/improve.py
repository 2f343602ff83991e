"""Local search on a plan, compiled: push a rejected demand in, move or drop who is in its way, fill what is left.

A step takes the most profitable of a few rejected demands drawn at random and the way on which the missing capacity
costs least at the link prices. On each overloaded link demands drawn at random are moved to another way if they fit
there, else the one that loses least profit is dropped, until the link is at its capacity (an ejection chain of one
link). Dropped demands and others take what has become free. The step stays if the plan gained, and with a probability
that falls with the loss if it did not (Metropolis' rule); else it is undone, so the plan is feasible between steps.

Source of the idea: Glover, Ejection chains, reference structures and alternating path methods, 1996; Kirkpatrick,
Gelatt, Vecchi, Optimization by simulated annealing, 1983.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from models.mix import mix
from solvers.admission.decode import WORLD, World, fits, take
from solvers.admission.problem import Ints, Problem
from solvers.admission.profit import Floats, cost_of_ways

_DRAWN = 4  # rejected demands of which the most profitable is pushed in
_ASKED = 12  # demands on an overloaded link that are asked to leave it
_LONGEST = 60  # changes until a step is given up
_FILLERS = 100  # ways over a freed link that are tried, the most profitable first
_TINY = 1e-13  # price of a bit/s on a link that has none, so that less missing capacity is better

# way, free; users by link: entries, begin, number, place of each entry; demand of each entry; the rejected, the place
# of each; changes: demand, way before; level, gain by demand, sum of gains by level; rejected, moved, changes
STATE = (
    "Tuple((i8[::1], i8[::1], i4[::1], i8[::1], i8[::1], i4[::1], i4[::1], i4[::1], i4[::1], i4[::1], i8[::1],"
    " i8[::1], i8[::1], i8[::1], i8[::1]))"
)
# cost of each way, price of each link, begin of the ways over each link, those ways
ADVICE = "Tuple((f8[::1], f8[::1], i8[::1], i4[::1]))"
State = tuple[Any, ...]
Advice = tuple[Any, ...]


def state_of(problem: Problem, level: Ints, gain: Ints) -> State:
    """The state without any admitted demand. ``level`` and ``gain`` [demands]: where and how much one counts."""
    demands, links, cells = problem.demands, problem.links, len(problem.link)
    demand = np.repeat(problem.demand_of, problem.hops)
    pairs = np.unique(problem.link.astype(np.int64) * max(1, demands) + demand)
    users = np.bincount(pairs // max(1, demands), minlength=links)
    begin = np.concatenate(([0], np.cumsum(users))).astype(np.int64)
    everybody, longest = np.arange(demands, dtype=np.int32), 2 * demands + _LONGEST + 8
    return (
        np.full(demands, -1, np.int64), problem.capacity.copy(), np.zeros(len(pairs), np.int32), begin,
        np.zeros(links, np.int64), np.zeros(cells, np.int32), demand.astype(np.int32), everybody, everybody.copy(),
        np.zeros(longest, np.int32), np.zeros(longest, np.int64), level, gain,
        np.zeros(int(level.max(initial=0)) + 1, np.int64), np.array([demands, 0, 0], np.int64),
    )  # fmt: skip


def advice_of(problem: Problem, world: World, price: Floats) -> Advice:
    """What prices [links] say about the ways of a problem with the weights of ``world``."""
    cost = cost_of_ways(problem, price)
    profit = (world[2][problem.demand_of] - cost) / problem.bandwidth[problem.demand_of]
    way = np.repeat(np.arange(problem.ways, dtype=np.int32), problem.hops)
    over = way[np.lexsort((-profit[way], problem.link))]
    begin = np.concatenate(([0], np.cumsum(np.bincount(problem.link, minlength=problem.links)))).astype(np.int64)
    return cost, price, begin, over


@njit("f8(u8[::1])", inline=True)
def draw(seed: Any) -> Any:
    """A number in [0, 1); ``seed`` [1] moves on."""
    seed[0] += np.uint64(0x9E3779B97F4A7C15)
    return (mix(seed[0]) >> np.uint64(11)) * 1.1102230246251565e-16


@njit(f"void({WORLD}, {STATE}, i8, i8, b1)", internal=True)
def _change(world: Any, state: Any, demand: Any, new: Any, note: Any) -> None:
    """Puts a demand on another way, -1: on none; noted, it can be undone."""
    _, bandwidth, _, _, start, link, _, current, _ = world
    way, free, users, begin, number, place, _, out, place_out, changed, before, level, gain, value, sizes = state
    old, size = way[demand], bandwidth[demand]
    if note:
        changed[sizes[2]], before[sizes[2]] = demand, old
        sizes[2] += 1
    if old >= 0:
        for at in range(start[old], start[old + 1]):
            on = link[at]
            free[on] += size
            number[on] -= 1
            last = users[begin[on] + number[on]]
            users[begin[on] + place[at]], place[last] = last, place[at]
        sizes[1] -= current[demand] >= 0 and current[demand] != old
    if new >= 0:
        for at in range(start[new], start[new + 1]):
            on = link[at]
            free[on] -= size
            users[begin[on] + number[on]], place[at] = at, number[on]
            number[on] += 1
        sizes[1] += current[demand] >= 0 and current[demand] != new
    way[demand] = new
    if old < 0 <= new:
        value[level[demand]] += gain[demand]
        sizes[0] -= 1
        last = out[sizes[0]]
        out[place_out[demand]], place_out[last] = last, place_out[demand]
    elif new < 0 <= old:
        value[level[demand]] -= gain[demand]
        out[sizes[0]], place_out[demand] = demand, sizes[0]
        sizes[0] += 1


@njit(f"void({WORLD}, {STATE}, i8[::1])")
def load_plan(world: Any, state: Any, plan: Any) -> None:
    """Makes ``plan`` [demands] the state's."""
    for demand in range(len(plan)):
        if state[0][demand] != plan[demand]:
            _change(world, state, demand, plan[demand], False)


@njit(f"i8({WORLD}, {STATE}, i8, u8[::1])", internal=True)
def _elsewhere(world: Any, state: Any, demand: Any, seed: Any) -> Any:
    """Another way of a demand that fits, the first from one drawn at random on; -1 if there is none."""
    _, bandwidth, _, first, start, link, _, _, _ = world
    way, free = state[0], state[1]
    old, size, ways = way[demand], bandwidth[demand], first[demand + 1] - first[demand]
    if old >= 0:
        take(free, link, start[old], start[old + 1], -size)
    found, shift = np.int64(-1), np.int64(draw(seed) * ways)
    for turn in range(ways):
        other = first[demand] + (turn + shift) % ways
        if other != old and fits(free, link, start[other], start[other + 1], size):
            found = other
            break
    if old >= 0:
        take(free, link, start[old], start[old + 1], size)
    return found


@njit(f"i8({WORLD}, {STATE}, {ADVICE}, u8[::1])", internal=True)
def _newcomer(world: Any, state: Any, advice: Any, seed: Any) -> Any:
    """The way to push in: of the most profitable of some rejected demands that on which it costs least; or -1."""
    capacity, bandwidth, weight, first, start, link, _, _, _ = world
    free, out, sizes = state[1], state[7], state[14]
    cost, price, _, _ = advice
    demand, most = np.int64(-1), -np.inf
    for _ in range(_DRAWN):
        drawn = np.int64(out[np.int64(draw(seed) * sizes[0])])
        for way in range(first[drawn], first[drawn + 1]):
            profit = (weight[drawn] - cost[way]) / bandwidth[drawn]
            if profit > most:
                demand, most = drawn, profit
    if demand < 0:
        return np.int64(-1)
    best, least, size = -1, np.inf, bandwidth[demand]
    for way in range(first[demand], first[demand + 1]):
        lacking, possible = 0.0, True
        for at in range(start[way], start[way + 1]):
            on = link[at]
            possible &= capacity[on] >= size
            lacking += (price[on] + _TINY) * max(0, size - free[on])
        lacking *= 0.5 + draw(seed)
        if possible and lacking < least:
            best, least = way, lacking
    return best


@njit(f"b1({WORLD}, {STATE}, {ADVICE}, i8, i8, u8[::1])", internal=True)
def _clear(world: Any, state: Any, advice: Any, on: Any, newcomer: Any, seed: Any) -> Any:
    """Moves or drops demands until a link is not overloaded; whether that succeeded."""
    _, bandwidth, weight, _, _, _, required, _, (_, strict) = world
    way, free, users, begin, number, _, demand_of, _, _, _, _, level, _, _, _ = state
    cost, price, _, _ = advice
    while free[on] < 0:
        victim, to, least = np.int64(-1), np.int64(-1), np.inf
        for _ in range(_ASKED):
            asked = np.int64(demand_of[users[begin[on] + np.int64(draw(seed) * number[on])]])
            if asked == newcomer:
                continue
            to = _elsewhere(world, state, asked, seed)
            if to >= 0:
                victim = asked
                break
            if required[asked] or (strict and level[asked] < level[newcomer]):
                continue
            loss = weight[asked] - cost[way[asked]] + price[on] * max(0, -free[on] - bandwidth[asked])
            if loss < least:
                victim, least = asked, loss
        if victim < 0 or state[14][2] >= _LONGEST:
            return False
        _change(world, state, victim, to, True)
    return True


@njit(f"void({WORLD}, {STATE}, {ADVICE}, i8, u8[::1])", internal=True)
def _fill(world: Any, state: Any, advice: Any, smallest: Any, seed: Any) -> None:
    """Those that were dropped go elsewhere if they can, the most profitable rejected ones where room was made."""
    _, bandwidth, _, _, start, link, _, _, _ = world
    way, free, _, _, _, _, demand_of, _, _, changed, before, _, _, _, sizes = state
    _, _, first_over, over = advice
    changes = sizes[2]
    for number in range(changes - 1, 0, -1):
        demand = np.int64(changed[number])
        if way[demand] < 0:
            other = _elsewhere(world, state, demand, seed)
            if other >= 0:
                _change(world, state, demand, other, True)
    for number in range(changes):
        if before[number] < 0:
            continue
        for at in range(start[before[number]], start[before[number] + 1]):
            on = link[at]
            for index in range(first_over[on], min(first_over[on + 1], first_over[on] + _FILLERS)):
                if free[on] < smallest:
                    break
                other = np.int64(over[index])
                demand = np.int64(demand_of[start[other]])
                size = bandwidth[demand]
                if way[demand] < 0 and size <= free[on] and fits(free, link, start[other], start[other + 1], size):
                    _change(world, state, demand, other, True)


@njit(f"i8({STATE}, i8[::1])", internal=True)
def _better(state: Any, than: Any) -> Any:
    """The difference of the values at the first level where they differ, 0 if they are equal."""
    value = state[13]
    for level in range(len(than)):
        if value[level] != than[level]:
            return value[level] - than[level]
    return np.int64(0)


@njit(f"void({WORLD}, {STATE}, {ADVICE}, i8, f8, f8, u8[::1], i8[::1], i8[::1])")
def improve(
    world: Any, state: Any, advice: Any, steps: Any, hot: Any, cold: Any, seed: Any, best: Any, best_value: Any
) -> None:
    """``steps`` from the state's plan on; the best plan on the way [demands] and its value [levels] go to ``best``.

    ``hot``, ``cold``: the loss of weight that is accepted with a probability of 1/e at first and at last.
    """
    bandwidth, start, link, moves = world[1], world[4], world[5], world[8][0]
    way, changed, before, value, sizes = state[0], state[9], state[10], state[13], state[14]
    best[:] = way
    best_value[:] = value
    was = value.copy()
    smallest = np.min(bandwidth)
    for step in range(steps):
        if sizes[0] == 0:
            break
        sizes[2] = 0
        to = _newcomer(world, state, advice, seed)
        if to < 0:
            continue
        demand = np.int64(state[6][start[to]])
        was[:] = value
        _change(world, state, demand, to, True)
        cleared = True
        for at in range(start[to], start[to + 1]):
            cleared = cleared and _clear(world, state, advice, np.int64(link[at]), demand, seed)
        if cleared:
            _fill(world, state, advice, smallest, seed)
        won = _better(state, was)
        limit = hot * (cold / hot) ** (step / steps)
        if not cleared or 0 <= moves < sizes[1] or (won < 0 and draw(seed) >= np.exp(won / limit)):
            for number in range(sizes[2] - 1, -1, -1):
                _change(world, state, np.int64(changed[number]), before[number], False)
        elif won > 0 and _better(state, best_value) > 0:
            best[:] = way
            best_value[:] = value
