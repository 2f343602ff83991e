"""KV caches on their way from prefill to decode replicas: flows between the GPUs that hold the same heads.

A GPU of the decode replica gets each KV head that it needs from a GPU that has it; with several to choose from, they
take turns by rank. Latent caches are whole on every GPU. A flow's job is ``kv:REQUEST``.

With overlap a chunk's layers leave in some parts, each when its layers are computed: a step of T ps has computed part
i of n after T x i / n. What is found in the prefix cache leaves with the first chunk. Tokens leave once, though they
may be computed again after a preemption. Where there is no way to the decode replica, that computes the prompt itself
(vLLM's ``kv_load_failure_policy: recompute``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from sim.clock import Clock
from sim.processes.collective import SendsMany
from sim.processes.serving.serving import Replica


class Cache(NamedTuple):
    """The KV cache of a model: ``heads`` that GPUs share (1 of a latent one), bytes of a token in all of them."""

    heads: int
    token_bytes: int


class Pair(NamedTuple):
    """GPUs between which a cache moves, and the heads that do."""

    src: int
    dst: int
    heads: int


def pairs_of(heads: int, sources: Sequence[int], targets: Sequence[int]) -> list[Pair]:
    """Who sends what from the GPUs ``sources`` to ``targets``: more GPUs than heads hold copies of them."""
    has = [_heads_of(heads, shard, len(sources)) for shard in range(len(sources))]
    moved: dict[tuple[int, int], int] = {}
    for shard in range(len(targets)):
        for head in _heads_of(heads, shard, len(targets)):
            holders = [source for source, held in enumerate(has) if head in held]
            pair = (holders[shard % len(holders)], shard)
            moved[pair] = moved.get(pair, 0) + 1
    return [Pair(sources[src], targets[dst], number) for (src, dst), number in sorted(moved.items())]


def _heads_of(heads: int, shard: int, shards: int) -> range:
    """The heads on one of several GPUs."""
    first = shard * heads // shards
    return range(first, max((shard + 1) * heads // shards, first + 1))


class _Move:
    """One request's cache under way. ``left``: tokens that have left, layer parts of the last of them included."""

    __slots__ = ("cut_off", "done", "flows", "left", "name", "open", "pairs", "token_bytes")

    def __init__(self, request: int, pairs: list[Pair], cache: Cache) -> None:
        self.name = f"kv:{request}"
        self.pairs = pairs
        self.token_bytes = cache.token_bytes // cache.heads  # of a head
        self.left = 0
        self.open = 0  # flows, and parts that are yet to leave
        self.flows: list[int] = []
        self.cut_off = False  # some of it has no way
        self.done: Callable[[bool], None] | None = None  # set when all is computed


class Sends(SendsMany, Protocol):
    status: list[str]  # by flow
    on_rejected: list[Callable[[int], None]]

    def stop(self, flow: int) -> None: ...


class Transfers:
    """All moves of a workload."""

    def __init__(
        self, clock: Clock, flows: Sends, replicas: Sequence[Replica], caches: Sequence[Cache], parts: int
    ) -> None:
        """``caches`` [pools]; ``parts``: of a step's layers with overlap; 1: all layers leave at its end."""
        self._clock, self._flows, self._parts = clock, flows, parts
        self._moves: dict[int, _Move] = {}
        self._where: dict[int, tuple[int, ...]] = {}  # scheduler -> its GPUs
        self._cache: dict[int, Cache] = {}
        for replica in replicas:
            for rank in range(replica.ranks):
                self._where[replica.first + rank] = replica.hosts_of(rank)
                self._cache[replica.first + rank] = caches[replica.pool]
        self._pairs: dict[tuple[int, int], list[Pair]] = {}
        self._request: dict[int, int] = {}  # of flows under way
        flows.on_rejected.append(self._rejected)

    def under_way(self) -> int:
        return len(self._moves)

    def _move(self, request: int, source: int, target: int) -> _Move:
        found = self._moves.get(request)
        if found is None:
            pairs = self._pairs.get((source, target))
            cache = self._cache[source]
            if pairs is None:
                pairs = pairs_of(cache.heads, self._where[source], self._where[target])
                self._pairs[source, target] = pairs
            found = self._moves[request] = _Move(request, pairs, cache)
        return found

    def computes(self, request: int, source: int, target: int, tokens: int, duration: int) -> None:
        """A step of ``duration`` ps has begun, after which ``tokens`` of a request have their KV."""
        move = self._move(request, source, target)
        fresh = tokens - move.left
        if fresh <= 0:
            return
        move.left = tokens
        now, parts = int(self._clock.now), self._parts
        move.open += parts
        for part in range(parts):
            leave = partial(self._part, request, move, fresh, part)
            self._clock.at(now + duration * (part + 1) // parts, leave)

    def _part(self, request: int, move: _Move, tokens: int, part: int) -> None:
        """Some layers of some tokens leave."""
        if self._moves.get(request) is not move:  # called off
            return
        self._send(request, move, tokens, part, self._parts)
        self._close(request, move)

    def begin(self, request: int, source: int, target: int, tokens: int, done: Callable[[bool], None]) -> None:
        """All ``tokens`` of a request are computed: what has not left yet leaves.

        ``done`` is told when all has arrived (True), or that not all can (False).
        """
        move = self._move(request, source, target)
        move.done = done
        move.open += 1
        if tokens > move.left:
            fresh, move.left = tokens - move.left, tokens
            self._send(request, move, fresh, 0, 1)
        self._close(request, move)

    def _send(self, request: int, move: _Move, tokens: int, part: int, parts: int) -> None:
        """Layers of ``part`` of ``parts``, so that the bytes of all parts add up."""
        for src, dst, heads in move.pairs:
            whole = tokens * heads * move.token_bytes
            size = whole * (part + 1) // parts - whole * part // parts
            if size and src != dst:
                move.open += 1
                flows = self._flows.send_many(src, [dst], [size], [partial(self._close, request, move)], move.name)
                move.flows += flows
                self._request[flows[0]] = request
                if self._flows.status[flows[0]] == "rejected":
                    self._rejected(flows[0])

    def _rejected(self, flow: int) -> None:
        """A flow will not be sent. What else is on its way of that cache is let go when nothing is open any more."""
        request = self._request.pop(flow, -1)
        move = self._moves.get(request)
        if move is not None and flow in move.flows:
            move.cut_off = True
            self._clock.at(int(self._clock.now), partial(self._close, request, move))

    def _close(self, request: int, move: _Move) -> None:
        """A flow has arrived or was rejected, or a part has left."""
        move.open -= 1
        if move.open == 0 and move.done is not None and self._moves.get(request) is move:
            self._forget(request)
            move.done(not move.cut_off)

    def _forget(self, request: int) -> _Move | None:
        move = self._moves.pop(request, None)
        for flow in move.flows if move is not None else ():
            self._request.pop(flow, None)
        return move

    def call_off(self, request: int) -> None:
        """What is under way of a request's cache is of no use any more."""
        move = self._forget(request)
        for flow in move.flows if move is not None else ():
            self._flows.stop(flow)


class Overlap:
    """Lets KV caches leave while steps run that compute them."""

    def __init__(self, schedulers: Any, early: Callable[[int], int], moves: Transfers) -> None:
        """``early``: the scheduler that a request will be decoded at, -1 where that is not known."""
        self._schedulers, self._early, self._moves = schedulers, early, moves

    def composed(self, replica: Replica, duration: int) -> None:
        """A step of a prefill replica has begun."""
        for rank in range(replica.first, replica.first + replica.ranks):
            for request, tokens in zip(*self._schedulers.members(rank), strict=True):
                target = self._early(request) if tokens else -1
                if target >= 0:
                    computed = self._schedulers.book.rows["computed"].item(request) + tokens
                    self._moves.computes(request, rank, target, computed, duration)
