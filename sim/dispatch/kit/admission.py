"""Checks of an admission policy: every plan is proven, on small networks in all the situations that a run knows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.candidates import Candidates, Way
from models.topology import Topology, TopologyBuilder
from sim.dispatch.kit.report import GlobalRandomness, Report
from sim.dispatch.kit.worlds import plain_leaf_spine
from sim.dispatch.registry import Policy
from sim.dispatch.views import AdmissionView
from solvers.admission.build import Builder
from solvers.admission.check import broken
from solvers.admission.plan import Plan
from solvers.admission.problem import Problem

_SEED = 20_407
_GBIT = 10**9
_AGENTS = ("agents", "retries", "agent_of")
_SHAPE = "answers: a Plan for every problem"
_PROVEN = "plans: proven by solvers.admission.check"
_LEFT = "problem and view left as they were"
_SAME = "same seed, same plan"
_TURNS = "agent_of: one of the agents, always the same one"
_CHECKS = (_SHAPE, _PROVEN, _LEFT, _SAME)


class Situation(NamedTuple):
    """A question to a policy, on a network of which some links are down."""

    name: str
    topology: Topology
    up: NDArray[np.bool_]  # [links]
    problem: Problem


def check_admission(report: Report, policy: Policy) -> None:
    """All checks of the level, in every situation."""
    shared = GlobalRandomness()
    found = situations()
    if not report.run("Policy(params, view): decide", lambda: _attribute_faults(policy, found[0])):
        return
    faults: dict[str, list[str]] = {what: [] for what in _CHECKS}
    plans, spent = 0, 0.0
    for situation in found:
        trials = []
        for _ in range(2):
            trial = _Trial(policy, situation)
            try:
                trial.run()
            except Exception as error:  # the policy's code
                trial.fault(trial.doing, report.explain(error))
            trials.append(trial)
            if trial.faults:
                break
        for what, text in trials[-1].faults:
            faults[what].append(f"{situation.name}: {text}")
        if len(trials) == 2 and trials[0].answers() != trials[1].answers():
            faults[_SAME].append(f"{situation.name}: a fresh policy with the same seed answered otherwise")
        plans += len(trials[0].plans)
        spent += trials[0].seconds
    for what in _CHECKS:
        report.check(what, faults[what])
    if _made(policy, found[0], _AGENTS[2]) is not None:
        report.run(_TURNS, lambda: _turn_faults(policy, found[0]))
    report.check("no draw from global generators", shared.faults())
    report.note("situations", "; ".join(situation.name for situation in found))
    if plans:
        report.note("plans", f"{plans}, {1e6 * spent / plans:.0f} us each (small networks)")


def _view(situation: Situation) -> AdmissionView:
    view = AdmissionView(situation.topology, lambda: 0)
    view.up = situation.up.copy()
    view.free = situation.problem.capacity.copy()
    view.up.flags.writeable = view.free.flags.writeable = False  # as in a run
    return view


def _made(policy: Policy, situation: Situation, name: str) -> Any:
    """An attribute of the policy, or None."""
    return getattr(policy.module.Policy(policy.Params(), _view(situation)), name, None)


def _attribute_faults(policy: Policy, situation: Situation) -> Iterator[str]:
    if not callable(_made(policy, situation, "decide")):
        yield "'decide' can't be called"
    agents, retries, agent_of = (_made(policy, situation, name) for name in _AGENTS)
    if agents is None and retries is None and agent_of is None:
        return
    for name, value, least in (("agents", agents, 1), ("retries", retries, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield f"'{name}' of a policy of several agents is a whole number from {least} on, not {value!r}"
    if not callable(agent_of):
        yield "'agent_of' of a policy of several agents can't be called"


def _turn_faults(policy: Policy, situation: Situation) -> Iterator[str]:
    instance = policy.module.Policy(policy.Params(), _view(situation))
    for demand in range(40):
        asked = (demand, demand % 7, demand % 5 + 7, demand % 3 + 1)
        agent = instance.agent_of(*asked)
        if not isinstance(agent, (int, np.integer)) or not 0 <= agent < instance.agents:
            yield f"agent_of{asked} is {agent!r}; there are agents 0 to {instance.agents - 1}"
        elif instance.agent_of(*asked) != agent:
            yield f"agent_of{asked} is another one when asked again"


class _Trial:
    """One fresh policy that decides one problem twice. ``faults`` are (check, text)."""

    def __init__(self, policy: Policy, situation: Situation) -> None:
        self.problem = situation.problem
        self.doing = _SHAPE
        self.view = _view(situation)
        self.policy = policy.module.Policy(policy.Params(), self.view)
        self.plans: list[Plan] = []
        self.faults: list[tuple[str, str]] = []
        self.seconds = 0.0

    def fault(self, what: str, text: str) -> None:
        self.faults.append((what, text))

    def _arrays(self) -> list[NDArray[Any]]:
        problem, view = self.problem, self.view
        graph = problem.graph
        held = [getattr(problem, field.name) for field in fields(problem)]
        held += [getattr(graph, field.name) for field in fields(graph)]
        held += [view.up, view.free, view.topology.link_rate, view.topology.link_delay]
        return [array for array in held if isinstance(array, np.ndarray)]

    def run(self) -> None:
        rng = np.random.default_rng(_SEED)
        for _ in range(2):
            kept = [array.copy() for array in self._arrays()]
            self.doing = _SHAPE
            start = time.perf_counter()
            plan = self.policy.decide(self.problem, rng)
            self.seconds += time.perf_counter() - start
            if not isinstance(plan, Plan):
                self.fault(_SHAPE, f"{plan!r} is no Plan")
                return
            self.doing = _LEFT
            if not all(np.array_equal(one, other) for one, other in zip(kept, self._arrays(), strict=True)):
                self.fault(_LEFT, "an array of the problem or the view was changed")
                return
            self.doing = _PROVEN
            for text in broken(self.problem, plan):
                self.fault(_PROVEN, text)
            self.plans.append(plan)

    def answers(self) -> list[tuple[str, list[int], float]]:
        return [(plan.status, plan.way.tolist(), plan.bound) for plan in self.plans]


def situations() -> list[Situation]:
    """From nothing to decide to a network that can't carry what it has."""
    clos, ring = plain_leaf_spine(3, 2, 2), _ring()
    few, many = _demands(clos, 4, 30), _demands(clos, 24, 80)
    crowd = _demands(ring, 12, 60)
    broken_link = clos.find_links("leaf0-spine0")
    here = _Place(clos)
    present = here.placed(_demands(clos, 6, 30))
    return [
        here.ask("nothing to decide", few[:0]),
        here.ask("one demand", few[:1]),
        here.ask("a demand above every link", [few[0]._replace(bandwidth=10**12)]),
        here.ask("a delay that no way keeps", [few[0]._replace(delay_bound=1)]),
        here.ask("four demands with room for all", few),
        here.ask("more than fits", many),
        here.ask("more than fits, strict", many, strict=True),
        here.ask("beside demands that stay where they are", many[:12], present, keep=True, moves=0),
        here.ask("beside demands of which two may move", many[:12], present, keep=True, moves=2),
        here.ask("beside demands that all may move", many[:12], present, keep=True, moves=-1),
        here.ask("beside demands that make room for higher priority", many[:12], present, strict=True, moves=0),
        here.ask("a bundle that fits, all or nothing", few, required=True),
        here.ask("a bundle that does not fit, all or nothing", many, required=True),
        _Place(clos, down=broken_link).ask("a broken link", many[:12], present, strict=True, moves=-1),
        _Place(ring).ask("a ring of switches", crowd),
        _Place(ring, protection="link").ask("with a second path for each", crowd),
        _Place(ring, down=ring.find_links("n0-n1")).ask("with nodes that can't be reached both ways", crowd),
    ]


class _Demand(NamedTuple):
    src: int
    dst: int
    bandwidth: int
    priority: int
    delay_bound: int = -1


class _Place:
    """A network in a state of its links, where questions are asked."""

    def __init__(self, topology: Topology, down: tuple[int, ...] = (), protection: Any = "none") -> None:
        self.topology = topology
        self.up = np.ones(topology.links, dtype=np.bool_)
        self.up[list(down)] = False
        self._candidates = Candidates(topology, paths=4, protection=protection, up=self.up)
        self._builder = Builder(topology, self._candidates)

    def placed(self, demands: list[_Demand]) -> list[tuple[_Demand, Way]]:
        """Demands that are there already, each on its first way."""
        return [(demand, self._candidates.ways(demand.src, demand.dst)[0]) for demand in demands]

    def ask(
        self,
        name: str,
        demands: list[_Demand],
        present: list[tuple[_Demand, Way]] = (),  # type: ignore[assignment]
        *,
        keep: bool = False,
        required: bool = False,
        strict: bool = False,
        moves: int = -1,
    ) -> Situation:
        """``keep``: a plan without one that is present is no plan; ``required``: nor is one without a new one."""
        asked = [demand for demand, _ in present] + demands
        # the way of a demand that is present is none where a link of it is down
        ways = [way if self.up[list(way.links)].all() else None for _, way in present]
        problem = self._builder.problem(
            [demand.src for demand in asked],
            [demand.dst for demand in asked],
            [demand.bandwidth for demand in asked],
            [demand.priority for demand in asked],
            delay_bound=[demand.delay_bound for demand in asked],
            required=[keep] * len(present) + [required] * len(demands),
            current=[*ways, *[None] * len(demands)],
            strict=strict,
            moves=moves,
        )
        return Situation(name, self.topology, self.up, problem)


def _demands(topology: Topology, count: int, most: int) -> list[_Demand]:
    """Between different hosts, 1 to ``most`` Gbit/s, of three priorities."""
    rng = np.random.default_rng([_SEED, count])
    src = rng.integers(topology.hosts, size=count)
    dst = (src + rng.integers(1, topology.hosts, size=count)) % topology.hosts
    bandwidth = rng.integers(1, most + 1, size=count) * _GBIT
    columns = (src, dst, bandwidth, rng.integers(1, 4, size=count))
    return [_Demand(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _ring() -> Topology:
    """Five switches in a ring with a chord, a host at each; host and chord links are wider, so the ring is scarce."""
    builder = TopologyBuilder("edges")
    for number in range(5):
        builder.add_node(f"host{number}", host=True, tier=0)
    for number in range(5):
        builder.add_node(f"n{number}", host=False, tier=1)
    for number in range(5):
        builder.add_cable(f"host{number}", f"n{number}", 400 * _GBIT, 1_000_000)
        builder.add_cable(f"n{number}", f"n{(number + 1) % 5}", 100 * _GBIT, 10_000_000)
    builder.add_cable("n0", "n2", 40 * _GBIT, 1_000_000)
    return builder.freeze()
