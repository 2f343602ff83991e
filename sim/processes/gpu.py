"""GPUs as processes: they compute, then communicate, then wait; what they spent their time on is noted."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy


class Gpus:
    """Time in ps that each GPU has spent computing and waiting, those under way included."""

    def __init__(self) -> None:
        self._spent: dict[tuple[int, bool], int] = {}
        self._since: dict[tuple[int, bool], list[int]] = {}

    def begin(self, gpu: int, busy: bool, now: int) -> None:
        self._spent.setdefault((gpu, busy), 0)
        self._since.setdefault((gpu, busy), []).append(now)

    def end(self, gpu: int, busy: bool, now: int) -> None:
        self._spent[gpu, busy] += now - self._since[gpu, busy].pop()

    def rows(self, now: int) -> list[tuple[int, int, int]]:
        """(gpu, busy ps, wait ps) by number."""
        spent = dict(self._spent)
        for key, starts in self._since.items():
            spent[key] += sum(now - start for start in starts)
        gpus = sorted({gpu for gpu, _ in spent})
        return [(gpu, spent.get((gpu, True), 0), spent.get((gpu, False), 0)) for gpu in gpus]


class Gpu:
    """One GPU of one job."""

    def __init__(self, env: simpy.Environment, gpus: Gpus, host: int) -> None:
        self._env = env
        self._gpus = gpus
        self.host = host

    def compute(self, duration: int) -> Generator[simpy.Event, Any, None]:
        """Busy for ``duration`` ps."""
        self._gpus.begin(self.host, True, self._env.now)
        yield self._env.timeout(duration)
        self._gpus.end(self.host, True, self._env.now)

    def wait(self, event: simpy.Event) -> Generator[simpy.Event, Any, None]:
        """Idle until ``event``."""
        self._gpus.begin(self.host, False, self._env.now)
        yield event
        self._gpus.end(self.host, False, self._env.now)
