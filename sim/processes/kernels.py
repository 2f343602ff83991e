"""Which kernel ran where and when: four numbers a kernel, in arrays."""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

KEPT = 1_000_000  # kernels of a run; each takes 24 bytes


class Kernels(NamedTuple):
    """Columns of equal length, in order of start and GPU; times in ps."""

    gpu: NDArray[np.int64]
    kernel: NDArray[Any]
    job: NDArray[Any]
    start: NDArray[np.int64]
    duration: NDArray[np.int64]


class KernelLog:
    """The kernels of all GPUs. The first ``kept`` that ended are kept, the others counted."""

    def __init__(self, kept: int = KEPT) -> None:
        self.left_out = 0
        self._kept = kept
        self._gpu, self._what = array("i"), array("i")
        self._start, self._duration = array("q"), array("q")
        self._kinds: dict[tuple[str, str], int] = {}  # (kernel, job) -> its number

    def note(self, gpu: int, kernel: str, job: str, start: int, duration: int) -> None:
        """``kernel`` ran on ``gpu`` for ``job``."""
        if len(self._gpu) == self._kept:
            self.left_out += 1
            return
        self._gpu.append(gpu)
        self._what.append(self._kinds.setdefault((kernel, job), len(self._kinds)))
        self._start.append(start)
        self._duration.append(duration)

    def rows(self) -> Kernels:
        gpu, what, start, duration = (
            np.array(c, np.int64) for c in (self._gpu, self._what, self._start, self._duration)
        )
        order = np.lexsort((gpu, start))
        names = np.array([kernel for kernel, _ in self._kinds], dtype=object)
        jobs = np.array([job for _, job in self._kinds], dtype=object)
        return Kernels(gpu[order], names[what[order]], jobs[what[order]], start[order], duration[order])
