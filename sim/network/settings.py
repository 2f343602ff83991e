"""What both packet engines are told: packets, ports, transport, and the policies that they call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ACK_BYTES = 64
NO_LIMIT = 2**62


class PortChange(NamedTuple):
    """What is different at the port of one link; None: no limit, no marking."""

    buffer: int | None
    kmin: int | None
    kmax: int | None


@dataclass(frozen=True)
class Pause:
    """Priority flow control. A switch pauses the link over which too much came that it still holds.

    A link's account is of what came over it and has not left the switch. Pause: when the account reaches
    ``alpha`` x (what is free of the switch's shared memory), or ``limit`` where it has none. Resume: when it is
    ``resume`` below that. What comes after the pause goes into ``headroom``; an account beyond limit + headroom drops.
    """

    limit: int  # bytes
    resume: int  # bytes below the threshold at which the link may go on
    headroom: NDArray[np.int64]  # [links] bytes
    alpha: float | None = None  # needs ``shared``


@dataclass(frozen=True)
class Ports:
    """How switch ports treat packets beyond drop-tail.

    ``trim``: what does not fit is cut to its header (ACK_BYTES) and goes with the control packets, which have a queue
    of their own of ``control`` bytes that is served first; beyond it headers are dropped, or with ``bounce`` sent back.
    ``priority``: control packets go first without trimming too. ``shared`` bytes a switch: a port may hold ``alpha``
    times what is free of them. ``late_marks``: a packet is marked by the queue behind it when it leaves, instead of by
    the one that it finds. ``unmarked`` [links]: ports that never mark.
    """

    trim: bool = False
    control: int = NO_LIMIT
    bounce: bool = False
    priority: bool = False
    shared: int | None = None
    alpha: float = 1.0
    pause: Pause | None = None
    late_marks: bool = False
    unmarked: NDArray[np.bool_] | None = None
    changes: dict[int, PortChange] = field(default_factory=dict)  # by link

    @property
    def scheduled(self) -> bool:
        """Whether ports hold packets whose departure isn't known when they are accepted."""
        return self.trim or self.priority or self.late_marks or self.eager

    @property
    def eager(self) -> bool:
        """Whether somebody must know the instant at which a packet leaves a switch."""
        return self.shared is not None or self.pause is not None


@dataclass(frozen=True)
class Control:
    """A congestion control ready to run, and what the transport around it does.

    ``own`` [hosts, words]: the memory that a flow from each host begins with; ``near`` the same inside a scale-up
    domain. An ACK is due after ``ack_every`` bytes on the wire, for a marked packet, and whenever the sender asks.
    ``reorder``: a gap that so many later packets were acknowledged behind counts as lost (0: never).
    ``reorder_buffer``: bytes that a receiver that hands over in order can hold (None: it takes packets in any order).
    ``credit``: senders spend credit that receivers grant, ``credit_share`` of the link's rate at most.
    """

    react: Any
    own: NDArray[np.float64]
    near: NDArray[np.float64] | None = None
    uses_telemetry: bool = False
    uses_sent: bool = False
    ack_every: int = 1
    reorder: int = 0
    reorder_buffer: int | None = None
    credit: bool = False
    credit_share: float = 0.99
    credit_packets: int = 4  # granted at a time


@dataclass(frozen=True)
class PacketSettings:
    """What packets and ports are. ``buffer`` and ``kmin`` None: unlimited, no marking. ``window`` bytes a host.

    ``near``: the windows of flows inside a scale-up domain; None: as the others. ``control`` None: the fixed window of
    payload of ``sim/engine/transport.py``, or line rate without ACKs.
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
    ports: Ports = Ports()
    control: Control | None = None

    def window_of(self, src: int, inside: bool) -> int:
        """Bytes that a flow from ``src`` may have in flight; ``inside``: to a host of its scale-up domain."""
        windows = self.window if self.near is None or not inside else self.near
        return int(windows[src])


@dataclass(frozen=True)
class PacketChoice:
    """A packet policy ready to run: what it calls at switches (``pick``), or at hosts (``spread``, ``hear``).

    ``own`` is the memory that each flow begins with at its host. ``stamps``: what data packets gather the largest of
    on the switch links of their way, for ``learn``: "loads", "queues" or "". ``tick`` is called every ``period`` ps
    while a flow is there. Loads lose the share ``load_alpha`` every ``load_period`` ps.
    """

    pick: Any
    state: NDArray[np.int64]
    uses_queues: bool
    uses_loads: bool = False
    stamps: str = ""
    learn: Any = None
    tick: Any = None
    period: int = 0
    spread: Any = None
    hear: Any = None
    own: NDArray[np.int64] | None = None
    load_period: int = 50_000_000
    load_alpha: float = 0.2

    def __post_init__(self) -> None:
        if self.spread is not None and (self.pick is not None or self.learn is not None):
            raise ValueError("where hosts choose entropies, switches hash them: there is no pick and no learn")
        if self.stamps not in ("", "loads", "queues"):
            raise ValueError(f"stamps are 'loads', 'queues' or '', not {self.stamps!r}")

    @property
    def watches_loads(self) -> bool:
        return self.uses_loads or self.tick is not None or self.stamps == "loads"

    @property
    def load_keep(self) -> int:
        """What a load's word keeps at the end of a period, in 1/1024."""
        return 1024 - round(self.load_alpha * 1024)
