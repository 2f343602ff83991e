"""Compiled loops behind ``models.paths``: distances, path counts, hashed paths, shares, tables.

Forwarding nodes are the contiguous range ``offset..nodes-1`` (all nodes where there are no switches); rows of
``distance``, ``count`` and ``capacity`` are indexed by node - offset. Links of a node: out_link[out_start[v]:...],
ascending. A link into v is the reverse (l ^ 1) of one that leaves it, so no second adjacency is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from models.mix import mix

_GRAPH = "int64, int64[::1], int32[::1], int32[::1], boolean[::1]"  # offset, out_start, out_link, link_dst, up
# and link_rate, distance, capacity, group_of_host
HASHING = f"{_GRAPH}, int64[::1], int16[:, ::1], int64[:, ::1], int32[::1]"
NO_LIMIT = 2**62


@njit(f"void({_GRAPH}, int64[::1], int64[::1], int32[::1], int16[:, ::1])")
def fill_distance(
    offset: Any,
    out_start: Any,
    out_link: Any,
    link_dst: Any,
    up: Any,
    groups: Any,
    seed_start: Any,
    seed_node: Any,
    distance: Any,
) -> None:
    """Hops from every forwarding node to the nearest seed of each of ``groups``, into rows of ``distance``."""
    size = distance.shape[1]
    queue = np.empty(size, np.int64)
    for group in groups:
        row = distance[group]
        row[:] = -1
        head = 0
        tail = 0
        for position in range(seed_start[group], seed_start[group + 1]):
            node = np.int64(seed_node[position]) - offset
            if node >= 0 and row[node] < 0:
                row[node] = 0
                queue[tail] = node
                tail += 1
        while head < tail:
            node = queue[head]
            head += 1
            step = row[node] + 1
            if step > 32766:
                raise ValueError("a shortest path of more than 32766 hops")
            for position in range(out_start[node + offset], out_start[node + offset + 1]):
                link = out_link[position]
                before = np.int64(link_dst[link]) - offset
                if before >= 0 and row[before] < 0 and up[link ^ 1]:
                    row[before] = step
                    queue[tail] = before
                    tail += 1


@njit("int64[::1](int16[::1])")
def by_distance(row: Any) -> Any:
    """Reachable nodes in ascending distance, ties by index."""
    deepest: Any = -1
    for value in row:
        deepest = max(deepest, np.int64(value))
    place = np.zeros(deepest + 2, np.int64)
    for value in row:
        if value >= 0:
            place[value + 1] += 1
    for level in range(deepest + 1):
        place[level + 1] += place[level]
    order = np.empty(place[deepest + 1], np.int64)
    for node in range(len(row)):
        if row[node] >= 0:
            order[place[row[node]]] = node
            place[row[node]] += 1
    return order


@njit(f"void({_GRAPH}, int32[::1], int16[::1], float64[::1])")
def fill_count(
    offset: Any, out_start: Any, out_link: Any, link_dst: Any, up: Any, seeds: Any, row: Any, count: Any
) -> None:
    """Shortest paths from every forwarding node to a host of the group; a seed counts once per link to the host."""
    count[:] = 0.0
    for seed in seeds:
        if seed >= offset:
            count[seed - offset] += 1.0
    for node in by_distance(row):
        due = row[node] - 1
        if due < 0:
            continue
        total = 0.0
        for position in range(out_start[node + offset], out_start[node + offset + 1]):
            link = out_link[position]
            after = np.int64(link_dst[link]) - offset
            if after >= 0 and row[after] == due and up[link]:
                total += count[after]
        count[node] = total


@njit(f"void({_GRAPH}, int64[::1], int32[::1], int64[::1], int16[::1], int64[::1])")
def fill_capacity(
    offset: Any,
    out_start: Any,
    out_link: Any,
    link_dst: Any,
    up: Any,
    link_rate: Any,
    seeds: Any,
    seed_rates: Any,
    row: Any,
    capacity: Any,
) -> None:
    """bit/s that a forwarding node can pass on: the sum over its next links of min(rate, capacity behind it).

    A lone link to the host is left out (it's the same for all paths); several give their rates to their switches.
    """
    capacity[:] = 0
    for position in range(len(seeds)):
        node = np.int64(seeds[position]) - offset
        if node >= 0:
            capacity[node] = NO_LIMIT if len(seeds) == 1 else capacity[node] + seed_rates[position]
    for node in by_distance(row):
        due = row[node] - 1
        if due < 0:
            continue
        total = 0
        for position in range(out_start[node + offset], out_start[node + offset + 1]):
            link = out_link[position]
            after = np.int64(link_dst[link]) - offset
            if after >= 0 and row[after] == due and up[link]:
                total += min(link_rate[link], capacity[after])
        capacity[node] = total


@njit(f"void({_GRAPH}, int64[::1], int16[::1], int64[::1])")
def fill_longest(
    offset: Any, out_start: Any, out_link: Any, link_dst: Any, up: Any, cost: Any, row: Any, longest: Any
) -> None:
    """The dearest shortest path, by the sum of its links' ``cost``, from every forwarding node to its seed."""
    longest[:] = 0
    for node in by_distance(row):
        due = row[node] - 1
        if due < 0:
            continue
        for position in range(out_start[node + offset], out_start[node + offset + 1]):
            link = out_link[position]
            after = np.int64(link_dst[link]) - offset
            if after >= 0 and row[after] == due and up[link]:
                longest[node] = max(longest[node], cost[link] + longest[after])


@njit(f"int64({_GRAPH}, int16[::1], int64, int64)")
def hops_left(
    offset: Any, out_start: Any, out_link: Any, link_dst: Any, up: Any, row: Any, node: Any, host: Any
) -> Any:
    """Hops from any node to the nearest attachment of ``host``: 0 if a link leads to the host itself, -1 if none."""
    if node >= offset:
        return np.int64(row[node - offset])
    best = np.int64(-1)
    for position in range(out_start[node], out_start[node + 1]):
        link = out_link[position]
        if not up[link]:
            continue
        if link_dst[link] == host:
            return np.int64(0)
        after = np.int64(link_dst[link]) - offset
        if after >= 0 and row[after] >= 0 and (best < 0 or row[after] + 1 < best):
            best = np.int64(row[after]) + 1
    return best


@njit("boolean(int64, int32[::1], boolean[::1], int16[::1], int64, int64, int64)")
def leads(offset: Any, link_dst: Any, up: Any, row: Any, link: Any, left: Any, host: Any) -> Any:
    """Whether ``link`` is a next link towards ``host`` for a node that has ``left`` hops to go."""
    if not up[link]:
        return False
    if left == 0:
        return link_dst[link] == host
    after = np.int64(link_dst[link]) - offset
    return after >= 0 and row[after] == left - 1


@njit(f"int32[::1]({_GRAPH}, int16[::1], int64, int64)")
def next_links(
    offset: Any, out_start: Any, out_link: Any, link_dst: Any, up: Any, row: Any, node: Any, host: Any
) -> Any:
    """The candidate links of ``node`` towards ``host``, ascending."""
    left = hops_left(offset, out_start, out_link, link_dst, up, row, node, host)
    found = np.empty(out_start[node + 1] - out_start[node], np.int32)
    total = 0
    if left >= 0:
        for position in range(out_start[node], out_start[node + 1]):
            link = out_link[position]
            if leads(offset, link_dst, up, row, link, left, host):
                found[total] = link
                total += 1
    return found[:total].copy()


@njit(f"Tuple((int32[::1], int64[::1]))({HASHING}, int64[::1], int64[::1], uint64[::1], uint64[::1], boolean)")
def hashed(
    offset: Any,
    out_start: Any,
    out_link: Any,
    link_dst: Any,
    up: Any,
    link_rate: Any,
    distance: Any,
    capacity: Any,
    group_of_host: Any,
    src: Any,
    dst: Any,
    key: Any,
    seeds: Any,
    weighted: Any,
) -> Any:
    """One path a pair, hop by hop: candidate number mix(key ^ seeds[min(hop, last)]) mod n. CSR of links."""
    pairs = len(src)
    start = np.zeros(pairs + 1, np.int64)
    for pair in range(pairs):
        length = np.int64(0)
        if src[pair] != dst[pair]:
            row = distance[group_of_host[dst[pair]]]
            length = hops_left(offset, out_start, out_link, link_dst, up, row, src[pair], dst[pair]) + 1
        start[pair + 1] = start[pair] + length
    links = np.empty(start[pairs], np.int32)
    last = len(seeds) - 1
    for pair in range(pairs):
        node = src[pair]
        host = dst[pair]
        group = group_of_host[host]
        row = distance[group]
        length = start[pair + 1] - start[pair]
        for hop in range(length):
            left = length - 1 - hop
            first = out_start[node]
            end = out_start[node + 1]
            total = np.int64(0)
            for position in range(first, end):
                link = out_link[position]
                if leads(offset, link_dst, up, row, link, left, host):
                    if not weighted:
                        total += 1
                    elif left == 0:
                        total += link_rate[link]
                    else:
                        total += min(link_rate[link], capacity[group, link_dst[link] - offset])
            draw = np.int64(mix(key[pair] ^ seeds[min(hop, last)]) % np.uint64(total))
            for position in range(first, end):
                link = out_link[position]
                if leads(offset, link_dst, up, row, link, left, host):
                    if not weighted:
                        draw -= 1
                    elif left == 0:
                        draw -= link_rate[link]
                    else:
                        draw -= min(link_rate[link], capacity[group, link_dst[link] - offset])
                    if draw < 0:
                        links[start[pair] + hop] = link
                        node = np.int64(link_dst[link])
                        break
    return links, start


@njit(f"Tuple((int32[::1], float64[::1]))({_GRAPH}, int16[::1], float64[::1], int64)")
def spread(offset: Any, out_start: Any, out_link: Any, link_dst: Any, up: Any, row: Any, count: Any, node: Any) -> Any:
    """Share of the shortest paths from a forwarding node to its group that pass each link; ascending by link."""
    mass = np.zeros(len(row))
    frontier = np.empty(len(row), np.int64)
    frontier[0] = node - offset
    mass[node - offset] = 1.0
    head = 0
    tail = 1
    capacity = 64
    links = np.empty(capacity, np.int32)
    share = np.empty(capacity, np.float64)
    total = 0
    while head < tail:
        here = frontier[head]
        head += 1
        due = row[here] - 1
        if due < 0:
            continue
        for position in range(out_start[here + offset], out_start[here + offset + 1]):
            link = out_link[position]
            after = np.int64(link_dst[link]) - offset
            if after < 0 or row[after] != due or not up[link]:
                continue
            part = mass[here] * (count[after] / count[here])
            if mass[after] == 0.0:
                frontier[tail] = after
                tail += 1
            mass[after] += part
            if total == capacity:
                capacity *= 2
                more_links = np.empty(capacity, np.int32)
                more_share = np.empty(capacity, np.float64)
                more_links[:total] = links
                more_share[:total] = share
                links = more_links
                share = more_share
            links[total] = link
            share[total] = part
            total += 1
    order = np.argsort(links[:total], kind="mergesort")
    return links[:total][order], share[:total][order]


@njit(f"Tuple((int64[::1], int32[::1], int64[::1]))({_GRAPH}, int64[::1], int32[::1], int16[:, ::1], float64[:, ::1])")
def tables(
    offset: Any,
    out_start: Any,
    out_link: Any,
    link_dst: Any,
    up: Any,
    seed_start: Any,
    seed_node: Any,
    distance: Any,
    count: Any,
) -> Any:
    """Next links of every (node, group), with the number of shortest paths through each; see ``Tables``."""
    nodes = len(out_start) - 1
    groups = len(seed_start) - 1
    start = np.zeros(nodes * groups + 1, np.int64)
    port = np.empty(0, np.int32)
    weight = np.empty(0, np.int64)
    for filling in range(2):
        total = 0
        for node in range(nodes):
            for group in range(groups):
                start[node * groups + group] = total
                row = distance[group]
                left = np.int64(-1)
                if node >= offset:
                    left = np.int64(row[node - offset])
                else:
                    for position in range(seed_start[group], seed_start[group + 1]):
                        if seed_node[position] == node:
                            left = np.int64(0)
                    if left < 0:
                        left = hops_left(offset, out_start, out_link, link_dst, up, row, node, -1)
                if left <= 0:
                    continue
                paths = 0.0
                first = total
                for position in range(out_start[node], out_start[node + 1]):
                    link = out_link[position]
                    if leads(offset, link_dst, up, row, link, left, -1):
                        if filling:
                            port[total] = link
                            paths += count[group, link_dst[link] - offset]
                        total += 1
                if filling:
                    # beyond 2^53 paths only their proportions are kept
                    scale = 1.0 if paths <= 2.0**53 else 2.0**53 / paths
                    for position in range(first, total):
                        number = count[group, link_dst[port[position]] - offset] * scale
                        weight[position] = max(np.int64(1), np.int64(number))
        start[nodes * groups] = total
        if not filling:
            port = np.empty(total, np.int32)
            weight = np.empty(total, np.int64)
    return start, port, weight
