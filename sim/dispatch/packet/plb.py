"""Hosts keep a flow on one path, and move it to a random other one after some rounds of many marks.

Source: PLB, Qureshi et al., SIGCOMM 2022, with the defaults of Linux (`tcp_plb`): a round is congested if at least 50 %
of its ACKs are marked; after 12 congested rounds in a row the flow moves, after 3 already if it sends after an idle
round (1 ms where rounds are counted in ACKs); after a timeout it moves at once and then stays for 60 to 120 s. A round
is ``round`` long where that is given, else as many ACKs as the flow's window has packets: about a round trip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.dispatch.api import LOST, MARKED, Field, PolicyParams, Time, entropy_feedback, entropy_policy

pick = None
uses_queues = False
_ENTROPIES = 1 << 20  # of a flow label
_IDLE = 1_000_000_000  # ps without a packet that count as an idle round where rounds are counted in ACKs
# own: five parameters; the entropy + 1 (0: none yet), packets of a window, when the last one was sent; of this round
# its begin, ACKs, and those marked; congested rounds in a row; no move before; whether to move
_SHARE, _ROUNDS, _IDLE_ROUNDS, _SUSPEND, _ROUND, _NOW_AT, _WINDOW, _SENT, _BEGAN, _ACKS, _MARKED = range(11)
_CONGESTED, _STAY, _MOVE, _WORDS = range(11, 15)


class Params(PolicyParams):
    share: float = Field(default=0.5, gt=0, le=1, description="Share of marked ACKs that makes a round congested.")
    rounds: int = Field(default=12, ge=1, description="Congested rounds in a row after which a flow moves.")
    idle_rounds: int = Field(default=3, ge=1, description="The same for a flow that sends again after an idle round.")
    suspend: Time = Field(default=60 * 10**12, description="After a timeout a flow stays for this to twice this.")
    round: Time = Field(default=0, description="Length of a round; 0: as many ACKs as the window has packets.")


def state(topology: Topology, params: Params, key: int) -> NDArray[np.int64]:
    """No memory at the switches."""
    return np.zeros(0, dtype=np.int64)


def memory(topology: Topology, params: Params, window_packets: int, key: int) -> NDArray[np.int64]:
    """The parameters, and no path yet."""
    own = np.zeros(_WORDS, dtype=np.int64)
    own[: _ROUND + 1] = round(params.share * 1024), params.rounds, params.idle_rounds, params.suspend, params.round
    return own


@entropy_policy
def spread(own, now, flow, packet, window, key):  # type: ignore[no-untyped-def]
    idle = now - own[_SENT] > (own[_ROUND] if own[_ROUND] > 0 else _IDLE)
    if own[_NOW_AT] == 0 or (idle and own[_CONGESTED] >= own[_IDLE_ROUNDS] and now >= own[_STAY]):
        own[_MOVE] = 1
    if own[_MOVE]:
        own[_MOVE] = 0
        own[_CONGESTED] = 0
        own[_NOW_AT] = key % _ENTROPIES + 1
    own[_SENT] = now
    own[_WINDOW] = window
    return own[_NOW_AT] - 1


@entropy_feedback
def hear(own, now, kind, entropy, key):  # type: ignore[no-untyped-def]
    if kind == LOST:
        own[_STAY] = now + own[_SUSPEND] + (key % own[_SUSPEND] if own[_SUSPEND] > 0 else 0)
        own[_MOVE] = 1
        return
    own[_ACKS] += 1
    own[_MARKED] += kind == MARKED
    ended = now - own[_BEGAN] >= own[_ROUND] if own[_ROUND] > 0 else own[_ACKS] >= own[_WINDOW]
    if ended:
        congested = own[_MARKED] * 1024 >= own[_SHARE] * own[_ACKS]
        own[_CONGESTED] = own[_CONGESTED] + 1 if congested else 0
        own[_BEGAN], own[_ACKS], own[_MARKED] = now, 0, 0
        if own[_CONGESTED] >= own[_ROUNDS] and now >= own[_STAY]:
            own[_MOVE] = 1
