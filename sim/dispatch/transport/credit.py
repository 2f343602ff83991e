"""Receiver-paced credit: senders spend what receivers grant; no window and no pacing at the sender.

Source: EQDS (Olteanu et al., "An Edge-Queued Datagram Service for all Datacenter Traffic", NSDI 2022) as RCCC in the
public simulator of the Ultra Ethernet consortium, uet-htsim: grants of four packets' payload, paced at 0.99 of the
link's rate. A flow begins with credit for 1.5 BDP, which the first answer takes back.

The engine holds the credit. It begins with what the start window says; the first packet then opens the window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import FREE, WINDOW, Field, PathFacts, PolicyParams, Size, SizeOrAuto, congestion_control
from sim.dispatch.transport._marking import share_of_bdp

uses_telemetry = False
uses_sent = True

_NO_LIMIT = 2.0**62


class Params(PolicyParams):
    window: SizeOrAuto = Field("auto", description="credit at the start, and at most; auto: 1.5 BDP")
    share: float = Field(0.99, gt=0, le=1, description="of the receiver's link rate that is granted")
    packets: int = Field(4, ge=1, le=1024, description="packets' payload granted at a time")
    ack_every: Size = Field(16384, gt=0, description="bytes on the wire after which an ACK is due")


def memory(params: Params, facts: PathFacts) -> NDArray[np.float64]:
    """The credit at the start, in the place of the window."""
    own = np.zeros(FREE)
    own[WINDOW] = facts.bdp * 3 // 2 if params.window == "auto" else params.window
    return own


def options(params: Params, facts: PathFacts) -> dict[str, object]:
    """What the transport around it does."""
    return {
        "credit": True,
        "credit_share": params.share,
        "credit_packets": params.packets,
        "ack_every": params.ack_every,
    }


def marking(params: Params, facts: PathFacts) -> tuple[int, int, float]:
    """As uet-htsim has it: marks steer load balancers, not the credit."""
    return share_of_bdp(facts)


@congestion_control
def react(  # type: ignore[no-untyped-def]
    own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    own[WINDOW] = _NO_LIMIT
