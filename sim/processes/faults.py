"""Links and switches that go down and come up; routing tables follow after a convergence delay."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray


class SetsLinks(Protocol):
    def set_links(self, links: Sequence[int], up: bool) -> None: ...


class Fault(NamedTuple):
    """``element`` (a link's or switch's name) takes its directed ``links`` down, or gives them back, at ``at`` ps."""

    at: int
    element: str
    links: tuple[int, ...]
    up: bool


class Faults:
    """Applies faults in order of time, those of one instant in the order given.

    A link is up when no element holds it down: a switch that comes back does not raise a cable that was cut.
    ``converge`` is called ``delay`` ps after each change with the state [links] that it left behind.
    """

    def __init__(
        self,
        env: simpy.Environment,
        network: SetsLinks,
        links: int,
        faults: Iterable[Fault],
        delay: int,
        converge: Callable[[NDArray[np.bool_]], None],
    ) -> None:
        self._env = env
        self._network = network
        self._delay = delay
        self._converge = converge
        self._held: list[set[str]] = [set() for _ in range(links)]  # the elements that hold each link down
        self.up: NDArray[np.bool_] = np.ones(links, dtype=np.bool_)
        self.applied = 0
        self.done: simpy.Event = env.process(self._run(sorted(faults, key=lambda fault: fault.at)))

    def _run(self, faults: list[Fault]) -> Generator[simpy.Event, Any, None]:
        for position, fault in enumerate(faults):
            if fault.at > self._env.now:
                yield self._env.timeout(fault.at - self._env.now)
            changed = self._apply(fault)
            self.applied += 1
            if changed:
                self._network.set_links(changed, fault.up)
            last_of_instant = position + 1 == len(faults) or faults[position + 1].at > fault.at
            if last_of_instant:
                self._env.process(self._learn(self.up.copy()))

    def _apply(self, fault: Fault) -> list[int]:
        """The links whose state changes."""
        changed = []
        for link in fault.links:
            if fault.up:
                self._held[link].discard(fault.element)
            else:
                self._held[link].add(fault.element)
            if self.up[link] == bool(self._held[link]):
                self.up[link] = not self._held[link]
                changed.append(link)
        return changed

    def _learn(self, state: NDArray[np.bool_]) -> Generator[simpy.Event, Any, None]:
        yield self._env.timeout(self._delay)
        self._converge(state)

    def describe_waiting(self) -> list[str]:
        """Faults are nobody's work: nothing waits for them."""
        return []
