"""Compiled searches behind ``models.candidates``: k shortest simple paths and the cheapest pair of disjoint ones.

Paths are ordered by (cost, hops, link indices), so that no two are equal and results do not depend on how they are
found. A node forwards if its index is at least ``offset``; links of a node are ``out_link[out_start[v]:...]``, and link
``l ^ 1`` is the other direction of the cable of ``l``.

networkx's ``shortest_simple_paths`` is the second way of the tests. For 8 paths of each of 1,397 pairs in a network of
50 nodes it takes 1.2 s of CPU time by hops and 10 s by delay, these kernels 0.4 s; and it knows neither parallel cables
nor disjoint pairs.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

import numpy as np

from models.jit import njit

FAR = 2**62
_GRAPH = "int64, int64[::1], int32[::1], int32[::1], int64[::1]"  # offset, out_start, out_link, link_dst, cost
_SEARCH = f"{_GRAPH}, boolean[::1], boolean[::1], int64, int64"  # and usable links, closed nodes, src, dst


@njit(f"void({_SEARCH}, boolean, int64[::1], int64[::1])")
def _fill(
    offset: Any,
    out_start: Any,
    out_link: Any,
    link_dst: Any,
    cost: Any,
    usable: Any,
    closed: Any,
    src: Any,
    dst: Any,
    whole: Any,
    far: Any,
    hops: Any,
) -> None:
    """Cost and hops to ``dst`` of every node (``whole``) or of those that a path from ``src`` needs, by Dijkstra."""
    nodes = len(out_start) - 1
    far[:] = FAR
    hops[:] = nodes + 1
    done = np.zeros(nodes, np.bool_)
    far[dst] = 0
    hops[dst] = 0
    heap = [(np.int64(0), np.int64(0), np.int64(dst))]
    while len(heap) > 0:
        length, steps, node = heappop(heap)
        if done[node]:
            continue
        done[node] = True
        if node == src and not whole:
            break
        for position in range(out_start[node], out_start[node + 1]):
            link = out_link[position] ^ 1  # leads here from ``before``
            before = np.int64(link_dst[out_link[position]])
            if not usable[link] or closed[before] or done[before] or (before < offset and before != src):
                continue
            new = length + cost[link]
            if new < far[before] or (new == far[before] and steps + 1 < hops[before]):
                far[before] = new
                hops[before] = steps + 1
                heappush(heap, (new, steps + 1, before))


@njit(f"int32[::1]({_SEARCH}, int64[::1], int64[::1])")
def _walk(
    offset: Any,
    out_start: Any,
    out_link: Any,
    link_dst: Any,
    cost: Any,
    usable: Any,
    closed: Any,
    src: Any,
    dst: Any,
    far: Any,
    hops: Any,
) -> Any:
    """The first path to ``dst`` by (cost, hops, links) that costs what ``far`` and ``hops`` of the next node say.

    Only the first link must be ``usable``: the others are where the distances come from. Empty: no link leads on, or
    the path meets a closed node or its begin.
    """
    first = np.int64(-1)
    least, fewest = np.int64(FAR), np.int64(0)
    for position in range(out_start[src], out_start[src + 1]):
        link = out_link[position]
        after = np.int64(link_dst[link])
        if not usable[link] or closed[after] or far[after] == FAR or (after < offset and after != dst):
            continue
        new = far[after] + cost[link]
        if new < least or (new == least and hops[after] < fewest):
            first, least, fewest = np.int64(link), new, hops[after]
    if first < 0:
        return np.empty(0, np.int32)
    path = np.empty(fewest + 1, np.int32)
    path[0] = first
    node = np.int64(link_dst[first])
    for hop in range(1, len(path)):
        for position in range(out_start[node], out_start[node + 1]):
            link = out_link[position]
            after = np.int64(link_dst[link])
            if usable[link] and far[after] + cost[link] == far[node] and hops[after] + 1 == hops[node]:
                path[hop] = link
                node = after
                break
        if closed[node] or node == src:
            return np.empty(0, np.int32)
    return path


@njit(f"int32[::1]({_SEARCH})")
def shortest(
    offset: Any, out_start: Any, out_link: Any, link_dst: Any, cost: Any, usable: Any, closed: Any, src: Any, dst: Any
) -> Any:
    """The first path by (cost, hops, links) over ``usable`` links that passes no ``closed`` node; empty: there is none.

    ``src`` and ``dst`` differ.
    """
    far = np.empty(len(out_start) - 1, np.int64)
    hops = np.empty(len(out_start) - 1, np.int64)
    _fill(offset, out_start, out_link, link_dst, cost, usable, closed, src, dst, False, far, hops)
    return _walk(offset, out_start, out_link, link_dst, cost, usable, closed, src, dst, far, hops)


@njit("boolean(int64, int32[::1], int64, int32[::1])")
def _before(cost_a: Any, path_a: Any, cost_b: Any, path_b: Any) -> Any:
    """Whether path a comes before path b."""
    if cost_a != cost_b:
        return cost_a < cost_b
    if len(path_a) != len(path_b):
        return len(path_a) < len(path_b)
    for hop in range(len(path_a)):
        if path_a[hop] != path_b[hop]:
            return path_a[hop] < path_b[hop]
    return False


@njit("int64(int32[:, ::1], int64[::1], int64[::1])")
def _next_of(waiting: Any, size: Any, price: Any) -> Any:
    """The row of the first of the waiting paths, -1 if all are taken."""
    best = -1
    for row in range(len(waiting)):
        if size[row] > 0 and (
            best < 0 or _before(price[row], waiting[row, : size[row]], price[best], waiting[best, : size[best]])
        ):
            best = row
    return best


@njit(f"Tuple((int32[::1], int64[::1]))({_GRAPH}, boolean[::1], int64, int64, int64)")
def k_shortest(
    offset: Any, out_start: Any, out_link: Any, link_dst: Any, cost: Any, up: Any, src: Any, dst: Any, k: Any
) -> Any:
    """(links, start): the first k simple paths, path i being links[start[i] : start[i + 1]].

    Yen 1971, with Lawler's rule (1972): a path that left its parent at a node is varied from that node on. Most
    variations go on along the distances of the whole network, and only where these lead back is there a search.
    """
    nodes = len(out_start) - 1
    usable = up.copy()
    closed = np.zeros(nodes, np.bool_)
    start = np.zeros(k + 1, np.int64)
    links = np.empty(16 * k, np.int32)
    room = 8 * k
    waiting = np.empty((room, nodes), np.int32)  # paths that are known and not yet taken
    size = np.zeros(room, np.int64)  # 0: taken
    price = np.zeros(room, np.int64)
    branch = np.zeros(room, np.int64)  # the hop at which it left its parent
    number = 0
    far = np.empty(nodes, np.int64)
    hops = np.empty(nodes, np.int64)
    _fill(offset, out_start, out_link, link_dst, cost, usable, closed, src, dst, True, far, hops)
    first = _walk(offset, out_start, out_link, link_dst, cost, usable, closed, src, dst, far, hops)
    if len(first) > 0:
        waiting[0, : len(first)] = first
        size[0] = len(first)
        price[0] = cost[first].sum()
        number = 1
    found = 0
    while found < k:
        best = _next_of(waiting[:number], size, price)
        if best < 0:
            break
        path = waiting[best, : size[best]].copy()
        left_at = branch[best]
        size[best] = 0
        end = start[found] + len(path)
        if end > len(links):
            longer = np.empty(2 * end, np.int32)
            longer[: start[found]] = links[: start[found]]
            links = longer
        links[start[found] : end] = path
        found += 1
        start[found] = end
        if found == k:
            break
        # vary the path at each node from where it left its parent
        node = np.int64(src)
        root = np.int64(0)
        for hop in range(len(path)):
            if hop >= left_at:
                for other in range(found):
                    begin = start[other]
                    if start[other + 1] - begin > hop and np.array_equal(links[begin : begin + hop], path[:hop]):
                        usable[links[begin + hop]] = False
                tail = _walk(offset, out_start, out_link, link_dst, cost, usable, closed, node, dst, far, hops)
                if len(tail) == 0:
                    tail = shortest(offset, out_start, out_link, link_dst, cost, usable, closed, node, dst)
                usable[:] = up
                if len(tail) > 0:
                    if number == room:
                        room *= 2
                        more = np.empty((room, nodes), np.int32)
                        more[:number] = waiting
                        waiting = more
                        size = np.concatenate((size, np.zeros(number, np.int64)))
                        price = np.concatenate((price, np.zeros(number, np.int64)))
                        branch = np.concatenate((branch, np.zeros(number, np.int64)))
                    waiting[number, :hop] = path[:hop]
                    waiting[number, hop : hop + len(tail)] = tail
                    size[number] = hop + len(tail)
                    price[number] = root + cost[tail].sum()
                    branch[number] = hop
                    number += 1
            closed[node] = True
            root += cost[path[hop]]
            node = np.int64(link_dst[path[hop]])
        closed[:] = False
    return links[: start[found]].copy(), start[: found + 1].copy()


@njit("boolean(int64, int64, int64, int64)")
def _less(far_a: Any, hops_a: Any, far_b: Any, hops_b: Any) -> Any:
    return far_a < far_b or (far_a == far_b and hops_a < hops_b)


@njit(f"int32[::1]({_GRAPH}, boolean[::1], int32[::1], boolean)")
def second_flow(
    offset: Any, out_start: Any, out_link: Any, link_dst: Any, cost: Any, up: Any, first: Any, by_node: Any
) -> Any:
    """The links of the cheapest two disjoint paths together, given the shortest one; empty where there are none.

    Bhandari 1999: the second unit of a minimum-cost flow, found by Bellman-Ford in what the first path leaves. It may
    go back over links of the first path, which then drop out of both. ``by_node``: the paths share no node on the way,
    so every node has two sides, 2v where paths come in and 2v + 1 where they go out; a node of the first path is passed
    from out to in, and only by going back over that path.
    """
    nodes = len(out_start) - 1
    src = np.int64(link_dst[first[0] ^ 1])
    dst = np.int64(link_dst[first[-1]])
    on_path = np.zeros(len(link_dst), np.int8)  # 1: a link of the first path, 2: its other direction
    inner = np.zeros(nodes, np.bool_)
    for hop in range(len(first)):
        on_path[first[hop]] = 1
        on_path[first[hop] ^ 1] = 2
        inner[link_dst[first[hop]]] = True
    inner[dst] = False
    far = np.full(2 * nodes, FAR, np.int64)
    hops = np.zeros(2 * nodes, np.int64)
    came = np.full(2 * nodes, -1, np.int64)  # the link of the last step; -2: from the node's other side
    far[2 * src + 1] = 0
    changed = True
    while changed:
        changed = False
        for node in range(nodes):
            if node not in (src, dst) and node >= offset:
                one, other = 2 * node, 2 * node + 1
                separate = by_node and inner[node]
                if not separate and _less(far[one], hops[one], far[other], hops[other]):
                    far[other], hops[other], came[other] = far[one], hops[one], -2
                    changed = True
                if (inner[node] or not by_node) and _less(far[other], hops[other], far[one], hops[one]):
                    far[one], hops[one], came[one] = far[other], hops[other], -2
                    changed = True
            for position in range(out_start[node], out_start[node + 1]):
                link = out_link[position]
                after: Any = np.int64(link_dst[link])
                if on_path[link] == 2:  # back over the first path: from the in side of its end to the out side
                    one, other = 2 * node, 2 * after + 1
                    price, steps = -cost[link ^ 1], -1
                elif on_path[link] == 0 and up[link] and after != src and node != dst:
                    one, other = 2 * node + 1, 2 * after
                    price, steps = cost[link], 1
                else:
                    continue
                if after < offset and after not in (src, dst):
                    continue
                if far[one] < FAR and _less(far[one] + price, hops[one] + steps, far[other], hops[other]):
                    far[other], hops[other], came[other] = far[one] + price, hops[one] + steps, link
                    changed = True
    if far[2 * dst] == FAR:
        return np.empty(0, np.int32)
    keep = np.zeros(len(link_dst), np.bool_)
    keep[first] = True
    state = 2 * dst
    while state != 2 * src + 1:
        link = came[state]
        if link == -2:
            state ^= 1
        elif on_path[link] == 2:
            keep[link ^ 1] = False
            state = 2 * np.int64(link_dst[link ^ 1])
        else:
            keep[link] = True
            state = 2 * np.int64(link_dst[link ^ 1]) + 1
    return np.flatnonzero(keep).astype(np.int32)
