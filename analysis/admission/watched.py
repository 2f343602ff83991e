"""A solver with a bar on stderr: elapsed time and limit, the best value and its gap.

The solver works in the caller's thread, which is the one that hears Ctrl-C; the bar has a thread of its own.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

from solvers.admission.plan import Step

_PATIENCE = 2.0  # seconds before anything is shown
_PERIOD = 0.2  # seconds between two looks


class Watched:
    """``with Watched(seconds, quiet) as bar: solve(..., watch=bar.step)``; ``seconds`` is the time limit or None."""

    def __init__(self, seconds: float | None, quiet: bool) -> None:
        self._seconds, self._quiet = seconds, quiet
        self._best: Step | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def step(self, step: Step) -> None:
        """A solver's news."""
        self._best = step

    def __enter__(self) -> Watched:
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if not self._quiet:
            self._thread.join()

    def _draw(self) -> None:
        started = time.monotonic()
        if self._ended.wait(_PATIENCE):
            return
        from tqdm import tqdm

        limited = "{desc}: {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left{postfix}"
        form = limited if self._seconds else "{desc}: {elapsed}, no time limit{postfix}"
        bar: Any = tqdm(total=self._seconds, desc="solve", bar_format=form, leave=False)
        bar.start_t -= time.monotonic() - started
        while not self._ended.wait(_PERIOD):
            if self._best is not None:
                bar.set_postfix_str(_words(self._best), refresh=False)
            elapsed = time.monotonic() - started
            bar.n = min(elapsed, self._seconds) if self._seconds else 0
            bar.refresh()
        bar.close()


def _words(step: Step) -> str:
    gap = (step.bound - step.objective) / step.bound if 0 < step.bound < float("inf") else 0.0
    return f"best {step.objective:,}" + (f", gap {gap:.2%}" if gap > 0 else "")
