"""Links of the specification of the packet engine: their processes, what ports accept, cut, mark, hold and pause.

A plain switch port has one queue and drops what does not fit. A scheduled one (``settings.ports.scheduled``) may have
two: ``control`` for all that isn't data, served first, and ``queue``; without trimming or priority everything is in
``queue``. Priority flow control counts what came over a link and is still in a ``queue`` behind it.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import simpy
from simpy.events import Event

from models.units import serialisation_ps
from sim.engine.ports import draw
from sim.network.deadlock import cycle
from sim.network.reference_control import ControlledHosts
from sim.network.reference_hosts import ARRIVALS, ENDS, PAUSES
from sim.network.reference_parts import BOUNCED, DATA, TRIMMED, Packet, Port
from sim.network.settings import ACK_BYTES, NO_LIMIT, PortChange

_SWITCHES = 1 << 30  # after all NICs
_MARK, _COIN, _LOSS = 1 << 20, 1 << 21, 1 << 22  # the hops of these draws: apart from those of path draws


class Ports(ControlledHosts):
    """Every link, and the two hosts at the ends of every stream. Who goes where is somebody else's."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._used = [0] * self.topology.nodes  # bytes of a switch's data queues, whole packets until they have left
        self._frames = 0  # pauses, or their ends, under way

    # -- the process of a link

    def _serve(self, port: Port) -> Generator[Event, Any, None]:
        scheduled = self.settings.ports.scheduled
        end = ENDS + port.index + (0 if port.nic else _SWITCHES)
        while True:
            packet = self._next_packet(port) if port.up else None
            if packet is None:
                port.bell = self._env.event()
                yield port.bell
                continue
            port.wire, port.started, port.pace = packet, self._now, port.rate
            duration = serialisation_ps(packet.size, port.rate)
            if port.nic:
                port.queue_max = max(port.queue_max, port.queued(self._now))
                self._trace(packet, port, self._now, self._now, self._now + duration)
                if packet.kind == DATA and packet.hop == 1:
                    self._wake(packet.flow)
            elif scheduled:
                self._trace(packet, port, packet.since, self._now, self._now + duration)
            try:
                yield self._after(duration, end)
            except simpy.Interrupt:  # the link went down
                continue
            port.wire = None
            port.sent += packet.size
            self._note_sent(port, packet.size)
            if scheduled and not port.nic:
                self._has_left(port, packet)
            port.pipe.append(packet)
            self._after(port.delay, ARRIVALS + port.index, partial(self._arrive, port, packet))

    def _next_packet(self, port: Port) -> Packet | None:
        """What goes first, then data; a paused port holds all but what goes first."""
        if port.control:
            return port.control.popleft()
        if port.queue and (not port.paused or (port.nic and self._two_queues)):
            return port.queue.popleft()
        while port.turn and not port.paused:
            flow = port.turn.popleft()
            flow.waits_at = None
            if self._next_sequence(flow) is not None:
                return self._make_packet(flow, port)
        return None

    def _arrive(self, port: Port, packet: Packet) -> None:
        """The end of a link: a packet has reached its host, or goes on, or is lost by chance."""
        if packet.gone:
            return
        assert port.pipe.popleft() is packet
        port.bytes += packet.size
        port.packets += 1
        packet.came = port.index
        if port.loss > 0.0 and self._by_chance(packet, _LOSS + (packet.kind << 12), port.loss):
            port.dropped += 1
            self._lose(packet, "random loss")
            return
        node, stream = port.dst, packet.flow.stream
        if packet.kind & 1:  # it goes back
            if node == stream.src:
                self._acknowledge(packet)
                return
            packet.hop -= 1
            self._offer(self._ports[packet.way[packet.hop] ^ 1], packet)
        elif node == stream.dst:
            self._receive(port, packet)
        else:
            self._go_on(port, packet, node)

    def _go_on(self, port: Port, packet: Packet, node: int) -> None:
        """A packet on its way to its destination comes through a node; ``port``: the link that it came over."""
        raise NotImplementedError

    def _note_sent(self, port: Port, size: int) -> None:
        """So many bytes have left over a link."""
        raise NotImplementedError

    def _by_chance(self, packet: Packet, word: int, chance: float) -> bool:
        """A decision about a packet, with a probability."""
        return chance >= 1.0 or float(self._number(packet, word)) < chance * 2.0**63

    def _number(self, packet: Packet, word: int) -> int:
        flow = packet.flow.stream.id
        return int(draw(self.settings.key, flow, packet.sequence, packet.transmission, word + packet.hop))

    # -- what a port accepts

    def _offer(self, port: Port, packet: Packet) -> None:
        """A packet comes to a port. A fabric port drops what does not fit and marks by the queue that it finds."""
        now = packet.since = self._now
        if not port.up:
            self._drop(port, packet, "link down")
        elif port.nic:
            self._put(port, packet)
        elif self.settings.ports.scheduled:
            self._admit(port, packet)
        else:
            queue = port.queued(now)
            if queue + packet.size > self._limits(port)[0]:
                self._drop(port, packet, "buffer full")
                return
            self._mark(port, packet, queue)
            start = max(now, port.free)
            port.free = start + serialisation_ps(packet.size, port.rate)
            self._trace(packet, port, now, start, port.free)
            self._put(port, packet)

    def _put(self, port: Port, packet: Packet) -> None:
        """A packet joins the end of its queue."""
        first = self._two_queues and not port.nic and packet.kind != DATA
        (port.control if first else port.queue).append(packet)
        port.queue_max = max(port.queue_max, port.queued(self._now))
        self._ring(port)

    @property
    def _two_queues(self) -> bool:
        return self.settings.ports.trim or self.settings.ports.priority

    def _limits(self, port: Port) -> tuple[int, int | None, int | None]:
        """Buffer, kmin and kmax of a switch port. A lossless link has no limit and never marks."""
        if self.topology.lossless[port.index]:
            return NO_LIMIT, None, None
        settings = self.settings
        plain = PortChange(settings.buffer, settings.kmin, settings.kmax)
        change = settings.ports.changes.get(port.index, plain)
        unmarked = settings.ports.unmarked
        low = None if unmarked is not None and unmarked[port.index] else change.kmin
        return NO_LIMIT if change.buffer is None else change.buffer, low, change.kmax

    def _mark(self, port: Port, packet: Packet, queue: int) -> None:
        """ECN: never below kmin, always from kmax on, in between with a probability that rises to pmax."""
        _, low, high = self._limits(port)
        if packet.kind != DATA or low is None or high is None or queue < low:
            return
        if queue >= high or self._by_chance(packet, _MARK, self.settings.pmax * (queue - low) / (high - low)):
            packet.marked = True
            port.marked += 1

    # -- scheduled ports

    def _data_bytes(self, port: Port) -> int:
        """What is in a port's data queue, the rest of the packet on the wire included if it is from there."""
        waiting = sum(packet.size for packet in port.queue)
        if port.wire is None or (self._two_queues and port.wire.kind != DATA):
            return waiting
        return waiting + port.wire.size - port.crossed(self._now)

    def _admit(self, port: Port, packet: Packet) -> None:
        ports = self.settings.ports
        if self._two_queues and packet.kind != DATA:
            self._admit_first(port, packet)
        elif self.topology.lossless[port.index]:
            self._hold(port, packet)
        elif ports.pause is not None:
            came = self._ports[packet.came]
            room = ports.pause.limit + int(ports.pause.headroom[came.index]) - came.account
            if packet.size > room and not self.topology.lossless[came.index]:
                self._drop(port, packet, "buffer full")
            else:
                self._hold(port, packet)
        elif self._fits(port, packet):
            self._hold(port, packet)
        elif ports.trim:
            self._trim(port, packet)
        else:
            self._drop(port, packet, "buffer full")

    def _fits(self, port: Port, packet: Packet, less: int = 0) -> bool:
        """Whether there is room in the data queue, if ``less`` bytes were not there."""
        ports = self.settings.ports
        size = self._data_bytes(port) - less + packet.size
        if size > self._limits(port)[0]:
            return False
        if ports.shared is None:
            return True
        used = self._used[port.src] - less
        return used + packet.size <= ports.shared and size <= ports.alpha * (ports.shared - used)

    def _trim(self, port: Port, packet: Packet) -> None:
        """Of the packet that does not fit and the last one that waits, a fair coin says which is cut to its header."""
        last = port.queue[-1] if port.queue else None
        if self._number(packet, _COIN) & 1 or last is None or not self._fits(port, packet, last.size):
            self._cut(port, packet)
            return
        self._forget(port, port.queue.pop())
        self._cut(port, last)
        self._hold(port, packet)

    def _cut(self, port: Port, packet: Packet) -> None:
        packet.kind, packet.size = TRIMMED, ACK_BYTES
        packet.cut, packet.cut_last = True, port.dst == packet.flow.stream.dst
        port.trimmed += 1
        if self.settings.ports.bounce and not self._has_room(port, packet):
            self._count("packets", "sent back")
            packet.kind = BOUNCED
            packet.hop -= 2
            self._offer(self._ports[packet.came ^ 1], packet)
        else:
            self._admit_first(port, packet)

    def _has_room(self, port: Port, packet: Packet) -> bool:
        """Of a packet that goes first."""
        waiting = sum(other.size for other in port.control)
        if port.wire is not None and port.wire.kind != DATA:
            waiting += port.wire.size - port.crossed(self._now)
        return bool(self.topology.lossless[port.index]) or waiting + packet.size <= self.settings.ports.control

    def _admit_first(self, port: Port, packet: Packet) -> None:
        if self._has_room(port, packet):
            self._put(port, packet)
        else:
            self._drop(port, packet, "header queue full")

    def _hold(self, port: Port, packet: Packet) -> None:
        """A packet joins the data queue; too much that came over its link pauses that."""
        if not self.settings.ports.late_marks:
            self._mark(port, packet, self._data_bytes(port))
        self._put(port, packet)
        self._used[port.src] += packet.size
        if self.settings.ports.pause is not None:
            came = self._ports[packet.came]
            came.account += packet.size
            may_stop = not (self.topology.lossless[came.index] or came.stopped)
            if may_stop and came.account >= self._threshold(port.src):
                self._send_pause(came, True)

    def _has_left(self, port: Port, packet: Packet) -> None:
        """The end of a packet's serialisation at a scheduled port."""
        if self.settings.ports.late_marks:
            self._mark(port, packet, sum(other.size for other in port.queue))
        self._forget(port, packet)

    # -- priority flow control

    def _threshold(self, switch: int) -> float:
        pause, shared = self.settings.ports.pause, self.settings.ports.shared
        assert pause is not None
        if pause.alpha is None or shared is None:
            return pause.limit
        return min(pause.limit, pause.alpha * (shared - self._used[switch]))

    def _forget(self, port: Port, packet: Packet) -> None:
        """A packet is no longer held behind the link that it came over, which may go on.

        It does when nothing of its own is held, even where little of the shared memory is free.
        """
        if self._two_queues and packet.kind != DATA:
            return
        self._used[port.src] -= packet.size
        pause = self.settings.ports.pause
        if pause is None:
            return
        came = self._ports[packet.came]
        came.account -= packet.size
        if came.stopped and (came.account == 0 or came.account + pause.resume <= self._threshold(port.src)):
            self._send_pause(came, False)

    def _send_pause(self, link: Port, stop: bool) -> None:
        """A frame to a link's sender; it takes the way back, but no room on the wire."""
        link.stopped = stop
        link.frames += 1
        self._frames += 1
        if stop:
            self._count("pauses", "sent")
        back = self._ports[link.index ^ 1]
        way = serialisation_ps(ACK_BYTES, back.rate) + back.delay
        self._after(way, PAUSES + 2 * link.index + stop, partial(self._pause_came, link, stop, link.frames))

    def _pause_came(self, link: Port, stop: bool, number: int) -> None:
        self._frames -= 1
        if number <= link.heard:
            return
        link.heard = number
        if link.paused != stop:
            link.paused = stop
            if stop:
                link.paused_since = self._now
            else:
                link.paused_ps += self._now - link.paused_since
                self._ring(link)

    def deadlock(self) -> list[int]:
        """Links of a cycle, each paused, where packets that came over one wait at the next."""
        paused = {port.index: port for port in self._ports if port.paused}
        at = {link: {packet.came for packet in port.queue} for link, port in paused.items()}
        return cycle({link: {other for other in paused if link in at[other]} for link in paused})

    def _forget_pause(self, link: Port) -> None:
        """A link went down."""
        link.heard = link.frames
        if link.paused:
            link.paused_ps += self._now - link.paused_since
        link.stopped = link.paused = False
