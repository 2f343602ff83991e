"""Samples of queues and link use over time, and of the backlog. A SimPy process in every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event

from models.topology import Topology
from sim.clock import Clock
from sim.link_samples import LinkSamples
from sim.network.protocol import Network
from sim.record import tier_name

FIRST_INTERVAL = 1_000_000  # ps, where neither the scenario nor its work tells
KEPT = 100  # samples kept at least, twice as many at most: then every other one goes and the interval doubles


def groups_of(topology: Topology, asked: list[str]) -> list[tuple[str, NDArray[np.int64]]]:
    """(name, links): the classes of links by the tiers of their ends, then the links that were asked for by name."""
    names = [tier_name(topology, node) for node in range(topology.nodes)]
    classes: dict[str, list[int]] = {}
    for link, (a, b) in enumerate(zip(topology.link_src.tolist(), topology.link_dst.tolist(), strict=True)):
        classes.setdefault(f"{names[a]}->{names[b]}", []).append(link)
    groups = [(name, np.array(links)) for name, links in classes.items()]
    for name in asked:
        groups += [(topology.link_name[link], np.array([link])) for link in topology.find_links(name)]
    return groups


class Sampled(Protocol):
    def sample(self, now: int) -> None: ...

    def thin(self) -> None:
        """Every other sample goes."""
        ...


class Telemetry:
    """Samples every ``interval`` ps, or (None) at a pace that fits the length of the run.

    ``shortest``: a guess of the run's length in ps that it will hardly be below; the pace begins with that.
    """

    def __init__(
        self,
        clock: Clock,
        network: Network,
        topology: Topology,
        interval: int | None,
        asked: list[str],
        backlog: Callable[[], int],
        shortest: int | None = None,
        packets: bool = True,
        beside: Sampled | None = None,
    ) -> None:
        """``beside``: what else takes its samples at these times."""
        self._beside = beside
        self._clock, self._network = clock, network
        self._fixed = interval is not None
        self._interval = interval or (FIRST_INTERVAL if shortest is None else max(1, shortest // KEPT))
        groups = groups_of(topology, asked)
        self._names = [name for name, _ in groups]
        self._size = np.array([len(links) for _, links in groups])
        self._begin = np.cumsum(self._size) - self._size
        self._links = np.concatenate([links for _, links in groups])  # group after group
        self._rate = topology.link_rate[self._links].astype(np.float64)
        self._backlog = backlog
        self._sent = np.zeros(topology.links, dtype=np.int64)
        self.links = LinkSamples(topology)
        # engines without packets count a delivery when a stream ends: there the bytes into the hosts tell more
        self._inward = None if packets else np.flatnonzero(topology.link_dst < topology.hosts)
        self._delivered: list[float] = []  # bytes up to each sample
        # time, mean and longest queue of the groups, bytes sent by their links since the sample before, backlog
        self.samples: list[tuple[int, NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], int]] = []
        clock.process(self._run())

    def _run(self) -> Generator[Event, Any, None]:
        while True:
            yield self._clock.timeout(self._interval)
            self._sample()
            if not self._fixed and len(self.samples) >= 2 * KEPT:
                self._thin()

    def _sample(self) -> None:
        now = int(self._clock.now)
        state = self._network.link_state(now)
        moved = np.maximum(state.sent_bytes - self._sent, 0).astype(np.float64)
        self._sent = state.sent_bytes
        self.links.take(now, state)
        if self._beside is not None:
            self._beside.sample(now)
        queues = state.queue_bytes[self._links]
        mean = np.add.reduceat(queues, self._begin) / self._size
        longest = np.maximum.reduceat(queues, self._begin)
        self.samples.append((now, mean, longest, moved[self._links], self._backlog()))
        inward = self._inward
        self._delivered.append(
            float(self._network.delivered_bytes() if inward is None else state.sent_bytes[inward].sum())
        )

    def _thin(self) -> None:
        """Keeps every other sample: the queues of the later of two, the bytes of both."""
        self.samples = [
            (time, mean, longest, before + moved, backlog)
            for (_, _, _, before, _), (time, mean, longest, moved, backlog) in zip(
                self.samples[::2], self.samples[1::2], strict=True
            )
        ]
        self._delivered = self._delivered[1::2]
        self._interval *= 2
        self.links.slow_down()
        if self._beside is not None:
            self._beside.thin()

    def progress(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """([samples] ps, [samples] bytes delivered up to then)."""
        return np.array([time for time, *_ in self.samples], dtype=np.int64), np.array(self._delivered)

    def columns(self) -> dict[str, Any]:
        """The columns of the table ``series``."""
        rows: list[tuple[float, str, int, float, int, float, float]] = []
        before = 0
        for time, mean, longest, moved, _ in self.samples:
            use = moved * 8e12 / (self._rate * (time - before))
            use_mean = np.add.reduceat(use, self._begin) / self._size
            columns = (self._size, mean, longest, use_mean, np.maximum.reduceat(use, self._begin))
            values = zip(self._names, *(column.tolist() for column in columns), strict=True)
            rows += [(time / 1e6, *row) for row in values]
            before = time
        names = (
            "time_us",
            "group",
            "links",
            "queue_mean_bytes",
            "queue_max_bytes",
            "utilisation_mean",
            "utilisation_max",
        )
        return dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True)) if rows else {}

    def link_columns(self) -> dict[str, Any]:
        """The columns of the table ``link_series``."""
        now = int(self._clock.now)
        return self.links.columns(now, self._network.link_state(now))

    def backlog_grew(self, until: int, since: int = 0) -> bool:
        """Whether the backlog (flows under way) kept growing from ``since`` to ``until``: later thirds hold ever more.

        Under overload it grows in proportion to time, so the thirds stand as 1 : 3 : 5. A queue that only fills at the
        start levels off: each third must exceed the one before by 40 %, and the last hold 30 flows at least.
        """
        levels = np.array([backlog for time, *_, backlog in self.samples if since <= time <= until], dtype=np.float64)
        if len(levels) < 30:
            return False
        first, second, third = (float(part.mean()) for part in np.array_split(levels, 3))
        return third >= 30 and second > 1.4 * first and third > 1.4 * second
