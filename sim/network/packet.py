"""The packet engine behind the Network protocol: applies commands and calls the compiled loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes
from models.topology import Topology
from models.units import serialisation_ps
from sim.engine import kernel
from sim.engine.layout import TRACE
from sim.network.packet_memory import DONE, FRAMES, KEPT, LIVE, RECORDS, TOLD, TRACED, table_entries
from sim.network.packet_results import PacketResults
from sim.network.protocol import INFINITY, Done, Stream, Tell
from sim.network.settings import PacketChoice, PacketSettings


class PacketNetwork(PacketResults):
    """Every packet through every queue. See ``sim/engine/kernel.py`` for the order of events."""

    def __init__(
        self,
        topology: Topology,
        routes: Routes,
        settings: PacketSettings,
        choice: PacketChoice | None = None,
        on_trace: Callable[[NDArray[np.int64]], None] | None = None,
        explains: bool = False,
    ) -> None:
        super().__init__(topology, settings, choice, on_trace, explains)
        self._routes = routes
        self._tables_due = True  # built for the first packet that has no path of its own
        self._groups: NDArray[np.int32] | None = None
        self._path_at: dict[tuple[int, ...], int] = {}
        self._path_end = 0
        self._moves: list[tuple[int, tuple[int, ...] | None]] = []
        self._stops: set[int] = set()
        self._links: list[tuple[int, bool]] = []
        self._rates: list[tuple[int, int]] = []
        self._losses: list[tuple[int, float]] = []
        self._edge: list[int] = topology.edge_of_host.tolist()
        out = topology.out_start[: topology.hosts]
        self._first: list[int] = topology.out_link[np.minimum(out, max(topology.links - 1, 0))].tolist()
        self._homes: list[int] = np.diff(topology.out_start[: topology.hosts + 1]).tolist()
        self._domain: list[int] = topology.domain.tolist()
        hosts = range(topology.hosts)
        self._window = [[settings.window_of(host, inside) for host in hosts] for inside in (False, True)]

    # -- commands

    def set_routes(self, routes: Routes) -> None:
        self._routes = routes
        self._tables_due = True

    def _use_tables(self) -> None:
        """Hands the kernel the tables that packets without a path of their own follow."""
        if not self._tables_due:
            return
        self._tables_due = False
        tables = self._routes.tables()
        self._hold("table_port", np.ascontiguousarray(tables.port))
        weight = tables.weight
        if len(weight):  # in lowest terms, so that a draw depends on nothing but the entry itself
            first = np.unique(tables.start)[:-1]
            divisor = np.gcd.reduceat(weight, first)
            weight = weight // np.repeat(divisor, np.diff(np.append(first, len(weight))))
        self._hold("table", table_entries(tables.start, tables.port, weight))
        if np.all(weight == 1):  # then the kernel need not read them
            self._world["table_weight"] = 0
        else:
            self._hold("table_weight", weight)
        self._hold("last_start", np.ascontiguousarray(tables.last_start))
        # the kernel looks for the links from one node: they must lie side by side
        host = np.repeat(np.arange(self.topology.hosts), np.diff(tables.last_start))
        order = np.lexsort((tables.last_link, self.topology.link_src[tables.last_link], host))
        self._hold("last_link", tables.last_link[order])
        self._groups = tables.group
        world = self._world
        world["groups"] = self._routes.groups
        longest = max(int(self._routes.distance(group).max()) for group in range(self._routes.groups)) + 2
        self._grow_trail(2 * longest)  # twice the longest way: tables may change while a packet is under way
        # groups are numbered anew with every tables
        self._flows["group"] = tables.group[self._flows["dst"]]
        if len(self._senders):
            self._senders["group"] = tables.group[self._flows["src"]]
        self._held["packets"]["group"] = tables.group[self._held["packets"]["dst"]]

    def _leave_dead_nics(self, now: int) -> None:
        """Tables have changed: flows without a path that wait at a NIC whose link is down choose again."""
        links, nics, flows = self._held["links"], self._held["nics"], self._flows
        waiting: list[int] = []
        for nic in np.flatnonzero(links["up"][nics["link"][: int(self._world["nic_count"][0])]] == 0).tolist():
            slot = int(nics["ready_head"][nic])
            while slot >= 0:
                if flows["path"][slot] < 0:
                    waiting.append(slot)
                slot = int(flows["next_ready"][slot])
        for slot in waiting:
            kernel.queue_again(self._address, slot, now)

    def add(self, stream: Stream) -> None:
        self._starts.append(stream)

    def reroute(self, stream: int, path: tuple[int, ...] | None) -> None:
        self._moves.append((stream, path))

    def stop(self, stream: int) -> None:
        self._stops.add(stream)

    def set_links(self, links: Sequence[int], up: bool) -> None:
        self._links.extend((link, up) for link in links)

    def set_rates(self, links: Sequence[int], rates: Sequence[int]) -> None:
        self._check_ahead(min(rates, default=10**15))
        self._rates.extend(zip(links, rates, strict=True))

    def set_loss(self, links: Sequence[int], share: float) -> None:
        self._losses.extend((link, share) for link in links)

    def pending(self) -> bool:
        due = self._tables_due and self._groups is not None
        changes = self._links or self._rates or self._losses
        return bool(self._starts or self._moves or self._stops or changes or due)

    def commit(self, now: int) -> None:
        self._need_packets()
        self._need_timers()
        self._change_links(now)
        if self._tables_due and self._groups is not None:
            self._use_tables()
            self._leave_dead_nics(now)
        moves = dict(self._moves)
        for stream, path in sorted(moves.items(), key=lambda move: move[0]):
            slot = self._slot_of.get(stream)
            if slot is not None:
                self._set_path(slot, path)
                kernel.start(self._address, slot, now)
        self._moves.clear()
        for stream in sorted(self._stops):
            slot = self._slot_of.get(stream)
            if slot is not None:
                kernel.stop(self._address, slot, now)
        self._starts.sort()
        for first in self._starts:
            self._accepted += first.bytes
            if first.id in self._stops:
                self._end(Done(first.id, -1, now, 0, 0, 0, first.bytes, 1))
                continue
            self._need_packets()
            moved = first._replace(path=moves[first.id]) if first.id in moves else first
            kernel.start(self._address, self._place(moved, now), now)
        self._starts.clear()
        self._stops.clear()
        self._collect()
        self._flush_trace()

    def _change_links(self, now: int) -> None:
        """Link by link; of one link in the order given."""
        for link, up in sorted(self._links, key=lambda command: command[0]):
            self._need_timers()
            kernel.set_link(self._address, link, int(up), now)
        for link, rate in sorted(self._rates, key=lambda command: command[0]):
            self._top_rate[link] = max(self._top_rate[link], rate)
            kernel.set_rate(self._address, link, rate, now)
        for link, share in sorted(self._losses, key=lambda command: command[0]):
            kernel.set_loss(self._address, link, share)
        self._links.clear()
        self._rates.clear()
        self._losses.clear()

    def _set_path(self, slot: int, path: tuple[int, ...] | None) -> None:
        flow = self._flows[slot]
        if path is None:
            self._use_tables()
            assert self._groups is not None
            flow["path"], flow["length"], flow["group"] = -1, 0, self._groups[flow["dst"]]
            return
        at = self._path_at.get(path)
        if at is None:
            at = self._path_at[path] = self._path_end
            self._path_end += len(path)
            if self._path_end > len(self._held["paths"]):
                self._grow("paths", "i4", 2 * self._path_end)
            self._held["paths"][at : self._path_end] = path
            self._grow_offers(len(path))
            self._grow_telemetry(len(path))
        flow["path"], flow["length"] = at, len(path)

    def _place(self, stream: Stream, now: int) -> int:
        """Puts a stream into a free slot."""
        if not self._free_slots:
            self._grow_flows(2 * len(self._flows))
        slot = self._free_slots.pop()
        settings = self.settings
        count = -(-stream.bytes // settings.mtu)
        inside = self._domain[stream.src] == self._domain[stream.dst]
        pace, due = 0, 0
        if settings.control is not None:
            due = now
        if stream.cap is not None:
            pace, due = stream.cap, now
            self._gap = max(self._gap, serialisation_ps(settings.mtu + settings.header, pace))
        # the order of FLOW's fields
        self._flows[slot] = (
            stream.id, 0, 0, self._window[inside][stream.src], 0, pace, due, stream.bytes,
            stream.src, stream.dst, -1, count, stream.bytes - (count - 1) * settings.mtu,
            -1, 0, 0, self._edge[stream.dst],
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0,
            0, stream.notify + 2 * stream.notify_end, stream.ask, 0, 0, 0, 0,
            self._first[stream.src], self._homes[stream.src], -1, -1,
        )  # fmt: skip
        self._set_path(slot, stream.path)
        if settings.control is not None:
            group = 0 if self._groups is None else int(self._groups[stream.src])
            self._place_sender(slot, stream.src, inside, group, now)
            kernel.prepare(self._address, slot)
        elif settings.acks and not settings.go_back_n:
            self._flows[slot]["marks"] = self._take_marks(slot, count)
        if self._own is not None:
            words = self._held["spreads"].reshape(len(self._flows), -1)[slot]
            words[:] = 0
            words[: len(self._own)] = self._own
        self._slot_of[stream.id] = slot
        self._counts[LIVE] += 1
        self._need_timers()
        return slot

    # -- time

    def next_time(self) -> int:
        if len(self._free_slots) == len(self._flows) and not self._counts.item(FRAMES):  # stale timers are no events
            return INFINITY
        return int(kernel.next_event(self._address))

    def advance(self, until: int, budget: int) -> tuple[int, list[Tell]]:
        world = self._world
        while True:
            reason = kernel.advance(self._address, until, budget)
            if reason == kernel.POOL:
                self._need_timers()
                self._need_packets()
            elif reason == kernel.TRACE_FULL:
                self._flush_trace()
            else:
                break
        self._flush_trace()
        tells: list[Tell] = []
        count = self._counts.item(TOLD)
        if count:
            raw = self._held["tells"][: 2 * count].reshape(-1, 2)
            ids = self._flows["id"][raw[:, 1]]
            tells = [Tell(kind, ident) for kind, ident in zip(raw[:, 0].tolist(), ids.tolist(), strict=True)]
            tells.sort()
            world["tell_count"] = 0
        if self._counts.item(RECORDS) > KEPT:
            self._collect_records()
        self._collect()
        return (until if reason == kernel.IDLE else int(world["now"][0])), tells

    def _flush_trace(self) -> None:
        size = self._counts.item(TRACED)
        if size and self._on_trace is not None:
            self._on_trace(self._held["trace"][: size * len(TRACE)].reshape(-1, len(TRACE)).copy())
            self._world["trace_size"] = 0

    def _collect(self) -> None:
        count = self._counts.item(DONE)
        if not count:
            return
        for note in self._held["done"][:count].tolist():
            slot = max(note, -1 - note)
            if note >= 0:  # ended
                self._end(Done(*[column.item(slot) for column in self._results]))
                del self._slot_of[self._results[0].item(slot)]
                continue
            # none of its packets is left
            mark = self._mark_at.pop(slot, None)
            if mark is not None:
                self._free_marks[mark[0]].append(mark[1])
            self._free_slots.append(slot)
            self._results[0][slot] = -1
        self._world["done_count"] = 0

    def _end(self, done: Done) -> None:
        self._done.append(done)
        self._withdrawn += done.undelivered
