"""The clock: a SimPy environment in integer picoseconds that carries a network engine between SimPy's events.

Within one instant the engine's events come first (ends of serialisation, arrivals by link, timers by kind and flow),
then SimPy's by (priority, sequence), then what the engine had to tell, then the commands that all of these gave. Every
serialisation and delay lasts at least 1 ps, so a command can't add to the engine's events of the same instant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import simpy
from simpy.events import Event, Timeout

from sim.network.protocol import INFINITY, Network, Tell

BUDGET = 200_000  # events a call of the engine may take, so that progress and Ctrl-C live
TOLD = 2  # SimPy priority of what the engine has to tell: after urgent (0) and normal (1) events


def picoseconds(value: object) -> int:
    """``value`` as an int if it is an integer of picoseconds; floats and bools are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"time is an integer of picoseconds, not {value!r}")
    return int(value)


class Clock(simpy.Environment):
    """SimPy's environment over integers, with ``network`` advanced between its events."""

    def __init__(self, network: Network | None = None) -> None:
        super().__init__(0)
        self.network = network
        self.on_tell: Callable[[list[Tell]], None] = lambda tells: None
        self.interrupted = False  # asked to stop at the next point where clock and engine agree on the time
        self.on_slice: Callable[[], None] = lambda: None  # called after every slice of engine work

    def timeout(self, delay: int = 0, value: Any = None) -> Timeout:  # type: ignore[override]
        return Timeout(self, delay, value)  # type: ignore[arg-type]  # schedule() looks at the delay

    def at(self, when: int, action: Callable[[], None], priority: int = 1) -> None:
        """Calls ``action`` at a time not before now."""
        event = Event(self)
        event._ok, event._value = True, None
        event.callbacks.append(lambda _: action())  # type: ignore[union-attr]
        self.schedule(event, priority, picoseconds(when) - self._now)  # type: ignore[arg-type]

    def schedule(self, event: Event, priority: int = 1, delay: int = 0) -> None:  # type: ignore[override]
        super().schedule(event, priority, delay if type(delay) is int else picoseconds(delay))  # type: ignore[arg-type]

    def run(self, until: int | Event | None = None) -> Any:  # type: ignore[override]
        """As SimPy's; a time is an integer."""
        return super().run(until if until is None or isinstance(until, Event) else picoseconds(until))

    def peek(self) -> int:  # type: ignore[override]
        """The next event's time, the engine's included; INFINITY if there is none."""
        mine = self._queue[0][0] if self._queue else INFINITY
        if self.network is None:
            return int(mine)
        if self.network.pending():
            return min(int(mine), int(self._now))
        return min(int(mine), self.network.next_time())

    def step(self) -> None:
        """SimPy's next event, with the engine carried through its instant first."""
        if self.interrupted:
            raise KeyboardInterrupt
        network = self.network
        if network is not None:
            while True:
                mine = self._queue[0][0] if self._queue else INFINITY
                if mine > self._now and network.pending():
                    network.commit(int(self._now))
                soonest = network.next_time()
                if soonest > mine or soonest == INFINITY:
                    break
                # an engine needs a time to stop at: instant by instant where SimPy has nothing to wait for
                reached, tells = network.advance(int(soonest if mine == INFINITY else mine), BUDGET)
                if tells:
                    if reached < mine:  # nothing else is due at that instant
                        self._now = reached
                        self.on_tell(tells)
                    else:
                        self._tell(reached, tells)
                elif reached > self._now and reached < mine:
                    self._now = reached  # so that progress can be seen; nothing is due before
                    if self.interrupted:
                        raise KeyboardInterrupt
                self.on_slice()
        super().step()

    def _tell(self, when: int, tells: list[Tell]) -> None:
        self.at(when, lambda: self.on_tell(tells), TOLD)
