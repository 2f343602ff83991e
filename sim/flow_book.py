"""The book of a run's flows: what each is, which streams it was cut into, and what became of it, in columns."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from models.ideal import Unloaded
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.api import Flow, Piece
from sim.dispatch.views import PathView
from sim.flow_paths import FlowPaths
from sim.network.protocol import INFINITY, Done, Network

Callback = Callable[[], None]
UNREACHABLE = "unreachable"  # reason of a rejection


class HearsOfWays(Protocol):
    """Who follows the ways of flows while something has failed."""

    def sent(self, flow: Flow, pieces: Sequence[Piece]) -> None: ...

    def moved(self, flow: int) -> None: ...


class OpenFlow:
    """A flow under way. Its pieces are the streams ``first``, ``first`` + 1, ..."""

    __slots__ = (
        *("ends_left", "first", "fixed", "flow", "left", "lost", "on_delivered", "on_end", "pieces", "stopped"),
        *("unacked", "weight"),
    )

    def __init__(self, flow: Flow, on_delivered: Callback | None, on_end: Callback | None) -> None:
        self.flow = flow
        self.on_delivered, self.on_end = on_delivered, on_end
        self.pieces: Sequence[Piece] = ()
        self.left = self.unacked = self.ends_left = self.first = 0
        self.lost = self.stopped = False
        self.fixed = False  # its path was given: it belongs to whoever gave it
        self.weight = 1.0


class FlowBook:
    """Row i is flow i. Who sends flows is somebody else."""

    def __init__(self, clock: Clock, network: Network, topology: Topology, view: PathView, unloaded: Unloaded) -> None:
        self._clock, self._network, self._topology, self._view = clock, network, topology, view
        self._open: dict[int, OpenFlow] = {}
        self._of_stream: dict[int, OpenFlow] = {}
        self._ended: list[Done] = []  # ended, but not yet booked
        self._looked = -1  # when that was last tried
        self._paths = FlowPaths(topology, unloaded)
        self.cause = -1  # the flow whose delivery is being heard; what is sent now was released by it
        self.stream_flow = array("q")  # by stream: its flow
        self.stream_start = array("q")  # and ps when the network got it
        self.rejected: dict[str, int] = {}  # reason -> flows
        self.cut_off: list[int] = []  # flows that were rejected as unreachable
        self.flow: list[Flow] = []
        self.job: list[str] = []  # what each was sent for
        self.released_by: list[int] = []  # flow, -1: none
        self.overhead: list[int] = []  # bytes of link time beyond the payload that are in the flow's bytes
        self.delivered: list[int] = []  # ps, -1 if not
        self.end: list[int] = []
        self.retransmitted: list[int] = []
        self.reordered: list[int] = []
        self.held: list[int] = []  # bytes of a piece that waited out of order at the receiver, at most; -1: unknown
        self.undelivered: list[int] = []  # payload bytes that will never arrive
        self.moved: set[int] = set()  # flows whose path was changed by whoever gave it
        self.failures: HearsOfWays | None = None  # who wants to know the ways of flows
        self.on_rejected: list[Callable[[int], None]] = []  # told of each flow that will not be sent
        self.status: list[str] = []

    def _note(self, flows: list[Flow], overheads: list[int], job: str) -> None:
        unknown = [-1] * len(flows)
        self.flow += flows
        self.job += [job] * len(flows)
        self.released_by += [self.cause] * len(flows)
        self.overhead += overheads
        self.delivered += unknown
        self.end += unknown
        self._paths.extend(len(flows))
        self.retransmitted += [0] * len(flows)
        self.reordered += [0] * len(flows)
        self.held += unknown
        self.undelivered += [0] * len(flows)
        self.status += ["unfinished"] * len(flows)

    def _reject(self, flow: Flow, reason: str) -> None:
        self.status[flow.id] = "rejected"
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        if reason == UNREACHABLE:
            self.cut_off.append(flow.id)
        del self._open[flow.id]
        for tell in self.on_rejected:
            tell(flow.id)

    @property
    def path(self) -> list[str | None]:
        """Names of the nodes on the way, or of several ways; None of a flow that was not sent."""
        return self._paths.path

    @property
    def ideal(self) -> list[int]:
        """ps with the fabric to itself, -1 of a flow that was not sent."""
        return self._paths.ideal

    def collect(self) -> None:
        """Books all streams that have ended."""
        self._book(INFINITY)

    def _book(self, before: int) -> None:
        """Books the streams that ended before that time: what ends at this very instant may not have been heard yet."""
        more = self._network.finished()
        if not more and (before == self._looked or not self._ended):
            return  # those that are left were looked at already
        self._looked = before
        ended = self._ended + more
        self._ended = []
        of_stream, open_flows = self._of_stream, self._open
        over: list[Piece] = []
        for done in ended:
            stream, delivered, end, retransmitted, reordered, lost, undelivered, stopped, held = done
            if end >= before:
                self._ended.append(done)
                continue
            opened = of_stream.pop(stream)
            ident = opened.flow.id
            if retransmitted or reordered:
                self.retransmitted[ident] += retransmitted
                self.reordered[ident] += reordered
            if held >= 0:
                self.held[ident] = max(self.held[ident], held)
            over.append(opened.pieces[stream - opened.first])
            opened.ends_left -= 1
            if lost:
                opened.lost = True
            if undelivered:
                self.undelivered[ident] += undelivered
            if stopped:
                opened.stopped = True
            self.delivered[ident] = max(self.delivered[ident], delivered)
            self.end[ident] = max(self.end[ident], end)
            if opened.ends_left == 0:
                if self.undelivered[ident]:
                    self.delivered[ident] = -1
                if opened.stopped:
                    self.status[ident] = "stopped"
                elif opened.lost:
                    self.end[ident] = -1
                else:
                    self.status[ident] = "finished"
                del open_flows[ident]
        self._view.removed(over)

    def active(self) -> int:
        """Flows that have started and not ended."""
        self._book(self._clock.now)
        return len(self._open)

    def under_way(self) -> Iterator[tuple[Flow, list[Piece]]]:
        """Flows that have not ended, with those of their pieces that have not."""
        self._book(self._clock.now)
        for opened in self._open.values():
            pieces = [piece for number, piece in enumerate(opened.pieces, opened.first) if number in self._of_stream]
            if pieces:
                yield opened.flow, pieces

    def settle(self) -> None:
        """At the end of a run: a flow of several pieces that is not wholly delivered is not delivered."""
        for ident, opened in self._open.items():
            self.end[ident] = -1
            if opened.left:
                self.delivered[ident] = -1

    def describe_open(self, most: int = 8) -> list[str]:
        """Flows that have not ended: who waits for what."""
        lines = []
        for opened in list(self._open.values())[:most]:
            flow, names = opened.flow, self._topology.node_name
            way = self.path[flow.id]
            what = f"flow {flow.id} of {flow.bytes} B from {names[flow.src]} to {names[flow.dst]}"
            if opened.fixed and not opened.pieces:
                lines.append(f"{what} waits for admission")
                continue
            lines.append(f"{what} by {way if way and ' ' not in way else f'{len(opened.pieces)} pieces'}")
        return lines if len(self._open) <= most else [*lines, f"{len(self._open) - most} more flows"]

    def unreachable(self, most: int = 12) -> list[str]:
        """How many flows were rejected, by reason; and which have no way to their destination, by today's tables."""
        lines = [f"{count} flows rejected: {reason}" for reason, count in sorted(self.rejected.items())]
        routes, names = self._view.routes, self._topology.node_name
        cut = [one.flow for one in self._open.values() if not routes.count(one.flow.src, one.flow.dst)]
        found = sorted({*self.cut_off, *(flow.id for flow in cut)})
        for flow in [self.flow[number] for number in found[:most]]:
            lines.append(f"unreachable: flow {flow.id} of {flow.bytes} B from {names[flow.src]} to {names[flow.dst]}")
        return lines if len(found) <= most else [*lines, f"unreachable: {len(found) - most} more flows"]
