"""The proof of a plan: every rule of its problem, recomputed from the arrays in plain integers, whoever made it.

Shares nothing with the solvers: neither their loads nor their statuses are believed.
"""

from __future__ import annotations

from solvers.admission.plan import Plan, PlanError
from solvers.admission.problem import Problem

_SHOWN = 20  # broken rules that are listed; one fault can break a thousand


def prove(problem: Problem, plan: Plan) -> None:
    """PlanError that names what is broken, if anything is."""
    found = broken(problem, plan)
    if found:
        raise PlanError(f"{plan.solver}: {'; '.join(found)}")


def broken(problem: Problem, plan: Plan) -> list[str]:
    """The rules that a plan breaks, each as a sentence; empty: it is proven to be a plan of this problem.

    Every plan: ways exist, lead from source to destination without a cycle over nodes that may be passed, keep the
    delay bound, with a second path that shares no cable with the first; links carry what they can; required demands
    are admitted; no more demands are moved than may be; the bound is not below the objective.

    ``optimal``: the bound proves it, and no rejected demand fits in what is left free.

    ``strict``: no rejected demand fits beside the demands of its own level and of those above (and the required ones):
    less important ones may not stand in its way. A demand that had a way lost it only to a new one that is required or
    of higher priority, or because the demands that had ways do not fit together any more.

    That a plan is the best, or that required demands do not fit, is not proven here: that is what bounds are for.
    """
    own = plan.problem
    if own is not problem and not _same_question(problem, own):
        return ["the plan answers another problem: demands, capacities or rules differ"]
    way: list[int] = plan.way.tolist()
    if len(way) != problem.demands:
        return [f"the plan has {len(way)} answers for {problem.demands} demands"]
    if not plan.found:
        return _no_plan(own, plan, way)
    first: list[int] = own.first.tolist()
    strays = [d for d, w in enumerate(way) if w != -1 and not first[d] <= w < first[d + 1]]
    if strays:
        return [f"demand {d}: way {way[d]} is none of its own" for d in strays[:_SHOWN]]
    bandwidth: list[int] = own.bandwidth.tolist()
    faults: list[str] = []
    load: dict[int, int] = {}
    for demand, chosen in enumerate(way):
        if chosen < 0:
            continue
        links = own.links_of(chosen)
        faults += [f"demand {demand}: {fault}" for fault in _way_faults(own, demand, chosen, links)]
        for link in links:
            load[link] = load.get(link, 0) + bandwidth[demand]
    if not faults:
        faults += _overloads(own, load)
    faults += _answers(own, way)
    faults += _bound_faults(own, plan, way)
    if not faults and (own.strict or plan.status == "optimal"):
        faults += _order_faults(own, way, load, plan.status == "optimal")
    return faults[:_SHOWN]


def _same_question(asked: Problem, answered: Problem) -> bool:
    """Whether two problems differ in their ways alone."""
    return (
        asked.graph is answered.graph
        and asked.moves == answered.moves
        and asked.strict == answered.strict
        and all(
            a.shape == b.shape and bool((a == b).all())
            for a, b in (
                (asked.capacity, answered.capacity),
                (asked.src, answered.src),
                (asked.dst, answered.dst),
                (asked.bandwidth, answered.bandwidth),
                (asked.weight, answered.weight),
                (asked.delay_bound, answered.delay_bound),
                (asked.required, answered.required),
                (asked.current >= 0, answered.current >= 0),
            )
        )
        and all(
            asked.paths_of(a) == answered.paths_of(b)
            for a, b in zip(asked.current.tolist(), answered.current.tolist(), strict=True)
            if a >= 0
        )
    )


def _no_plan(problem: Problem, plan: Plan, way: list[int]) -> list[str]:
    faults = []
    if any(w != -1 for w in way):
        faults.append(f"a plan that is {plan.status} admits demands")
    if not problem.required.any():
        faults.append(f"{plan.status}, though no demand is required: to admit nobody is a plan")
    if plan.status == "infeasible" and plan.bound != 0:
        faults.append(f"infeasible with a bound of {plan.bound:g}")
    return faults


def _way_faults(problem: Problem, demand: int, way: int, links: tuple[int, ...]) -> list[str]:
    kept = way == int(problem.current[demand])  # what it has it may keep, though it be slow
    cut = int(problem.backup[way]) - int(problem.start[way])
    faults = _path_faults(problem, demand, links[:cut], kept)
    if cut < len(links) and not faults:
        if len(set(links)) < len(links):
            faults.append("a link is twice on its way")
        second = problem.paths_of(way)[1]
        faults += [f"second path: {fault}" for fault in _path_faults(problem, demand, second, kept)]
        shared = {link >> 1 for link in links[:cut]} & {link >> 1 for link in second}
        names, only = problem.graph.link_name, _only_cables(problem, demand) if shared else set()
        faults += [f"both paths use {names[2 * cable]}" for cable in sorted(shared - only)]
    return faults


def _only_cables(problem: Problem, demand: int) -> set[int]:
    """The cables that two paths of a demand can't but share: of an end that has one and is never passed through."""
    graph, cables = problem.graph, set()
    for end in (int(problem.src[demand]), int(problem.dst[demand])):
        own = {link >> 1 for link, (at, _, _) in enumerate(graph.hops) if at == end}
        if len(own) == 1 and not graph.may_transit[end]:
            cables |= own
    return cables


def _path_faults(problem: Problem, demand: int, links: tuple[int, ...], kept: bool) -> list[str]:
    graph = problem.graph
    hops, may_transit, names = graph.hops, graph.may_transit, graph.node_name
    node, end, bound = int(problem.src[demand]), int(problem.dst[demand]), int(problem.delay_bound[demand])
    if not links:
        return ["a path without links"]
    seen, delay = {node}, 0
    for number, link in enumerate(links):
        if not 0 <= link < len(hops):
            return [f"no link {link}"]
        at, to, time = hops[link]
        if at != node:
            return [f"{graph.link_name[link]} does not go on from {names[node]}"]
        if number and not may_transit[node]:
            return [f"{names[node]} can't be passed through"]
        if to in seen:
            return [f"{names[to]} twice on a path"]
        seen.add(to)
        node, delay = to, delay + time
    faults = []
    if node != end:
        faults.append(f"the path ends at {names[node]}, not at {names[end]}")
    if 0 <= bound < delay and not kept:
        faults.append(f"a delay of {delay} ps, above its bound of {bound} ps")
    return faults


def _overloads(problem: Problem, load: dict[int, int]) -> list[str]:
    capacity, names = problem.capacity, problem.graph.link_name
    return [
        f"{names[link]} carries {load[link]} bit/s of {int(capacity[link])}"
        for link in sorted(load)
        if load[link] > int(capacity[link])
    ]


def _answers(problem: Problem, way: list[int]) -> list[str]:
    """Required demands and moves."""
    faults = []
    if problem.required.any():
        faults = [f"demand {d} is required, but rejected" for d in problem.required.nonzero()[0].tolist() if way[d] < 0]
    moved = _moved(problem, way)
    if 0 <= problem.moves < moved:
        faults.append(f"{moved} demands are moved, at most {problem.moves} may be")
    return faults


def _moved(problem: Problem, way: list[int]) -> int:
    return sum(1 for now, then in zip(problem.current.tolist(), way, strict=True) if now >= 0 and then not in (-1, now))


def _bound_faults(problem: Problem, plan: Plan, way: list[int]) -> list[str]:
    objective = sum(weight for weight, w in zip(problem.weight.tolist(), way, strict=True) if w >= 0)
    faults = []
    if objective != plan.objective:
        faults.append(f"the plan is worth {objective}, not {plan.objective}")
    tolerance = 1e-6 * max(1.0, abs(plan.bound))  # bounds come from floating point
    if not plan.bound >= objective - tolerance:  # so NaN is caught too
        faults.append(f"the bound is {plan.bound:g}, below the objective {objective}")
    elif plan.status == "optimal" and plan.bound >= objective + 1:
        faults.append(f"called optimal, but the bound is {plan.bound:g} and the objective {objective}")
    return faults


def _order_faults(problem: Problem, way: list[int], load: dict[int, int], optimal: bool) -> list[str]:
    """Rejected demands that would fit: beside all that are admitted, or in a strict plan beside the more important."""
    weight: list[int] = problem.weight.tolist()
    current: list[int] = problem.current.tolist()
    movable = problem.moves < 0 or _moved(problem, way) < problem.moves
    faults: list[str] = []
    if optimal:
        for demand in (d for d, w in enumerate(way) if w < 0):
            if _fits(problem, demand, current[demand], load, movable):
                faults.append(f"demand {demand} is rejected in an optimal plan, though it would fit")
    if not problem.strict:
        return faults
    ranks = sorted(range(len(way)), key=lambda d: (-weight[d], current[d] < 0))
    beside: dict[int, int] = {}
    bandwidth: list[int] = problem.bandwidth.tolist()
    required: list[bool] = problem.required.tolist()

    def add(demand: int) -> None:
        for link in problem.links_of(way[demand]):
            beside[link] = beside.get(link, 0) + bandwidth[demand]

    for demand in ranks:
        if required[demand] and way[demand] >= 0:
            add(demand)
    at = 0
    while at < len(ranks):
        key = (weight[ranks[at]], current[ranks[at]] < 0)
        level = []
        while at < len(ranks) and (weight[ranks[at]], current[ranks[at]] < 0) == key:
            level.append(ranks[at])
            at += 1
        for demand in level:
            if way[demand] >= 0 and not required[demand]:
                add(demand)
        for demand in level:
            if way[demand] < 0 and _fits(problem, demand, current[demand], beside, movable):
                faults.append(f"demand {demand} of priority {weight[demand]} is rejected for less important ones")
    return faults + _lost_in_vain(problem, way)


def _fits(problem: Problem, demand: int, current: int, load: dict[int, int], movable: bool) -> bool:
    """Whether one of the demand's ways has room beside a load. One that has a way may need a move for another."""
    bandwidth = int(problem.bandwidth[demand])
    for way in range(int(problem.first[demand]), int(problem.first[demand + 1])):
        if current >= 0 and way != current and not movable:
            continue
        if all(load.get(link, 0) + bandwidth <= int(problem.capacity[link]) for link in problem.links_of(way)):
            return True
    return False


def _lost_in_vain(problem: Problem, way: list[int]) -> list[str]:
    current: list[int] = problem.current.tolist()
    weight: list[int] = problem.weight.tolist()
    dropped = [d for d, now in enumerate(current) if now >= 0 and way[d] < 0]
    if not dropped:
        return []
    before: dict[int, int] = {}
    for demand, now in enumerate(current):
        for link in problem.links_of(now) if now >= 0 else ():
            before[link] = before.get(link, 0) + int(problem.bandwidth[demand])
    if _overloads(problem, before):
        return []
    new = [d for d, w in enumerate(way) if w >= 0 and current[d] < 0]
    if problem.required[new].any():
        return []
    best = max((weight[d] for d in new), default=0)
    return [
        f"demand {d} of priority {weight[d]} lost its way, but no new one of higher priority is admitted"
        for d in dropped
        if weight[d] >= best
    ]
