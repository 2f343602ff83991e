"""A genetic algorithm on plans: a gene a demand, its way or rejected, and local search on every child (memetic).

Seeds are the greedy plans of all path rules, plans made with link prices and roundings of the relaxation's solution
(both from ``prices``, which takes tenths of a second where the LP takes seconds). Then generation by generation:
tournament, uniform crossover, mutation, decoding to a plan that fits (``generation``), local search (``improve``); the
best of old and new survive, each once. So the plan is never worth less than a greedy one.

With prices a demand has a profit: its weight less the worth of the capacity that it takes. That gives the order of
decoding, and tells good moves from bad ones.

Lopez et al., "Priority Flow Admission and Routing in SDN: Exact and Heuristic Approaches", arXiv 2009.10822, have a
genetic algorithm with about 95 % of the optimum in a fixed time; its operators are not public, these are our own.
Memetic algorithms: P. Moscato, Caltech C3P report 826, 1989.

Measured by ``benchmarks/admission_ga.py`` on congested instances: in the same CPU time pymoo's operators make a
fourteenth of our children at 300 demands and a quarter at 2,000, and reach less, so they are not used. Settings changed
two- to tenfold, one at a time, moved the mean share of the bound by 0.1 %.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from solvers.admission import greedy
from solvers.admission.decode import PATH_RULES, World, world_of
from solvers.admission.finish import finish
from solvers.admission.generation import decode, generation, in_order
from solvers.admission.improve import Advice, advice_of, state_of
from solvers.admission.lp_rounding import drawn
from solvers.admission.path_form import most
from solvers.admission.plan import NoPlanError, Plan, Status, Step
from solvers.admission.prices import descend
from solvers.admission.problem import Ints, Limits, Problem
from solvers.admission.profit import Floats, by_profit, level_of

GENERATIONS = 20  # where neither seconds nor generations are given
_PATIENCE = 10  # generations without a better plan after which it ends, where no seconds are given to be used
_MUTATION = 0.002  # of a gene
_STEPS, _STEPS_A_DEMAND = 500, 5  # of local search on a child at most, and in a small problem
_HOT, _COLD = 0.12, 0.025  # losses that local search accepts, in mean weights
_SLACK = 0.12  # a demand worth so much less than its way costs, in mean weights, is still placed before the rest
_PRICINGS = 3  # searches for prices; with those of each a plan is made, the next one's target
_ROUNDS, _WORK = 200, 2e8  # of a search for prices: rounds, and links of ways looked at
_LEVELS = 30  # of a strict plan: each is worth twice the next, but the first ones no more than 2^30
_SECONDS_A_STEP, _SECONDS_A_DEMAND = 2e-4, 3e-5  # a step of local search, until it is measured; what ends the call


def solve(
    problem: Problem,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    population: int = 32,
    watch: Callable[[Step], None] | None = None,
) -> Plan:
    """Ends after ``limits.seconds`` or ``limits.generations``, whichever is first (neither given: 20 generations), or
    when the bound is reached; without ``seconds`` also after ten generations that brought no better plan. NoPlanError
    if no seed had room for every required demand."""
    return _Search(problem, limits, population, watch).run()


class _Search:
    """One call: the population and what is known about the problem."""

    def __init__(self, problem: Problem, limits: Limits, population: int, watch: Callable[[Step], None] | None) -> None:
        self.began = time.perf_counter()
        self.problem, self.limits, self.watch = problem, limits, watch
        self.parents, self.children = max(2, population), max(1, population // 2)
        self.rng = np.random.default_rng(limits.seed)
        self.world, self.level, self.gain = _aims(problem)
        self.worth: Floats = self.world[2].astype(np.float64)
        self.mean = 4.0 if problem.strict else float(problem.weight.mean()) if problem.demands else 1.0
        self.most = float(most(problem))
        self.bound = self.most
        self.price: Floats = np.zeros(problem.links)
        self.share: Floats = np.zeros(problem.ways)
        self.advice: Advice = ()
        self.order: Ints = np.empty(0, np.int64)
        self.people: Ints = np.empty((0, problem.demands), np.int64)
        self.values: Ints = np.empty((0, int(self.level.max(initial=0)) + 1), np.int64)
        self.steps: list[Step] = []

    def run(self) -> Plan:
        interrupted = False
        try:
            self._meet(list(self._greedy()))
            if not self._done():
                self._evolve()
        except KeyboardInterrupt:
            if not len(self.people):
                raise
            interrupted = True
        if not len(self.people):
            raise NoPlanError("the genetic algorithm found no room for every required demand")
        way = self._finished()
        objective = int(self.problem.weight[way >= 0].sum())
        status: Status = "optimal" if objective >= self._enough() else "feasible"
        spent = time.perf_counter() - self.began
        self.steps.append(Step(spent, objective, self.bound))
        return Plan(
            status, self.problem, way, max(self.bound, float(objective)), "ga", "own genetic algorithm", spent,
            steps=tuple(self.steps), interrupted=interrupted,
        )  # fmt: skip

    def _finished(self) -> Ints:
        """The best plan, the same worth or more on shorter ways."""
        way = finish(self.problem, self.people[0])
        assert way is not None  # it was a plan before
        return in_order(self.problem, way) if self.problem.strict else way

    def _greedy(self) -> Iterator[Ints]:
        for rule in PATH_RULES:
            try:
                yield greedy.solve(self.problem, self.limits, path=rule).way
            except NoPlanError:
                continue

    def _left(self) -> float:
        """Seconds, but for those that ending takes."""
        if self.limits.seconds is None:
            return math.inf
        spent = time.perf_counter() - self.began
        return self.limits.seconds - spent - _SECONDS_A_DEMAND * self.problem.demands

    def _done(self) -> bool:
        return self._left() <= 0 or (len(self.people) > 0 and self._worth() >= self._enough())

    def _enough(self) -> float:
        """That no sum of weights is larger proves nothing about the order of a strict plan."""
        return self.most if self.problem.strict else self.bound

    def _worth(self) -> int:
        return int(self.problem.weight[self.people[0] >= 0].sum())

    def _meet(self, plans: list[Ints]) -> None:
        """The best of the population and these plans become the population, each once."""
        if not plans:
            return
        values = np.array([np.bincount(self.level[p >= 0], self.gain[p >= 0], self.values.shape[1]) for p in plans])
        self._survive(np.concatenate((self.people, plans)), np.concatenate((self.values, values.astype(np.int64))))

    def _survive(self, people: Ints, values: Ints) -> None:
        seen: set[bytes] = set()
        keep: list[int] = []
        for index in np.lexsort([-values[:, level] for level in reversed(range(values.shape[1]))]).tolist():
            genes = people[index].tobytes()
            if genes not in seen and len(keep) < self.parents:
                seen.add(genes)
                keep.append(index)
        self.people, self.values = people[keep], values[keep]
        step = Step(time.perf_counter() - self.began, self._worth(), self.bound)
        self.steps.append(step)
        if self.watch is not None:
            self.watch(step)

    def _evolve(self) -> None:
        self._learn()
        if not self._done():
            self._meet(list(self._decoded(drawn(self.problem, self.share, self.rng) for _ in range(self.parents))))
        if len(self.people) and not self._done():
            self._generations()

    def _learn(self) -> None:
        """Prices and the bound that goes with them, and a plan from each: the target of the next."""
        problem = self.problem
        rounds = int(min(_ROUNDS, max(20, _WORK // max(1, len(problem.link)))))
        for _ in range(_PRICINGS):
            target = float(self.worth[self.people[0] >= 0].sum()) if len(self.people) else 0.0
            found = descend(self.world, self.worth, target, rounds, self.price, self.share)
            self.advice = advice_of(problem, self.world, self.price)
            self.order = by_profit(problem, self.worth, self.advice[0])
            if not problem.strict:
                self._bounded(found)
            self._meet(list(self._decoded([np.full(problem.demands, -1, np.int64)])))
            if self._done():
                return
        if problem.strict:  # whose worths are not the weights
            price, share = np.zeros_like(self.price), np.zeros_like(self.share)
            weight = problem.weight.astype(np.float64)
            target = float(self._worth() if len(self.people) else 0)
            self._bounded(descend(self.world, weight, target, rounds, price, share))

    def _bounded(self, found: float) -> None:
        unit = int(np.gcd.reduce(self.problem.weight))
        self.bound = min(self.bound, float(unit * math.floor(found / unit)))

    def _decoded(self, chosen: Iterable[Ints]) -> Iterator[Ints]:
        """The plans that genes lead to, without those that leave out a required demand."""
        free = np.empty(self.problem.links, np.int64)
        for genes in chosen:
            if decode(self.world, self.advice[0], self.order, _SLACK * self.mean, genes, free):
                yield genes
            if self._left() <= 0:
                return

    def _generations(self) -> None:
        problem, limits = self.problem, self.limits
        state = state_of(problem, self.level, self.gain)
        last = limits.generations if limits.seconds is not None or limits.generations is not None else GENERATIONS
        most_steps = min(_STEPS, _STEPS_A_DEMAND * problem.demands)
        seed = np.array([limits.seed % 2**64], np.uint64)
        a_step, number, since = _SECONDS_A_STEP, 0, 0
        while not self._done() and (last is None or number < last):
            steps = int(min(most_steps, self._left() / (a_step * self.children)))
            if steps < 1:
                return
            began, was = time.perf_counter(), self.values[0].tolist()
            people = np.concatenate((self.people, np.empty((self.children, problem.demands), np.int64)))
            values = np.concatenate((self.values, np.zeros((self.children, self.values.shape[1]), np.int64)))
            generation(
                self.world, state, self.advice, self.order, people, values, self.children, _MUTATION,
                _SLACK * self.mean, steps, _HOT * self.mean, _COLD * self.mean, seed,
            )  # fmt: skip
            self._survive(people, values)
            number += 1
            since = 0 if self.values[0].tolist() > was else since + 1
            if limits.seconds is None and since >= _PATIENCE:
                return
            a_step = (time.perf_counter() - began) / (steps * self.children)


def _aims(problem: Problem) -> tuple[World, Ints, Ints]:
    """The kernels' arrays, with the weights by which profits are reckoned, and the level of each demand and how much it
    counts there. Levels are compared one after the other; a plan that is not strict has one."""
    world, level = world_of(problem), level_of(problem)
    if not problem.strict:
        return world, level, problem.weight.astype(np.int64)
    worth = 2 ** np.minimum(level.max(initial=0) - level, _LEVELS)
    return (*world[:2], worth.astype(np.int64), *world[3:]), level, np.ones(problem.demands, np.int64)
