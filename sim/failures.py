"""The book of a run's failures: which flows each one hit, what became of them, and when traffic had recovered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.api import Flow, Piece
from sim.dispatch.views import PathView
from sim.flow_book import FlowBook
from sim.network.protocol import Network
from sim.processes.faults import Fault
from sim.record import PS_PER_US, microseconds

BACK = 0.9  # of the mean rate before: recovered


class _Row:
    """One failure."""

    def __init__(self, fault: Fault, links: Iterable[int], dropped: int) -> None:
        self.fault = fault
        self.links = frozenset(links)  # a flow over one of them is hit
        self.until = self.converged = -1  # ps
        self.dropped = -dropped  # at its links: less those before it began
        self.hit: set[int] = set()
        self.rerouted: set[int] = set()
        self.routes: Routes | None = None  # the tables that `spread` holds for
        self.spread: dict[tuple[int, int], bool] = {}  # class of pairs -> whether their equal-cost paths lead over it


class FailureBook:
    """Hears of failures from ``Faults``, and of the ways of flows from their keeper while something has failed."""

    def __init__(
        self, clock: Clock, network: Network, topology: Topology, view: PathView, flows: FlowBook, acks: bool
    ) -> None:
        """``acks``: they go back over the way of their data, so a flow is hit on the links of that too."""
        self._acks = acks
        self._clock, self._network, self._topology, self._view, self._flows = clock, network, topology, view, flows
        flows.failures = self
        self.rows: dict[int, _Row] = {}  # by occurrence
        self._active: list[_Row] = []
        self._rows_of: dict[int, list[_Row]] = {}  # flow -> what hit it

    # -- what failed

    def begin(self, number: int, fault: Fault) -> None:
        if fault.what == "up":
            return
        back = [link ^ 1 for link in fault.links] if self._acks else []
        row = self.rows[number] = _Row(fault, (*fault.links, *back), self._dropped(fault.links))
        self._active.append(row)
        for flow, pieces in self._flows.under_way():
            self._look(row, flow, pieces)

    def end(self, number: int) -> None:
        row = self.rows[number]
        row.until = int(self._clock.now)
        row.dropped += self._dropped(row.fault.links)
        self._active.remove(row)

    def converged(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.rows[number].converged = int(self._clock.now)

    def _dropped(self, links: Sequence[int]) -> int:
        return int(self._network.link_totals(int(self._clock.now))["dropped"][list(links)].sum())

    # -- whom it hits

    def sent(self, flow: Flow, pieces: Sequence[Piece]) -> None:
        """A flow was given these ways."""
        for row in self._active:
            self._look(row, flow, pieces)

    def moved(self, flow: int) -> None:
        """A flow goes on over another path."""
        for row in self._rows_of.get(flow, ()):
            row.rerouted.add(flow)

    def _look(self, row: _Row, flow: Flow, pieces: Sequence[Piece]) -> None:
        if flow.id in row.hit:
            return
        for _, path in pieces:
            if self._spread_over(row, flow) if path is None else not row.links.isdisjoint(path):
                row.hit.add(flow.id)
                self._rows_of.setdefault(flow.id, []).append(row)
                return

    def _spread_over(self, row: _Row, flow: Flow) -> bool:
        """Whether an equal-cost path of the pair leads over it, by the tables of this moment."""
        routes = self._view.routes
        ends = {int(routes.first_link[flow.src]), int(routes.last_link[flow.dst])}
        if not row.links.isdisjoint(ends):
            return True
        if row.routes is not routes:  # classes are numbered anew
            row.routes, row.spread = routes, {}
        pair = routes.pair_class(flow.src, flow.dst)
        if pair not in row.spread:
            links, _ = routes.share(flow.src, flow.dst)
            inner = set(links.tolist()) - ends
            row.spread[pair] = not row.links.isdisjoint(inner)
        return row.spread[pair]

    # -- what became of it

    def columns(self, progress: tuple[NDArray[np.int64], NDArray[np.float64]]) -> dict[str, Any]:
        """The columns of the table at the end of the run. ``progress``: ps of samples, bytes delivered up to each."""
        flows, rows = self._flows, list(self.rows.values())
        dropped = [row.dropped + (self._dropped(row.fault.links) if row.until < 0 else 0) for row in rows]
        status = np.array(flows.status, dtype=object)
        start = np.array([flow.start for flow in flows.flow], dtype=np.int64)
        with np.errstate(divide="ignore", invalid="ignore"):
            slowdown = (np.array(flows.end, dtype=np.int64) - start) / np.array(flows.ideal, dtype=np.int64)
        slowdown[status != "finished"] = np.nan
        lost = status == "unfinished"
        recovered = [recovery(*progress, row.fault.at) for row in rows]
        faults = [row.fault for row in rows]
        return {
            "event": [fault.event for fault in faults],
            "element": [fault.element for fault in faults],
            "what": [fault.what for fault in faults],
            "at_us": [fault.at / PS_PER_US for fault in faults],
            "until_us": microseconds(np.array([row.until for row in rows])),
            "converged_us": microseconds(np.array([row.converged for row in rows])),
            "rate_share": [self._rate_share(fault) for fault in faults],
            "loss": [fault.loss if fault.what == "loss" else np.nan for fault in faults],
            "packets_lost": dropped,
            "flows_hit": [len(row.hit) for row in rows],
            "flows_rerouted": [len(row.rerouted) for row in rows],
            "flows_lost": [int(lost[sorted(row.hit)].sum()) for row in rows],
            "recovery_us": microseconds(np.array(recovered)),
            "inflation": [_inflation(slowdown, row.hit) for row in rows],
        }

    def _rate_share(self, fault: Fault) -> float:
        if fault.what != "degrade":
            return float("nan")
        rate = self._topology.link_rate[list(fault.links)]
        return float((np.array(fault.rates, dtype=np.int64) / rate).min())


def recovery(times: NDArray[np.int64], delivered: NDArray[np.float64], at: int) -> int:
    """ps from ``at`` until the delivered rate is back at ``BACK`` of its mean before; -1: never, or it can't be told.

    ``times`` [samples] ps, ``delivered`` [samples] bytes up to then. Rates are those between two samples; the two after
    the event decide whether it was felt at all.
    """
    before = int(np.searchsorted(times, at, side="right"))
    if before < 2 or delivered[before - 1] <= 0:
        return -1
    mean = delivered[before - 1] / times[before - 1]
    rates = np.diff(delivered[before - 1 :]) / np.diff(times[before - 1 :])
    ends = times[before:]
    low = rates < BACK * mean
    felt = np.flatnonzero(low[:2])
    if not len(felt):
        return 0 if len(rates) else -1
    back = np.flatnonzero(~low[felt[0] :])
    return int(ends[felt[0] + back[0]]) - at if len(back) else -1


def _inflation(slowdown: NDArray[np.float64], hit: set[int]) -> float:
    chosen = np.zeros(len(slowdown), dtype=np.bool_)
    chosen[sorted(hit)] = True
    done = np.isfinite(slowdown)
    if not (done & chosen).any() or not (done & ~chosen).any():
        return float("nan")
    return float(slowdown[done & chosen].mean() / slowdown[done & ~chosen].mean())
