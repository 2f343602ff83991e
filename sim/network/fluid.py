"""The fluid network: every stream at its weighted max-min fair rate, behind the Network protocol.

The events and the rates are computed in ``sim/engine/fluid*.py``; this is the door: it buffers commands, turns paths
into arrays, makes the memory large enough before each commit, and hands over what has finished.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from math import inf
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.engine import fluid as kernel
from sim.engine import fluid_state as memory
from sim.engine import fluid_views as views
from sim.network.packetless import Packetless
from sim.network.protocol import DELIVERED, Done, Drains, LinkState, Stream, Tell

if TYPE_CHECKING:
    from models.paths import Routes

_ZERO = ("packets", "queue_max_bytes", "marked", "dropped", "trimmed", "paused_ps")


class FluidNetwork(Packetless):
    """``efficiency``: payload over wire bytes; links carry payload at rate x efficiency.

    A stream without a path is split over the shares of ``routes``. A link that is down has no capacity: streams over
    it stand still. A pair without a path stands still until a reroute or new routes.
    """

    def __init__(self, topology: Topology, routes: Routes, efficiency: float = 1.0, explains: bool = False) -> None:
        self.topology = topology
        self._routes = routes
        self._efficiency = efficiency
        self._nominal = topology.link_rate.astype(np.float64) * efficiency
        self._starts: list[Stream] = []
        self._moves: dict[int, tuple[int, ...] | None] = {}
        self._stops: set[int] = set()
        self._unborn: list[Done] = []  # streams that were stopped in the instant of their start
        self._links: dict[int, bool] = {}
        self._rates: dict[int, int] = {}
        self._up = np.ones(topology.links, dtype=np.bool_)
        self._full = self._nominal.copy()  # capacity of links that are up
        self._new_routes = False
        self._spread: dict[int, tuple[int, int]] = {}  # streams over all paths: (src, dst)
        links = np.zeros(topology.links, dtype=memory.LINK)
        links["capacity"] = links["nominal"] = self._nominal
        links["head"] = links["item"] = memory.NONE
        links["src"], links["dst"], links["delay"] = topology.link_src, topology.link_dst, topology.link_delay
        self._link = links
        self._state = np.zeros(1, dtype=memory.STATE)
        self._state["free_slot"] = memory.NONE
        self._state["next"] = memory.NEVER
        self._counts = memoryview(self._state.view(np.int64))  # type: ignore[arg-type]  # quicker than an array
        self._stream = np.zeros(64, dtype=memory.STREAM)
        self._entry = np.zeros(256, dtype=memory.ENTRY)
        self._chosen = np.zeros(64, dtype=np.int32)
        self._finish = np.zeros(64, dtype=memory.FINISH)
        self._level = np.zeros(64 + topology.links, dtype=memory.LEVEL)
        self._chunk = np.full(64, memory.NONE, dtype=np.int32)
        self._delivery = np.zeros(64, dtype=memory.DELIVERY)
        self._done = np.zeros(64, dtype=memory.DONE)
        self._explains = explains
        self._drain = np.zeros(64, dtype=memory.DRAIN)
        self._drained: list[NDArray[Any]] = []  # records of drained streams, in blocks
        self._tell = np.zeros(64, dtype=np.int64)
        self._reach = np.full(topology.nodes, -1, dtype=np.int64)
        self._order = np.zeros(1, dtype=memory.ORDER)
        self._path = np.zeros(64, dtype=np.int32)
        self._state["link_count"] = topology.links
        self._base = self._state.ctypes.data
        self._order_address = self._order.ctypes.data
        self._order_bytes = memoryview(self._order.view(np.uint8))  # type: ignore[arg-type]
        self._publish()

    def _publish(self) -> None:
        """Write the arrays' addresses where the kernels find them."""
        state = self._state
        state["streams"], state["entries"] = self._stream.ctypes.data, self._entry.ctypes.data
        state["links"], state["levels"] = self._link.ctypes.data, self._level.ctypes.data
        state["finishes"], state["deliveries"] = self._finish.ctypes.data, self._delivery.ctypes.data
        state["drains"] = self._drain.ctypes.data if self._explains else 0
        state["done"], state["chosen"] = self._done.ctypes.data, self._chosen.ctypes.data
        state["chunks"], state["tells"] = self._chunk.ctypes.data, self._tell.ctypes.data
        self._path_view = memoryview(self._path)  # type: ignore[arg-type]
        state["reach"], self._path_address = self._reach.ctypes.data, self._path.ctypes.data

    # commands

    def add(self, stream: Stream) -> None:
        self._starts.append(stream)

    def add_many(self, streams: Iterable[Stream]) -> None:
        self._starts.extend(streams)

    def reroute(self, stream_id: int, path: tuple[int, ...] | None) -> None:
        """A stream that has drained keeps its path."""
        self._moves[stream_id] = path

    def stop(self, stream: int) -> None:
        self._stops.add(stream)

    def set_links(self, links: Sequence[int], up: bool) -> None:
        self._links.update(dict.fromkeys(links, up))

    def set_rates(self, links: Sequence[int], rates: Sequence[int]) -> None:
        self._rates.update(zip(links, rates, strict=True))

    def set_routes(self, routes: Routes) -> None:
        """Streams over all paths take the new shares at the next commit."""
        self._routes = routes
        self._new_routes = True

    def pending(self) -> bool:
        changed = self._links or self._rates
        return bool(self._starts or self._moves or self._stops or changed or self._new_routes)

    def commit(self, now: int) -> None:
        if not self.pending():
            return
        starts = self._starts
        self._starts = []
        if len(starts) > 1:
            starts.sort()
        if starts and (self._moves or self._stops):
            starts = self._changed(starts, now)
        links = capacities = 0
        changed: list[int] = []
        if self._links or self._rates:
            changed = sorted({*self._links, *self._rates})
            numbers, capacity = self._capacities(changed)
            links, capacities = numbers.ctypes.data, capacity.ctypes.data
        lone = len(starts) == 1 and not (self._moves or self._stops or self._new_routes)
        one = starts[0] if lone else None
        if one is not None and one.path is not None:
            count = len(one.path)
            self._reserve(1, count, count)
            cap = inf if one.cap is None else one.cap * self._efficiency
            _ORDER.pack_into(
                self._order_bytes, 0,
                one.id, one.bytes, one.weight, cap, one.src, one.dst, count, memory.NONE, one.notify, 0,
            )  # fmt: skip
            self._path_view[:count] = array("i", one.path)
            kernel.apply(
                self._base, self._order_address, 1, self._path_address, 0, links, capacities, len(changed), now
            )
            return
        orders, path, shares = self._assemble(*self._touched(), starts)
        self._reserve(len(orders), path.size, int(orders["count"].max(initial=0)))
        kernel.apply(
            self._base, orders.ctypes.data, len(orders), path.ctypes.data, shares.ctypes.data,
            links, capacities, len(changed), now,
        )  # fmt: skip

    def _capacities(self, changed: list[int]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The links that have changed, and what they can carry from now on."""
        for link, up in self._links.items():
            self._up[link] = up
        for link, rate in self._rates.items():
            self._full[link] = rate * self._efficiency
        self._links, self._rates = {}, {}
        numbers = np.array(changed, dtype=np.int32)
        return numbers, np.where(self._up[numbers], self._full[numbers], 0.0)

    def _changed(self, starts: list[Stream], now: int) -> list[Stream]:
        """Starts over the ways that they were given since; those that were stopped since are none."""
        stopped = [stream for stream in starts if stream.id in self._stops]
        self._unborn += [Done(stream.id, -1, now, 0, 0, 0, stream.bytes, 1) for stream in stopped]
        moves = self._moves
        return [
            stream._replace(path=moves[stream.id]) if stream.id in moves else stream
            for stream in starts
            if stream.id not in self._stops
        ]

    def _touched(self) -> tuple[list[tuple[int, Stream]], list[int]]:
        """(slot, stream) of the active streams that change their path, and the slots of those that stop; by id."""
        moves: dict[int, tuple[int, ...] | None] = dict.fromkeys(self._spread) if self._new_routes else {}
        moves |= self._moves
        stops = self._stops
        self._moves, self._stops, self._new_routes = {}, set(), False
        if not moves and not stops:
            return [], []
        moved, stopped = [], []
        for stream, slot in self._slots({*moves, *stops}).items():
            if stream in stops:
                stopped.append(slot)
            else:
                pair = self._spread.get(stream) or self._pair(slot)
                moved.append((slot, Stream(stream, *pair, 0, moves[stream], 1.0, None, False)))
        return moved, stopped

    def _slots(self, streams: Iterable[int]) -> dict[int, int]:
        """The slots of those streams that still have bytes to drain, by id."""
        ids = np.array(sorted(streams), dtype=np.int64)
        slots = np.empty_like(ids)
        views.find(self._base, ids, slots)
        pairs = zip(ids.tolist(), slots.tolist(), strict=True)
        return {stream: slot for stream, slot in pairs if slot != memory.NONE}

    def _pair(self, slot: int) -> tuple[int, int]:
        """Source and destination of a stream with a single path."""
        stream = self._stream[slot]
        path = self._entry["link"][stream["first"] : stream["first"] + stream["count"]]
        return int(self.topology.link_src[path[0]]), int(self.topology.link_dst[path[-1]])

    def _assemble(
        self, moved: list[tuple[int, Stream]], stopped: list[int], starts: list[Stream]
    ) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float64]]:
        """Orders, and the links and shares of all of them one after the other (shares empty: all 1)."""
        streams = [stream for _, stream in moved] + [_NOBODY] * len(stopped) + starts
        orders = np.zeros(len(streams), dtype=memory.ORDER)
        if not streams:
            return orders, _NO_INTS, _NO_REALS
        ids, sources, targets, sizes, paths, weights, caps, notify = list(zip(*streams, strict=True))[:8]
        orders["id"], orders["size"], orders["src"], orders["dst"] = ids, sizes, sources, targets
        orders["weight"], orders["notify"] = weights, notify
        orders["cap"] = np.inf
        if caps.count(None) < len(caps):
            orders["cap"] = [np.inf if cap is None else cap * self._efficiency for cap in caps]
        known = len(moved) + len(stopped)
        orders["slot"] = memory.NONE
        orders["slot"][:known] = [slot for slot, _ in moved] + stopped
        if None not in paths:
            orders["count"] = list(map(len, paths))
            orders["count"][len(moved) : known] = memory.NONE
            self._forget(moved)
            return orders, np.fromiter(chain.from_iterable(paths), dtype=np.int32), _NO_REALS
        split = np.array([path is None for path in paths])
        self._forget(moved)
        self._spread |= {stream.id: (stream.src, stream.dst) for stream in streams if stream.path is None}
        pairs = [(stream.src, stream.dst) for stream in streams if stream.path is None]
        links, share, number = self._routes.shares(*zip(*pairs, strict=True))
        orders["split"] = split
        orders["count"] = [0 if path is None else len(path) for path in paths]
        orders["count"][split] = number
        spread = np.repeat(split, orders["count"])
        orders["count"][len(moved) : known] = memory.NONE
        link, shares = np.empty(len(spread), dtype=np.int32), np.ones(len(spread))
        link[spread], shares[spread] = links, share
        link[~spread] = list(chain.from_iterable(path for path in paths if path is not None))
        return orders, link, shares

    def _forget(self, moved: list[tuple[int, Stream]]) -> None:
        for _, stream in moved:
            self._spread.pop(stream.id, None)

    def _reserve(self, streams: int, entries: int, longest: int) -> None:
        """Make room for so many more streams and entries, and chunks of this length."""
        counts = self._counts
        unfinished = counts[_ACTIVE] + counts[_DELIVERIES] + streams
        slots = counts[_SLOTS] + streams
        used = counts[_ENTRIES] + entries
        done = counts[_DONE] + unfinished
        if counts[_DRAINS] + unfinished > self._drain.size:
            self._collect_drains()
        if (
            slots <= self._stream.size
            and used <= self._entry.size
            and unfinished <= self._tell.size
            and done <= self._done.size
            and unfinished <= self._drain.size
            and longest < self._chunk.size
        ):
            return
        self._stream = _grown(self._stream, slots)
        self._chosen = _grown(self._chosen, slots)
        self._finish = _grown(self._finish, slots)
        self._level = _grown(self._level, slots + self._link.size)
        self._entry = _grown(self._entry, used)
        self._delivery = _grown(self._delivery, unfinished)
        self._done = _grown(self._done, done)
        self._drain = _grown(self._drain, unfinished + _KEPT)
        self._tell = _grown(self._tell, unfinished)
        if longest >= self._chunk.size:
            known = self._chunk.size
            self._chunk = _grown(self._chunk, longest + 1)
            self._chunk[known:] = memory.NONE
            self._path = _grown(self._path, longest + 1)
        self._publish()

    # events

    def next_time(self) -> int:
        return self._counts[_NEXT]

    def advance(self, until: int, budget: int) -> tuple[int, list[Tell]]:
        time = kernel.advance(self._base, until, budget)
        count = self._counts[_TELLS]
        if count == 0:
            return time, []
        return time, list(map(Tell, repeat(DELIVERED), self._tell[:count].tolist()))

    def finished(self) -> list[Done]:
        count = self._counts[_DONE]
        if count == 0 and not self._unborn:
            return []
        self._counts[_DONE] = 0
        done = self._done[:count].tolist()
        if self._spread:
            for stream, _, _ in done:
                self._spread.pop(stream, None)
        unborn, self._unborn = self._unborn, []
        return unborn + [
            Done(stream, -1, time, 0, 0, 0, rest, 1) if rest else Done(stream, time, time, 0, 0, 0)
            for stream, time, rest in done
        ]

    def _collect_drains(self) -> None:
        self._drained.append(self._drain[: self._counts[_DRAINS]].copy())
        self._counts[_DRAINS] = 0

    def explain(self) -> Drains:
        self._collect_drains()
        rows = np.concatenate(self._drained)
        return Drains(*(rows[name] for name in memory.DRAIN.names or ()))

    # views

    def active(self) -> list[int]:
        draining = self._stream["id"][self._stream["used"] != 0].tolist()
        travelling = self._delivery["id"][: int(self._state["delivery_count"][0])].tolist()
        return sorted(draining + travelling + [stream.id for stream in self._starts])

    def rates(self) -> dict[int, float]:
        """bit/s of every stream with bytes left."""
        used = self._stream[self._stream["used"] != 0]
        return dict(zip(used["id"].tolist(), used["rate"].tolist(), strict=True))

    def undelivered(self, stream: int, now: int) -> int:
        slot = self._slots([stream]).get(stream)
        if slot is None:
            return sum(one.bytes for one in self._starts if one.id == stream)
        return int(views.undelivered(self._base, slot, now))

    def link_state(self, now: int) -> LinkState:
        return LinkState(np.zeros(self.topology.links, dtype=np.int64), self._sent(now))

    def _sent(self, now: int) -> NDArray[np.int64]:
        bits = np.empty(self.topology.links)
        views.sent_bits(self._base, bits, now)
        return np.rint(bits / 8).astype(np.int64)

    def link_totals(self, now: int) -> dict[str, NDArray[np.int64]]:
        sent = self._sent(now)
        totals = {name: np.zeros(self.topology.links, dtype=np.int64) for name in _ZERO}
        return {"bytes": sent} | totals

    def delivered_bytes(self) -> int:
        return int(self._state["delivered"][0])

    def recomputations(self) -> int:
        return int(self._state["solves"][0])

    def check(self, now: int) -> list[str]:
        """Overloaded links, unfair rates, bytes that are nowhere."""
        load, top, wrong = np.empty(self._link.size), np.empty(self._link.size), np.zeros(2, dtype=np.int64)
        views.audit(self._base, load, top, wrong)
        problems = []
        if wrong[0]:
            worst = int(np.argmax(load - self._link["capacity"]))
            problems.append(f"fluid: {wrong[0]} links above their capacity, such as {self.topology.link_name[worst]}")
        if wrong[1]:
            problems.append(f"fluid: {wrong[1]} streams without a bottleneck")
        flying = int(self._stream["size"][self._stream["used"] != 0].sum())
        flying += int(self._delivery["size"][: int(self._state["delivery_count"][0])].sum())
        accepted, delivered, withdrawn = (int(self._state[name][0]) for name in ("accepted", "delivered", "withdrawn"))
        if accepted != delivered + flying + withdrawn:
            text = f"{accepted} bytes in, {delivered} delivered, {flying} in flight, {withdrawn} withdrawn"
            problems.append(f"fluid: {text}")
        return problems


_FIELDS = memory.STATE.names or ()
_ACTIVE, _DELIVERIES, _DONE = _FIELDS.index("active"), _FIELDS.index("delivery_count"), _FIELDS.index("done_count")
_ENTRIES, _NEXT = _FIELDS.index("entry_count"), _FIELDS.index("next")
_SLOTS, _TELLS, _DRAINS = (_FIELDS.index(name) for name in ("slot_count", "tell_count", "drain_count"))
_KEPT = 1024  # records that may wait to be collected
_ORDER = Struct("=qqddiiiiii")  # the fields of memory.ORDER
_NOBODY = Stream(-1, 0, 0, 0, (), notify=False)
_NO_INTS = np.zeros(0, dtype=np.int32)
_NO_REALS = np.zeros(0, dtype=np.float64)


def _grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    if size <= array.size:
        return array
    larger = np.zeros(max(size, 2 * array.size), dtype=array.dtype)
    larger[: array.size] = array
    return larger
