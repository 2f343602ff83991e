"""The keeper of a run's flows: asks for their paths, cuts them into streams, and notes what becomes of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from models.ideal import Unloaded
from models.paths import Routes
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.api import Flow, Piece
from sim.dispatch.views import PathView
from sim.network.protocol import DELIVERED, ENDED, INFINITY, Done, Network, Stream, Tell

Callback = Callable[[], None]
Path = tuple[int, ...]


class _Open:
    """A flow under way. Its pieces are the streams ``first``, ``first`` + 1, ..."""

    __slots__ = ("ends_left", "first", "flow", "left", "lost", "on_delivered", "on_end", "pieces", "unacked", "weight")

    def __init__(self, flow: Flow, on_delivered: Callback | None, on_end: Callback | None) -> None:
        self.flow = flow
        self.on_delivered, self.on_end = on_delivered, on_end
        self.pieces: Sequence[Piece] = ()
        self.left = self.unacked = self.ends_left = self.first = 0
        self.lost = False
        self.weight = 1.0


class Flows:
    """All flows of a run, in columns; row i is flow i."""

    def __init__(
        self,
        clock: Clock,
        network: Network,
        topology: Topology,
        view: PathView,
        policy: Any,
        rng: np.random.Generator,
        unloaded: Unloaded,
        acks: bool,
    ) -> None:
        self._acks = acks
        self._clock, self._network, self._topology = clock, network, topology
        self._view, self._policy, self._rng, self._unloaded = view, policy, rng, unloaded
        self._asks = hasattr(policy, "on_timeout")
        self._batches: dict[int, list[Flow]] = {}  # flows that wait for their host's batch timer
        self._open: dict[int, _Open] = {}
        self._of_stream: dict[int, _Open] = {}
        self._next_stream = 0
        self._ended: list[Done] = []  # ended, but not yet booked
        names = topology.node_name
        self._from = [names[node] for node in topology.link_src.tolist()]  # parts of paths' names, by link
        self._to = [f">{names[node]}" for node in topology.link_dst.tolist()]
        self.cause = -1  # the flow whose delivery is being heard; what is sent now was released by it
        self.stream_flow = array("q")  # by stream: its flow
        self.stream_start = array("q")  # and ps when the network got it
        self.rejected: dict[str, int] = {}  # reason -> flows
        self.flow: list[Flow] = []
        self.job: list[str] = []  # what each was sent for
        self.released_by: list[int] = []  # flow, -1: none
        self.overhead: list[int] = []  # bytes of link time beyond the payload that are in the flow's bytes
        self.delivered: list[int] = []  # ps, -1 if not
        self.end: list[int] = []
        self._ideal: list[int] = []
        self._path: list[str | None] = []
        self._lone: list[int] = []  # flows on one path that are not described yet
        self._way: list[Path] = []  # and their paths
        self.retransmitted: list[int] = []
        self.reordered: list[int] = []
        self.status: list[str] = []

    # -- starting

    def send(
        self,
        src: int,
        dst: int,
        size: int,
        on_delivered: Callback | None = None,
        job: str = "",
        on_end: Callback | None = None,
        overhead: int = 0,
    ) -> int:
        """Starts a flow now; ``on_delivered`` is called when its last byte arrives, ``on_end`` at the last ACK.

        ``job``: what it is for. ``overhead``: what the flow's messages cost beyond their payload, as bytes of link
        time.
        """
        flow = Flow(len(self.flow), src, dst, size + overhead, self._clock.now)
        self._note([flow], [overhead], job)
        self._open[flow.id] = _Open(flow, on_delivered, on_end)
        self._gather([flow])
        return flow.id

    def send_many(
        self,
        src: int,
        dsts: list[int],
        sizes: list[int],
        callbacks: list[Callback],
        job: str = "",
        overheads: list[int] | None = None,
        weights: list[float] | None = None,
    ) -> list[int]:
        """Starts flows from one host now, in this order.

        ``weights`` (fluid): shares of a bottleneck; as the flows' sizes where a kernel serves all peers in step.
        """
        extra = overheads if overheads is not None else [0] * len(dsts)
        now, first = self._clock.now, len(self.flow)
        flows = [
            Flow(number, src, dst, size + more, now)
            for number, (dst, size, more) in enumerate(zip(dsts, sizes, extra, strict=True), first)
        ]
        self._note(flows, extra, job)
        opened = [_Open(flow, callback, None) for flow, callback in zip(flows, callbacks, strict=True)]
        self._open.update(enumerate(opened, first))
        if weights is not None:
            for one, weight in zip(opened, weights, strict=True):
                one.weight = weight
        self._gather(flows)
        return list(range(first, first + len(flows)))

    @contextmanager
    def because_of(self, cause: int) -> Iterator[None]:
        """What is sent in here was released by flow ``cause``, as it was when ``Flows.cause`` was saved."""
        before, self.cause = self.cause, cause
        try:
            yield
        finally:
            self.cause = before

    def _note(self, flows: list[Flow], overheads: list[int], job: str) -> None:
        unknown = [-1] * len(flows)
        self.flow += flows
        self.job += [job] * len(flows)
        self.released_by += [self.cause] * len(flows)
        self.overhead += overheads
        self.delivered += unknown
        self.end += unknown
        self._ideal += unknown
        self._path += [None] * len(flows)
        self.retransmitted += [0] * len(flows)
        self.reordered += [0] * len(flows)
        self.status += ["unfinished"] * len(flows)

    def _gather(self, flows: list[Flow]) -> None:
        """Asks the policy now, or when the host's batch timer runs out."""
        if self._policy.batch_timer == 0:
            self._assign(flows)
            return
        at_once = getattr(self._policy, "at_once", None)
        now: list[Flow] = []
        later: list[Flow] = []
        for flow in flows:
            (now if at_once is not None and at_once(flow) else later).append(flow)
        if now:
            self._assign(now)
        if later:
            src = later[0].src
            if src not in self._batches:
                self._batches[src] = []
                self._clock.at(self._clock.now + self._policy.batch_timer, lambda: self._assign(self._batches.pop(src)))
            self._batches[src].extend(later)

    def _assign(self, flows: list[Flow]) -> None:
        jitter, asks, acks, add = self._policy.jitter, self._asks, self._acks, self._network.add
        note_flow, note_start, now = self.stream_flow.append, self.stream_start.append, self._clock.now
        self._book(now)
        for flow, pieces in zip(flows, self._policy.assign(flows, self._rng), strict=True):
            if not self._reaches(flow, pieces):
                self._reject(flow, "unreachable")
                continue
            ident, src, dst, _, _ = flow
            opened = self._open[ident]
            opened.pieces = pieces
            opened.left = opened.unacked = opened.ends_left = count = len(pieces)
            opened.first = first = self._next_stream
            self._next_stream += count
            if count == 1 and pieces[0].path is not None:
                self._lone.append(ident)
                self._way.append(pieces[0].path)
            else:
                self._describe(flow, pieces)
            self._view.added(pieces)
            weight = opened.weight / count
            waits, ends = opened.on_delivered is not None, acks and opened.on_end is not None
            for number, (size, path) in enumerate(pieces, first):
                ask = asks and path is not None
                stream = Stream(number, src, dst, size, path, weight, None, waits, ask, ends, count)
                self._of_stream[number] = opened
                wait = int(self._rng.integers(jitter + 1)) if jitter else 0
                note_flow(ident)
                note_start(now + wait)
                if jitter:
                    self._start_after(wait, stream, opened)
                else:
                    add(stream)

    def _reaches(self, flow: Flow, pieces: list[Piece]) -> bool:
        for _, path in pieces:
            if path is None:
                if not self._view.routes.count(flow.src, flow.dst):
                    return False
            elif not path:
                return False
        return True

    def _start_after(self, delay: int, stream: Stream, opened: _Open) -> None:
        """Starts a stream later, over the path that its piece has by then."""

        def start() -> None:
            path = opened.pieces[stream.id - opened.first].path
            self._network.add(stream if path == stream.path else stream._replace(path=path))

        self._clock.at(self._clock.now + delay, start)

    def _reject(self, flow: Flow, reason: str) -> None:
        self.status[flow.id] = "rejected"
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        del self._open[flow.id]

    def _describe(self, flow: Flow, pieces: Sequence[Piece]) -> None:
        """The path column and the unloaded time, under the tables of this moment."""
        routes = self._view.routes
        if len(pieces) == 1:
            self._path[flow.id] = f"spray:{routes.count(flow.src, flow.dst)}"
            self._ideal[flow.id] = self._unloaded.spread(routes, flow.src, flow.dst, flow.bytes)
            return
        paths = [piece.path for piece in pieces if piece.path is not None]
        self._path[flow.id] = " ".join(self._name(path) for path in paths)
        nic = int(self._topology.host_rate[flow.src])
        # pieces share at most what the pair's equal-cost paths carry; each path alone is a lower bound of that
        rate = min(nic, max(routes.max_flow(flow.src, flow.dst), 1))
        self._ideal[flow.id] = self._unloaded.over_pieces([piece.bytes for piece in pieces], paths, rate)

    def _describe_lone(self) -> None:
        """The same for flows on one path, which need no tables: all at once, when somebody asks."""
        if not self._lone:
            return
        names: dict[Path, str] = {}
        sizes = [self.flow[ident].bytes for ident in self._lone]
        for ident, ideal in zip(self._lone, self._unloaded.over_paths(sizes, self._way), strict=True):
            self._ideal[ident] = ideal
        for ident, path in zip(self._lone, self._way, strict=True):
            name = names.get(path)
            if name is None:
                name = names[path] = self._name(path)
            self._path[ident] = name
        self._lone, self._way = [], []

    def _name(self, path: Path) -> str:
        return self._from[path[0]] + "".join([self._to[link] for link in path])

    @property
    def path(self) -> list[str | None]:
        """Names of the nodes on the way, or of several ways; None of a flow that was not sent."""
        self._describe_lone()
        return self._path

    @property
    def ideal(self) -> list[int]:
        """ps with the fabric to itself, -1 of a flow that was not sent."""
        self._describe_lone()
        return self._ideal

    # -- what the network says

    def hear(self, tells: Iterable[Tell]) -> None:
        """Deliveries and timeouts of one instant."""
        now = self._clock.now
        for kind, stream in tells:
            opened = self._of_stream[stream]
            if kind == DELIVERED:
                opened.left -= 1
                if opened.left == 0:
                    self.cause = opened.flow.id
                    self.delivered[opened.flow.id] = now
                    if opened.on_delivered is not None:
                        opened.on_delivered()
                    if opened.on_end is not None and not self._acks:
                        opened.on_end()
            elif kind == ENDED:
                opened.unacked -= 1
                if opened.unacked == 0 and opened.on_end is not None:
                    self.cause = opened.flow.id
                    opened.on_end()
            else:
                number = stream - opened.first
                path = opened.pieces[number].path
                assert path is not None
                self._move(opened, number, self._policy.on_timeout(opened.flow, path, self._rng))
        self.cause = -1

    def _move(self, opened: _Open, number: int, path: Path | None) -> None:
        piece = opened.pieces[number]
        if path != piece.path:
            self._view.removed([piece])
            opened.pieces = [*opened.pieces[:number], Piece(piece.bytes, path), *opened.pieces[number + 1 :]]
            self._view.added([opened.pieces[number]])
        self._network.reroute(opened.first + number, path)

    def collect(self) -> None:
        """Books all streams that have ended."""
        self._book(INFINITY)

    def _book(self, before: int) -> None:
        """Books the streams that ended before that time: what ends at this very instant may not have been heard yet."""
        ended = self._ended + self._network.finished()
        if not ended:
            return
        self._ended = []
        of_stream, open_flows = self._of_stream, self._open
        over: list[Piece] = []
        for done in ended:
            stream, delivered, end, retransmitted, reordered, lost = done
            if end >= before:
                self._ended.append(done)
                continue
            opened = of_stream.pop(stream)
            ident = opened.flow.id
            if retransmitted or reordered:
                self.retransmitted[ident] += retransmitted
                self.reordered[ident] += reordered
            over.append(opened.pieces[stream - opened.first])
            opened.ends_left -= 1
            if lost:
                opened.lost = True
            self.delivered[ident] = max(self.delivered[ident], delivered)
            self.end[ident] = max(self.end[ident], end)
            if opened.ends_left == 0:
                if opened.lost:
                    self.delivered[ident] = self.end[ident] = -1
                else:
                    self.status[ident] = "finished"
                del open_flows[ident]
        self._view.removed(over)

    def converge(self, routes: Routes) -> None:
        """Tables have changed: flows of policies that leave it to routing move off links that tables believe down."""
        self._view.routes = routes
        if not self._policy.reroutes:
            return
        up = routes.up
        for opened in list(self._open.values()):
            for number, (size, path) in enumerate(list(opened.pieces)):
                under_way = opened.first + number in self._of_stream
                if under_way and path is not None and not all(up[link] for link in path):
                    ways = self._policy.assign([opened.flow._replace(bytes=size)], self._rng)[0]
                    # a policy that cuts flows gives the pieces of one flow ways of their own
                    new = ways[number % len(ways)].path
                    if new:
                        self._move(opened, number, new)

    def active(self) -> int:
        """Flows that have started and not ended."""
        self._book(self._clock.now)
        return len(self._open)

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
            lines.append(f"{what} by {way if way and ' ' not in way else f'{len(opened.pieces)} pieces'}")
        return lines if len(self._open) <= most else [*lines, f"{len(self._open) - most} more flows"]

    def unreachable(self) -> list[str]:
        return [f"{count} flows rejected: {reason}" for reason, count in sorted(self.rejected.items())]
