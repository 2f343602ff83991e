"""Named random streams: changing one policy leaves everybody else's draws untouched."""

from __future__ import annotations

import hashlib

import numpy as np


class Streams:
    """Streams of one seed. ``arrivals/0`` gives the same numbers whatever else the run draws.

    ``policies`` numbers another set of the policies' streams (``dispatch/...``); arrivals and all else stay the same.
    """

    def __init__(self, seed: int, policies: int | None = None) -> None:
        self.seed = seed
        self._policies = policies

    def _digest(self, name: str) -> bytes:
        if self._policies is not None and name.startswith("dispatch/"):
            name = f"{name}@{self._policies}"
        return hashlib.sha256(f"{self.seed}/{name}".encode()).digest()

    def generator(self, name: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(int.from_bytes(self._digest(name)[:16], "little")))

    def key(self, name: str) -> int:
        """A 63-bit key for counter-based hashes."""
        return int.from_bytes(self._digest(name)[16:24], "little") >> 1
