"""A planner gathers what waits, has the policy plan it, is busy for as long as that takes, and commits what still fits.

A decision begins when a demand waits and the planner is free, but not before ``epoch`` after the last one began; all
that wait then are decided in it. Of several planners (agents) each has its own demands and they share the ledger: what
no longer fits at the commit is a conflict, and waits again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from models.candidates import Way
from models.topology import Topology
from models.units import PS_PER_SECOND
from sim.clock import Clock
from sim.dispatch.api import ControllerParams
from sim.processes.bookings import Booking, Bundle, Decision, Decisions
from sim.processes.ledger import Ledger
from solvers.admission.build import Builder
from solvers.admission.check import prove
from solvers.admission.plan import Plan
from solvers.admission.problem import Problem

DECIDES = 3  # SimPy priority: after arrivals and departures of an instant, and what the engine tells of it


class Books(Protocol):
    """What a planner needs of the controller: what is admitted and reserved, and the ways to change it."""

    clock: Clock
    topology: Topology
    params: ControllerParams
    policy: Any
    builder: Builder
    ledger: Ledger
    decisions: Decisions
    present: dict[int, Booking]
    worth: int
    notes: dict[str, int]
    retries: int | None

    def admit(self, booking: Booking, way: Way) -> Callable[[], None]: ...

    def move(self, changes: Sequence[tuple[Booking, Way]]) -> list[Callable[[], None]]: ...

    def preempt(self, booking: Booking, reason: str) -> Callable[[], None]: ...

    def refuse(self, booking: Booking, reason: str) -> None: ...


class Planner:
    """One of a controller's agents; its only one where the policy has none."""

    def __init__(self, controller: Books, agent: int, rng: np.random.Generator) -> None:
        self._controller, self._agent, self._rng = controller, agent, rng
        self._clock = controller.clock
        self._whole = controller.params.preempt or controller.params.moves != 0
        self._again: list[Booking] = []  # admitted ones that lost their way
        self._waiting: list[Booking] = []
        self._held: list[Booking] = []  # refused for now; they wait for room
        self._room_came = False
        self._groups: deque[list[Booking]] = deque()  # what is decided in this round
        self._begun: int | None = None  # when the last round began
        self._busy = self._called = False

    def add(self, booking: Booking, *, again: bool = False) -> None:
        """A demand that waits from now on. ``again``: it was admitted, and goes before new ones."""
        (self._again if again else self._waiting).append(booking)
        self._call()

    def backlog(self) -> int:
        """Demands that wait."""
        lists = (self._again, self._waiting, self._held, *self._groups)
        return sum(booking.status == "waiting" for one in lists for booking in one)

    def room_came(self) -> None:
        """Something was released: those that are held may try again, and those that a plan under way leaves out."""
        if self._held or self._busy:
            self._room_came = True
            self._call()

    def _call(self) -> None:
        if self._busy or self._called:
            return
        now = int(self._clock.now)
        when = now if self._begun is None else max(now, self._begun + self._controller.params.epoch)
        self._called = True
        self._clock.at(when, self._begin, DECIDES)

    def _begin(self) -> None:
        """One round: a decision about those that lost their way, one about all other single demands that wait, and one
        about each bundle, as they came.
        """
        self._called = False
        new = self._recalled() + self._waiting
        self._waiting = []
        new.sort(key=lambda booking: booking.number)
        again, self._again = self._again, []
        singles = [booking for booking in new if booking.bundle is None]
        bundles: dict[int, list[Booking]] = {}
        for booking in new:
            if booking.bundle is not None:
                bundles.setdefault(booking.bundle.members[0].number, []).append(booking)
        groups = sorted([*bundles.values(), *([singles] if singles else [])], key=lambda group: group[0].number)
        groups = [*([again] if again else []), *groups]
        self._groups = deque(groups)
        if groups:
            self._busy, self._begun = True, int(self._clock.now)
            self._go_on()

    def _recalled(self) -> list[Booking]:
        """Of those that are held the ones that may have room now."""
        if not self._room_came:
            return []
        self._room_came = False
        waiting = [booking for booking in self._held if booking.status == "waiting"]
        # without moves and preemption only what has a way with room can be admitted
        tried = [one for one in waiting if self._whole or one.bundle is not None or self._has_room(one)]
        chosen = {booking.number for booking in tried}
        self._held = [booking for booking in waiting if booking.number not in chosen]
        return tried

    def _has_room(self, booking: Booking) -> bool:
        """Whether one of its ways has room now."""
        request, fits = booking.request, self._controller.ledger.fits
        ways = self._controller.builder.candidates.ways(request.src, request.dst)
        slowest = request.delay_bound
        return any(fits(way.links, request.bandwidth) and (slowest < 0 or way.delay <= slowest) for way in ways)

    def _go_on(self) -> None:
        """The next decisions of this round, up to one that takes time."""
        while self._groups:
            group = [booking for booking in self._groups.popleft() if booking.status == "waiting"]
            if not group:
                continue
            decision = self._decide(group)
            if decision.charged:
                self._groups.appendleft(group)  # they wait still
                self._clock.at(decision.begun + decision.charged, partial(self._done, decision), DECIDES)
                return
            self._commit(decision)
        self._busy = False
        if self._waiting or self._again or (self._held and self._room_came):
            self._call()

    def _done(self, decision: Decision) -> None:
        self._groups.popleft()
        self._commit(decision)
        self._go_on()

    # -- the plan

    def _decide(self, group: list[Booking]) -> Decision:
        controller, params, now = self._controller, self._controller.params, int(self._clock.now)
        present = self._concerned(group)
        problem = self._problem(present, group)
        plan: Plan = controller.policy.decide(problem, self._rng)
        prove(problem, plan)
        for note in plan.notes:
            controller.notes[note] = controller.notes.get(note, 0) + 1
        # demands that are not in the problem stay: they count on both sides
        apart = controller.worth - sum(booking.request.priority for booking in present)
        objective = apart + plan.objective if plan.found else controller.worth
        bound = max(float(objective), apart + plan.bound)
        if params.time == "measured":
            charged = round(plan.seconds * PS_PER_SECOND)
        else:
            charged = params.time + params.time_per_demand * problem.demands
        return Decision(now, charged, present, [one.way for one in present], group, plan, objective, bound)

    def _concerned(self, group: list[Booking]) -> list[Booking]:
        """The admitted demands that the plan has to reckon with: all that may be moved, or pushed out by the new ones.

        Others keep what they have, so the problem has no need of them.
        """
        controller, params = self._controller, self._controller.params
        if params.moves:
            return list(controller.present.values())
        if not params.preempt or (len(group) == 1 and self._has_room(group[0])):
            return []
        best, ways = _rank(group), controller.builder.candidates.ways
        near = {link for one in group for way in ways(one.request.src, one.request.dst) for link in way.links}
        return [
            booking
            for booking in controller.present.values()
            if booking.request.priority < best and not near.isdisjoint(booking.links)
        ]

    def _problem(self, present: list[Booking], group: list[Booking]) -> Problem:
        controller, params = self._controller, self._controller.params
        asked = [booking.request for booking in present] + [booking.request for booking in group]
        capacity = controller.ledger.room.copy()
        for booking in present:
            for link in set(booking.links):
                capacity[link] += booking.request.bandwidth
        stay = [not params.preempt or booking.request.priority >= _rank(group) for booking in present]
        return controller.builder.problem(
            [one.src for one in asked],
            [one.dst for one in asked],
            [one.bandwidth for one in asked],
            [one.priority for one in asked],
            delay_bound=[one.delay_bound for one in asked],
            capacity=capacity,
            required=stay + [group[0].bundle is not None] * len(group),
            current=[booking.way for booking in present] + [None] * len(group) if present else None,
            strict=params.strict or params.preempt,
            moves=params.moves,
        )

    # -- the commit

    def _commit(self, decision: Decision) -> None:
        """Books what the plan says and still fits. If the whole does not, nobody is moved or preempted; nor is anybody
        for those that gave up meanwhile.
        """
        controller, plan = self._controller, decision.plan
        chosen = plan.way.tolist()
        wanted: list[tuple[Booking, Way]] = []
        refused: list[Booking] = []
        for booking, way in zip(decision.new, chosen[len(decision.present) :], strict=True):
            if booking.status == "waiting":  # else it gave up meanwhile, or its time was up
                if way >= 0:
                    wanted.append((booking, _way_of(plan.problem, way)))
                else:
                    refused.append(booking)
        bundle = decision.new[0].bundle
        moved, dropped = self._changes(decision, chosen) if wanted and decision.present else ([], [])
        conflicts: list[Booking] = []
        if (moved or dropped or bundle is not None) and not self._fit(wanted, moved, dropped):
            moved, dropped = [], []
            if bundle is not None and not self._fit(wanted, moved, dropped):
                wanted, conflicts = [], [booking for booking, _ in wanted]
        dropped = self._needed(wanted, moved, dropped)
        reasons = [_made_room_for(booking, wanted) for booking in dropped]
        tells = [controller.preempt(booking, reason) for booking, reason in zip(dropped, reasons, strict=True)]
        tells += controller.move(moved)
        admitted = 0
        for booking, way in wanted:
            if controller.ledger.fits(way.links, booking.request.bandwidth):
                tells.append(controller.admit(booking, way))
                admitted += 1
            else:
                conflicts.append(booking)
        controller.ledger.prove()
        self._note(decision, admitted, len(dropped), len(moved), len(conflicts))
        for tell in tells:
            tell()
        self._answer(bundle, wanted, refused, conflicts)
        self._clock.on_slice()

    def _note(self, decision: Decision, admitted: int, preempted: int, moved: int, conflicts: int) -> None:
        self._controller.decisions.add(
            decision.plan,
            decision.bound,
            agent=self._agent,
            begun=decision.begun,
            commit=int(self._clock.now),
            demands=len(decision.new),
            present=len(decision.present),
            admitted=admitted,
            preempted=preempted,
            moved=moved,
            conflicts=conflicts,
            objective=decision.objective,
            charged=decision.charged,
        )

    def _changes(self, decision: Decision, chosen: list[int]) -> tuple[list[tuple[Booking, Way]], list[Booking]]:
        """What the plan changes for those that were admitted, are still, and have the way that it was made for."""
        moved: list[tuple[Booking, Way]] = []
        dropped: list[Booking] = []
        current = decision.plan.problem.current.tolist()
        for number, (booking, before) in enumerate(zip(decision.present, decision.held, strict=True)):
            if booking.status != "active" or booking.way is not before or chosen[number] == current[number]:
                continue
            if chosen[number] < 0:
                dropped.append(booking)
            else:
                moved.append((booking, _way_of(decision.plan.problem, chosen[number])))
        return moved, dropped

    def _fit(self, wanted: list[tuple[Booking, Way]], moved: list[tuple[Booking, Way]], dropped: list[Booking]) -> bool:
        """Whether every link has room for all of these changes together."""
        more: dict[int, int] = {}
        for booking in [*dropped, *(booking for booking, _ in moved)]:
            for link in set(booking.links):
                more[link] = more.get(link, 0) - booking.request.bandwidth
        for booking, way in [*moved, *wanted]:
            for link in set(way.links):
                more[link] = more.get(link, 0) + booking.request.bandwidth
        room = self._controller.ledger.room
        return all(amount <= 0 or amount <= room[link] for link, amount in more.items())

    def _needed(
        self, wanted: list[tuple[Booking, Way]], moved: list[tuple[Booking, Way]], dropped: list[Booking]
    ) -> list[Booking]:
        """Those that must leave for the new ones of higher priority; the most important are spared first."""
        for booking in sorted(dropped, key=lambda one: (-one.request.priority, one.number)):
            above = [(new, way) for new, way in wanted if new.request.priority > booking.request.priority]
            others = [one for one in dropped if one is not booking]
            if self._fit(above, moved, others):
                dropped = others
        return dropped

    def _answer(
        self, bundle: Bundle | None, wanted: list[tuple[Booking, Way]], refused: list[Booking], conflicts: list[Booking]
    ) -> None:
        """What becomes of those that the plan or the commit left out; then the bundle hears of its members."""
        controller = self._controller
        for booking in conflicts:
            booking.tries += 1
            if controller.retries is not None and booking.tries > controller.retries:
                controller.refuse(booking, f"planned {booking.tries} times, and others were faster each time")
            else:
                (self._waiting if booking.admitted < 0 else self._again).append(booking)
        for booking in refused:
            if booking.status != "waiting":
                continue  # a callback withdrew it
            reason = "there is no room for the whole bundle" if bundle is not None else self._why_not(booking)
            if booking.request.full == "hold" and booking.admitted < 0:
                booking.reason = reason
                self._held.append(booking)
            else:
                controller.refuse(booking, reason)
        if bundle is None:
            return
        states = {booking.status for booking in bundle.members}
        if states == {"rejected"} and bundle.on_refused is not None:
            bundle.on_refused(bundle.members[0].reason)
        elif wanted and not conflicts:
            for booking in bundle.members:
                booking.bundle = None
            if bundle.on_admitted is not None:
                bundle.on_admitted()

    def _why_not(self, booking: Booking) -> str:
        """Where a demand that was left out finds no room."""
        controller, request = self._controller, booking.request
        ways = controller.builder.candidates.ways(request.src, request.dst)
        if not ways:
            return "there is no path" if controller.params.protection == "none" else "there are no two disjoint paths"
        if request.delay_bound >= 0:
            ways = [way for way in ways if way.delay <= request.delay_bound]
        if not ways:
            return "no path keeps its delay bound"
        ledger = controller.ledger
        if any(ledger.fits(way.links, request.bandwidth) for way in ways):
            return "the plan left it out, though a path has room now"
        full = next((link for link in ways[0].links if ledger.room[link] < request.bandwidth), ways[0].links[0])
        return f"no path has room; the first lacks it on {controller.topology.link_name[full]}"


def _rank(group: list[Booking]) -> int:
    """The priority below which admitted demands may be pushed out: a bundle is as important as its least member."""
    priorities = [booking.request.priority for booking in group]
    return max(priorities) if group[0].bundle is None else min(priorities)


def _way_of(problem: Problem, way: int) -> Way:
    path, second = problem.paths_of(way)
    delays = problem.graph.link_delay
    return Way(path + second, len(path), max(sum(int(delays[link]) for link in part) for part in (path, second)))


def _made_room_for(booking: Booking, wanted: list[tuple[Booking, Way]]) -> str:
    """Who pushed a demand out: the most important new one on its links."""
    links = set(booking.links)
    others = [new for new, way in wanted if new.request.priority > booking.request.priority]
    near = [new for new, way in wanted if new in others and not links.isdisjoint(way.links)]
    best = max(near or others, key=lambda new: (new.request.priority, -new.number), default=None)
    if best is None:
        return "made room for others"
    name = best.request.name or str(best.number)
    return f"made room for demand {name} of priority {best.request.priority}"
