"""The ideal network: a transfer takes latency + bits / rate of its own path, and nobody shares anything.

For tests, and for the unloaded reference of every slowdown. A stream over all equal-cost paths goes at the largest
rate that its fixed split allows with the fabric to itself. Links that are down stop new streams and those under way,
slower ones slow them down.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.network.packetless import Packetless
from sim.network.protocol import DELIVERED, INFINITY, Done, Drains, LinkState, Stream, Tell

if TYPE_CHECKING:
    from models.paths import Routes

SECOND = 10**12  # ps
_ZERO = ("packets", "queue_max_bytes", "marked", "dropped", "trimmed", "paused_ps")


class _Transfer:
    """A stream under way. ``left`` bits at ``since``; ``drained``: when its last bit leaves, None while it stands."""

    def __init__(self, stream: Stream, now: int) -> None:
        self.stream = stream
        self.left = Fraction(stream.bytes * 8)
        self.since = now
        self.rate = Fraction(0)
        self.latency = 0
        self.links: tuple[int, ...] = ()
        self.shares: tuple[float, ...] = ()
        self.base = self.left  # bits left when the present path was taken
        self.drained: int | None = None
        self.narrowest = -1  # the link that sets its rate; -1: none sets it below what the source's own links give

    def left_at(self, now: int) -> Fraction:
        return max(self.left - self.rate * (now - self.since) / SECOND, Fraction(0))


class IdealNetwork(Packetless):
    """``efficiency``: payload over wire bytes; rates are exact fractions, times are rounded up to ps."""

    def __init__(self, topology: Topology, routes: Routes, efficiency: float = 1.0, explains: bool = False) -> None:
        self.topology = topology
        self._routes = routes
        self._efficiency = Fraction(efficiency).limit_denominator(10**9)
        self._up = [True] * topology.links
        self._transfers: dict[int, _Transfer] = {}
        self._heap: list[tuple[int, int]] = []  # (delivery, stream); stale where the transfer says otherwise
        self._starts: list[Stream] = []
        self._moves: dict[int, tuple[int, ...] | None] = {}
        self._stops: set[int] = set()
        self._links: dict[int, bool] = {}
        self._rates: dict[int, int] = {}
        self._rate: list[int] = topology.link_rate.tolist()  # bit/s now
        self._new_routes = False
        self._done: list[Done] = []
        self._explains = explains
        self._drains: list[tuple[int, int, int, int]] = []
        self._sent = np.zeros(topology.links)  # bits of finished streams and left paths
        self._accepted = self._delivered = self._withdrawn = 0

    # commands

    def add(self, stream: Stream) -> None:
        self._starts.append(stream)

    def reroute(self, stream: int, path: tuple[int, ...] | None) -> None:
        self._moves[stream] = path

    def stop(self, stream: int) -> None:
        self._stops.add(stream)

    def set_links(self, links: Sequence[int], up: bool) -> None:
        self._links.update(dict.fromkeys(links, up))

    def set_rates(self, links: Sequence[int], rates: Sequence[int]) -> None:
        self._rates.update(zip(links, rates, strict=True))

    def set_routes(self, routes: Routes) -> None:
        self._routes = routes
        self._new_routes = True

    def pending(self) -> bool:
        changed = self._links or self._rates
        return bool(self._starts or self._moves or self._stops or changed or self._new_routes)

    def commit(self, now: int) -> None:
        for link, up in self._links.items():
            self._up[link] = up
        for link, rate in self._rates.items():
            self._rate[link] = rate
        moves = self._moves
        if self._new_routes:
            moves = {number: None for number, t in self._transfers.items() if t.stream.path is None} | moves
        for number, path in sorted(moves.items(), key=lambda item: item[0]):
            transfer = self._transfers.get(number)
            if transfer is not None and not self._gone(transfer, now):
                self._leave(transfer, now)
                transfer.stream = transfer.stream._replace(path=path)
                self._take_path(transfer)
                self._pace(transfer, now)
        changed = {*self._links, *self._rates}
        if changed:
            for transfer in self._transfers.values():
                if not self._gone(transfer, now) and not changed.isdisjoint(transfer.links):
                    self._pace(transfer, now)
        for number in sorted(self._stops):
            transfer = self._transfers.get(number)
            if transfer is not None:
                self._stop(transfer, now)
        for stream in sorted(self._starts):
            self._accepted += stream.bytes
            if stream.id in self._stops:
                self._withdraw(stream, stream.bytes, now)
                continue
            way = self._moves.get(stream.id, stream.path)
            transfer = self._transfers[stream.id] = _Transfer(stream._replace(path=way), now)
            self._take_path(transfer)
            self._pace(transfer, now)
        self._starts, self._moves, self._stops, self._new_routes = [], {}, set(), False
        self._links, self._rates = {}, {}

    def _stop(self, transfer: _Transfer, now: int) -> None:
        """What has drained is delivered. With less than a byte left a stream drains."""
        stream, left = transfer.stream, transfer.left_at(now)
        if self._gone(transfer, now) or (left < 8 and transfer.rate > 0):
            return
        self._leave(transfer, now)
        del self._transfers[stream.id]
        self._withdraw(stream, ceil(left / 8), now)

    def _withdraw(self, stream: Stream, undelivered: int, now: int) -> None:
        self._delivered += stream.bytes - undelivered
        self._withdrawn += undelivered
        self._done.append(Done(stream.id, -1, now, 0, 0, 0, undelivered, 1))

    @staticmethod
    def _gone(transfer: _Transfer, now: int) -> bool:
        return transfer.drained is not None and transfer.drained <= now

    def _leave(self, transfer: _Transfer, now: int) -> None:
        left = transfer.left_at(now)
        for link, share in zip(transfer.links, transfer.shares, strict=True):
            self._sent[link] += float(transfer.base - left) * share
        transfer.left = transfer.base = left
        transfer.since = now

    def _take_path(self, transfer: _Transfer) -> None:
        stream = transfer.stream
        if stream.path is None:
            links, shares = self._routes.share(stream.src, stream.dst)
            transfer.links, transfer.shares = tuple(links.tolist()), tuple(shares.tolist())
            transfer.latency = self._longest(transfer.links, stream.src)
        else:
            transfer.links, transfer.shares = stream.path, (1.0,) * len(stream.path)
            transfer.latency = int(self.topology.link_delay[list(stream.path)].sum())

    def _longest(self, links: tuple[int, ...], source: int) -> int:
        """ps of the slowest way through the links from the source; they have no cycle."""
        reach = {source: 0}
        changed = True
        while changed:
            changed = False
            for link in links:
                src, dst = int(self.topology.link_src[link]), int(self.topology.link_dst[link])
                time = reach.get(src, -1) + int(self.topology.link_delay[link])
                if src in reach and time > reach.get(dst, -1):
                    reach[dst] = time
                    changed = True
        return max(reach.values())

    def _pace(self, transfer: _Transfer, now: int) -> None:
        """The rate from now on, and when the last byte arrives."""
        transfer.left, transfer.since = transfer.left_at(now), now
        limits = [
            self._rate[link] * self._efficiency / Fraction(share).limit_denominator(10**6)
            for link, share in zip(transfer.links, transfer.shares, strict=True)
        ]
        own = self.topology.link_src[list(transfer.links)] == transfer.stream.src
        full = min((limit for limit, first in zip(limits, own, strict=True) if first), default=Fraction(0))
        if transfer.stream.cap is not None:
            full = min(full, transfer.stream.cap * self._efficiency)
        if limits and min(limits) < full:
            transfer.narrowest = transfer.links[limits.index(min(limits))]
        if transfer.stream.pieces > 1:  # its flow may not outrun what it could do as a whole
            whole = self._routes.max_flow(transfer.stream.src, transfer.stream.dst)
            limits.append(whole * self._efficiency / transfer.stream.pieces)
        if transfer.stream.cap is not None:
            limits.append(transfer.stream.cap * self._efficiency)
        stands = not limits or not all(self._up[link] for link in transfer.links)
        transfer.rate = Fraction(0) if stands else min(limits)
        transfer.drained = None
        if transfer.rate > 0:
            transfer.drained = now + max(ceil(transfer.left * SECOND / transfer.rate), 1)
            heapq.heappush(self._heap, (transfer.drained + transfer.latency, transfer.stream.id))

    # events

    def _skip_stale(self) -> None:
        while self._heap:
            time, number = self._heap[0]
            transfer = self._transfers.get(number)
            if transfer is not None and transfer.drained is not None and transfer.drained + transfer.latency == time:
                return
            heapq.heappop(self._heap)

    def next_time(self) -> int:
        self._skip_stale()
        return self._heap[0][0] if self._heap else INFINITY

    def advance(self, until: int, budget: int) -> tuple[int, list[Tell]]:
        tells: list[Tell] = []
        while (now := self.next_time()) <= until and now < INFINITY:
            while self.next_time() == now:
                _, number = heapq.heappop(self._heap)
                transfer = self._transfers.pop(number)
                self._leave(transfer, now)
                self._delivered += transfer.stream.bytes
                self._done.append(Done(number, now, now, 0, 0, 0))
                if self._explains:
                    self._drains.append((number, now, transfer.latency, transfer.narrowest))
                if transfer.stream.notify:
                    tells.append(Tell(DELIVERED, number))
                budget -= 1
            if tells or budget <= 0:
                return now, tells
        return until, tells

    def finished(self) -> list[Done]:
        done, self._done = self._done, []
        return done

    def explain(self) -> Drains:
        return Drains(*np.array(self._drains, dtype=np.int64).reshape(-1, 4).T)

    # views

    def active(self) -> list[int]:
        return sorted([*self._transfers, *(stream.id for stream in self._starts)])

    def undelivered(self, stream: int, now: int) -> int:
        transfer = self._transfers.get(stream)
        if transfer is None:
            return sum(one.bytes for one in self._starts if one.id == stream)
        return 0 if self._gone(transfer, now) else ceil(transfer.left_at(now) / 8)

    def link_state(self, now: int) -> LinkState:
        return LinkState(np.zeros(self.topology.links, dtype=np.int64), self._sent_bytes(now))

    def _sent_bytes(self, now: int) -> NDArray[np.int64]:
        bits = self._sent.copy()
        for transfer in self._transfers.values():
            moved = float(transfer.base - transfer.left_at(now))
            for link, share in zip(transfer.links, transfer.shares, strict=True):
                bits[link] += moved * share
        return np.rint(bits / 8).astype(np.int64)

    def link_totals(self, now: int) -> dict[str, NDArray[np.int64]]:
        sent = self._sent_bytes(now)
        totals = {name: np.zeros(self.topology.links, dtype=np.int64) for name in _ZERO}
        return {"bytes": sent} | totals

    def delivered_bytes(self) -> int:
        return self._delivered

    def check(self, now: int) -> list[str]:
        flying = sum(transfer.stream.bytes for transfer in self._transfers.values())
        if self._accepted != self._delivered + flying + self._withdrawn:
            text = f"{self._delivered} delivered, {flying} in flight, {self._withdrawn} withdrawn"
            return [f"ideal: {self._accepted} bytes in, {text}"]
        return []
