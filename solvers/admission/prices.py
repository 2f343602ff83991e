"""Link prices by Lagrangian relaxation: a bound on every plan and what capacity is worth, much sooner than by an LP.

With a price on every link instead of its capacity each demand decides alone: it takes its cheapest way if its weight
is more than the price. For any prices the sum of these profits and of what the capacities are worth is a bound; the
best one equals that of the LP. Prices follow the overload (subgradient with Polyak's step towards a known plan,
smoothed direction, shorter steps where nothing is won), and the mean of the decisions tends to a solution of the LP.

Sources: Held, Wolfe, Crowder, Validation of subgradient optimization, 1974; Barahona, Anbil, The volume algorithm,
2000 (the mean).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from solvers.admission.decode import WORLD, fits

_SMOOTH = 0.3  # part of the newest overload in the direction
_MEAN = 0.05  # part of the newest decision in the mean
_PATIENCE = 15  # rounds without a better bound until steps are shortened
_SHORTER = 0.6
_SHORTEST = 1e-4
_SAFE = 1e-9  # relative: sums of this length in floating point are off by less


@njit(f"f8({WORLD}, f8[::1], f8, i8, f8[::1], f8[::1])")
def descend(world: Any, worth: Any, target: Any, rounds: Any, price: Any, share: Any) -> Any:
    """The bound on the sum of ``worth`` [demands]; ``price`` [links], given a start, becomes the prices of it.

    ``target``: the worth of a known plan. ``share`` [ways]: the mean decision.
    """
    capacity, bandwidth, _, first, start, link, required, current, (moves, _) = world
    links, demands = len(capacity), len(bandwidth)
    possible = np.ones(len(start) - 1, np.bool_)  # whole on its way: a link that is too small is none
    for demand in range(demands):
        for way in range(first[demand], first[demand + 1]):
            possible[way] = fits(capacity, link, start[way], start[way + 1], bandwidth[demand]) and (
                moves != 0 or current[demand] < 0 or way == current[demand]
            )
    now, load, pick = price.copy(), np.empty(links), np.empty(demands, np.int64)
    direction, scale = np.zeros(links), np.sqrt(np.maximum(capacity, 1))
    best, length, since = np.inf, 1.0, 0
    for turn in range(rounds):
        value = 0.0
        for index in range(links):
            value += now[index] * capacity[index]
        load[:] = 0.0
        for demand in range(demands):
            size = bandwidth[demand]
            profit, chosen = -np.inf, -1
            for way in range(first[demand], first[demand + 1]):
                if not possible[way]:
                    continue
                cost = 0.0
                for at in range(start[way], start[way + 1]):
                    cost += now[link[at]]
                if worth[demand] - size * cost > profit:
                    profit, chosen = worth[demand] - size * cost, way
            if chosen >= 0 and (profit > 0.0 or required[demand]):
                value += profit
                for at in range(start[chosen], start[chosen + 1]):
                    load[link[at]] += size
            else:
                chosen = -1
            pick[demand] = chosen
        share *= 1.0 - _MEAN if turn else 0.0
        for demand in range(demands):
            if pick[demand] >= 0:
                share[pick[demand]] += _MEAN if turn else 1.0
        since = 0 if value < best * (1.0 - 1e-4) else since + 1
        if value < best:
            best = value
            price[:] = now
        if since >= _PATIENCE:
            length, since = length * _SHORTER, 0
            now[:] = price
            if length < _SHORTEST:
                break
        norm = 0.0
        for index in range(links):
            over = (load[index] - capacity[index]) / scale[index]
            direction[index] += (_SMOOTH if turn else 1.0) * (over - direction[index])
            if now[index] > 0.0 or direction[index] > 0.0:
                norm += direction[index] ** 2
        if norm == 0.0:
            break
        step = length * max(value - target, 1e-3 * value) / norm
        for index in range(links):
            now[index] = max(0.0, now[index] + step * direction[index] / scale[index])
    return best * (1.0 + _SAFE)
