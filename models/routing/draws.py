"""Draws of K distinct experts by weight, compiled, and the scores that go with them.

A token's experts are drawn one after the other, each with probability proportional to its weight among those left
(successive sampling). The K largest of log(weight) + Gumbel noise have the same distribution (Yellott, J. Math. Psych.
15, 1977), so the scores of a gate are made that way. A draw takes Walker's alias table and rejects what the token has;
after a few rejections it goes through the experts that are left.

Group-limited routing: only experts of the first G groups to come up are taken, which is the same as keeping the G
groups with the best expert each. Source: DeepSeek-V2, arXiv 2405.04434; DeepEP's tests draw so, too. (DeepSeek-V3
ranks groups by the sum of their two best.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.jit import njit
from models.mix import mix

_STEP = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_UNIT = 2.0**-53
_TRIES = 6  # rejected draws before the exact way


@njit("Tuple((uint32[::1], int32[::1]))(float64[::1])", internal=True)
def alias(weights: Any) -> Any:
    """Walker's table in Vose's construction: keep expert i below threshold[i], else take other[i]."""
    experts = len(weights)
    scaled = weights * (experts / weights.sum())
    threshold = np.full(experts, 0xFFFFFFFF, dtype=np.uint32)
    other = np.arange(experts).astype(np.int32)
    small = np.empty(experts, dtype=np.int64)
    large = np.empty(experts, dtype=np.int64)
    smalls = larges = 0
    for expert in range(experts):
        if scaled[expert] < 1.0:
            small[smalls] = expert
            smalls += 1
        else:
            large[larges] = expert
            larges += 1
    while smalls > 0 and larges > 0:
        smalls -= 1
        low, high = small[smalls], large[larges - 1]
        threshold[low] = np.uint32(scaled[low] * 4294967295.0)
        other[low] = high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            larges -= 1
            small[smalls] = high
            smalls += 1
    return threshold, other


@njit("int64(float64[::1], int64[::1], int32[::1], int64, float64)", internal=True)
def _exact(weights: Any, order: Any, taken: Any, number: Any, uniform: Any) -> Any:
    """One expert by weight among those not in taken[:number]; ``order`` has the heaviest first, to end early."""
    whole = weights.sum()
    total = whole
    for slot in range(number):
        total -= weights[taken[slot]]
    if total < 1e-6 * whole:  # lost in rounding: the light ones added up
        total = 0.0
        for expert in order[::-1]:
            free = True
            for slot in range(number):
                if taken[slot] == expert:
                    free = False
            if free:
                total += weights[expert]
    left, last = uniform * total, np.int64(-1)
    for expert in order:
        free = True
        for slot in range(number):
            if taken[slot] == expert:
                free = False
        if free:
            last = expert
            left -= weights[expert]
            if left < 0.0:
                break
    return last


@njit("int32[:, ::1](float64[::1], int64, int64, uint64)")
def draw(weights: Any, tokens: Any, top_k: Any, seed: Any) -> Any:
    """[tokens, top_k] distinct experts, drawn by ``weights`` [N] (all above 0; top_k <= N) from a 64-bit seed."""
    threshold, other = alias(weights)
    experts = np.uint64(len(weights))
    order = np.argsort(-weights)
    result = np.empty((tokens, top_k), dtype=np.int32)
    state = mix(seed)
    for token in range(tokens):
        row = result[token]
        for slot in range(top_k):
            chosen = np.int64(-1)
            for _ in range(_TRIES):
                state += _STEP
                word = mix(state)
                cell = np.int64(((word >> _HALF) * experts) >> _HALF)
                expert = np.int64(cell if (word & _LOW) <= np.uint64(threshold[cell]) else other[cell])
                fresh = True
                for earlier in range(slot):
                    if row[earlier] == expert:
                        fresh = False
                        break
                if fresh:
                    chosen = expert
                    break
            if chosen < 0:
                state += _STEP
                chosen = _exact(weights, order, row, slot, (mix(state) >> np.uint64(11)) * _UNIT)
            row[slot] = chosen
    return result


@njit("void(float64[::1], float64[::1], uint64)", internal=True)
def _noisy(logs: Any, row: Any, state: Any) -> Any:
    """log(weight) + standard Gumbel noise of every expert into ``row``."""
    for expert in range(len(logs)):
        word = mix(state + _STEP * np.uint64(expert + 1))
        uniform = ((word >> np.uint64(11)) + 0.5) * _UNIT
        row[expert] = logs[expert] - np.log(-np.log(uniform))


@njit("void(float64[::1], float32[::1])", internal=True)
def _softmax(row: Any, into: Any) -> Any:
    highest = row.max()
    total = 0.0
    for expert in range(len(row)):
        row[expert] = np.exp(row[expert] - highest)
        total += row[expert]
    for expert in range(len(row)):
        into[expert] = max(np.float32(row[expert] / total), np.float32(1e-30))


@njit("float32[:, ::1](float64[::1], int64, uint64)")
def drawn_scores(weights: Any, tokens: Any, seed: Any) -> Any:
    """[tokens, N] softmax of log(weight) + Gumbel noise: its K largest are distributed as ``draw``'s experts."""
    logs = np.log(weights)
    scores = np.empty((tokens, len(weights)), dtype=np.float32)
    row = np.empty(len(weights))
    state = mix(seed)
    for token in range(tokens):
        state = mix(state + _STEP)
        _noisy(logs, row, state)
        _softmax(row, scores[token])
    return scores


@njit("float32[:, ::1](float64[::1], int32[:, ::1], uint64)")
def given_scores(weights: Any, choices: Any, seed: Any) -> Any:
    """[T, N] rows as of ``drawn_scores``, exchanged so that the experts of ``choices`` [T, K] have the largest.

    The first choice gets the largest, and so on; experts that move down take the place of those that move up.
    """
    logs = np.log(weights)
    scores = np.empty((len(choices), len(weights)), dtype=np.float32)
    row = np.empty(len(weights))
    state = mix(seed)
    for token in range(len(choices)):
        state = mix(state + _STEP)
        _noisy(logs, row, state)
        number = 0
        for slot in range(choices.shape[1]):
            wanted = choices[token, slot]
            done = False
            for earlier in range(slot):
                if choices[token, earlier] == wanted:
                    done = True
            if done:
                continue
            number += 1
            best = wanted
            for expert in range(len(row)):
                if row[expert] > row[best]:
                    placed = False
                    for earlier in range(slot):
                        if choices[token, earlier] == expert:
                            placed = True
                    if not placed:
                        best = expert
            row[wanted], row[best] = row[best], row[wanted]
        _softmax(row, scores[token])
    return scores


def seed_of(rng: np.random.Generator) -> np.uint64:
    """A 63-bit word for the kernels of this file."""
    return np.uint64(rng.integers(2**63))


def weights_for(shares: NDArray[np.float64], top_k: int) -> NDArray[np.float64]:
    """[N] weights under which ``draw`` gives expert i to a token with probability shares[i] * K, as exactly as floats.

    ``shares`` [N] sum to 1 and are at most 1 / K each. Drawing by the shares themselves would flatten them: an expert
    that is chosen often can't be chosen twice. Solved by iteration on the probabilities of ``inclusion``; an expert of
    share 0 gets a weight that is never drawn in practice, one of share 1 / K one that is always drawn.
    """
    wanted = np.clip(shares * top_k, 1e-9, 1 - 1e-6)
    if top_k == 1:
        return np.asarray(wanted / wanted.sum())
    aim = -np.log1p(-wanted)
    rates = aim.copy()
    for _ in range(60):
        reached = np.clip(inclusion(rates, top_k), 1e-12, 1 - 1e-12)
        if np.abs(reached - wanted).max() < 1e-5:
            break
        rates *= aim / -np.log1p(-reached)
    return np.asarray(rates / rates.sum())


@njit("float64[::1](float64[::1], int64)")
def inclusion(weights: Any, top_k: Any) -> Any:
    """[N] probability that a token has each expert when K are drawn by ``weights`` one after the other.

    Experts arrive at exponential times with their weights as rates, and the first K are taken: expert i's is the
    integral over its arrival time t of P(fewer than K of the others arrived before t), here by the midpoint rule.
    """
    experts = len(weights)
    chance = np.zeros(experts)
    if top_k >= experts:
        return np.ones(experts)
    # time at which K arrivals are expected, by bisection: the scale of the integral
    low, high = 0.0, 1.0
    while np.sum(-np.expm1(-weights * high)) < top_k:
        high *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if np.sum(-np.expm1(-weights * middle)) < top_k:
            low = middle
        else:
            high = middle
    points = 200
    farthest = 8.0 * high
    below = np.zeros(top_k)  # probability of 0..K-1 arrivals among the experts seen
    for point in range(points):
        # denser at the start, where most happens: t = farthest * x**2
        x = (point + 0.5) / points
        time = farthest * x * x
        step = farthest * 2.0 * x / points
        for own in range(experts):
            below[:] = 0.0
            below[0] = 1.0
            for other in range(experts):
                if other == own:
                    continue
                arrived = -np.expm1(-weights[other] * time)
                for number in range(top_k - 1, 0, -1):
                    below[number] += arrived * (below[number - 1] - below[number])
                below[0] *= 1.0 - arrived
            chance[own] += weights[own] * np.exp(-weights[own] * time) * step * below.sum()
    return chance
