"""How long a sweep will take and how large it will be, from the cells that are finished. Nothing is run for it."""

from __future__ import annotations

from collections.abc import Sequence

from sim.sweep.folder import SweepFolder
from sim.sweep.index import read_timing

_MOST = 50  # finished cells that are looked at


class Estimate:
    """Means over finished cells, times what is left."""

    def __init__(self, folder: SweepFolder, finished: Sequence[str], left: int, workers: int) -> None:
        self._folder, self._left, self._workers = folder, left, workers
        self._seconds: list[float] = []
        self._bytes: list[int] = []
        for digest in finished[:: max(1, len(finished) // _MOST)]:
            self.add(digest)

    def add(self, digest: str) -> None:
        path = self._folder.path(digest)
        wall = read_timing(path).get("wall_s")
        if isinstance(wall, (int, float)):
            self._seconds.append(float(wall))
            self._bytes.append(sum(file.stat().st_size for file in path.iterdir()))

    def text(self) -> str:
        """Empty while no cell is finished."""
        if not self._seconds:
            return ""
        seconds = sum(self._seconds) / len(self._seconds) * self._left / self._workers
        size = sum(self._bytes) / len(self._bytes) * self._left
        workers = f"{self._workers} workers" if self._workers > 1 else "1 worker"
        return f"{self._left} cells to run: about {duration(seconds)} on {workers} and {size / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """30 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
