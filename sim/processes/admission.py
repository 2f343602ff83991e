"""The admission controller: it is asked for bandwidth between two nodes, for some time, and answers with a path or no.

The cast: whoever wants a demand admitted sends a ``Request``; the controller keeps a ``Booking`` of each, the ledger of
what is reserved, and planners (``planner.py``) that decide what waits. It hears of links that fail or come back when
the tables converge, and then moves demands to their second path, or has them decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.candidates import Candidates, Way
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.api import ControllerParams
from sim.dispatch.views import AdmissionView
from sim.processes.bookings import Booking, Bundle, Decisions, Request
from sim.processes.ledger import Ledger
from sim.processes.planner import Planner
from solvers.admission.build import Builder


class Controller:
    """Books demands. Decisions are made after everything else of an instant, so its order does not matter.

    A protected demand that goes on over its second path has no other then, also when the failed links are back.
    """

    def __init__(
        self,
        clock: Clock,
        topology: Topology,
        params: ControllerParams,
        policy: Callable[[AdmissionView], Any],
        generator: Callable[[int], np.random.Generator],
        up: NDArray[np.bool_],
    ) -> None:
        """``policy`` makes it from its view; ``generator`` the random numbers of an agent."""
        self.clock, self.topology, self.params = clock, topology, params
        self.ledger = Ledger(topology, up)
        self.builder = Builder(topology, Candidates(topology, params.paths, params.by, params.protection, up))
        self.view = AdmissionView(topology, lambda: int(clock.now))
        self.view.up, self.view.free = up.copy(), self.ledger.room.view()
        self.view.up.flags.writeable = self.view.free.flags.writeable = False
        self.policy = policy(self.view)
        self.retries: int | None = getattr(self.policy, "retries", None)
        self.bookings: list[Booking] = []  # by number
        self.present: dict[int, Booking] = {}  # admitted now
        self.worth = 0  # their priorities
        self.decisions = Decisions()
        self.notes: dict[str, int] = {}  # of plans: what a reader must know -> how often
        agents = getattr(self.policy, "agents", 1)
        self._planners = [Planner(self, agent, generator(agent)) for agent in range(agents)]

    # -- what others ask for

    def ask(self, request: Request) -> int:
        """Its number. The answer comes by the request's callbacks, never before this returns."""
        booking = self._enter(request)
        booking.planner.add(booking)
        return booking.number

    def ask_all(
        self,
        requests: Sequence[Request],
        on_admitted: Callable[[], None] | None = None,
        on_refused: Callable[[str], None] | None = None,
    ) -> list[int]:
        """The same for several that are admitted together or not at all; they have ``patience`` and ``full`` in common.

        The callbacks of the requests come first, then that of the bundle.
        """
        if len({(request.patience, request.full) for request in requests}) != 1:
            raise ValueError("the requests of a bundle need one patience and one answer to no room")
        bundle = Bundle([self._enter(request) for request in requests], on_admitted, on_refused)
        planner = bundle.members[0].planner
        for booking in bundle.members:
            booking.bundle, booking.planner = bundle, planner
            planner.add(booking)
        return [booking.number for booking in bundle.members]

    def release(self, number: int) -> None:
        """An admitted demand leaves before its time, or one that waits is withdrawn. No callback is called."""
        booking = self.bookings[number]
        if booking.status == "active":
            self._leave(booking, "ended", "")
        elif booking.status == "waiting":
            booking.status = "gave_up" if booking.admitted < 0 else "ended"
            booking.end = int(self.clock.now) if booking.admitted >= 0 else -1
            booking.reason = "withdrawn"

    def _enter(self, request: Request) -> Booking:
        number, now = len(self.bookings), int(self.clock.now)
        agent = 0
        if len(self._planners) > 1:
            agent = self.policy.agent_of(number, request.src, request.dst, request.priority)
        booking = Booking(number, request, now, self._planners[agent])
        self.bookings.append(booking)
        if request.patience is not None:
            self.clock.at(now + request.patience, partial(self._impatient, booking))
        return booking

    def waiting(self) -> int:
        """Demands without an answer."""
        return sum(planner.backlog() for planner in self._planners)

    # -- what planners answer

    def admit(self, booking: Booking, way: Way) -> Callable[[], None]:
        """Reserves a way that has room. Returns the call that tells it, for when the whole plan is booked."""
        now, request = int(self.clock.now), booking.request
        self._take(booking, way, now)
        booking.status = "active"
        self.present[booking.number] = booking
        self.worth += request.priority
        if booking.admitted >= 0:  # it had lost its way
            booking.failed = ""
            booking.moves += 1
            return partial(_tell, request.on_moved, booking.path)
        booking.decided = booking.admitted = now
        if request.hold is not None:
            self.clock.at(now + request.hold, partial(self._time_is_up, booking))
        return partial(_tell, request.on_admitted, booking.path)

    def move(self, changes: Sequence[tuple[Booking, Way]]) -> list[Callable[[], None]]:
        """Books admitted demands on other ways, all at once: some may take what others leave."""
        now = int(self.clock.now)
        for booking, _ in changes:
            self.ledger.give(booking.links, booking.request.bandwidth, now)
        tells = []
        for booking, way in changes:
            before = booking.path
            self._take(booking, way, now)
            if booking.path != before:
                booking.moves += 1
                tells.append(partial(_tell, booking.request.on_moved, booking.path))
        return tells

    def _take(self, booking: Booking, way: Way, now: int) -> None:
        self.ledger.take(way.links, booking.request.bandwidth, now)
        if booking.way is None:
            self.ledger.count(way.links)
        else:
            booking.met = booking.met | set(booking.way.links)
            self.ledger.count(set(way.links) - booking.met)
        booking.way = way

    def preempt(self, booking: Booking, reason: str) -> Callable[[], None]:
        """Ends an admitted demand for a more important one."""
        self._leave(booking, "preempted", reason)
        return partial(_tell, booking.request.on_lost, reason)

    def refuse(self, booking: Booking, reason: str) -> None:
        """The answer is no. A demand that had lost its way is lost for good."""
        if booking.admitted >= 0:
            self._lose(booking, f"{booking.failed} failed; {reason}")
            return
        booking.decided = int(self.clock.now)
        booking.status, booking.reason = "rejected", reason
        _tell(booking.request.on_refused, reason)

    # -- what time and faults do

    def _impatient(self, booking: Booking) -> None:
        if booking.status == "waiting" and booking.admitted < 0:
            booking.status = "gave_up"
            booking.reason = booking.reason or "no answer in time"
            _tell(booking.request.on_refused, booking.reason)
            bundle = booking.bundle
            if bundle is not None and booking is bundle.members[-1]:
                _tell(bundle.on_refused, booking.reason)

    def _time_is_up(self, booking: Booking) -> None:
        if booking.status == "active":
            self._leave(booking, "ended", "")
            _tell(booking.request.on_ended)
        elif booking.status == "waiting":
            self._lose(booking, f"{booking.failed} failed; its time was up before it had another path")

    def _leave(self, booking: Booking, status: str, reason: str) -> None:
        """Gives back what an admitted demand has, and lets others try again."""
        now = int(self.clock.now)
        self._give(booking, now)
        booking.end, booking.status, booking.reason = now, status, reason
        self._room_came()

    def _give(self, booking: Booking, now: int) -> None:
        self.ledger.give(booking.links, booking.request.bandwidth, now)
        del self.present[booking.number]
        self.worth -= booking.request.priority

    def _lose(self, booking: Booking, reason: str) -> None:
        booking.end, booking.status, booking.reason = int(self.clock.now), "lost", reason
        _tell(booking.request.on_lost, reason)

    def _room_came(self) -> None:
        for planner in self._planners:
            planner.room_came()

    def hear(self, up: NDArray[np.bool_]) -> None:
        """The state of the links [links] as the tables have it from now on."""
        before = np.array(self.ledger.up)
        if (before == up).all():
            return
        self.ledger.set_up(up)
        self.builder.candidates.set_up(up)
        self.view.up = up.copy()
        self.view.up.flags.writeable = False
        down = set(np.flatnonzero(before & ~up).tolist())
        if down:
            for booking in [one for one in self.present.values() if not down.isdisjoint(one.links)]:
                self._hit(booking, down)
        if (up & ~before).any():
            self._room_came()

    def _hit(self, booking: Booking, down: set[int]) -> None:
        """A link of an admitted demand failed: what is left of two paths, or another decision, before all new ones."""
        way = booking.way
        assert way is not None
        first, second = way.links[: way.backup], way.links[way.backup :]
        for path in (first, second):
            if path and down.isdisjoint(path):
                for tell in self.move([(booking, Way(path, len(path), way.delay))]):
                    tell()
                self._room_came()
                return
        self._give(booking, int(self.clock.now))
        booking.failed = self.topology.link_name[next(link for link in first if link in down)]
        booking.status, booking.tries, booking.bundle = "waiting", 0, None
        booking.planner.add(booking, again=True)
        self._room_came()

    # -- what must hold

    def broken(self) -> list[str]:
        """What does not hold of the books, in words: they are added up again from the demands."""
        booked = np.zeros(self.topology.links, dtype=np.int64)
        for booking in self.present.values():
            for link in set(booking.links):
                booked[link] += booking.request.bandwidth
        wrong = np.flatnonzero(booked != np.array(self.ledger.reserved))
        names = self.topology.link_name
        found = [
            f"admitted demands take {booked[link]} bit/s of {names[link]}, but {self.ledger.reserved[link]} are booked"
            for link in wrong.tolist()
        ]
        if self.worth != sum(booking.request.priority for booking in self.present.values()):
            found.append("the priorities of the admitted demands do not add up")
        return found + self.ledger.broken()


def _tell(callback: Callable[..., None] | None, *what: Any) -> None:
    if callback is not None:
        callback(*what)
