"""Samples of queues and link use over time, and of the backlog. A SimPy process in every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event

from models.topology import Topology
from sim.clock import Clock
from sim.network.protocol import Network
from sim.record import tier_name

FIRST_INTERVAL = 1_000_000  # ps, where the scenario leaves it to us
KEPT = 200  # samples kept at least, twice as many at most: then every other one goes and the interval doubles


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


class Telemetry:
    """Samples every ``interval`` ps, or (None) at a pace that fits the length of the run."""

    def __init__(
        self,
        clock: Clock,
        network: Network,
        topology: Topology,
        interval: int | None,
        asked: list[str],
        backlog: Callable[[], int],
    ) -> None:
        self._clock, self._network = clock, network
        self._fixed = interval is not None
        self._interval = interval or FIRST_INTERVAL
        self._groups = groups_of(topology, asked)
        self._rate = topology.link_rate.astype(np.float64)
        self._backlog = backlog
        self._sent = np.zeros(topology.links, dtype=np.int64)
        self._last = 0
        self.samples: list[tuple[int, list[tuple[float, int]], list[NDArray[np.float64]], int]] = []
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
        queues = [
            (float(state.queue_bytes[links].mean()), int(state.queue_bytes[links].max())) for _, links in self._groups
        ]
        # bytes since the sample before, so that two samples can be merged when every other one goes
        self.samples.append((now, queues, [moved[links] for _, links in self._groups], self._backlog()))

    def _thin(self) -> None:
        """Keeps every other sample: the queues of the later of two, the bytes of both."""
        kept = []
        for first, second in zip(self.samples[::2], self.samples[1::2], strict=True):
            moved = [a + b for a, b in zip(first[2], second[2], strict=True)]
            kept.append((second[0], second[1], moved, second[3]))
        self.samples = kept
        self._interval *= 2

    def columns(self) -> dict[str, Any]:
        """The columns of the table ``series``."""
        rows: list[tuple[float, str, int, float, int, float, float]] = []
        before = 0
        for time, queues, moved, _ in self.samples:
            for (name, links), (mean, longest), sent in zip(self._groups, queues, moved, strict=True):
                use = sent * 8e12 / (self._rate[links] * (time - before))
                rows.append((time / 1e6, name, len(links), mean, longest, float(use.mean()), float(use.max())))
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

    def backlog_grew(self, until: int) -> bool:
        """Whether the backlog (flows under way) kept growing up to ``until``: later thirds hold ever more.

        A queue in steady state may be long, but it does not trend: each third of the samples must exceed the one before
        by a half, and the last hold 30 flows at least.
        """
        levels = np.array([backlog for time, _, _, backlog in self.samples if time <= until], dtype=np.float64)
        if len(levels) < 30:
            return False
        first, second, third = (float(part.mean()) for part in np.array_split(levels, 3))
        return third >= 30 and second > 1.5 * first and third > 1.25 * second
