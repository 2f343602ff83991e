"""The controller's books: how much of every link is reserved, now, at most and over time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology


class LedgerError(RuntimeError):
    """More is reserved than a link carries, or on a link that is down: a fault of the program."""


class Ledger:
    """Reserved bit/s by link. ``room`` [links] is what is left on links that are up, as far as the controller knows.

    On a link that is down ``room`` is 0 once nothing is reserved on it any more, and below 0 until then.
    """

    def __init__(self, topology: Topology, up: NDArray[np.bool_]) -> None:
        self.capacity: list[int] = topology.link_rate.tolist()
        self.up: list[bool] = up.tolist()
        self._name = topology.link_name
        # one memory under two faces: quick to update from Python, an array for solvers
        self._room = array("q", [rate if works else 0 for rate, works in zip(self.capacity, self.up, strict=True)])
        self.room: NDArray[np.int64] = np.frombuffer(self._room, dtype=np.int64)
        self.reserved = [0] * topology.links
        self.peak = [0] * topology.links
        self.demands = [0] * topology.links  # that were ever on it
        self._area = [0] * topology.links  # bit/s x ps
        self._since = [0] * topology.links

    def fits(self, links: Sequence[int], bandwidth: int) -> bool:
        """Whether a way has room; only links that are up have any."""
        room = self._room
        for link in links:  # noqa: SIM110 (a generator takes three times as long)
            if room[link] < bandwidth:
                return False
        return True

    def take(self, links: Iterable[int], bandwidth: int, now: int) -> None:
        """Reserves a way; once a link of both of its paths, the only one of a host."""
        for link in set(links):
            self._change(link, bandwidth, now)

    def count(self, links: Iterable[int]) -> None:
        """Links that a demand has for the first time."""
        for link in set(links):
            self.demands[link] += 1

    def give(self, links: Iterable[int], bandwidth: int, now: int) -> None:
        """Returns what was taken."""
        for link in set(links):
            self._change(link, -bandwidth, now)

    def _change(self, link: int, amount: int, now: int) -> None:
        before = self.reserved[link]
        self._area[link] += before * (now - self._since[link])
        self._since[link] = now
        self.reserved[link] = after = before + amount
        self._room[link] -= amount
        self.peak[link] = max(self.peak[link], after)

    def set_up(self, up: NDArray[np.bool_]) -> None:
        """What the controller hears of the links."""
        for link, works in enumerate(up.tolist()):
            if works != self.up[link]:
                self.up[link] = works
                self._room[link] = (self.capacity[link] if works else 0) - self.reserved[link]

    def prove(self) -> None:
        """LedgerError unless all that is reserved fits the links that are up."""
        if (self.room < 0).any():
            raise LedgerError("; ".join(self.broken()))

    def broken(self) -> list[str]:
        """The links that are overbooked, in words."""
        return [
            f"{self.reserved[link]} bit/s are reserved on {self._name[link]}, which "
            + (f"carries {self.capacity[link]}" if self.up[link] else "is down")
            for link in np.flatnonzero(self.room < 0).tolist()
        ]

    def mean(self, now: int) -> NDArray[np.float64]:
        """[links] reserved bit/s, mean from 0 to ``now`` ps."""
        areas = zip(self._area, self.reserved, self._since, strict=True)
        whole = [area + reserved * (now - since) for area, reserved, since in areas]
        return np.array([area / max(now, 1) for area in whole], dtype=np.float64)
