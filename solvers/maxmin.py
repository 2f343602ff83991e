"""Weighted max-min fair rates with fixed splits and caps, by progressive filling.

Given links l with capacity c_l >= 0 and flows f with weight w_f > 0, cap k_f > 0 (inf: none) and a fixed split
a_fl > 0 (the part of the flow that crosses link l), the rates x_f >= 0 are the unique vector with

    sum over f of a_fl x_f <= c_l        for every link l
    x_f <= k_f                           for every flow f

in which no x_f / w_f can grow without making some x_g / w_g smaller that is not larger. Equivalently every flow has a
bottleneck: it is at its cap, or it crosses a full link on which no flow has a higher level x / w.

All levels rise together from 0. A link fills up at (c_l - load of the frozen flows) / (weight of the rising ones);
that level never falls as flows freeze elsewhere, so a heap of links with lower bounds gives the next one. The solver
knows nothing of networks: units are the caller's.

Source: D. Bertsekas, R. Gallager, Data Networks, 2nd ed., section 6.5.2 (the filling), extended to weights and splits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.jit import njit

_STALE = 1e-15  # a bound closer than this (relative) to the link's level is its level


@njit("void(f8[:, ::1], i8, i8, f8)")
def _add(sums: NDArray[np.float64], link: int, column: int, x: float) -> None:
    """sums[link, column] += x in double-double, the low part one column on: what was added can be taken away again."""
    high, low = sums[link, column], sums[link, column + 1]
    total = high + x
    back = total - high
    low += (high - (total - back)) + (x - back)
    result = total + low
    sums[link, column] = result
    sums[link, column + 1] = low - (result - total)


@njit("void(f8[::1], i8[::1], i8, i8)")
def _sift(keys: NDArray[np.float64], items: NDArray[np.int64], size: int, position: int) -> None:
    key, item = keys[position], items[position]
    while True:
        child = 2 * position + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[position], items[position] = keys[child], items[child]
        position = child
    keys[position], items[position] = key, item


@njit("Tuple((i8[::1], i4[::1]))(i8, i8[::1], i4[::1])")
def _transpose(
    links: int, start: NDArray[np.int64], link: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """CSR over links of the flows that cross them."""
    begin = np.zeros(links + 1, dtype=np.int64)
    for at in range(link.size):
        begin[link[at] + 1] += 1
    for index in range(links):
        begin[index + 1] += begin[index]
    filled = begin[:-1].copy()
    flow_of = np.empty(link.size, dtype=np.int32)
    for flow in range(start.size - 1):
        for at in range(start[flow], start[flow + 1]):
            flow_of[filled[link[at]]] = flow
            filled[link[at]] += 1
    return begin, flow_of


@njit("f8[::1](f8[::1], i8[::1], i4[::1], f8[::1], f8[::1], f8[::1])")
def rates(
    capacity: NDArray[np.float64],
    start: NDArray[np.int64],
    link: NDArray[np.int32],
    share: NDArray[np.float64],
    weight: NDArray[np.float64],
    cap: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[flows] rates. Flow f crosses link[start[f]:start[f+1]] with the shares beside them (each link once).

    A flow without links gets its cap, a flow over a link without capacity gets 0.
    """
    links, flows = capacity.size, start.size - 1
    begin, flow_of = _transpose(links, start, link)
    sums = np.zeros((links, 4))  # weight of the rising flows, load of the frozen ones
    rising = begin[1:] - begin[:-1]
    for flow in range(flows):
        for at in range(start[flow], start[flow + 1]):
            _add(sums, link[at], 0, share[at] * weight[flow])
    keys, items = np.empty(links + flows), np.empty(links + flows, dtype=np.int64)
    size = 0
    for index in range(links):
        if rising[index] > 0:
            keys[size], items[size] = capacity[index] / sums[index, 0], index
            size += 1
    for flow in range(flows):
        if cap[flow] < np.inf or start[flow] == start[flow + 1]:
            keys[size], items[size] = cap[flow] / weight[flow], links + flow
            size += 1
    for position in range(size // 2 - 1, -1, -1):
        _sift(keys, items, size, position)
    result = np.full(flows, -1.0)
    one = np.zeros(1, dtype=np.int32)
    left = flows
    while left > 0:
        key, item = keys[0], items[0]
        frozen = one[:0]
        if item < links and rising[item] > 0:
            level = max((capacity[item] - sums[item, 2]) - sums[item, 3], 0.0) / sums[item, 0]
            if level > key * (1.0 + _STALE):
                keys[0] = level
                _sift(keys, items, size, 0)
                continue
            key = level
            frozen = flow_of[begin[item] : begin[item + 1]]
        elif item >= links and result[item - links] < 0.0:
            one[0] = item - links
            frozen = one
        for flow in frozen:
            if result[flow] >= 0.0:
                continue
            rate = cap[flow] if item >= links else key * weight[flow]
            result[flow] = rate
            left -= 1
            for at in range(start[flow], start[flow + 1]):
                index = link[at]
                _add(sums, index, 2, share[at] * rate)
                _add(sums, index, 0, -share[at] * weight[flow])
                rising[index] -= 1
        size -= 1
        keys[0], items[0] = keys[size], items[size]
        _sift(keys, items, size, 0)
    return result
