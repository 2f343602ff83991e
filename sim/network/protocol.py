"""What every network engine offers to the world of SimPy, and the small tuples that cross between the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes

INFINITY = 2**63 - 1  # ps: "no event"

DELIVERED = 0
TIMEOUT = 1
ENDED = 2


class Stream(NamedTuple):
    """Bytes on one way: a whole flow, or a piece of one. Ids are unique in a run and never reused."""

    id: int
    src: int  # host
    dst: int  # host
    bytes: int  # payload
    path: tuple[int, ...] | None  # link indices; None: all equal-cost paths
    weight: float = 1.0  # fluid: share of a bottleneck
    cap: int | None = None  # bit/s on links at most; packet engines: sent at that pace, headers included
    notify: bool = True  # somebody waits for the delivery
    ask: bool = False  # packet engines: tell retransmission timeouts, and wait for `reroute` before going on
    notify_end: bool = False  # transports with ACKs: somebody waits for the last one
    pieces: int = 1  # that its flow is cut into


class Tell(NamedTuple):
    """What an engine has to say: a stream was DELIVERED, its timer ran out (TIMEOUT), its last ACK came (ENDED)."""

    kind: int
    stream: int


class Done(NamedTuple):
    """The end of a stream. ``delivered``: the last new byte arrived (-1: it never did); ``end``: the last ACK, or the
    same, or when nothing more was to come of a stopped one. In ps.
    """

    stream: int
    delivered: int
    end: int
    retransmitted: int  # packets sent again
    reordered: int  # packets that arrived after one sent later
    lost: int  # packets lost for good: the stream was not delivered if above 0
    undelivered: int = 0  # payload bytes that never arrived: of a stopped stream, or of those packets
    stopped: int = 0  # 1: a stop came before its end
    held: int = -1  # payload bytes that waited out of order at the receiver, at most; -1: the transport does not tell


class LinkState(NamedTuple):
    """Links at one instant."""

    queue_bytes: NDArray[np.int64]  # accepted and not yet sent
    sent_bytes: NDArray[np.int64]  # crossed since the start


class LastPackets(NamedTuple):
    """Of each delivered stream, the packet whose arrival completed it. ``link`` and ``offered``: way after way."""

    stream: NDArray[np.int64]
    delivered: NDArray[np.int64]  # ps
    sequence: NDArray[np.int64]
    transmission: NDArray[np.int64]  # timeouts of the stream before it was sent
    size: NDArray[np.int64]  # bytes on the wire
    hops: NDArray[np.int64]  # links of its way
    link: NDArray[np.int32]  # [sum of hops]
    offered: NDArray[np.int64]  # [sum of hops] ps when it came to the link's queue; at its own NIC: when it was sent


class Drains(NamedTuple):
    """Of each delivered stream, in engines without packets, the delay of its way and what held its rate down."""

    stream: NDArray[np.int64]
    delivered: NDArray[np.int64]  # ps
    latency: NDArray[np.int64]  # ps
    link: NDArray[np.int64]  # the one that cost it most; -1: none


class Network(Protocol):
    """A network engine. Commands are gathered and take effect at ``commit``, after the instant's SimPy events."""

    def add(self, stream: Stream) -> None: ...

    def reroute(self, stream: int, path: tuple[int, ...] | None) -> None: ...

    def stop(self, stream: int) -> None:
        """The source sends nothing more. What has left it still arrives: the stream ends when none of it is under way.

        In engines without packets it ends at once, and what has drained by then is delivered. A stream that has ended,
        or that the source is done with, is left alone; one that would start in this instant doesn't.
        """
        ...

    def set_links(self, links: Sequence[int], up: bool) -> None: ...

    def set_rates(self, links: Sequence[int], rates: Sequence[int]) -> None:
        """New bit/s of links, applied after ``set_links``. A packet on the wire keeps the pace at which it began."""
        ...

    def set_loss(self, links: Sequence[int], share: float) -> None:
        """Each packet that reaches the far end of these links is lost with this probability, applied after rates.

        Engines without packets lose nothing.
        """
        ...

    def set_routes(self, routes: Routes) -> None: ...

    def pending(self) -> bool:
        """Whether commands wait for ``commit``."""
        ...

    def commit(self, now: int) -> None:
        """Applies the commands of this instant: changes of links, routes, reroutes, stops, and starts by stream id."""
        ...

    def next_time(self) -> int:
        """The time of the engine's next event in ps, or INFINITY."""
        ...

    def advance(self, until: int, budget: int) -> tuple[int, list[Tell]]:
        """Runs events up to and including ``until``; stops after the first instant that has something to tell.

        ``until`` is below INFINITY.
        Returns the time reached and that instant's tells, in order of (kind, stream). Without tells the time is that
        of the last event run (it stops after about ``budget`` events), or ``until`` where none is left before it.
        """
        ...

    def finished(self) -> list[Done]:
        """The streams that ended since the last call."""
        ...

    def active(self) -> list[int]:
        """The streams that have started and not ended."""
        ...

    def undelivered(self, stream: int, now: int) -> int:
        """Payload bytes of an active stream that have not arrived (in engines without packets: not drained)."""
        ...

    def longest_gap(self) -> int:
        """ps that may lie between two packets of a stream that nothing but its own pace holds up."""
        ...

    def link_state(self, now: int) -> LinkState: ...

    def link_totals(self, now: int) -> dict[str, NDArray[np.int64]]:
        """Per link: bytes, packets, queue_max_bytes, marked, dropped, trimmed, paused_ps."""
        ...

    def deadlock(self) -> list[int]:
        """Links of a cycle, each paused, where a packet that came over one waits at the next; [] if there is none."""
        ...

    def delivered_bytes(self) -> int:
        """Payload that arrived for the first time: the watchdog's measure of progress."""
        ...

    def explain(self) -> LastPackets | Drains:
        """What is known of where the streams' time went. No rows of an engine that was not asked to keep it."""
        ...

    def reordering(self) -> NDArray[np.int64]:
        """Histogram of the distance, in packets, by which late packets were overtaken; the last bin holds the rest."""
        ...

    def counters(self) -> dict[tuple[str, str], int]:
        """(what, reason) -> how often: everything lost, rejected or clipped."""
        ...

    def check(self, now: int) -> list[str]:
        """The invariants that do not hold, in words."""
        ...
