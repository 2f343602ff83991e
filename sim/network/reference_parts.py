"""Packets, flows and ports of the specification of the packet engine; ``sim/network/reference.py`` has the cast."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event

from sim.engine.layout import ACK, BOUNCED, DATA, NACK, TRIMMED
from sim.network.protocol import Stream

__all__ = ["ACK", "BOUNCED", "BYTE_PS", "DATA", "NACK", "TRIMMED", "Flow", "Packet", "Port"]

BYTE_PS = 8 * 10**12  # bits of a byte x ps of a second


@dataclass(eq=False)
class Packet:
    flow: Flow
    sequence: int
    size: int  # on the wire
    transmission: int  # how many timeouts the flow had seen; under a control how often the packet had been sent before
    way: list[int]  # the links of its path; of a packet without one, those it has taken
    fixed: bool
    offered: list[int]  # ps when it came to the queue of each link of its way; at its own NIC: when it was sent
    hop: int = 1  # links taken, the first included; of what goes back, links still to take back
    kind: int = DATA
    marked: bool = False
    word: int = -1  # its entropy, or the largest load or queue on its way
    cumulative: int = 0
    gone: bool = False  # lost with its link
    came: int = -1  # the link that it took last
    since: int = 0  # ps when it came to the port where it is
    # under a congestion control
    asks: bool = False  # for an ACK at once
    cut: bool = False  # to its header
    cut_last: bool = False  # cut at the port that leads to its destination
    total: int = 0  # an ACK's: bytes on the wire that have arrived for the first time
    told: list[int] = field(default_factory=list)  # an ACK's: packets that have arrived, beyond the cumulative ones


@dataclass(eq=False)
class Flow:
    stream: Stream
    path: tuple[int, ...] | None
    packets: int
    last_bytes: int
    due: int  # a paced flow sends no more before
    # the sender
    next_new: int = 0  # go-back-N: goes back to the first unacknowledged packet
    again: deque[int] = field(default_factory=deque)  # selective repeat: to be sent again, in order
    outstanding: set[int] = field(default_factory=set)  # counted in the window
    acked: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    epoch: int = 0  # timeouts so far
    deadline: int = -1
    blocked: bool = False  # a timeout waits for a new path
    paced: bool = False  # a timer will wake it when it is due
    halted: bool = False  # it was stopped
    inside: int = 0  # packets in the network, ACKs included
    waits_at: Port | None = None  # the NIC in whose turn it stands
    own: NDArray[np.int64] | None = None  # the packet policy's memory of it at its host
    planned: int = -1  # the entropy of its next packet, once it is chosen
    spreads: int = 0  # entropies chosen
    heard: int = 0  # packets that the policy heard of
    # the sender under a congestion control; `acked` as above
    memory: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    out: dict[int, int] = field(default_factory=dict)  # outstanding packet -> ps when it was sent, in that order
    lost_ones: set[int] = field(default_factory=set)  # to be sent again
    times: dict[int, int] = field(default_factory=dict)  # packet -> how often it was sent
    in_flight: int = 0  # bytes on the wire
    known: int = 0  # the largest total of an ACK
    scanned: int = 0  # gaps below it have been looked for
    call: int = -1  # ps of the control's own timer
    since: int = 0  # ps of the start, or of the last path
    # the receiver
    received: set[int] = field(default_factory=set)
    highest: int = 0
    arrived: int = 0  # payload bytes
    # the receiver under a congestion control
    total: int = 0  # bytes on the wire that arrived for the first time
    accepted: int = 0  # of these, since the last ACK
    asked: bool = False  # an ACK is due when the last gap closes
    gap_told: bool = False  # go-back-N: the gap has had its NACK
    held: int = -1  # payload bytes that waited out of order, at most; told under a congestion control
    # the account
    lost: int = 0
    retransmitted: int = 0
    reordered: int = 0
    delivered: int = -1
    end: int = -1

    @property
    def over(self) -> bool:
        return self.end >= 0

    @property
    def expected(self) -> int:
        """The first packet that has not arrived."""
        number = 0
        while number in self.received:
            number += 1
        return number


@dataclass(eq=False)
class Port:
    """``queue`` holds data, and whatever has no queue of its own: see ``sim/network/reference_ports.py``."""

    index: int
    rate: int
    delay: int
    src: int
    dst: int
    nic: bool
    up: bool = True
    queue: deque[Packet] = field(default_factory=deque)
    control: deque[Packet] = field(default_factory=deque)  # a scheduled port's packets that go first
    turn: deque[Flow] = field(default_factory=deque)
    wire: Packet | None = None  # being sent
    started: int = 0
    pace: int = 0  # bit/s at which the packet on the wire began
    pipe: deque[Packet] = field(default_factory=deque)
    process: Any = None
    bell: Event | None = None  # the idle process waits for it
    free: int = 0  # when all that was accepted will have left, for the trace
    loss: float = 0.0  # share of packets lost at random
    load: int = 0  # bytes x 1024 of its load estimator, as of this period
    load_period: int = 0
    # priority flow control
    account: int = 0  # bytes that came over this link and are still held behind it
    stopped: bool = False  # what is behind it has decided that it pauses
    paused: bool = False  # and its sender has heard of it
    paused_since: int = 0
    frames: int = 0  # pauses and their ends that were sent
    heard: int = 0  # the last one that came to the sender; earlier ones are void
    # totals
    sent: int = 0
    bytes: int = 0
    packets: int = 0
    marked: int = 0
    dropped: int = 0
    trimmed: int = 0
    paused_ps: int = 0
    queue_max: int = 0

    def crossed(self, now: int) -> int:
        """Bytes of the packet on the wire that have left."""
        if self.wire is None:
            return 0
        return min(self.wire.size, (now - self.started) * self.pace // BYTE_PS)

    def queued(self, now: int) -> int:
        """Bytes accepted and not yet sent, the rest of the packet on the wire included."""
        rest = self.wire.size - self.crossed(now) if self.wire else 0
        return rest + sum(packet.size for packet in (*self.control, *self.queue))
