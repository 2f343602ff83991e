"""What both packet engines are told: packets, ports, transport, and the packet policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ACK_BYTES = 64


@dataclass(frozen=True)
class PacketSettings:
    """What packets and ports are. ``buffer`` and ``kmin`` None: unlimited, no marking. ``window`` bytes a host.

    ``near``: the windows of flows inside a scale-up domain; None: as the others.
    """

    mtu: int
    header: int
    acks: bool
    go_back_n: bool
    rto: int
    window: NDArray[np.int64]
    buffer: int | None
    kmin: int | None
    kmax: int | None
    pmax: float
    key: int
    near: NDArray[np.int64] | None = None

    def window_of(self, src: int, inside: bool) -> int:
        """Bytes that a flow from ``src`` may have in flight; ``inside``: to a host of its scale-up domain."""
        windows = self.window if self.near is None or not inside else self.near
        return int(windows[src])


@dataclass(frozen=True)
class PacketChoice:
    """A packet policy ready to run: its compiled ``pick``, its memory, and whether it reads queues."""

    pick: Any
    state: NDArray[np.int64]
    uses_queues: bool
