"""The hosts of the specification of the packet engine; ``sim/network/reference.py`` has the cast."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray
from simpy.events import Event

from models.topology import Topology
from models.units import serialisation_ps
from sim.engine.words import GOOD, LOST, MARKED
from sim.network.protocol import DELIVERED, ENDED, TIMEOUT, Done, Tell
from sim.network.reference_parts import ACK, DATA, Flow, Packet, Port
from sim.network.settings import ACK_BYTES, PacketSettings

# priorities; SimPy's own are 0 and 1
ENDS, ARRIVALS, TIMERS, PACES, CONTROLS, CREDITS, PAUSES, TICKS = (phase << 40 for phase in range(1, 9))
BINS = 1024


class Hosts:
    """Both ends of every stream, and the account of what became of its packets. Ports are somebody else's."""

    def __init__(
        self, topology: Topology, settings: PacketSettings, on_trace: Callable[[NDArray[np.int64]], None] | None
    ) -> None:
        self.topology, self.settings = topology, settings
        self._on_trace = on_trace
        self._rows: list[tuple[int, ...]] = []
        self._env = simpy.Environment(0)
        self._ports: list[Port] = []
        self._flows: dict[int, Flow] = {}  # not ended
        self._inside = 0  # packets in the network
        self._done: list[Done] = []
        self._tells: list[Tell] = []
        self._counters: dict[tuple[str, str], int] = {}
        self._account = {"sent": 0, "arrived": 0, "lost": 0}
        self._accepted = self._delivered_bytes = self._withdrawn = 0  # payload
        self._gap = 0  # ps from packet to packet at the slowest pace so far
        self._distances = np.zeros(BINS, dtype=np.int64)
        self._last: list[tuple[Any, ...]] = []  # of packets that completed their streams, as in LastPackets

    def _choose(
        self, flow: Flow, sequence: int, transmission: int, hop: int, node: int, word: int, kind: int
    ) -> int | None:
        """The link that a packet without a path of its own takes from ``node``."""
        raise NotImplementedError

    def _offer(self, port: Port, packet: Packet) -> None:
        """A packet comes to a port."""
        raise NotImplementedError

    def _plan_entropy(self, flow: Flow, sequence: int) -> int:
        """The entropy of a flow's next packet; -1: the host doesn't choose any."""
        raise NotImplementedError

    def _hear(self, flow: Flow, kind: int, entropy: int) -> None:
        """Tells the flow's host what became of a packet."""
        raise NotImplementedError

    def _learn(self, packet: Packet) -> None:
        """Tells the source's edge switch what a packet met on its way."""
        raise NotImplementedError

    # -- time

    def _after(self, delay: int, priority: int, action: Callable[[], None] | None = None) -> Event:
        event = Event(self._env)
        event._ok, event._value = True, None
        if action is not None:
            event.callbacks.append(lambda _: action())
        self._env.schedule(event, priority, delay)
        return event

    def _settle(self) -> None:
        """Runs the wake-ups of this instant."""
        queue = self._env._queue
        while queue and queue[0][0] == self._env.now and queue[0][1] < ENDS:
            self._env.step()

    @property
    def _now(self) -> int:
        return int(self._env.now)

    def _ring(self, port: Port) -> None:
        """Wakes a port's process if it is idle."""
        if port.bell is not None and not port.bell.triggered:
            port.bell.succeed()

    # -- the sender

    def _payload(self, flow: Flow, sequence: int) -> int:
        return flow.last_bytes if sequence == flow.packets - 1 else self.settings.mtu

    def _next_sequence(self, flow: Flow) -> int | None:
        """The packet that the flow would send now: what is to be sent again first. At least one may be in flight."""
        if flow.blocked or flow.halted or flow.over:
            return None
        while flow.again and flow.again[0] in flow.acked:
            flow.again.popleft()
        if not flow.again and flow.next_new == flow.packets:
            return None
        sequence = flow.again[0] if flow.again else flow.next_new
        if self.settings.acks and flow.outstanding:
            in_flight = sum(self._payload(flow, other) for other in flow.outstanding)
            if in_flight + self._payload(flow, sequence) > self._window(flow):
                return None
        return sequence

    def _window(self, flow: Flow) -> int:
        """Bytes that a flow may have in flight."""
        src, dst = flow.stream.src, flow.stream.dst
        return self.settings.window_of(src, bool(self.topology.domain[src] == self.topology.domain[dst]))

    def _wake(self, flow: Flow) -> None:
        """A flow that can send and isn't in a NIC's turn queues up; the link of its next packet is chosen here.

        A paced flow that isn't due waits for a timer first.
        """
        sequence = self._next_sequence(flow)
        if flow.waits_at is not None or sequence is None:
            return
        if flow.due > self._now:
            if not flow.paced:
                flow.paced = True
                self._after(flow.due - self._now, PACES + flow.stream.id, lambda: self._is_due(flow))
            return
        host = flow.stream.src
        link: int | None
        if flow.path is not None:
            link = flow.path[0]
        else:
            several = self.topology.out_start[host + 1] - self.topology.out_start[host] > 1
            word = self._plan_entropy(flow, sequence) if several else -1
            link = self._choose(flow, sequence, self._transmission(flow, sequence), 0, host, word, DATA)
            if link is None:  # no way known: the first link, and the packets are lost behind it
                link = int(self.topology.out_link[self.topology.out_start[host]])
        flow.waits_at = self._ports[link]
        flow.waits_at.turn.append(flow)
        self._ring(flow.waits_at)

    def _is_due(self, flow: Flow) -> None:
        flow.paced = False
        self._wake(flow)

    def _make_packet(self, flow: Flow, port: Port) -> Packet:
        sequence = self._next_sequence(flow)
        assert sequence is not None
        way = [port.index] if flow.path is None else list(flow.path)
        size = self._payload(flow, sequence) + self.settings.header
        transmission = self._transmission(flow, sequence)
        packet = Packet(flow, sequence, size, transmission, way, flow.path is not None, [self._now])
        if flow.path is None:
            packet.word = self._plan_entropy(flow, sequence)
            flow.planned = -1
        if sequence in flow.sent:
            flow.retransmitted += 1
        flow.sent.add(sequence)
        flow.inside += 1
        self._account["sent"] += 1
        self._inside += 1
        self._sends(flow, packet)
        return packet

    def _transmission(self, flow: Flow, sequence: int) -> int:
        """What a packet sent now carries as its number among those of one sequence number."""
        return flow.epoch

    def _sends(self, flow: Flow, packet: Packet) -> None:
        """The sender's books when a packet is made."""
        if flow.again:
            flow.again.popleft()
        else:
            flow.next_new += 1
        self._pace(flow, packet.size, flow.stream.cap)
        if self.settings.acks:
            flow.outstanding.add(packet.sequence)
            self._restart_timer(flow)

    def _pace(self, flow: Flow, size: int, rate: int | None) -> None:
        """When a flow that sends ``size`` bytes now may send again; a late one makes up for one packet at most."""
        if rate is not None:
            flow.due = max(flow.due + serialisation_ps(size, rate), self._now)

    def _restart_timer(self, flow: Flow) -> None:
        due = flow.deadline = self._now + self.settings.rto
        self._after(self.settings.rto, TIMERS + flow.stream.id, lambda: self._timer(flow, due))

    def _timer(self, flow: Flow, due: int) -> None:
        """All that is in flight counts as lost, if nothing was sent and no ACK came for one timeout."""
        if flow.over or flow.halted or due != flow.deadline or not flow.outstanding:
            return
        self._count("timers", "retransmission timeout")
        flow.epoch += 1
        flow.outstanding.clear()
        if self.settings.go_back_n:
            flow.next_new = len(flow.acked)
        else:
            flow.again = deque(n for n in range(flow.next_new) if n not in flow.acked)
        if flow.path is None:
            self._hear(flow, LOST, -1)
        if flow.stream.ask:
            flow.blocked = True
            self._tells.append(Tell(TIMEOUT, flow.stream.id))
        else:
            self._wake(flow)

    def _acknowledge(self, packet: Packet) -> None:
        flow = packet.flow
        self._leave(packet, "arrived")
        if flow.over:
            return
        if packet.word >= 0:
            self._hear(flow, MARKED if packet.marked else GOOD, packet.word)
            self._learn(packet)
        if self.settings.go_back_n:
            flow.acked.update(range(packet.cumulative))
            flow.outstanding.difference_update(flow.acked)
            flow.next_new = max(flow.next_new, len(flow.acked))
        else:
            flow.acked.add(packet.sequence)
            flow.outstanding.discard(packet.sequence)
        self._restart_timer(flow)
        if len(flow.acked) == flow.packets:
            self._finish(flow)
            if flow.stream.notify_end:
                self._tells.append(Tell(ENDED, flow.stream.id))
        else:
            self._wake(flow)
            self._end_halted(flow)

    def _end_halted(self, flow: Flow) -> None:
        """A stopped flow ends when none of its packets is in the network, unless it has ended as usual."""
        if flow.halted and not flow.over and flow.inside == 0:
            self._finish(flow, stopped=1)

    def _finish(self, flow: Flow, stopped: int = 0) -> None:
        flow.end = self._now
        ident, rest = flow.stream.id, flow.stream.bytes - flow.arrived
        del self._flows[ident]
        self._withdrawn += rest
        counts = (flow.retransmitted, flow.reordered, flow.lost)
        self._done.append(Done(ident, flow.delivered, flow.end, *counts, rest, stopped, flow.held))

    # -- the receiver

    def _receive(self, port: Port, packet: Packet) -> None:
        flow, sequence, settings = packet.flow, packet.sequence, self.settings
        if sequence in flow.received:
            self._count("packets discarded", "duplicate")
        elif settings.acks and settings.go_back_n and sequence != len(flow.received):
            self._count("packets discarded", "out of order (go-back-N)")
        else:
            self._take(flow, packet)
        flow.highest = max(flow.highest, sequence)
        if not settings.acks:
            self._leave(packet, "arrived")
            if len(flow.received) + flow.lost == flow.packets:
                self._finish(flow)
            self._end_halted(flow)
            return
        self._answer(port, packet, ACK)

    def _answer(self, port: Port, packet: Packet, kind: int) -> None:
        """The packet becomes its own ACK, and takes its way back."""
        self._account["arrived"] += 1
        self._account["sent"] += 1
        packet.kind, packet.size, packet.cumulative = kind, ACK_BYTES, packet.flow.expected
        packet.hop -= 1
        self._offer(self._ports[port.index ^ 1], packet)

    def _take(self, flow: Flow, packet: Packet) -> None:
        """A packet that arrives for the first time."""
        flow.received.add(packet.sequence)
        flow.arrived += self._payload(flow, packet.sequence)
        self._delivered_bytes += self._payload(flow, packet.sequence)
        if packet.transmission == 0:
            distance = max(0, flow.highest - packet.sequence)
            flow.reordered += distance > 0
            self._distances[min(distance, BINS - 1)] += 1
        if len(flow.received) == flow.packets:
            flow.delivered = self._now
            row = (flow.stream.id, self._now, packet.sequence, packet.transmission, packet.size, packet.hop)
            self._last.append((*row, packet.way[: packet.hop], packet.offered))
            if flow.stream.notify:
                self._tells.append(Tell(DELIVERED, flow.stream.id))

    # -- losses and accounts

    def delivered_bytes(self) -> int:
        return self._delivered_bytes

    def reordering(self) -> NDArray[np.int64]:
        return self._distances.copy()

    def counters(self) -> dict[tuple[str, str], int]:
        return dict(self._counters)

    def longest_gap(self) -> int:
        return self._gap

    def _leave(self, packet: Packet, how: str) -> None:
        self._inside -= 1
        packet.flow.inside -= 1
        self._account[how] += 1

    def _drop(self, port: Port, packet: Packet, reason: str) -> None:
        port.dropped += 1
        self._trace(packet, port, self._now, -1, -1)
        self._lose(packet, reason)

    def _lose(self, packet: Packet, reason: str) -> None:
        """A packet is gone. Without ACKs nobody sends it again: the flow ends when the rest has arrived."""
        self._leave(packet, "lost")
        self._count("packets lost", reason)
        flow = packet.flow
        if not self.settings.acks:
            flow.lost += 1
            if len(flow.received) + flow.lost == flow.packets:
                self._finish(flow)
        self._end_halted(flow)

    def _count(self, what: str, reason: str) -> None:
        self._counters[what, reason] = self._counters.get((what, reason), 0) + 1

    def _trace(self, packet: Packet, port: Port, offered: int, start: int, end: int) -> None:
        """One row a packet and link, when the link accepts it (a NIC: when it sends it); -1: lost here."""
        if self._on_trace is not None:
            flow, sequence = packet.flow.stream.id, packet.sequence
            row = (flow, sequence, packet.transmission, packet.kind, port.index, offered, start, end, packet.marked)
            self._rows.append(row)

    def _flush_trace(self) -> None:
        if self._on_trace is not None and self._rows:
            self._on_trace(np.array(self._rows, dtype=np.int64))
            self._rows.clear()
