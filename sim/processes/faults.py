"""Links, switches and hosts that fail, slow down or lose packets, and recover; tables follow after a delay.

Each occurrence of an event holds its links until it ends by itself or until its element is set up. What a link does
follows from all that hold it: down wins, then the least rate, and losses add up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray


class TakesFaults(Protocol):
    def set_links(self, links: Sequence[int], up: bool) -> None: ...

    def set_rates(self, links: Sequence[int], rates: Sequence[int]) -> None: ...

    def set_loss(self, links: Sequence[int], share: float) -> None: ...


class Fault(NamedTuple):
    """One occurrence of event number ``event``: something happens to the directed ``links`` at ``at`` ps.

    ``element``: the name that the scenario gives; ``owner``: the node that it is, or "" for cables, so that a switch
    that comes back does not raise a cable that was cut. ``what``: down, degrade, loss; up ends all that the owner holds
    of these links. ``until`` ps: its end; None: it has none of its own.
    """

    event: int
    at: int
    element: str
    owner: str
    links: tuple[int, ...]
    what: str
    until: int | None = None
    rates: tuple[int, ...] = ()  # degrade: bit/s left of each link
    loss: float = 0.0  # loss: probability


class Watches(Protocol):
    """Who keeps the book of what went wrong. Occurrences are numbered in order of their begin."""

    def begin(self, number: int, fault: Fault) -> None:
        """Before the network is told."""
        ...

    def end(self, number: int) -> None: ...

    def converged(self, numbers: Sequence[int]) -> None:
        """The tables know of these since now."""
        ...


class _Hold(NamedTuple):
    owner: str
    what: str
    value: float  # bit/s left, or probability


class Faults:
    """Applies faults in order of time: of one instant those that begin, in the order given, then those that end.

    ``converge`` is called ``delay`` ps after each instant in which something was set down or up, with the state [links]
    that it left behind.
    """

    def __init__(
        self,
        env: simpy.Environment,
        network: TakesFaults,
        rates: NDArray[np.int64],
        faults: Iterable[Fault],
        delay: int,
        converge: Callable[[NDArray[np.bool_]], None],
        book: Watches,
        broken: Sequence[int] = (),
    ) -> None:
        """``rates`` [links]: bit/s of links that nothing holds; ``broken``: links that are down from the start."""
        self._env, self._network, self._book = env, network, book
        self._delay, self._converge = delay, converge
        self._nominal: list[int] = rates.tolist()
        self._held: list[dict[int, _Hold]] = [{} for _ in self._nominal]  # by occurrence
        self._left: dict[int, set[int]] = {}  # links that an occurrence holds
        self.up: NDArray[np.bool_] = np.ones(len(self._nominal), dtype=np.bool_)
        self._rate = list(self._nominal)
        self._loss = [0.0] * len(self._nominal)
        for link in broken:
            self._held[link][-1] = _Hold("", "down", 0.0)
            self.up[link] = False
        self._faults = sorted(faults, key=lambda fault: fault.at)
        self.applied = 0
        self.done: simpy.Event = env.process(self._run())

    def _run(self) -> Generator[simpy.Event, Any, None]:
        plan = [(fault.at, 0, number) for number, fault in enumerate(self._faults)]
        plan += [(fault.until, 1, number) for number, fault in enumerate(self._faults) if fault.until is not None]
        for time, steps in groupby(sorted(plan), key=lambda step: step[0]):
            if time > self._env.now:
                yield self._env.timeout(time - self._env.now)
            begun: list[int] = []
            touched = False
            for _, ends, number in steps:
                if ends:
                    touched |= self._end(number)
                    continue
                self.applied += 1
                fault = self._faults[number]
                self._begin(number, fault)
                touched |= fault.what in {"down", "up"}
                if fault.what == "down":
                    begun.append(number)
            if touched:
                self._env.process(self._learn(self.up.copy(), begun))

    def _begin(self, number: int, fault: Fault) -> None:
        self._book.begin(number, fault)
        if fault.what == "up":
            for link in fault.links:
                for other in [key for key, hold in self._held[link].items() if hold.owner == fault.owner]:
                    self._release(link, other)
        else:
            self._left[number] = set(fault.links)
            for position, link in enumerate(fault.links):
                value = float(fault.rates[position]) if fault.what == "degrade" else fault.loss
                self._held[link][number] = _Hold(fault.owner, fault.what, value)
        self._tell(fault.links)

    def _end(self, number: int) -> bool:
        """Whether tables are to hear of it."""
        left = self._left.get(number)
        if not left:
            return False  # its element was set up before
        links = sorted(left)
        for link in links:
            self._release(link, number)
        self._tell(links)
        return self._faults[number].what == "down"

    def _release(self, link: int, number: int) -> None:
        del self._held[link][number]
        left = self._left.get(number)
        if left is not None:
            left.discard(link)
            if not left:
                self._book.end(number)

    def _tell(self, links: Sequence[int]) -> None:
        """Tells the network what is different on these links."""
        down, up, slower, rates = [], [], [], []
        lossy: dict[float, list[int]] = {}
        for link in links:
            holds = self._held[link].values()
            works = all(hold.what != "down" for hold in holds)
            if works != self.up[link]:
                self.up[link] = works
                (up if works else down).append(link)
            rate = min([self._nominal[link], *(int(hold.value) for hold in holds if hold.what == "degrade")])
            if rate != self._rate[link]:
                self._rate[link] = rate
                slower.append(link)
                rates.append(rate)
            kept = 1.0
            for value in sorted(hold.value for hold in holds if hold.what == "loss"):
                kept *= 1.0 - value
            if 1.0 - kept != self._loss[link]:
                self._loss[link] = 1.0 - kept
                lossy.setdefault(1.0 - kept, []).append(link)
        if down:
            self._network.set_links(down, False)
        if up:
            self._network.set_links(up, True)
        if slower:
            self._network.set_rates(slower, rates)
        for share, those in sorted(lossy.items()):
            self._network.set_loss(those, share)

    def _learn(self, state: NDArray[np.bool_], begun: list[int]) -> Generator[simpy.Event, Any, None]:
        yield self._env.timeout(self._delay)
        self._converge(state)
        if begun:
            self._book.converged(begun)

    def describe_waiting(self) -> list[str]:
        """Faults are nobody's work: nothing waits for them."""
        return []
