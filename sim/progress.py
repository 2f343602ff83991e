"""A bar with an ETA on stderr for runs of more than two seconds."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.build import World

_PATIENCE = 2.0  # seconds before anything is shown
_PERIOD = 0.2  # seconds between two looks


class Progress:
    """``with Progress(world, quiet, name):`` runs the bar from the clock's slices."""

    def __init__(self, world: World, quiet: bool, name: str) -> None:
        self.interrupted = False
        self._world, self._quiet, self._name = world, quiet, name
        self._bar: Any = None
        self._started = self._looked = time.monotonic()

    def __enter__(self) -> Progress:
        if not self._quiet:
            self._world.clock.on_slice = self._look
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.n = self._bar.total
            self._bar.close()

    def _share(self) -> float:
        """How much is done: layers, demands, requests, payload, or time up to the limit, the most."""
        world = self._world
        share = max(world.moe.share(), world.admission.share(), world.serving.share())
        if world.expected_bytes:
            share = world.network.delivered_bytes() / world.expected_bytes
        stop = world.loaded.scenario.stop.time
        if stop is not None:
            share = max(share, world.clock.now / stop)
        return min(share, 0.999)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _PERIOD or now - self._started < _PATIENCE:
            return
        self._looked = now
        if self._bar is None:
            from tqdm import tqdm

            form = "{desc}: {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left"
            self._bar = tqdm(total=1.0, desc=self._name, bar_format=form, leave=False)
            self._bar.start_t -= now - self._started
        self._bar.n = self._share()
        self._bar.refresh()
