"""The memory of the packet engine: arrays that the kernel reaches by address, and that grow when they must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from models.topology import Topology
from models.units import serialisation_ps, show
from sim.engine.balance import LOADS, MORE_WORDS, QUEUES
from sim.engine.choice import COUNT_BITS
from sim.engine.events import NEVER, WORD
from sim.engine.layout import FLOW, LINK, NIC, NOTE, PACER, PACKET, PORT, RARE, SENDER, TRACE, WORLD, block
from sim.engine.offers import HEAD
from sim.engine.recovery import room_of
from sim.engine.sender import QUANTUM
from sim.engine.signatures import HEAR, LEARN, PICK, REACT, SPREAD, TICK, address_of
from sim.engine.timers import SPARE
from sim.engine.words import HOP_WORDS, RATE, WINDOW
from sim.network.settings import ACK_BYTES, NO_LIMIT, Control, PacketChoice, PacketSettings

_BINS = 1024  # reordering distances told apart
_RESULTS = ("id", "delivered", "end", "retransmitted", "reordered", "lost", "left", "stopped")  # as in Done
_FIELDS = WORLD.names or ()
# where in the world's record the often read numbers are
DONE, FREE, FRAMES, LIVE, NICS, TIMER_ROOM, TIMERS, TOLD, TRACED, RECORDS = (
    _FIELDS.index(name)
    for name in (
        "done_count",
        "free_count",
        "frames",
        "live",
        "nic_count",
        "timer_room",
        "timer_size",
        "tell_count",
        "trace_size",
        "record_count",
    )
)
KEPT = 1024  # records that may wait to be collected


class PacketMemory:
    """Links, NICs, flows and packets of one network as records, all zero or as the topology and settings say."""

    def __init__(
        self,
        topology: Topology,
        settings: PacketSettings,
        choice: PacketChoice | None,
        on_trace: Callable[[NDArray[np.int64]], None] | None,
        explains: bool,
    ) -> None:
        self.topology, self.settings, self.choice = topology, settings, choice
        self._explains = explains
        self._on_trace = on_trace
        self._world = block(WORLD, 1)
        self._counts = self._world.view(np.int64)  # the same, for quick reads of one number
        self._address = self._world.ctypes.data
        self._held: dict[str, np.ndarray[Any, Any]] = {}
        self._free_slots: list[int] = []
        self._free_marks: dict[int, list[int]] = {}
        self._mark_end = 0
        self._mark_at: dict[int, tuple[int, int]] = {}  # slot -> (size class, offset)
        self._packets = 0
        self._heads: list[NDArray[np.int64]] = []  # records of completed streams, in blocks
        self._offered: list[NDArray[np.int64]] = []
        self._links_taken: list[NDArray[np.int32]] = []
        self._telemetry = settings.control is not None and settings.control.uses_telemetry
        self._flows = block(FLOW, 0)
        self._senders = block(SENDER, 0)
        self._owns = np.zeros((0, 0))  # [flows, words] memories of the congestion control
        self._own: NDArray[np.int64] | None = None  # words that a flow begins with, where hosts choose entropies
        self._results: list[NDArray[Any]] = []  # columns of the flows that make a Done
        self._make_links()
        self._settle()

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
        links["nic"] = -1 - np.arange(len(links))
        hosts_links = np.flatnonzero(topology.link_src < topology.hosts)
        links["nic"][hosts_links] = np.arange(len(hosts_links))
        links["rate"], links["delay"] = topology.link_rate, topology.link_delay
        links["src"], links["dst"] = topology.link_src, topology.link_dst
        links["up"] = 1
        rare = block(RARE, max(1, topology.links))
        rare["pmax"] = settings.pmax
        for column, at in ((links, "buffer"), (links, "kmin"), (rare, "kmax")):
            column[at] = _limit(getattr(settings, at))
            for link, change in settings.ports.changes.items():
                column[at][link] = _limit(getattr(change, at))
        if settings.ports.unmarked is not None:
            links["kmin"][np.flatnonzero(settings.ports.unmarked)] = NO_LIMIT
        lossless = np.flatnonzero(topology.lossless)
        links["buffer"][lossless] = links["kmin"][lossless] = NO_LIMIT
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
        self._make_ports()
        ends = len(hosts_links) + (topology.links if self._world["eager"][0] else 0)
        self._world["arrivals"] = ends
        self._world["id_bits"] = max(1, (ends + topology.links).bit_length())
        self._hold("heap", np.full(ends + topology.links + 3, NEVER, dtype=np.int64))
        self._check_ahead(int(topology.link_rate.min(initial=10**15)))

    def _check_ahead(self, rate: int) -> None:
        """The event heap's keys hold an id and a time that lies not too far ahead."""
        bits = WORD - 1 - int(self._world["id_bits"][0])
        ahead = serialisation_ps(self.settings.mtu + self.settings.header, rate)
        ahead += int(self.topology.link_delay.max(initial=1))
        if ahead >> bits:
            longest = show(1 << bits, "time")
            text = f"a packet takes {show(ahead, 'time')} over one link; the packet engine's limit here is {longest}"
            raise InputError([Problem("fabric", 0, 0, text)])

    def _make_ports(self) -> None:
        """What scheduled ports need beyond links. Ends of serialisation are events for traces too, row by row."""
        ports, control, world = self.settings.ports, self.settings.control, self._world
        if not ports.scheduled and (control is None or not control.uses_telemetry):
            return
        world["scheduled"], world["eager"] = 1, ports.eager or self._on_trace is not None
        world["split"], world["trim"], world["bounce"] = ports.trim or ports.priority, ports.trim, ports.bounce
        world["control_room"], world["late_marks"] = ports.control, ports.late_marks
        holds = block(PORT, max(1, self.topology.links))
        for field in ("control_head", "control_tail", "data_head", "data_tail"):
            holds[field] = -1
        holds["lossless"][: self.topology.links] = self.topology.lossless
        self._hold("holds", holds)
        if ports.shared is not None:
            world["shared"], world["alpha"] = ports.shared, ports.alpha
            self._hold("shares", block("i8", self.topology.nodes))
        if ports.pause is not None:
            world["pause"], world["pause_limit"] = 1, ports.pause.limit
            world["pause_resume"] = ports.pause.resume
            world["pause_alpha"] = -1.0 if ports.pause.alpha is None else ports.pause.alpha
            self._held["rare"]["headroom"][: self.topology.links] = ports.pause.headroom

    def _settle(self) -> None:
        settings, world, choice = self.settings, self._world, self.choice
        world["mtu"], world["header"], world["ack"] = settings.mtu, settings.header, ACK_BYTES
        world["rto"], world["acks"], world["go_back_n"] = settings.rto, settings.acks, settings.go_back_n
        world["key"] = settings.key
        self._hold("distances", block("i8", _BINS))
        world["distance_bins"] = _BINS
        widest = int(np.diff(self.topology.out_start).max(initial=1))
        self._hold("queues", block("i8", 3 * widest))  # and loads, and link numbers
        if choice is not None:
            self._settle_choice(choice)
        if settings.control is not None:
            self._settle_control(settings.control)
        if self._on_trace is not None:
            room = 65536 + int(world["nic_count"][0])
            self._hold("trace", block("i8", len(TRACE) * room))
            world["trace_room"] = room
        self._hold("paths", block("i4", 1024))
        self._hold("marks", block("u1", 1024))
        self._grow_flows(64)
        self._need_timers()
        self._grow_packets(max(1024, 4 * int(world["nic_count"][0]) + 64))

    def _settle_choice(self, choice: PacketChoice) -> None:
        world, links = self._world, self.topology.links
        called = {"pick": PICK, "learn": LEARN, "tick": TICK, "spread": SPREAD, "hear": HEAR}
        for name, signature in called.items():
            function = getattr(choice, name)
            world[name] = 0 if function is None else address_of(function, signature)
        world["uses_queues"], world["uses_loads"] = choice.uses_queues, choice.uses_loads
        self._hold("policy_state", choice.state)
        world["policy_words"] = len(choice.state)
        world["stamps"] = {"": 0, "loads": LOADS, "queues": QUEUES}[choice.stamps]
        world["period"] = choice.period
        world["load_period"], world["load_keep"] = choice.load_period, choice.load_keep
        if choice.watches_loads:
            self._hold("loads", block("i8", max(1, 2 * links)))
            self._hold("load_view", block("i8", max(1, links)))
        if choice.spread is not None:
            self._own = np.zeros(0, dtype=np.int64) if choice.own is None else choice.own
            world["spread_words"] = len(self._own)

    def _grow_flows(self, count: int) -> None:
        old = len(self._flows)
        self._flows = self._grow("flows", FLOW, count)
        self._flows["id"][old:] = -1
        self._make_record_room(count)
        self._results = [self._flows[name] for name in _RESULTS]
        control = self.settings.control
        if control is not None:
            self._senders = self._grow("senders", SENDER, count)
            words = control.own.shape[1]
            self._owns = self._grow("owns", "f8", count, words).reshape(-1, words)
            self._results.append(self._senders["held"])
        if self._own is not None:
            self._grow("spreads", "i8", count, len(self._own) + MORE_WORDS)
        self._grow("done", "i4", count, 2)
        self._grow("tells", "i4", count, 6)
        self._free_slots.extend(range(count - 1, old - 1, -1))

    def _grow_packets(self, count: int) -> None:
        old, world = self._packets, self._world
        packets = self._grow("packets", PACKET, count)
        self._grow("trail", "i4", count, int(world["hops"][0]))
        if world["pause"][0]:
            self._grow("came", "i4", count)
        if world["trim"][0]:
            self._grow("before", "i4", count)
        if self._telemetry:
            self._grow("telemetry", "f8", count, HOP_WORDS << int(world["telemetry_bits"][0]))
        if self.settings.control is not None:
            self._grow("notes", "i8", count, NOTE)
        if self._explains:
            self._grow("offers", "i8", count, 1 << int(world["offer_bits"][0]))
        packets["next"][old:count] = np.arange(old + 1, count + 1)
        packets["next"][count - 1] = world["free"][0] if world["free_count"][0] else -1
        world["free"] = old
        world["free_count"] += count - old
        self._packets = count

    def _need_packets(self) -> None:
        if self._counts.item(FREE) <= self._counts.item(NICS) + 3:
            self._grow_packets(2 * self._packets)

    def _grow_trail(self, hops: int) -> None:
        """Room for ``hops`` links a packet; a longer way is lost."""
        known = int(self._world["hops"][0])
        if hops <= known:
            return
        trail = block("i4", self._packets * hops)
        trail.reshape(-1, hops)[:, :known] = self._held["trail"].reshape(-1, known) if known else 0
        self._hold("trail", trail)
        self._world["hops"] = hops
        self._grow_offers(hops)
        self._grow_telemetry(hops)

    def _grow_telemetry(self, hops: int) -> None:
        """Room for what packets note on ``hops`` links."""
        known, bits = int(self._world["telemetry_bits"][0]), (hops - 1).bit_length()
        if not self._telemetry or bits <= known:
            return
        notes = block("f8", self._packets * HOP_WORDS << bits)
        width = HOP_WORDS << known
        notes.reshape(-1, HOP_WORDS << bits)[:, :width] = self._held["telemetry"].reshape(-1, width)
        self._hold("telemetry", notes)
        self._world["telemetry_bits"] = bits

    def _need_timers(self) -> None:
        """Room for the timers of all flows, and for those that one call of the kernel may add."""
        room = self._counts.item(TIMERS) + 2 * len(self._flows) + SPARE + self.topology.links
        if self._counts.item(TIMER_ROOM) < room:
            self._grow("timers", "i8", 2 * room, 3)
            self._world["timer_room"] = 2 * room

    def _grow_offers(self, hops: int) -> None:
        """Room for the times at which a packet was offered to ``hops`` links."""
        known, bits = int(self._world["offer_bits"][0]), (hops - 1).bit_length()
        if not self._explains or bits <= known:
            return
        self._collect_records()
        offers = block("i8", self._packets << bits)
        offers.reshape(-1, 1 << bits)[:, : 1 << known] = self._held["offers"].reshape(-1, 1 << known)
        self._hold("offers", offers)
        self._world["offer_bits"] = bits
        self._make_record_room(len(self._flows))

    def _make_record_room(self, flows: int) -> None:
        """A stream is completed once before it is collected, so there are never more records than flows beyond KEPT."""
        if self._explains:
            self._grow("records", "i8", KEPT + flows, HEAD + (2 << int(self._world["offer_bits"][0])))

    def _collect_records(self) -> None:
        """Takes over the records of completed streams, without the room that they don't use."""
        count = self._counts.item(RECORDS)
        if not count:
            return
        room = 1 << int(self._world["offer_bits"][0])
        rows = self._held["records"][: count * (HEAD + 2 * room)].reshape(count, -1)
        used = np.arange(room) < rows[:, HEAD - 1 : HEAD]
        self._heads.append(rows[:, :HEAD].copy())
        self._offered.append(rows[:, HEAD : HEAD + room][used])
        self._links_taken.append(rows[:, HEAD + room :][used].astype(np.int32))
        self._world["record_count"] = 0

    def _settle_control(self, control: Control) -> None:
        world = self._world
        world["controlled"], world["acks"] = 1, 1
        world["react"], world["own_words"] = address_of(control.react, REACT), control.own.shape[1]
        world["uses_sent"], world["ack_every"], world["reorder"] = control.uses_sent, control.ack_every, control.reorder
        world["reorder_buffer"] = NO_LIMIT if control.reorder_buffer is None else control.reorder_buffer
        world["credit"], world["credit_packets"] = control.credit, control.credit_packets
        if control.credit:
            self._make_pacers(control.credit_share)

    def _make_pacers(self, share: float) -> None:
        """Two of each host: of what comes from the fabric, and from its scale-up domain."""
        topology = self.topology
        pacers = block(PACER, 2 * topology.hosts)
        for field in ("active_first", "idle_first", "active_last", "idle_last"):
            pacers[field] = -1
        for inside in (0, 1):
            into = (topology.link_dst < topology.hosts) & (topology.lossless == bool(inside))
            rate = np.zeros(topology.hosts)
            np.add.at(rate, topology.link_dst[into], topology.link_rate[into])
            rate[rate == 0] = topology.link_rate.max(initial=1)
            pacers["quantum"][inside::2] = QUANTUM * 8e12 / rate / share
        self._hold("grants", pacers)

    def _place_sender(self, slot: int, src: int, inside: bool, group: int, now: int) -> None:
        """The state of a flow under a congestion control as it begins."""
        control, flow = self.settings.control, self._flows[slot]
        assert control is not None
        memory = control.near if inside and control.near is not None else control.own
        self._owns[slot] = memory[src]
        most = min(int(memory[src, WINDOW]), NO_LIMIT)
        self._senders[slot] = 0
        sender = self._senders[slot]
        for field in ("oldest", "newest", "highest"):
            sender[field] = -1
        flow["window"], sender["rate"], sender["since"] = most, int(memory[src, RATE]), now
        sender["credit"], sender["most"], sender["speculating"] = most, most, 1
        sender["rtt"], sender["inside"], sender["group"] = self.settings.rto, inside, group
        flow["marks"] = self._take_marks(slot, room_of(int(flow["packets"])))

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


def _limit(size: int | None) -> int:
    return NO_LIMIT if size is None else size


def table_entries(start: NDArray[np.int64], port: NDArray[np.int32], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """[nodes x groups] where a row's ports begin, and how many they are. Equal rows share ports: fewer cache lines."""
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
