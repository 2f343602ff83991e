"""Small random problems of admission with all their simple paths, and the best plan of each by trying all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from solvers.admission.problem import Graph, Problem


def graph_of(cables: list[tuple[int, int]], nodes: int, delay: int = 1000) -> Graph:
    """Nodes n0, n1, ..., all of which may be passed; cable c is links 2c and 2c + 1."""
    ends = [end for a, b in cables for end in ((a, b), (b, a))]
    return Graph(
        nodes,
        np.array([a for a, _ in ends], dtype=np.int32),
        np.array([b for _, b in ends], dtype=np.int32),
        np.full(len(ends), delay, dtype=np.int64),
        tuple(f"n{node}" for node in range(nodes)),
        tuple(f"n{a}->n{b}" for a, b in ends),
        np.ones(nodes, dtype=np.bool_),
    )


def simple_paths(graph: Graph, src: int, dst: int) -> list[tuple[int, ...]]:
    """All of them, the shortest first."""
    found: list[tuple[int, ...]] = []

    def walk(node: int, path: tuple[int, ...], seen: frozenset[int]) -> None:
        if node == dst:
            found.append(path)
            return
        for link, (a, b, _) in enumerate(graph.hops):
            if a == node and b not in seen and (graph.may_transit[b] or b == dst):
                walk(b, (*path, link), seen | {b})

    walk(src, (), frozenset({src}))
    return sorted(found, key=lambda path: (len(path), path))


def problem_of(
    graph: Graph,
    capacity: list[int],
    demands: list[tuple[int, int, int, int]],
    ways: list[list[tuple[int, ...]]] | None = None,
    second: list[list[int]] | None = None,
) -> Problem:
    """``demands``: source, destination, bandwidth, weight. ``ways`` by demand, by default all simple paths;
    ``second``: where in each of them the second path begins."""
    ways = [simple_paths(graph, src, dst) for src, dst, _, _ in demands] if ways is None else ways
    first = np.cumsum([0, *map(len, ways)]).astype(np.int64)
    lengths = [len(way) for own in ways for way in own]
    start = np.cumsum([0, *lengths]).astype(np.int64)
    cut = lengths if second is None else [at for own in second for at in own]
    columns = np.array(demands, dtype=np.int64).reshape(-1, 4).T
    none = np.full(len(demands), -1, dtype=np.int64)
    return Problem(
        graph,
        np.array(capacity, dtype=np.int64),
        *columns[:2],
        columns[2],
        columns[3],
        none,
        first,
        start,
        np.array([link for own in ways for way in own for link in way], dtype=np.int32),
        start[:-1] + np.array(cut, dtype=np.int64),
        np.zeros(len(demands), dtype=np.bool_),
        none,
    )


def random_problem(seed: int, *, present: bool = False, units: int = 10**9) -> Problem:
    """3 to 6 nodes, up to 8 cables, 2 to 7 demands on all their simple paths.

    ``present``: some have a way already, some are required, some moves are allowed.
    """
    rng = np.random.default_rng(seed)
    nodes = int(rng.integers(3, 7))
    cables = [(int(rng.integers(node)), node) for node in range(1, nodes)]
    while len(cables) < min(8, nodes * (nodes - 1) // 2) and rng.random() < 0.8:
        a, b = sorted(rng.choice(nodes, 2, replace=False).tolist())
        if (a, b) not in cables:
            cables.append((a, b))
    graph = graph_of(cables, nodes)
    graph = replace(graph, link_delay=np.repeat(rng.integers(1, 9, len(cables)), 2) * 1000)
    capacity = (rng.integers(0, 7, 2 * len(cables)) * units).tolist()
    count = int(rng.integers(2, 8))
    demands = []
    for _ in range(count):
        src, dst = rng.choice(3, 2, replace=False).tolist()
        demands.append((src, dst, int(rng.integers(1, 5)) * units + int(rng.integers(0, 2)), int(rng.integers(1, 4))))
    problem = problem_of(graph, capacity, demands)
    return with_present(problem, rng) if present else problem


def with_present(problem: Problem, rng: np.random.Generator) -> Problem:
    """The problem with some demands on ways that fit together, of which some are required."""
    current = np.full(problem.demands, -1, dtype=np.int64)
    for demand in range(problem.demands):
        ways = np.arange(problem.first[demand], problem.first[demand + 1])
        if len(ways) and rng.random() < 0.6:
            current[demand] = rng.choice(ways)
            if (problem.load(current) > problem.capacity).any():
                current[demand] = -1
    required = rng.random(problem.demands) < np.where(current >= 0, 0.4, 0.1)
    return replace(problem, current=current, required=required, moves=int(rng.integers(-1, 3)))


def best(problem: Problem) -> tuple[int, ...] | None:
    """The value of the best plan: the sum of weights, or of a strict problem the admitted of each level. None: no plan.

    By trying all choices of ways; what can't beat the best any more is not followed.
    """
    levels = problem.levels if problem.strict else [np.arange(problem.demands)]
    level_of = {int(demand): number for number, level in enumerate(levels) for demand in level}
    worth = [1 if problem.strict else int(weight) for weight in problem.weight]
    rest = [[0] * len(levels) for _ in range(problem.demands + 1)]
    for demand in reversed(range(problem.demands)):
        rest[demand] = list(rest[demand + 1])
        rest[demand][level_of[demand]] += worth[demand]
    found: list[tuple[int, ...] | None] = [None]
    free = problem.capacity.tolist()

    def walk(demand: int, value: tuple[int, ...], moved: int) -> None:
        hope = tuple(a + b for a, b in zip(value, rest[demand], strict=True))
        if found[0] is not None and hope <= found[0]:
            return
        if demand == problem.demands:
            found[0] = value
            return
        more = list(value)
        more[level_of[demand]] += worth[demand]
        size, now = int(problem.bandwidth[demand]), int(problem.current[demand])
        for way in range(int(problem.first[demand]), int(problem.first[demand + 1])):
            leaves = int(now >= 0 and way != now)
            links = problem.links_of(way)
            late = 0 <= problem.delay_bound[demand] < sum(problem.graph.hops[link][2] for link in links)
            if (late and way != now) or 0 <= problem.moves < moved + leaves or any(free[link] < size for link in links):
                continue
            for link in links:
                free[link] -= size
            walk(demand + 1, tuple(more), moved + leaves)
            for link in links:
                free[link] += size
        if not problem.required[demand]:
            walk(demand + 1, value, moved)

    walk(0, (0,) * len(levels), 0)
    return found[0]


def value(problem: Problem, admitted: np.ndarray) -> tuple[int, ...]:
    """The value of a plan, as ``best`` counts it."""
    if not problem.strict:
        return (int(problem.weight[admitted].sum()),)
    return tuple(int(admitted[level].sum()) for level in problem.levels)
