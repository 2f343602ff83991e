"""What passes between those who ask for admission, the controller and its planners: requests, bookings, decisions."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from models.candidates import Way
from solvers.admission.plan import Plan

Path = tuple[int, ...]


class Waits(Protocol):
    """Whoever decides about a booking keeps it until then. ``again``: it was admitted, and goes before new ones."""

    def add(self, booking: Booking, *, again: bool = False) -> None: ...


@dataclass(slots=True)
class Request:
    """What somebody asks for, and what is to be called when something happens to it.

    ``on_admitted(path)``: it has the path (links) from now on; ``on_refused(reason)``: it will not be admitted, or gave
    up; ``on_moved(path)``: another path; ``on_lost(reason)``: an admitted one was preempted or lost to a failure;
    ``on_ended()``: its time is over. The controller counts ``hold`` from the admission.
    """

    src: int  # node
    dst: int  # node
    bandwidth: int  # bit/s
    priority: int = 1
    hold: int | None = None  # ps; None: until it is released
    delay_bound: int = -1  # ps, -1: none
    patience: int | None = None  # ps that it waits for an answer; None: for ever
    full: Literal["reject", "hold"] = "reject"  # what becomes of it where there is no room: hold waits for some
    on_admitted: Callable[[Path], None] | None = None
    on_refused: Callable[[str], None] | None = None
    on_moved: Callable[[Path], None] | None = None
    on_lost: Callable[[str], None] | None = None
    on_ended: Callable[[], None] | None = None
    name: str = ""  # its row in the table of demands; "": it has none


class Booking:
    """A request and what has become of it. Times are ps, -1: not yet."""

    __slots__ = (
        "admitted", "arrival", "bundle", "decided", "end", "failed", "met", "moves", "number", "planner", "reason",
        "request", "status", "tries", "way",
    )  # fmt: skip

    def __init__(self, number: int, request: Request, arrival: int, planner: Waits) -> None:
        self.number, self.request, self.arrival, self.planner = number, request, arrival, planner
        self.decided = self.admitted = self.end = -1
        self.way: Way | None = None  # the last one it had
        self.met: frozenset[int] = frozenset()  # links of the ways before that
        self.bundle: Bundle | None = None
        self.moves = self.tries = 0
        self.failed = ""  # the link whose failure took its way, while it waits for another
        self.status = "waiting"
        self.reason = ""

    @property
    def links(self) -> Path:
        """What it has reserved, or had; the only link of a host is in both of two paths."""
        assert self.way is not None
        return self.way.links

    @property
    def path(self) -> Path:
        """The links that it uses now; a second path is only reserved."""
        assert self.way is not None
        return self.way.links[: self.way.backup]


@dataclass
class Bundle:
    """Bookings that are admitted all together or not at all. Once admitted, each goes its own way."""

    members: list[Booking]
    on_admitted: Callable[[], None] | None
    on_refused: Callable[[str], None] | None


class Decision(NamedTuple):
    """A plan under way: ``present`` were admitted, and are in the problem before the ``new`` ones."""

    begun: int  # ps
    charged: int  # ps
    present: list[Booking]
    held: list[Way | None]  # ways of the present ones when planning began
    new: list[Booking]
    plan: Plan
    objective: int
    bound: float


class Decisions:
    """The rows of the table of decisions, in order of commit."""

    def __init__(self) -> None:
        self.counts: dict[str, array[int]] = {
            name: array("q")
            for name in (
                "agent", "begun", "commit", "demands", "present", "admitted", "preempted", "moved", "conflicts",
                "objective", "charged",
            )
        }  # fmt: skip
        self.bound = array("d")
        self.status: list[str] = []
        self.solver: list[str] = []

    def add(self, plan: Plan, bound: float, **counts: int) -> None:
        for name, column in self.counts.items():
            column.append(counts[name])
        self.bound.append(bound)
        self.status.append(plan.status)
        self.solver.append(f"{plan.method} ({plan.solver})")
