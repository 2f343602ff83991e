"""GPUs as processes: streams that run one kernel at a time, memory that fills, and notes of what time went into.

Cast: a ``Device`` is one GPU with its compute and copy streams and its memory; ``Gpus`` are all devices of a run that
any work has touched; a ``Gpu`` is one job's hand on a device. Two jobs (or two micro-batches) on one device queue for
its streams, so one's kernels run while the other waits for the network. A slow GPU (``slowdown``, a factor, and
``noise``, the sigma of a log-normal factor a kernel with median 1) takes longer for the same kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from sim.processes.kernels import KernelLog


@dataclass(frozen=True)
class GpuSettings:
    """One GPU's own: ``kind`` of the cost models, memory in bytes (None: not bounded), slow-down and noise."""

    kind: str
    memory: int | None
    slowdown: float = 1.0
    noise: float = 0.0


PLAIN = GpuSettings("", None)


class Memory:
    """Bytes in use on a device. Going over the capacity is a result (``failed_at``), not a crash."""

    __slots__ = ("capacity", "failed_at", "peak", "used")

    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        self.used = 0
        self.peak = 0
        self.failed_at: int | None = None  # ps of the first byte that did not fit

    def take(self, size: int, now: int) -> None:
        self.used += size
        if self.used > self.peak:
            self.peak = self.used
            if self.failed_at is None and self.capacity is not None and self.used > self.capacity:
                self.failed_at = now

    def give(self, size: int) -> None:
        self.used -= size
        if self.used < 0:
            raise RuntimeError(f"{-self.used} bytes more were freed than taken")


class Device:
    """One GPU: two streams, memory, and the time spent in each state (ps)."""

    __slots__ = ("_rng", "busy", "compute", "copy", "index", "memory", "settings", "since", "tokens", "wait")

    def __init__(self, env: simpy.Environment, index: int, settings: GpuSettings, rng: np.random.Generator) -> None:
        self.index = index
        self.settings = settings
        self.compute = simpy.Resource(env)  # kernels
        self.copy = simpy.Resource(env)  # transfers of weights
        self.memory = Memory(settings.memory)
        self.tokens = 0  # copies of tokens that its experts worked on
        self.busy = self.wait = 0
        self.since: dict[bool, list[int]] = {True: [], False: []}  # by busy: starts of what is under way
        self._rng = rng

    def takes(self, duration: int) -> int:
        """ps that a kernel of nominal ``duration`` takes on this very GPU."""
        settings = self.settings
        if settings.slowdown == 1.0 and settings.noise == 0.0:
            return duration
        factor = settings.slowdown
        if settings.noise:
            factor *= float(np.exp(settings.noise * self._rng.standard_normal()))
        return round(duration * factor)


class Gpus:
    """The devices of a run. ``settings(gpu)`` and ``rng(gpu)`` are asked when a GPU is first touched."""

    def __init__(
        self,
        env: simpy.Environment,
        settings: Callable[[int], GpuSettings] = lambda gpu: PLAIN,
        rng: Callable[[int], np.random.Generator] = np.random.default_rng,
    ) -> None:
        self._env, self._settings, self._rng = env, settings, rng
        self.kernels = KernelLog()
        self._devices: dict[int, Device] = {}

    def device(self, gpu: int) -> Device:
        found = self._devices.get(gpu)
        if found is None:
            found = self._devices[gpu] = Device(self._env, gpu, self._settings(gpu), self._rng(gpu))
        return found

    def rows(self, now: int) -> list[tuple[int, int, int, int, int, int]]:
        """(gpu, busy ps, wait ps, tokens, peak memory in bytes, whether memory ran out) by number."""
        result = []
        for gpu, device in sorted(self._devices.items()):
            under_way = {busy: sum(now - start for start in starts) for busy, starts in device.since.items()}
            memory = device.memory
            result.append(
                (
                    gpu,
                    device.busy + under_way[True],
                    device.wait + under_way[False],
                    device.tokens,
                    memory.peak,
                    int(memory.failed_at is not None),
                )
            )
        return result

    def out_of_memory(self) -> list[Device]:
        """The devices whose memory ran out, by number."""
        return [device for _, device in sorted(self._devices.items()) if device.memory.failed_at is not None]


class Gpu:
    """One job on one device."""

    __slots__ = ("_env", "_note", "device", "host")

    def __init__(self, env: simpy.Environment, gpus: Gpus, host: int) -> None:
        self._env = env
        self._note = gpus.kernels.note
        self.device = gpus.device(host)
        self.host = host

    def compute(self, duration: int, kernel: str, job: str) -> Generator[simpy.Event, Any, None]:
        """Runs ``kernel`` of nominal ``duration`` ps on the compute stream, after those that were there before."""
        if duration == 0:
            return
        device, env = self.device, self._env
        with device.compute.request() as turn:
            if not turn.triggered:
                yield from self.wait(turn)
            device.since[True].append(env.now)
            yield env.timeout(device.takes(duration))
            start = device.since[True].pop()
            device.busy += env.now - start
            self._note(self.host, kernel, job, start, env.now - start)

    def wait(self, event: simpy.Event) -> Generator[simpy.Event, Any, None]:
        """Idle until ``event``."""
        device, env = self.device, self._env
        start = env.now
        device.since[False].append(start)
        yield event
        device.since[False].remove(start)
        device.wait += env.now - start
