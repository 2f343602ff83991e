"""The packet engine behind the Network protocol: applies commands, calls the compiled loop, reads the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes
from models.topology import Topology
from models.units import serialisation_ps
from sim.engine import kernel
from sim.engine.layout import TRACE
from sim.engine.offers import HEAD
from sim.network.deadlock import cycle, waits_of
from sim.network.packet_memory import DONE, FRAMES, KEPT, LIVE, RECORDS, TOLD, TRACED, PacketMemory, table_entries
from sim.network.protocol import INFINITY, Done, LastPackets, LinkState, Stream, Tell
from sim.network.settings import PacketChoice, PacketSettings


class PacketNetwork(PacketMemory):
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
        self._slot_of: dict[int, int] = {}
        self._path_at: dict[tuple[int, ...], int] = {}
        self._path_end = 0
        self._starts: list[Stream] = []
        self._moves: list[tuple[int, tuple[int, ...] | None]] = []
        self._stops: set[int] = set()
        self._links: list[tuple[int, bool]] = []
        self._rates: list[tuple[int, int]] = []
        self._losses: list[tuple[int, float]] = []
        self._top_rate = topology.link_rate.astype(np.int64)  # the highest that each link had
        self._done: list[Done] = []
        self._accepted = self._withdrawn = 0  # payload bytes
        self._gap = 0  # ps from packet to packet at the slowest pace so far
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

    # -- results

    def finished(self) -> list[Done]:
        done, self._done = self._done, []
        return done

    def active(self) -> list[int]:
        return sorted(self._slot_of)

    def undelivered(self, stream: int, now: int) -> int:
        slot = self._slot_of.get(stream)
        if slot is None:
            return sum(one.bytes for one in self._starts if one.id == stream)
        return int(self._flows["left"][slot])

    def longest_gap(self) -> int:
        return max(self._gap, int(self._world["slowest_gap"][0]))

    def link_state(self, now: int) -> LinkState:
        queues, sent = np.empty((2, self.topology.links), dtype=np.int64)
        kernel.look(self._address, now, queues, sent)
        return LinkState(queues, sent)

    def link_totals(self, now: int) -> dict[str, NDArray[np.int64]]:
        links = self._held["links"][: self.topology.links]
        rare = self._held["rare"][: self.topology.links]
        sizes, packets = np.empty((2, self.topology.links), dtype=np.int64)
        kernel.crossed(self._address, now, sizes, packets)
        paused = rare["paused_ps"].copy()
        if self.settings.ports.pause is not None:
            holds = self._held["holds"][: self.topology.links]
            paused += np.where(holds["paused"] != 0, now - holds["since"], 0)
        return {
            "bytes": sizes,
            "packets": packets,
            "marked": rare["marked"].copy(),
            "dropped": links["dropped"].copy(),
            "queue_max_bytes": links["queue_max"].copy(),
            "trimmed": rare["trimmed"].copy(),
            "paused_ps": paused,
        }

    def deadlock(self) -> list[int]:
        if self.settings.ports.pause is None:
            return []
        held, links = self._held, self.topology.links
        return cycle(waits_of(held["holds"][:links], held["packets"]["next"], held["came"]))

    def explain(self) -> LastPackets:
        self._collect_records()
        heads = np.concatenate([np.zeros((0, HEAD), dtype=np.int64), *self._heads])
        link = np.concatenate([np.zeros(0, dtype=np.int32), *self._links_taken])
        return LastPackets(*heads.T, link, np.concatenate([np.zeros(0, dtype=np.int64), *self._offered]))

    def packet_hops(self) -> int:
        """Data and ACK packets over links so far: the measure of work of the benchmarks."""
        return int(self.link_totals(0)["packets"].sum())

    def delivered_bytes(self) -> int:
        return int(self._world["delivered_bytes"][0])

    def reordering(self) -> NDArray[np.int64]:
        return self._held["distances"].copy()

    def counters(self) -> dict[tuple[str, str], int]:
        late = "out of order (go-back-N)" if self.settings.go_back_n else "beyond the reorder buffer"
        names = {
            ("packets lost", "buffer full"): "lost_full",
            ("packets lost", "link down"): "lost_down",
            ("packets lost", "no way on"): "lost_unreachable",
            ("packets lost", "random loss"): "lost_random",
            ("packets lost", "header queue full"): "lost_header",
            ("packets", "sent back"): "bounced",
            ("pauses", "sent"): "pauses",
            ("packets discarded", late): "discarded",
            ("packets discarded", "duplicate"): "duplicates",
            ("timers", "retransmission timeout"): "timeouts",
            ("control packets", "NACK"): "nacks",
            ("control packets", "credit"): "grants_sent",
            ("control packets", "RTS"): "asked",
        }
        return {key: int(self._world[name][0]) for key, name in names.items() if self._world[name][0]}

    def check(self, now: int) -> list[str]:
        """Packets sent = arrived + lost + in the network (counted twice over); the same of bytes; no link too fast."""
        world = {name: int(self._world[name][0]) for name in self._world.dtype.names or ()}
        inside = self._packets - world["free_count"]
        found = int(kernel.count_packets(self._address))
        sent = world["data_sent"] + world["acks_sent"]
        gone = world["data_arrived"] + world["data_lost"] + world["acks_arrived"] + world["acks_lost"]
        broken = []
        if sent - gone != inside or inside != found:
            broken.append(f"packets: {sent} sent, {gone} arrived or lost, {inside} in the pool, {found} on links")
        waiting = int(self._flows["left"][list(self._slot_of.values())].sum())
        if self._accepted != world["delivered_bytes"] + waiting + self._withdrawn:
            text = f"{world['delivered_bytes']} delivered, {waiting} to come, {self._withdrawn} withdrawn or lost"
            broken.append(f"packets: {self._accepted} payload bytes in, {text}")
        carried = self.link_totals(now)["bytes"].astype(np.float64)
        over = np.flatnonzero(carried * 8e12 > self._top_rate * (float(now) + 1) * (1 + 1e-12))
        broken += [f"link {self.topology.link_name[link]} carried more than its rate allows" for link in over[:5]]
        return broken
