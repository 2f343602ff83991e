"""The arc form as a program: one variable a demand and link. Any simple path may be taken, not only candidates.

    a[d] = 1: demand d is admitted on a path of its own; y[d, l] = 1: the path uses link l
    out(v) - in(v) = a[d] ([v = source] - [v = destination])   for every node v
    sum of bandwidth[d] y[d, l] <= capacity[l],   sum of delay[l] y[d, l] <= delay_bound[d]

A demand that has a way may keep it instead: k[d]. Circles cost capacity and gain nothing; what is left of them in a
solution is cut off when the path is read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solvers.admission.covers import Reserved
from solvers.admission.path_form import LARGEST, link_units
from solvers.admission.problem import Ints, Problem
from solvers.programs import Floats, Program


@dataclass(frozen=True)
class ArcForm:
    """Columns: a[0..demands - 1], then k of the demands ``keeper``, then y of ``demand`` and ``link``."""

    problem: Problem
    program: Program
    keeper: Ints  # [k columns] demands that have a way
    demand: Ints  # [y columns]
    link: Ints  # [y columns]
    reserved: Reserved

    @property
    def admits(self) -> Ints:
        """[columns] the demand that a variable admits; -1: none."""
        a = np.arange(self.problem.demands, dtype=np.int64)
        return np.concatenate([a, self.keeper, np.full(len(self.link), -1, dtype=np.int64)])

    def paths(self, x: Floats) -> dict[int, tuple[int, ...]]:
        """The path of each admitted demand in a whole solution: of fewest links among those that it takes."""
        count = self.problem.demands
        found: dict[int, tuple[int, ...]] = {}
        for number, demand in enumerate(self.keeper.tolist()):
            if x[count + number] > 0.5:
                found[demand] = self.problem.links_of(int(self.problem.current[demand]))
        taken = x[count + len(self.keeper) :] > 0.5
        links: dict[int, list[int]] = {}
        for demand, link in zip(self.demand[taken].tolist(), self.link[taken].tolist(), strict=True):
            links.setdefault(demand, []).append(link)
        for demand, own in links.items():
            if x[demand] > 0.5 and demand not in found:
                path = _walk(self.problem, demand, own)
                if path and self._in_time(demand, path):
                    found[demand] = path
        return found

    def _in_time(self, demand: int, path: tuple[int, ...]) -> bool:
        """Exactly, where the program's row holds within tolerances."""
        hops, bound = self.problem.graph.hops, int(self.problem.delay_bound[demand])
        return bound < 0 or sum(hops[link][2] for link in path) <= bound

    def point(self, way: Ints) -> Floats:
        """[columns] the solution that a plan over candidate ways stands for."""
        problem, count = self.problem, self.problem.demands
        x = np.zeros(self.program.columns)
        number = {demand: count + index for index, demand in enumerate(self.keeper.tolist())}
        cell = {pair: count + len(self.keeper) + index for index, pair in enumerate(self._cells())}
        for demand, chosen in enumerate(way.tolist()):
            if chosen < 0:
                continue
            if chosen == problem.current[demand]:
                x[number[demand]] = 1.0
                continue
            x[demand] = 1.0
            for link in problem.links_of(chosen):
                x[cell[demand, link]] = 1.0
        return x

    def _cells(self) -> list[tuple[int, int]]:
        return list(zip(self.demand.tolist(), self.link.tolist(), strict=True))


def arc_form(problem: Problem) -> ArcForm:
    """The program of a problem without protection, with its weights as the objective."""
    graph, count = problem.graph, problem.demands
    src, dst = graph.link_src.astype(np.int64), graph.link_dst.astype(np.int64)
    has_way = problem.current >= 0
    # y only where the link is large enough, leads not back to an end, and its nodes may be passed or are ends
    use = problem.capacity[None, :] >= problem.bandwidth[:, None]
    use &= (dst[None, :] != problem.src[:, None]) & (src[None, :] != problem.dst[:, None])
    use &= graph.transit[src][None, :] | (src[None, :] == problem.src[:, None])
    use &= graph.transit[dst][None, :] | (dst[None, :] == problem.dst[:, None])
    if problem.moves == 0:
        use &= ~has_way[:, None]
    demand, link = (part.astype(np.int64) for part in np.nonzero(use))
    keeper = np.flatnonzero(has_way)
    k, y = count + np.arange(len(keeper)), count + len(keeper) + np.arange(len(link))
    columns = count + len(keeper) + len(link)

    rows = _Rows()
    ends = [demand * graph.nodes + src[link], demand * graph.nodes + dst[link]]
    every = np.arange(count, dtype=np.int64)
    ends += [every * graph.nodes + problem.src, every * graph.nodes + problem.dst]
    names, row = np.unique(np.concatenate(ends), return_inverse=True)
    values = np.concatenate([np.ones(len(link)), -np.ones(len(link)), -np.ones(count), np.ones(count)])
    rows.add(row, np.concatenate([y, y, every, every]), values, np.zeros(len(names)), np.zeros(len(names)))

    kept_hops = problem.hops[problem.current[keeper]]
    kept_links = [problem.links_of(int(way)) for way in problem.current[keeper].tolist()]
    on = np.concatenate([link, np.array([one for links in kept_links for one in links], dtype=np.int64)])
    column = np.concatenate([y, np.repeat(k, kept_hops)])
    size = problem.bandwidth[np.concatenate([demand, np.repeat(keeper, kept_hops)])]
    reserved = Reserved(on, column, size)
    links, row, unit, capacity = link_units(problem, on, size)
    rows.add(row, column, (size // unit[row]).astype(np.float64), np.full(len(links), -np.inf), capacity)

    answer = np.flatnonzero(has_way | problem.required)
    place = np.full(count, -1, dtype=np.int64)
    place[answer] = np.arange(len(answer))
    least = np.where(problem.required[answer], 1.0, -np.inf)
    rows.add(
        np.concatenate([place[answer], place[keeper]]),
        np.concatenate([answer, k]),
        np.ones(len(answer) + len(keeper)),
        least,
        np.ones(len(answer)),
    )

    late = np.flatnonzero(problem.delay_bound >= 0)
    # rounded down like bandwidths, where they are too large: whoever is too slow then is seen when paths are read
    tick = max(1, int(np.gcd.reduce(graph.link_delay)), -(-int(graph.link_delay.max(initial=0)) // LARGEST))
    mine = (problem.delay_bound >= 0)[demand]
    rows.add(
        np.searchsorted(late, demand[mine]),
        y[mine],
        (graph.link_delay[link[mine]] // tick).astype(np.float64),
        np.full(len(late), -np.inf),
        (problem.delay_bound[late] // tick).astype(np.float64),
    )
    if problem.moves > 0 and len(keeper):
        rows.add(np.zeros(len(keeper)), keeper, np.ones(len(keeper)), np.array([-np.inf]), np.array([problem.moves]))

    cost = np.zeros(columns)
    cost[:count], cost[k] = problem.weight, problem.weight[keeper]
    program = Program(
        cost=cost,
        matrix=rows.matrix(columns),
        row_low=np.concatenate(rows.low),
        row_high=np.concatenate(rows.high),
        low=np.zeros(columns),
        high=np.ones(columns),
        unit=float(np.gcd.reduce(problem.weight)) if count else 1.0,
    )
    return ArcForm(problem, program, keeper, demand, link, reserved)


class _Rows:
    """Collects blocks of rows."""

    def __init__(self) -> None:
        self.low: list[Floats] = []
        self.high: list[Floats] = []
        self._row: list[NDArray[np.int64]] = []
        self._column: list[NDArray[np.int64]] = []
        self._value: list[Floats] = []
        self._count = 0

    def add(self, row: NDArray[np.generic], column: Ints, value: Floats, low: Floats, high: Floats) -> None:
        """``row`` counts from 0 within the block."""
        self._row.append(row.astype(np.int64) + self._count)
        self._column.append(column)
        self._value.append(value)
        self.low.append(low.astype(np.float64))
        self.high.append(high.astype(np.float64))
        self._count += len(high)

    def matrix(self, columns: int) -> csr_array:
        cells = (np.concatenate(self._value), (np.concatenate(self._row), np.concatenate(self._column)))
        return csr_array(cells, shape=(self._count, columns))


def _walk(problem: Problem, demand: int, links: list[int]) -> tuple[int, ...]:
    """A path from source to destination over some links; () if there is none."""
    leaving: dict[int, list[int]] = {}
    hops = problem.graph.hops
    for link in links:
        leaving.setdefault(hops[link][0], []).append(link)
    source, end = int(problem.src[demand]), int(problem.dst[demand])
    came: dict[int, int] = {source: -1}
    queue = deque([source])
    while queue and end not in came:
        node = queue.popleft()
        for link in leaving.get(node, ()):
            if hops[link][1] not in came:
                came[hops[link][1]] = link
                queue.append(hops[link][1])
    path: list[int] = []
    node = end
    while came.get(node, -1) >= 0:
        path.append(came[node])
        node = hops[came[node]][0]
    return tuple(reversed(path))
