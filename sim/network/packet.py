"""The packet engine behind the Network protocol: owns the arrays, applies commands, calls the compiled loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes
from models.topology import Topology
from models.units import serialisation_ps
from sim.engine import kernel
from sim.engine.layout import FLOW, LINK, NIC, PACKET, RARE, TRACE, WORLD, block
from sim.engine.ports import COUNT_BITS
from sim.engine.signatures import address_of
from sim.network.protocol import INFINITY, Done, LinkState, Stream, Tell
from sim.network.settings import ACK_BYTES, PacketChoice, PacketSettings

_NO_LIMIT = 2**62
_BINS = 1024  # reordering distances told apart
_RESULTS = ("id", "delivered", "end", "retransmitted", "reordered", "lost")  # as in Done
_FIELDS = WORLD.names or ()
_DONE, _FREE, _NICS, _TIMERS, _TOLD, _TRACED = (
    _FIELDS.index(name) for name in ("done_count", "free_count", "nic_count", "timer_size", "tell_count", "trace_size")
)


class PacketNetwork:
    """Every packet through every queue. See ``sim/engine/kernel.py`` for the order of events."""

    def __init__(
        self,
        topology: Topology,
        routes: Routes,
        settings: PacketSettings,
        choice: PacketChoice | None = None,
        on_trace: Callable[[NDArray[np.int64]], None] | None = None,
    ) -> None:
        self.topology, self.settings, self.choice = topology, settings, choice
        self._world = block(WORLD, 1)
        self._counts = self._world.view(np.int64)  # the same, for quick reads of one number
        self._address = self._world.ctypes.data
        self._held: dict[str, np.ndarray[Any, Any]] = {}
        self._on_trace = on_trace
        self._routes = routes
        self._tables_due = True  # built for the first packet that has no path of its own
        self._slot_of: dict[int, int] = {}
        self._free_slots: list[int] = []
        self._path_at: dict[tuple[int, ...], int] = {}
        self._path_end = 0
        self._free_marks: dict[int, list[int]] = {}
        self._mark_end = 0
        self._mark_at: dict[int, tuple[int, int]] = {}  # slot -> (size class, offset)
        self._starts: list[Stream] = []
        self._moves: list[tuple[int, tuple[int, ...] | None]] = []
        self._links: list[tuple[int, bool]] = []
        self._done: list[Done] = []
        self._packets = 0
        self._timer_room = 0
        self._groups: NDArray[np.int32] | None = None
        self._flows = block(FLOW, 0)
        self._results: list[NDArray[Any]] = []  # columns of the flows that make a Done
        self._edge: list[int] = topology.edge_of_host.tolist()
        out = topology.out_start[: topology.hosts]
        self._first: list[int] = topology.out_link[np.minimum(out, topology.links - 1)].tolist() if topology.links else []
        self._homes: list[int] = np.diff(topology.out_start[: topology.hosts + 1]).tolist()
        self._window: list[int] = settings.window.tolist()
        self._make_links()
        self._settle()

    # -- memory

    def _hold(self, name: str, array: np.ndarray[Any, Any]) -> None:
        """Keeps an array alive and tells the kernel where it is."""
        self._held[name] = array
        self._world[name] = array.ctypes.data

    def _grow(self, name: str, dtype: Any, count: int, width: int = 1) -> np.ndarray[Any, Any]:
        old = self._held.get(name)
        new = block(dtype, count * width)
        if old is not None:
            new[: len(old)] = old
        self._hold(name, new)
        return new

    def _make_links(self) -> None:
        topology, settings = self.topology, self.settings
        links = block(LINK, max(1, topology.links))
        links["head"] = links["tail"] = links["wire"] = -1
        links["nic"] = -1
        hosts_links = np.flatnonzero(topology.link_src < topology.hosts)
        links["nic"][hosts_links] = np.arange(len(hosts_links))
        links["rate"], links["delay"] = topology.link_rate, topology.link_delay
        links["src"], links["dst"] = topology.link_src, topology.link_dst
        links["up"] = 1
        links["buffer"] = _NO_LIMIT if settings.buffer is None else settings.buffer
        links["kmin"] = _NO_LIMIT if settings.kmin is None else settings.kmin
        rare = block(RARE, max(1, topology.links))
        rare["kmax"] = _NO_LIMIT if settings.kmax is None else settings.kmax
        rare["pmax"] = settings.pmax
        self._hold("rare", rare)
        links["last_size"] = -1
        by_rate = {int(rate): serialisation_ps(ACK_BYTES, int(rate)) for rate in np.unique(topology.link_rate)}
        links["ack_ser"] = [by_rate[rate] for rate in topology.link_rate.tolist()]
        nics = block(NIC, max(1, len(hosts_links)))
        nics["link"][: len(hosts_links)] = hosts_links
        for field in ("control_head", "control_tail", "ready_head", "ready_tail"):
            nics[field] = -1
        self._hold("links", links)
        self._hold("nics", nics)
        self._world["link_count"], self._world["nic_count"] = topology.links, len(hosts_links)
        self._make_calendar(topology.links + len(hosts_links))

    def _make_calendar(self, ids: int) -> None:
        """Buckets that reach as far as an event usually lies ahead: the longest packet time and delay."""
        topology, world = self.topology, self._world
        size = self.settings.mtu + self.settings.header
        slowest = int(topology.link_rate.min(initial=10**15))
        ahead = serialisation_ps(size, slowest) + int(topology.link_delay.max(initial=1))
        buckets = 1 << min(18, max(12, (4 * ids).bit_length()))
        world["mask"] = buckets - 1
        world["shift"] = max(0, (-(-ahead // buckets)).bit_length())
        self._hold("heads", block("i4", buckets))
        self._held["heads"][:] = -1
        self._hold("bits", block("i8", buckets // 64))
        self._hold("summary", block("i8", max(1, buckets // 4096)))
        self._hold("event_time", block("i8", ids))
        self._hold("event_next", block("i4", ids))
        self._hold("run", block("i8", ids))
        self._hold("spare_run", block("i8", ids + 256))
        self._hold("heap", block("i8", 2 * ids + 2))

    def _settle(self) -> None:
        settings, world, choice = self.settings, self._world, self.choice
        world["mtu"], world["header"], world["ack"] = settings.mtu, settings.header, ACK_BYTES
        world["rto"], world["acks"], world["go_back_n"] = settings.rto, settings.acks, settings.go_back_n
        world["key"] = settings.key
        self._hold("distances", block("i8", _BINS))
        world["distance_bins"] = _BINS
        self._hold("queues", block("i8", 4096))
        if choice is not None:
            world["pick"], world["uses_queues"] = address_of(choice.pick), choice.uses_queues
            self._hold("policy_state", choice.state)
            world["policy_words"] = len(choice.state)
        if self._on_trace is not None:
            room = 65536 + int(world["nic_count"][0])
            self._hold("trace", block("i8", len(TRACE) * room))
            world["trace_room"] = room
        self._hold("paths", block("i4", 1024))
        self._hold("marks", block("u1", 1024))
        self._grow_flows(64)
        self._grow_packets(max(1024, 4 * int(world["nic_count"][0]) + 64))

    def _grow_flows(self, count: int) -> None:
        old = len(self._flows)
        self._flows = self._grow("flows", FLOW, count)
        self._flows["id"][old:] = -1
        self._results = [self._flows[name] for name in _RESULTS]
        self._grow("done", "i4", count, 2)
        self._grow("tells", "i4", count, 6)
        self._free_slots.extend(range(count - 1, old - 1, -1))

    def _grow_packets(self, count: int) -> None:
        old, world = self._packets, self._world
        packets = self._grow("packets", PACKET, count)
        self._grow("trail", "i4", count, int(world["hops"][0]))
        packets["next"][old:count] = np.arange(old + 1, count + 1)
        packets["next"][count - 1] = world["free"][0] if world["free_count"][0] else -1
        world["free"] = old
        world["free_count"] += count - old
        self._packets = count

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
        self._hold("table", _entries(tables.start, tables.port, weight))
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
        self._held["packets"]["group"] = tables.group[self._held["packets"]["dst"]]

    def _grow_trail(self, hops: int) -> None:
        """Room for ``hops`` links a packet; a longer way is lost."""
        known = int(self._world["hops"][0])
        if hops <= known:
            return
        trail = block("i4", self._packets * hops)
        trail.reshape(-1, hops)[:, :known] = self._held["trail"].reshape(-1, known) if known else 0
        self._hold("trail", trail)
        self._world["hops"] = hops

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

    def set_links(self, links: Sequence[int], up: bool) -> None:
        self._links.extend((link, up) for link in links)

    def pending(self) -> bool:
        return bool(self._starts or self._moves or self._links or (self._tables_due and self._groups is not None))

    def commit(self, now: int) -> None:
        self._need_packets()
        for link, up in sorted(self._links, key=lambda command: command[0]):  # of one link: in the order given
            kernel.set_link(self._address, link, int(up), now)
        self._links.clear()
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
        self._starts.sort()
        for first in self._starts:
            self._need_packets()
            moved = first._replace(path=moves[first.id]) if first.id in moves else first
            kernel.start(self._address, self._place(moved), now)
        self._starts.clear()
        self._collect()
        self._flush_trace()

    def _need_packets(self) -> None:
        if self._counts.item(_FREE) <= self._counts.item(_NICS) + 1:
            self._grow_packets(2 * self._packets)

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
        flow["path"], flow["length"] = at, len(path)

    def _place(self, stream: Stream) -> int:
        """Puts a stream into a free slot."""
        if not self._free_slots:
            self._grow_flows(2 * len(self._flows))
        slot = self._free_slots.pop()
        settings = self.settings
        count = -(-stream.bytes // settings.mtu)
        # the order of FLOW's fields
        self._flows[slot] = (
            stream.id, 0, 0, self._window[stream.src], 0, -1, -1,
            stream.src, stream.dst, -1, count, stream.bytes - (count - 1) * settings.mtu,
            -1, 0, 0, self._edge[stream.dst],
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, stream.notify + 2 * stream.notify_end, stream.ask, 0, 0, 0, 0, self._first[stream.src], self._homes[stream.src], 0,
        )  # fmt: skip
        self._set_path(slot, stream.path)
        if settings.acks and not settings.go_back_n:
            self._flows[slot]["marks"] = self._take_marks(slot, count)
        self._slot_of[stream.id] = slot
        room = 3 * (self._counts.item(_TIMERS) + len(self._flows) + 64)
        if self._timer_room < room:
            self._timer_room = 2 * room
            self._grow("timers", "i8", self._timer_room)
        return slot

    def _take_marks(self, slot: int, count: int) -> int:
        """The address of ``count`` zeroed marks; sizes are powers of two, so that freed ones fit again."""
        size = max(4, (count - 1).bit_length())
        free = self._free_marks.setdefault(size, [])
        if free:
            at = free.pop()
        else:
            at = self._mark_end
            self._mark_end += 1 << size
            if self._mark_end > len(self._held["marks"]):
                self._move_marks(2 * self._mark_end)
        self._held["marks"][at : at + count] = 0
        self._mark_at[slot] = (size, at)
        return int(self._world["marks"][0]) + at

    def _move_marks(self, room: int) -> None:
        self._grow("marks", "u1", room)
        base = int(self._world["marks"][0])
        for slot, (_, at) in self._mark_at.items():
            self._flows[slot]["marks"] = base + at

    # -- time

    def next_time(self) -> int:
        if len(self._free_slots) == len(self._flows):  # stale timers are no events
            return INFINITY
        return int(kernel.next_event(self._address))

    def advance(self, until: int, budget: int) -> tuple[int, list[Tell]]:
        world = self._world
        while True:
            reason = kernel.advance(self._address, until, budget)
            if reason == kernel.POOL:
                self._grow_packets(2 * self._packets)
            elif reason == kernel.TRACE_FULL:
                self._flush_trace()
            else:
                break
        self._flush_trace()
        tells: list[Tell] = []
        count = self._counts.item(_TOLD)
        if count:
            raw = self._held["tells"][: 2 * count].reshape(-1, 2)
            ids = self._flows["id"][raw[:, 1]]
            tells = [Tell(kind, ident) for kind, ident in zip(raw[:, 0].tolist(), ids.tolist(), strict=True)]
            tells.sort()
            world["tell_count"] = 0
        self._collect()
        return (until if reason == kernel.IDLE else int(world["now"][0])), tells

    def _flush_trace(self) -> None:
        size = self._counts.item(_TRACED)
        if size and self._on_trace is not None:
            self._on_trace(self._held["trace"][: size * len(TRACE)].reshape(-1, len(TRACE)).copy())
            self._world["trace_size"] = 0

    def _collect(self) -> None:
        count = self._counts.item(_DONE)
        if not count:
            return
        for note in self._held["done"][:count].tolist():
            slot = max(note, -1 - note)
            if note >= 0:  # ended
                done = Done(*[column.item(slot) for column in self._results])
                self._done.append(done)
                del self._slot_of[done.stream]
                continue
            # none of its packets is left
            mark = self._mark_at.pop(slot, None)
            if mark is not None:
                self._free_marks[mark[0]].append(mark[1])
            self._free_slots.append(slot)
            self._results[0][slot] = -1
        self._world["done_count"] = 0

    # -- results

    def finished(self) -> list[Done]:
        done, self._done = self._done, []
        return done

    def active(self) -> list[int]:
        return sorted(self._slot_of)

    def link_state(self, now: int) -> LinkState:
        queues, sent = np.empty((2, self.topology.links), dtype=np.int64)
        kernel.look(self._address, now, queues, sent)
        return LinkState(queues, sent)

    def link_totals(self, now: int) -> dict[str, NDArray[np.int64]]:
        links = self._held["links"][: self.topology.links]
        zeros = np.zeros(self.topology.links, dtype=np.int64)
        sizes, packets = np.empty((2, self.topology.links), dtype=np.int64)
        kernel.crossed(self._address, sizes, packets)
        totals = {"bytes": sizes, "packets": packets, "marked": self._held["rare"]["marked"][: self.topology.links].copy(), "dropped": links["dropped"].copy()}
        return totals | {"queue_max_bytes": links["queue_max"].copy(), "trimmed": zeros, "paused_ps": zeros}

    def packet_hops(self) -> int:
        """Data and ACK packets over links so far: the measure of work of the benchmarks."""
        return int(self.link_totals(0)["packets"].sum())

    def delivered_bytes(self) -> int:
        return int(self._world["delivered_bytes"][0])

    def reordering(self) -> NDArray[np.int64]:
        return self._held["distances"].copy()

    def counters(self) -> dict[tuple[str, str], int]:
        names = {
            ("packets lost", "buffer full"): "lost_full",
            ("packets lost", "link down"): "lost_down",
            ("packets lost", "no way on"): "lost_unreachable",
            ("packets discarded", "out of order (go-back-N)"): "discarded",
            ("packets discarded", "duplicate"): "duplicates",
            ("timers", "retransmission timeout"): "timeouts",
        }
        return {key: int(self._world[name][0]) for key, name in names.items() if self._world[name][0]}

    def check(self, now: int) -> list[str]:
        """Packets sent = arrived + lost + in the network (counted twice over); no link above its rate."""
        world = {name: int(self._world[name][0]) for name in self._world.dtype.names or ()}
        inside = self._packets - world["free_count"]
        found = int(kernel.count_packets(self._address))
        sent = world["data_sent"] + world["acks_sent"]
        gone = world["data_arrived"] + world["data_lost"] + world["acks_arrived"] + world["acks_lost"]
        broken = []
        if sent - gone != inside or inside != found:
            broken.append(f"packets: {sent} sent, {gone} arrived or lost, {inside} in the pool, {found} on links")
        carried = self.link_totals(now)["bytes"].astype(np.float64)
        over = np.flatnonzero(carried * 8e12 > self.topology.link_rate * (float(now) + 1) * (1 + 1e-12))
        broken += [f"link {self.topology.link_name[link]} carried more than its rate allows" for link in over[:5]]
        return broken


def _entries(start: NDArray[np.int64], port: NDArray[np.int32], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """[nodes x groups] where a row's ports begin and how many they are. Equal rows share ports, which cache lines like."""
    count = np.diff(start)
    rows = np.flatnonzero(count)
    entry = count.astype(np.int64)
    if len(rows):
        word = port.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + weight.astype(np.uint64)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word ^= word >> np.uint64(27)
        mark = np.add.reduceat(word, start[rows]) ^ count[rows].astype(np.uint64)
        _, first, same = np.unique(mark, return_index=True, return_inverse=True)
        entry[rows] |= start[rows[first[same]]] << COUNT_BITS
    return entry
