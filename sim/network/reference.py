"""The specification of the packet engine: the same packets with one SimPy process a link, slow and plain.

Cast: a ``Port`` is the sending end of a directed link, served by a SimPy process of its own: it takes the next packet,
sends it for as long as it lasts, and lets it go into the ``pipe``, from which it arrives one delay later. A switch
port holds packets, first in, first out. A NIC, the port of a host, holds packets of others (ACKs; in switchless
fabrics also other hosts' data), which go first and without limit, and a turn of flows, which give one packet each. A
``Flow`` is a stream with both its ends: the sender's window, recovery and timer, and what the receiver has seen.

All of it lives in an environment of its own. Within one instant its events are ordered by their priority: wake-ups of
idle ports, then ends of serialisation by link, arrivals by link, timers by (kind, flow). The compiled engine agrees
with it packet by packet, to the picosecond (``tests/twin``): whoever changes the one changes the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes
from models.topology import Topology
from models.units import serialisation_ps
from sim.network.protocol import INFINITY, Done, LastPackets, LinkState, Stream, Tell
from sim.network.reference_choice import Choosing
from sim.network.reference_parts import Flow, Packet, Port
from sim.network.settings import PacketChoice, PacketSettings


class ReferenceNetwork(Choosing):
    """Every packet through every queue, in plain Python."""

    def __init__(
        self,
        topology: Topology,
        routes: Routes,
        settings: PacketSettings,
        choice: PacketChoice | None = None,
        on_trace: Callable[[NDArray[np.int64]], None] | None = None,
        explains: bool = False,
    ) -> None:
        if settings.control is not None and (settings.control.credit or settings.control.uses_telemetry):
            raise NotImplementedError("the specification knows neither credit of receivers nor telemetry")
        super().__init__(topology, routes, settings, choice, on_trace)
        self._explains = explains
        self._new_routes = routes
        self._ports = [
            Port(link, int(rate), int(delay), int(src), int(dst), bool(src < topology.hosts))
            for link, (rate, delay, src, dst) in enumerate(
                zip(topology.link_rate, topology.link_delay, topology.link_src, topology.link_dst, strict=True)
            )
        ]
        for port in self._ports:
            port.process = self._env.process(self._serve(port))
        self._tables_used = False
        self._starts: list[Stream] = []
        self._moves: dict[int, tuple[int, ...] | None] = {}
        self._stops: set[int] = set()
        self._links: list[tuple[int, bool]] = []
        self._rates: list[tuple[int, int]] = []
        self._losses: list[tuple[int, float]] = []
        self._settle()

    # -- time

    def next_time(self) -> int:
        if not self._flows and not self._inside and not self._frames:
            return INFINITY
        return int(min(self._env.peek(), INFINITY))

    def advance(self, until: int, budget: int) -> tuple[int, list[Tell]]:
        reached, taken = until, 0
        while self._env.peek() <= until:
            if self._env.peek() > self._now and taken and (self._tells or taken >= budget):
                reached = self._now
                break
            self._env.step()
            taken += 1
        else:
            reached = self._now if self._tells else until
        tells, self._tells = sorted(self._tells), []
        self._flush_trace()
        return reached, tells

    # -- commands

    def add(self, stream: Stream) -> None:
        self._starts.append(stream)

    def reroute(self, stream: int, path: tuple[int, ...] | None) -> None:
        self._moves[stream] = path

    def stop(self, stream: int) -> None:
        self._stops.add(stream)

    def set_links(self, links: Sequence[int], up: bool) -> None:
        self._links.extend((link, up) for link in links)

    def set_rates(self, links: Sequence[int], rates: Sequence[int]) -> None:
        self._rates.extend(zip(links, rates, strict=True))

    def set_loss(self, links: Sequence[int], share: float) -> None:
        self._losses.extend((link, share) for link in links)

    def set_routes(self, routes: Routes) -> None:
        self._new_routes = routes

    def pending(self) -> bool:
        tables = self._new_routes is not self._routes
        links = self._links or self._rates or self._losses
        return bool(self._starts or self._moves or self._stops or links or tables)

    def commit(self, now: int) -> None:
        if now > self._now:
            self._env.run(until=now)
        links, self._links = self._links, []
        for link, up in sorted(links, key=lambda command: command[0]):
            self._set_link(self._ports[link], up)
            self._settle()
        rates, self._rates = self._rates, []
        for link, rate in sorted(rates, key=lambda command: command[0]):
            self._set_rate(self._ports[link], rate)
        losses, self._losses = self._losses, []
        for link, share in losses:
            self._ports[link].loss = share
        if self._new_routes is not self._routes:
            self._routes = self._new_routes
            self._weight.clear()
            if self._tables_used:
                self._learn_hops()
                self._leave_dead_nics()
        moves, self._moves = self._moves, {}
        starts, self._starts = sorted(self._starts), []
        for ident, path in sorted(moves.items(), key=lambda move: move[0]):
            if ident in self._flows:
                self._move(self._flows[ident], path)
                self._settle()
        stops, self._stops = self._stops, set()
        for ident in sorted(stops & self._flows.keys()):
            self._halt(self._flows[ident])
        for stream in starts:
            self._accepted += stream.bytes
            if stream.id in stops:
                self._withdrawn += stream.bytes
                self._done.append(Done(stream.id, -1, now, 0, 0, 0, stream.bytes, 1))
                continue
            self._start(stream, moves.get(stream.id, stream.path))
            self._settle()
        self._flush_trace()

    def _set_link(self, port: Port, up: bool) -> None:
        """Down: what waits, is being sent or is under way is lost. A NIC's own flows wait for better times."""
        if port.up == up:
            return
        port.up = up
        if up:
            self._ring(port)
            return
        on_wire = [port.wire] if port.wire else []
        if on_wire:
            port.sent += port.crossed(self._now)
            port.process.interrupt()
        held = [*on_wire, *port.control, *port.queue]
        lost = [*port.pipe, *held]
        port.wire, port.free = None, self._now
        for packets in (port.pipe, port.control, port.queue):
            packets.clear()
        self._forget_pause(port)
        if not port.nic and self.settings.ports.scheduled:
            for packet in held:
                self._forget(port, packet)
        for packet in lost:
            packet.gone = True
            port.dropped += 1
            self._lose(packet, "link down")

    def _set_rate(self, port: Port, rate: int) -> None:
        """The packet on the wire keeps its pace; the others leave as the new rate says."""
        port.rate = rate
        port.free = self._now
        if port.wire is not None:
            port.free = port.started + serialisation_ps(port.wire.size, port.pace)
        port.free += sum(serialisation_ps(packet.size, rate) for packet in port.queue)

    def _leave_dead_nics(self) -> None:
        """Tables have changed: flows without a path that wait at a NIC whose link is down choose again."""
        dead = [port for port in self._ports if not port.up]
        for nic, flow in [(port, flow) for port in dead for flow in port.turn if flow.path is None]:
            nic.turn.remove(flow)
            flow.waits_at = None
            self._wake(flow)
            self._settle()

    def _move(self, flow: Flow, path: tuple[int, ...] | None) -> None:
        """A new path, for the packets not sent yet. A flow that waits at another NIC than its path's goes over."""
        self._set_path(flow, path)
        flow.blocked = False
        if flow.waits_at is not None and path is not None and flow.waits_at.index != path[0]:
            flow.waits_at.turn.remove(flow)
            flow.waits_at = None
        self._wake(flow)

    def _set_path(self, flow: Flow, path: tuple[int, ...] | None) -> None:
        flow.path, flow.since = path, self._now
        if path is None and not self._tables_used:
            self._tables_used = True
            self._learn_hops()

    def _halt(self, flow: Flow) -> None:
        """Nothing more of it is sent; its timers are void. Not if its source is done with it."""
        if not self.settings.acks and flow.next_new == flow.packets:
            return
        flow.halted = True
        if flow.waits_at is not None:
            flow.waits_at.turn.remove(flow)
            flow.waits_at = None
        self._end_halted(flow)

    def _start(self, stream: Stream, path: tuple[int, ...] | None) -> None:
        count = -(-stream.bytes // self.settings.mtu)
        if stream.cap is not None:
            self._gap = max(self._gap, serialisation_ps(self.settings.mtu + self.settings.header, stream.cap))
        flow = Flow(stream, path, count, stream.bytes - (count - 1) * self.settings.mtu, self._now)
        self._first_memory(flow)
        self._flows[stream.id] = flow
        if self.choice is not None and self.choice.own is not None:
            flow.own = self.choice.own.copy()
        self._set_path(flow, path)
        self._arm_tick()
        self._wake(flow)

    # -- the way of a packet

    def _go_on(self, port: Port, packet: Packet, node: int) -> None:
        if not packet.fixed:
            onward = None
            if packet.hop < self._hops:
                flow, sequence, hop = packet.flow, packet.sequence, packet.hop
                onward = self._choose(flow, sequence, packet.transmission, hop, node, packet.word, packet.kind)
            if onward is None:
                port.dropped += 1
                self._lose(packet, "no way on")
                return
            packet.way.append(onward)
            self._stamp(packet, self._ports[onward])
        packet.hop += 1
        packet.offered.append(self._now)
        self._offer(self._ports[packet.way[packet.hop - 1]], packet)

    # -- results

    def finished(self) -> list[Done]:
        done, self._done = self._done, []
        return done

    def active(self) -> list[int]:
        return sorted(self._flows)

    def undelivered(self, stream: int, now: int) -> int:
        flow = self._flows.get(stream)
        if flow is None:
            return sum(one.bytes for one in self._starts if one.id == stream)
        return flow.stream.bytes - flow.arrived

    def link_state(self, now: int) -> LinkState:
        queued = np.array([port.queued(now) for port in self._ports], dtype=np.int64)
        sent = np.array([port.sent + port.crossed(now) for port in self._ports], dtype=np.int64)
        return LinkState(queued, sent)

    def link_totals(self, now: int) -> dict[str, NDArray[np.int64]]:
        names = ("bytes", "packets", "marked", "dropped", "queue_max", "trimmed", "paused_ps")
        totals = {name: np.array([getattr(port, name) for port in self._ports], dtype=np.int64) for name in names}
        for port in self._ports:
            if port.paused:
                totals["paused_ps"][port.index] += now - port.paused_since
        return totals | {"queue_max_bytes": totals.pop("queue_max")}

    def explain(self) -> LastPackets:
        last = self._last if self._explains else []
        head = np.array([row[:6] for row in last], dtype=np.int64).reshape(-1, 6)
        link, offered = ([value for row in last for value in row[column]] for column in (6, 7))
        return LastPackets(*head.T, np.array(link, dtype=np.int32), np.array(offered, dtype=np.int64))

    def check(self, now: int) -> list[str]:
        """Packets sent = arrived + lost + in the network, counted twice over; the same of bytes."""
        found = sum(len([*port.queue, *port.control, *port.pipe]) + (port.wire is not None) for port in self._ports)
        sent, arrived, lost = (self._account[name] for name in ("sent", "arrived", "lost"))
        broken = []
        if not sent - arrived - lost == found == self._inside:
            broken.append(f"packets: {sent} sent, {arrived} arrived, {lost} lost, {found} on links")
        waiting = sum(flow.stream.bytes - flow.arrived for flow in self._flows.values())
        if self._accepted != self._delivered_bytes + waiting + self._withdrawn:
            text = f"{self._delivered_bytes} delivered, {waiting} to come, {self._withdrawn} withdrawn or lost"
            broken.append(f"packets: {self._accepted} payload bytes in, {text}")
        return broken
