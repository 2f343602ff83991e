"""Use and queue of every link over time, kept within a bound: the table ``link_series``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.topology import Topology
from sim.network.protocol import LinkState

ROWS = 300_000  # of a run at most
FEWEST = 20  # samples; a fabric with more links than ROWS / FEWEST is not sampled link by link


class LinkSamples:
    """Grows by a sample at a time; neighbours are merged whenever there would be more than ``ROWS`` rows."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._most = ROWS // max(topology.links, 1)  # samples
        self._stride = 1  # samples taken a sample kept
        self._waiting = 0  # samples taken since the last one kept
        self._sent = np.zeros(topology.links, dtype=np.int64)  # at the last one kept
        # time, bytes sent since the one before, queue
        self._kept: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = []

    @property
    def too_many(self) -> bool:
        """Whether the fabric has too many links to keep a series of each."""
        return self._most < FEWEST

    def take(self, time: int, state: LinkState) -> None:
        """The links at ``time``, which is later than that of the sample before."""
        if self.too_many:
            return
        self._waiting += 1
        if self._waiting < self._stride:
            return
        self._kept.append((time, state.sent_bytes - self._sent, state.queue_bytes))
        self._sent, self._waiting = state.sent_bytes, 0
        if len(self._kept) >= self._most:
            self._merge()
            self._stride *= 2

    def slow_down(self) -> None:
        """From here on samples come half as often."""
        if self._stride > 1:
            self._stride //= 2
            self._waiting //= 2
        else:
            self._merge()

    def _merge(self) -> None:
        """Two neighbours become one: the time and queue of the later, the bytes of both. An odd last one stays."""
        pairs = zip(self._kept[::2], self._kept[1::2], strict=False)
        merged = [(time, before + sent, queue) for (_, before, _), (time, sent, queue) in pairs]
        self._kept = merged + self._kept[len(merged) * 2 :]

    def columns(self, now: int, state: LinkState) -> dict[str, Any]:
        """The columns of the table, after a last sample at the end of the run."""
        kept = list(self._kept)
        if not self.too_many and now > (kept[-1][0] if kept else 0):
            kept.append((now, state.sent_bytes - self._sent, state.queue_bytes))
        if not kept or not self._topology.links:
            return {}
        times = np.array([time for time, _, _ in kept], dtype=np.int64)
        took = np.diff(times, prepend=0)[:, None]
        sent = np.array([sent for _, sent, _ in kept])
        # seven digits are plenty for a share, and the file is half as large
        use = (sent * 8e12 / self._topology.link_rate.astype(np.float64) / took).astype(np.float32)
        links = np.tile(np.arange(self._topology.links), len(kept))
        return {
            "time_us": np.repeat(times / 1e6, self._topology.links),
            "link": pd.Categorical.from_codes(links, self._topology.link_name),
            "utilisation": np.maximum(use, 0).ravel().astype(np.float64),
            "queue_bytes": np.array([queue for _, _, queue in kept]).ravel(),
        }
