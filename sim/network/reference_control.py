"""The transport under a congestion control, of the specification of the packet engine.

The sender keeps what became of each packet: outstanding (``out``), to be sent again (``lost_ones``) or acknowledged
(``acked``). An ACK tells what has arrived up to a number, and of 64 packets from a base on; how much arrived in all
takes it out of flight. All sizes are bytes on the wire.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from sim.engine.ports import draw
from sim.engine.words import (
    CUT,
    GOOD,
    LOST,
    MARKED,
    ON_ACK,
    ON_NACK,
    ON_SENT,
    ON_TIMEOUT,
    ON_TIMER,
    RATE,
    TIMER,
    WINDOW,
)
from sim.network.protocol import ENDED, TIMEOUT, Tell
from sim.network.reference_hosts import CONTROLS, TIMERS, Hosts
from sim.network.reference_parts import ACK, DATA, NACK, TRIMMED, Flow, Packet, Port
from sim.network.settings import Control

TOLD = 64  # packets that an ACK tells of beyond the cumulative ones
_LAST_HOP = 2  # of a control's `marked`: the packet was cut at the port that leads to its destination
_REACT = 1 << 24  # the hop of the controls' draws; the event is added
_NO_PATH = np.zeros(0)


class ControlledHosts(Hosts):
    """Flows under ``settings.control``; without one, the transports of ``Hosts``."""

    @property
    def _control(self) -> Control | None:
        return self.settings.control

    def _first_memory(self, flow: Flow) -> None:
        control, src, dst = self.settings.control, flow.stream.src, flow.stream.dst
        if control is not None:
            flow.held = 0
            inside = self.topology.domain[src] == self.topology.domain[dst]
            flow.memory = (control.near if inside and control.near is not None else control.own)[src].copy()

    def _size(self, flow: Flow, sequence: int) -> int:
        return self._payload(flow, sequence) + self.settings.header

    # -- what is sent

    def _next_sequence(self, flow: Flow) -> int | None:
        """The lowest of what is to be sent again, else the next new one. One may always be in flight."""
        if self._control is None:
            return super()._next_sequence(flow)
        if flow.blocked or flow.halted or flow.over:
            return None
        if not flow.lost_ones and flow.next_new == flow.packets:
            return None
        sequence = min(flow.lost_ones, default=flow.next_new)
        fits = flow.in_flight + self._size(flow, sequence) <= self._window(flow)
        return sequence if fits or flow.in_flight <= 0 else None

    def _window(self, flow: Flow) -> int:
        return super()._window(flow) if self._control is None else int(flow.memory[WINDOW])

    def _transmission(self, flow: Flow, sequence: int) -> int:
        if self._control is None:
            return super()._transmission(flow, sequence)
        return flow.times.get(sequence, 0)

    def _sends(self, flow: Flow, packet: Packet) -> None:
        control = self._control
        if control is None:
            super()._sends(flow, packet)
            return
        sequence, window = packet.sequence, int(flow.memory[WINDOW])
        flow.times[sequence] = packet.transmission + 1
        if sequence in flow.lost_ones:
            flow.lost_ones.remove(sequence)
        else:
            flow.next_new += 1
        flow.out[sequence] = self._now
        flow.in_flight += packet.size
        full = flow.in_flight + packet.size >= window
        packet.asks = packet.transmission > 0 or flow.next_new == flow.packets or full
        rates = [rate for rate in (flow.stream.cap, int(flow.memory[RATE])) if rate]
        self._pace(flow, packet.size, min(rates, default=None))
        if control.uses_sent:
            self._react(flow, ON_SENT, sequence, acked=packet.size)
        self._set_timer(flow)

    def _react(
        self, flow: Flow, event: int, sequence: int, rtt: int = -1, marked: int = 0, acked: int = 0, lost: int = 0
    ) -> None:
        """Asks the control, and files the timer that it wants."""
        assert self._control is not None
        key = int(draw(self.settings.key, flow.stream.id, sequence, flow.times.get(sequence, 0), _REACT + event))
        self._control.react(
            flow.memory, _NO_PATH, 0, event, self._now, rtt, marked, acked, lost, flow.in_flight, sequence,
            flow.next_new, key,
        )  # fmt: skip
        self._set_call(flow)

    def _set_call(self, flow: Flow) -> None:
        """Files the control's own timer, if none is filed that comes as early. It may be late by 1 ps, never early."""
        if flow.memory[TIMER] > 0.0:
            due = max(int(flow.memory[TIMER]), self._now + 1)
            if flow.call < 0 or due < flow.call:
                flow.call = due
                self._after(due - self._now, CONTROLS + flow.stream.id, partial(self._called, flow))

    def _called(self, flow: Flow) -> None:
        if flow.over or flow.halted or flow.call != self._now:
            return
        flow.call = -1
        if flow.memory[TIMER] > self._now:  # it was put off
            self._set_call(flow)
        elif flow.memory[TIMER] > 0.0:
            flow.memory[TIMER] = 0.0
            self._react(flow, ON_TIMER, min(flow.next_new, flow.packets - 1))
            self._wake(flow)

    # -- the retransmission timer, of the packet that has been out for longest

    def _set_timer(self, flow: Flow) -> None:
        if not flow.out:
            flow.deadline = -1
            return
        due = min(flow.out.values()) + self.settings.rto
        if due != flow.deadline:
            flow.deadline = due
            self._after(due - self._now, TIMERS + flow.stream.id, partial(self._timer, flow, due))

    def _timer(self, flow: Flow, due: int) -> None:
        """The packet that has been out for one timeout counts as lost; under go-back-N all that are out.

        A flow that asks for its path waits for the answer, unless the packet was sent before it got the one it has.
        """
        if self._control is None:
            super()._timer(flow, due)
            return
        if flow.over or flow.halted or due != flow.deadline:
            return
        flow.deadline = -1
        self._count("timers", "retransmission timeout")
        sequence, sent = next(iter(flow.out.items()))
        lost = self._size(flow, sequence)
        if self.settings.go_back_n:
            self._go_back(flow)
        else:
            self._take_back(flow, sequence)
        if flow.path is None:
            self._hear(flow, LOST, -1)
        self._react(flow, ON_TIMEOUT, sequence, lost=lost)
        self._set_timer(flow)
        if not flow.stream.ask or sent < flow.since:
            self._wake(flow)
        elif not flow.blocked:
            flow.blocked = True
            self._tells.append(Tell(TIMEOUT, flow.stream.id))

    def _take_back(self, flow: Flow, sequence: int) -> None:
        """A packet that is out is to be sent again."""
        del flow.out[sequence]
        flow.lost_ones.add(sequence)
        flow.in_flight -= self._size(flow, sequence)

    def _go_back(self, flow: Flow) -> None:
        """All that is out is new again."""
        flow.out.clear()
        flow.in_flight = 0
        flow.next_new = len(flow.acked)

    # -- the receiver

    def _receive(self, port: Port, packet: Packet) -> None:
        if self._control is None:
            super()._receive(port, packet)
            return
        flow = packet.flow
        kind = self._judge(flow, packet)
        if kind is None:
            self._leave(packet, "arrived")
            self._end_halted(flow)
            return
        packet.total = flow.total
        if kind == NACK:
            self._count("control packets", "NACK")
        else:
            flow.accepted = 0
            expected = flow.expected
            base = packet.sequence if packet.marked or packet.asks else max(packet.sequence - TOLD + 1, expected + 1)
            packet.told = [number for number in range(base, base + TOLD) if number in flow.received]
        self._answer(port, packet, kind)

    def _judge(self, flow: Flow, packet: Packet) -> int | None:
        """What a packet at its destination becomes: an ACK, a NACK, or nothing yet."""
        control, sequence, expected = self._control, packet.sequence, flow.expected
        assert control is not None
        if sequence in flow.received:
            self._count("packets discarded", "duplicate")
            return ACK
        if packet.kind == DATA:
            flow.highest = max(flow.highest, sequence)
        if self.settings.go_back_n and sequence > expected:
            self._count("packets discarded", "out of order (go-back-N)")
            told, flow.gap_told = flow.gap_told, True
            packet.sequence = expected
            return None if told else NACK
        if packet.kind == TRIMMED:
            flow.gap_told = True
            return NACK
        room = control.reorder_buffer
        if room is not None and (sequence - expected) * self.settings.mtu >= room:
            self._count("packets discarded", "beyond the reorder buffer")
            return NACK
        return ACK if self._admit_new(flow, packet, control) else None

    def _admit_new(self, flow: Flow, packet: Packet, control: Control) -> bool:
        """A packet that arrives for the first time; whether it gets an ACK at once."""
        self._take(flow, packet)
        flow.gap_told = False
        flow.total += packet.size
        flow.accepted += packet.size
        expected = flow.expected
        waiting = [number for number in flow.received if number > expected]
        flow.held = max(flow.held, sum(self._payload(flow, number) for number in waiting))
        flow.asked |= packet.asks
        closed = flow.asked and not waiting
        if closed:
            flow.asked = False
        first = len(flow.received) == 1
        enough = flow.accepted >= control.ack_every or control.ack_every == 1
        return first or packet.marked or packet.asks or closed or enough

    # -- the sender hears

    def _acknowledge(self, packet: Packet) -> None:
        if self._control is None:
            super()._acknowledge(packet)
            return
        flow = packet.flow
        self._leave(packet, "arrived")
        if flow.over:
            return
        if packet.kind == ACK:
            self._hear_ack(flow, packet)
        elif self.settings.go_back_n:
            if packet.kind == NACK:  # of a header that came back the receiver's NACK or a timeout will tell
                self._hear_gap(flow, packet)
        else:
            self._hear_nack(flow, packet)
        self._set_timer(flow)
        if len(flow.acked) == flow.packets:
            self._finish(flow)
            if flow.stream.notify_end:
                self._tells.append(Tell(ENDED, flow.stream.id))
        else:
            self._wake(flow)
            self._end_halted(flow)

    def _hear_ack(self, flow: Flow, packet: Packet) -> None:
        control, sequence = self._control, packet.sequence
        assert control is not None
        known = sequence in flow.out and flow.times[sequence] == packet.transmission + 1
        rtt = self._now - flow.out[sequence] if known else -1
        newly = self._take_in(flow, packet, (*range(packet.cumulative), *packet.told))
        if control.reorder > 0:
            self._find_gaps(flow, control.reorder)
        if packet.word >= 0:
            self._hear(flow, MARKED if packet.marked else GOOD, packet.word)
            self._learn(packet)
        self._react(flow, ON_ACK, sequence, rtt, int(packet.marked), newly)

    def _take_in(self, flow: Flow, packet: Packet, numbers: tuple[int, ...]) -> int:
        """These packets have arrived, says one that has come back; returns the bytes that nothing had told of."""
        newly = max(0, packet.total - flow.known)
        flow.known += newly
        flow.in_flight -= newly
        for number in numbers:
            self._had(flow, number)
        return newly

    def _find_gaps(self, flow: Flow, reorder: int) -> None:
        """Packets behind which too many later ones were acknowledged are lost; each counts once, as first sent."""
        highest = max(flow.acked, default=0)
        while flow.scanned < highest - reorder:
            number = flow.scanned
            flow.scanned += 1
            if number in flow.out and flow.times[number] == 1:
                self._take_back(flow, number)
                self._react(flow, ON_NACK, number, lost=self._size(flow, number))

    def _had(self, flow: Flow, number: int) -> None:
        """A packet has arrived. If it was taken off what is in flight, its arrival has taken it off once too often."""
        if number in flow.acked:
            return
        flow.acked.add(number)
        if number in flow.out:
            del flow.out[number]
        else:
            flow.in_flight += self._size(flow, number)
            flow.lost_ones.discard(number)
            flow.next_new = max(flow.next_new, number + 1)

    def _hear_nack(self, flow: Flow, packet: Packet) -> None:
        """Of a packet that was cut, sent back, or beyond the reorder buffer; not if it was sent again since."""
        sequence = packet.sequence
        if sequence not in flow.out or flow.times[sequence] != packet.transmission + 1:
            return
        rtt = self._now - flow.out[sequence]
        self._take_back(flow, sequence)
        self._react(flow, ON_NACK, sequence, rtt, self._marks(packet), lost=self._size(flow, sequence))
        if packet.word < 0:
            return
        if packet.cut_last:
            self._hear(flow, MARKED if packet.marked else GOOD, packet.word)
        elif packet.cut:
            self._hear(flow, CUT, packet.word)

    def _hear_gap(self, flow: Flow, packet: Packet) -> None:
        """Go-back-N: the receiver misses a packet, and has all before it."""
        self._take_in(flow, packet, tuple(range(packet.sequence)))
        sequence = packet.sequence
        if sequence in flow.out:
            rtt = self._now - flow.out[sequence]
            self._go_back(flow)
            self._react(flow, ON_NACK, sequence, rtt, self._marks(packet), lost=self._size(flow, sequence))

    def _marks(self, packet: Packet) -> int:
        """What a control is told of a NACK's packet."""
        return int(packet.marked) | (_LAST_HOP if packet.cut_last else 0)
