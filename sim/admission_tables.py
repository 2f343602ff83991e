"""The tables of admission of a finished world; the columns are described in ``models/admitted.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.candidates import Way
from models.topology import Topology
from sim.processes.admission import Controller
from sim.processes.bookings import Booking
from sim.processes.demands import Sender
from sim.record import frame

if TYPE_CHECKING:
    from sim.build import World

_PS = 1e12
_NEVER = float("nan")


def admission_tables(world: World) -> dict[str, Any]:
    """Every one that has rows; none where nothing asked for admission."""
    controller = world.admission.asked
    if controller is None:
        return {}
    tables: dict[str, Any] = {}
    listed = [booking for booking in controller.bookings if booking.request.name]
    if listed:
        tables["demands"] = _demands(world, listed)
        tables["demand_classes"] = _classes(listed)
    if controller.decisions.status:
        tables["decisions"] = _decisions(controller)
    if controller.bookings:
        tables["reservations"] = _reservations(controller, int(world.clock.now))
    return tables


def _demands(world: World, listed: list[Booking]) -> Any:
    names, now = world.topology.node_name, int(world.clock.now)
    senders = world.admission.senders()
    paths = _Paths(world.topology)
    return frame(
        "demands",
        {
            "id": [one.request.name for one in listed],
            "src": [names[one.request.src] for one in listed],
            "dst": [names[one.request.dst] for one in listed],
            "bandwidth_mbps": [one.request.bandwidth / 1e6 for one in listed],
            "priority": [one.request.priority for one in listed],
            "arrival_s": [one.arrival / _PS for one in listed],
            "hold_s": [_seconds(one.request.hold) for one in listed],
            "decided_s": [_seconds(one.decided) for one in listed],
            "end_s": [_seconds(one.end) for one in listed],
            "admitted": [int(one.admitted >= 0) for one in listed],
            "wait_ms": [_wait(one) for one in listed],
            "earned": [one.request.priority if _stayed(one) else 0 for one in listed],
            "moves": [one.moves for one in listed],
            "carried": [_carried(one, senders.get(one.number), world, now) for one in listed],
            "path": [None if one.way is None else paths.text(one.way) for one in listed],
            "status": [one.status for one in listed],
            "reason": [one.reason for one in listed],
        },
    )


def _seconds(time: int | None) -> float:
    return _NEVER if time is None or time < 0 else time / _PS


def _wait(booking: Booking) -> float:
    return _NEVER if booking.decided < 0 else (booking.decided - booking.arrival) / 1e9


def _stayed(booking: Booking) -> bool:
    return booking.admitted >= 0 and booking.status not in {"preempted", "lost"}


def _carried(booking: Booking, sender: Sender | None, world: World, now: int) -> float:
    """What arrived over what the demand's bandwidth has room for while it was admitted; a packet more is no more."""
    if sender is None:
        return _NEVER
    end = booking.end if booking.end >= 0 else now
    due = sender.traffic.payload(booking.request.bandwidth, end - booking.admitted)
    return min(1.0, world.flows.arrived(sender.flow) / due) if due else _NEVER


class _Paths:
    """Ways as text; many demands have the same."""

    def __init__(self, topology: Topology) -> None:
        names = topology.node_name
        self._from = [names[node] for node in topology.link_src.tolist()]
        self._to = [f">{names[node]}" for node in topology.link_dst.tolist()]
        self._known: dict[tuple[tuple[int, ...], int], str] = {}

    def text(self, way: Way) -> str:
        key = (way.links, way.backup)
        if key not in self._known:
            parts = (way.links[: way.backup], way.links[way.backup :])
            texts = [self._from[part[0]] + "".join(self._to[link] for link in part) for part in parts if part]
            self._known[key] = " ".join(texts)
        return self._known[key]


def _classes(listed: list[Booking]) -> Any:
    rows: list[tuple[float, ...]] = []
    for priority in sorted({one.request.priority for one in listed}, reverse=True):
        members = [one for one in listed if one.request.priority == priority]
        status = [one.status for one in members]
        admitted = sum(one.admitted >= 0 for one in members)
        answered = len(members) - sum(one.admitted < 0 and one.status == "waiting" for one in members)
        gone = status.count("preempted") + status.count("lost")
        waits = [_wait(one) for one in members if one.decided >= 0]
        rows.append(
            (
                priority, len(members), admitted, status.count("rejected"), status.count("gave_up"),
                status.count("preempted"), status.count("lost"),
                1 - admitted / answered if answered else _NEVER,
                1 - (admitted - gone) / answered if answered else _NEVER,
                float(np.mean(waits)) if waits else _NEVER,
            )
        )  # fmt: skip
    names = ("priority", "offered", "admitted", "rejected", "gave_up", "preempted", "lost", "blocking", "not_served")
    columns = zip((*names, "wait_mean_ms"), zip(*rows, strict=True), strict=True)
    return frame("demand_classes", {name: list(values) for name, values in columns})


def _decisions(controller: Controller) -> Any:
    made = controller.decisions
    counts = {name: np.array(column, dtype=np.int64) for name, column in made.counts.items()}
    bound = np.array(made.bound)
    short = np.maximum(bound - counts["objective"], 0.0)
    same = ("agent", "demands", "present", "admitted", "preempted", "moved", "conflicts", "objective")
    return frame(
        "decisions",
        {
            "id": np.arange(len(bound)),
            "start_s": counts["begun"] / _PS,
            "commit_s": counts["commit"] / _PS,
            **{name: counts[name] for name in same},
            "bound": bound,
            "gap": np.divide(short, bound, out=np.zeros_like(bound), where=bound > 0),
            "status": made.status,
            "solver": made.solver,
            "charged_ms": counts["charged"] / 1e9,
        },
    )


def _reservations(controller: Controller, now: int) -> Any:
    ledger = controller.ledger
    capacity = np.array(ledger.capacity, dtype=np.float64)
    mean = ledger.mean(now)
    return frame(
        "reservations",
        {
            "link": controller.topology.link_name,
            "capacity_mbps": capacity / 1e6,
            "mean_mbps": mean / 1e6,
            "peak_mbps": np.array(ledger.peak) / 1e6,
            "mean_share": mean / capacity,
            "demands": ledger.demands,
        },
    )
