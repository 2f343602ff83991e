"""The keeper of a run's flows: asks for their paths, cuts them into streams, moves and stops them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from models.ideal import Unloaded
from models.paths import Routes
from models.topology import Topology
from sim.clock import Clock
from sim.dispatch.api import Flow, Piece
from sim.dispatch.views import PathView
from sim.flow_book import UNREACHABLE, Callback, FlowBook, OpenFlow
from sim.flow_paths import Path
from sim.network.protocol import DELIVERED, ENDED, Done, Network, Stream, Tell


class Flows(FlowBook):
    """All flows of a run."""

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
        super().__init__(clock, network, topology, view, unloaded)
        self._acks = acks
        self._policy, self._rng = policy, rng
        self._asks = hasattr(policy, "on_timeout")
        self._batches: dict[int, list[Flow]] = {}  # flows that wait for their host's batch timer
        self._next_stream = 0
        self._held: set[int] = set()  # streams whose start is still to come

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
        path: Path | None = None,
        cap: int | None = None,
        weight: float = 1.0,
    ) -> int:
        """Starts a flow now; ``on_delivered`` is called when its last byte arrives, ``on_end`` at the last ACK.

        ``job``: what it is for. ``overhead``: what the flow's messages cost beyond their payload, as bytes of link
        time. ``path``: the policy is not asked, tables don't move it, and it starts at once. ``cap``: bit/s that it may
        take of its links, with a path only; packets count with their headers. ``weight`` (fluid): its share of a
        bottleneck.
        """
        if cap is not None and path is None:
            raise ValueError("a flow with a cap needs a path of its own")
        flow = Flow(len(self.flow), src, dst, size + overhead, self._clock.now)
        self._note([flow], [overhead], job)
        opened = self._open[flow.id] = OpenFlow(flow, on_delivered, on_end)
        opened.weight = weight
        if path is None:
            self._gather([flow])
        else:
            opened.fixed = True
            self._launch([flow], [[Piece(flow.bytes, path)]], cap)
        return flow.id

    def hold(
        self,
        src: int,
        dst: int,
        size: int,
        on_delivered: Callback | None = None,
        job: str = "",
        overhead: int = 0,
        weight: float = 1.0,
    ) -> int:
        """Notes a flow that starts now, and waits for the path that it is given (``let_go``) or not (``refuse``)."""
        flow = Flow(len(self.flow), src, dst, size + overhead, self._clock.now)
        self._note([flow], [overhead], job)
        opened = self._open[flow.id] = OpenFlow(flow, on_delivered, None)
        opened.fixed, opened.weight = True, weight
        return flow.id

    def let_go(self, flow: int, path: Path, cap: int | None = None) -> None:
        """Hands a flow that was held to the network."""
        held = self._open[flow].flow
        self._launch([held], [[Piece(held.bytes, path)]], cap)

    def refuse(self, flow: int, reason: str) -> None:
        """Rejects a flow that is held."""
        self._reject(self._open[flow].flow, reason)

    def move(self, flow: int, path: Path) -> None:
        """Changes a given path from now on; what has left the source goes on over the old one."""
        opened = self._open.get(flow)
        if opened is None or not opened.pieces:
            return
        if not opened.fixed:
            raise ValueError(f"flow {flow} is on the path that the policy chose")
        self._move(opened, 0, path)
        self.moved.add(flow)

    def free(self, flow: int) -> None:
        """A given path is kept no longer: what still has to be sent again or acknowledged goes where tables lead."""
        opened = self._open.get(flow)
        if opened is not None:
            opened.fixed = False

    def stop(self, flow: int) -> None:
        """Sends nothing more of a flow from now on; what is under way still arrives. A flow that is over stays so."""
        opened = self._open.get(flow)
        if opened is None:
            return
        if not opened.pieces:  # it waits for its host's batch timer, or is held
            if not opened.fixed:
                self._batches[opened.flow.src].remove(opened.flow)
            self.status[flow], self.undelivered[flow] = "stopped", opened.flow.bytes
            self.end[flow] = self._clock.now
            del self._open[flow]
            return
        now = self._clock.now
        for number, (size, _) in enumerate(opened.pieces, opened.first):
            if number in self._held:
                self._held.discard(number)
                self._ended.append(Done(number, -1, now, 0, 0, 0, size, 1))
            elif number in self._of_stream:
                self._network.stop(number)

    def arrived(self, flow: int) -> int:
        """Payload bytes of a flow that have arrived by now (in engines without packets: left the source)."""
        now = self._clock.now
        self._book(now)
        opened = self._open.get(flow)
        size, missing = self.flow[flow].bytes, self.undelivered[flow]
        if opened is None:
            return 0 if self.status[flow] == "rejected" else size - missing
        if not opened.pieces:
            return 0
        ended = {done.stream: done.undelivered for done in self._ended}
        for number, (rest, _) in enumerate(opened.pieces, opened.first):
            if number in ended:
                missing += ended[number]
            elif number in self._held:
                missing += rest
            elif number in self._of_stream:
                missing += self._network.undelivered(number, now)
        return size - missing

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
        opened = [OpenFlow(flow, callback, None) for flow, callback in zip(flows, callbacks, strict=True)]
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
        if not flows:  # all of a batch were stopped
            return
        self._launch(flows, self._policy.assign(flows, self._rng))

    def _launch(self, flows: list[Flow], ways: Sequence[Sequence[Piece]], cap: int | None = None) -> None:
        """Sends each flow over the ways that a policy, or whoever gave it a path, chose."""
        acks, add, routes = self._acks, self._network.add, self._view.routes
        note_flow, note_start, now = self.stream_flow.append, self.stream_start.append, self._clock.now
        self._book(now)
        for flow, pieces in zip(flows, ways, strict=True):
            if not self._reaches(flow, pieces):
                self._reject(flow, UNREACHABLE)
                continue
            ident, src, dst, _, _ = flow
            opened = self._open[ident]
            opened.pieces = pieces
            opened.left = opened.unacked = opened.ends_left = count = len(pieces)
            opened.first = first = self._next_stream
            self._next_stream += count
            self._paths.note(flow, pieces, cap, routes)
            self._view.added(pieces)
            if self.failures is not None:
                self.failures.sent(flow, pieces)
            jitter, asks = (0, False) if opened.fixed else (self._policy.jitter, self._asks)
            weight = opened.weight / count
            waits, ends = opened.on_delivered is not None, acks and opened.on_end is not None
            for number, (size, path) in enumerate(pieces, first):
                ask = asks and path is not None
                stream = Stream(number, src, dst, size, path, weight, cap, waits, ask, ends, count)
                self._of_stream[number] = opened
                wait = int(self._rng.integers(jitter + 1)) if jitter else 0
                note_flow(ident)
                note_start(now + wait)
                if jitter:
                    self._start_after(wait, stream, opened)
                else:
                    add(stream)

    def _reaches(self, flow: Flow, pieces: Sequence[Piece]) -> bool:
        for _, path in pieces:
            if path is None:
                if not self._view.routes.count(flow.src, flow.dst):
                    return False
            elif not path:
                return False
        return True

    def _start_after(self, delay: int, stream: Stream, opened: OpenFlow) -> None:
        """Starts a stream later, over the path that its piece has by then, unless it was stopped."""
        self._held.add(stream.id)

        def start() -> None:
            if stream.id not in self._held:
                return
            self._held.discard(stream.id)
            path = opened.pieces[stream.id - opened.first].path
            self._network.add(stream if path == stream.path else stream._replace(path=path))

        self._clock.at(self._clock.now + delay, start)

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

    def _move(self, opened: OpenFlow, number: int, path: Path | None) -> None:
        piece = opened.pieces[number]
        if path != piece.path:
            self._view.removed([piece])
            opened.pieces = [*opened.pieces[:number], Piece(piece.bytes, path), *opened.pieces[number + 1 :]]
            self._view.added([opened.pieces[number]])
            if self.failures is not None:
                self.failures.moved(opened.flow.id)
                self.failures.sent(opened.flow, [opened.pieces[number]])
        self._network.reroute(opened.first + number, path)

    def converge(self, routes: Routes) -> None:
        """Tables have changed: flows of policies that leave it to routing move off links that tables believe down."""
        self._view.routes = routes
        if not self._policy.reroutes:
            return
        up = routes.up
        for opened in [one for one in self._open.values() if not one.fixed]:
            for number, (size, path) in enumerate(list(opened.pieces)):
                under_way = opened.first + number in self._of_stream
                if under_way and path is not None and not all(up[link] for link in path):
                    ways = self._policy.assign([opened.flow._replace(bytes=size)], self._rng)[0]
                    # a policy that cuts flows gives the pieces of one flow ways of their own
                    new = ways[number % len(ways)].path
                    if new is None or new:
                        self._move(opened, number, new)
