"""Blocking on one link against Erlang's loss formula, without and with preemption.

A link of C circuits, Poisson demands for one circuit each, exponential holding times: a share B(C, a) of them is
blocked, a being the mean number that would be there if none were. With preemption the more important ones see only
themselves: B(C, a1). Each arrival at a full link costs one demand, whoever it is, so of the less important ones the
share (a B(C, a) - a1 B(C, a1)) / a2, a = a1 + a2, is refused or pushed out. Intervals are 99 % batch means over the
demands in order of arrival.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from analysis.stats import Interval, batch_means
from sim import load
from sim.build import build
from sim.processes.bookings import Booking
from sim.progress import Progress
from sim.run import broken_laws, run_world

HIGH, LOW = 2, 1
# circuits, erlangs of the more and of the less important (0: one class), demands, half-width to reach
FULL = ((10, 0.0, 8.0, 250_000, 0.03), (3, 2.0, 2.0, 150_000, 0.03))


class Blocking(NamedTuple):
    """What became of the demands of one class: the share that was not served to its end."""

    circuits: int
    name: str
    theory: float
    measured: Interval


def erlang_b(circuits: int, load: float) -> float:
    """B(C, a) by its recursion."""
    blocked = 1.0
    for number in range(1, circuits + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked


def run(circuits: int, high: float, low: float, demands: int, seed: int = 1) -> list[Blocking]:
    """One class of ``low`` erlangs, or two of which the first may push out the second."""
    whole = high + low
    work: dict[str, Any] = {
        "kind": "demands",
        "arrivals": {"kind": "poisson", "rate": f"{whole:g}/s"},
        "hold": {"kind": "exponential", "mean": "1s"},
        "bandwidth": "1Gbps",
        "pairs": {"kind": "fixed", "src": "a", "dst": "b"},
        "count": demands,
        "traffic": False,
        "priorities": {str(HIGH): high / whole, str(LOW): low / whole} if high else [LOW],
    }
    cable = {"src": "a", "dst": "b", "rate": f"{circuits}Gbps", "delay": "1us"}
    scenario = {
        "name": "erlang",
        "engine": "ideal",
        "fabric": {"topology": {"kind": "edges", "links": [cable]}},
        "dispatch": {"admission": {"kind": "greedy", "preempt": bool(high)}},
        "workload": [work],
    }
    world = build(load(scenario, seed=seed).runs[0])
    status, reasons = run_world(world, Progress(world, True, ""))
    broken = broken_laws(world)
    assert (status, broken) == ("completed", []), (reasons, broken)
    controller = world.admission.controller()
    unserved = {priority: _unserved(controller.bookings, priority) for priority in (HIGH, LOW)}
    losses = whole * erlang_b(circuits, whole) - high * erlang_b(circuits, high)
    found = [Blocking(circuits, "low" if high else "all", losses / low, batch_means(unserved[LOW]))]
    if high:
        found.append(Blocking(circuits, "high", erlang_b(circuits, high), batch_means(unserved[HIGH])))
    return found


def _unserved(bookings: list[Booking], priority: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(one.status != "ended") for one in bookings if one.request.priority == priority])
