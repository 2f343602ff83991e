"""What engines without packets answer where there is nothing to tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Packetless:
    """The part of the Network protocol that is about packets."""

    def set_loss(self, links: Sequence[int], share: float) -> None:
        """There are no packets to lose."""

    def deadlock(self) -> list[int]:
        """Nothing pauses."""
        return []

    def longest_gap(self) -> int:
        return 0

    def reordering(self) -> NDArray[np.int64]:
        return np.zeros(0, dtype=np.int64)

    def counters(self) -> dict[tuple[str, str], int]:
        return {}
