"""A constant window: the congestion control that does nothing.

The transport around it is that of the other congestion controls: selective acknowledgement, a timer a packet. With
trimming it shows what a load balancer does alone.

Source: own; the default window of 1.5 BDP as in uet-htsim.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.dispatch.api import FREE, WINDOW, Field, PathFacts, PolicyParams, SizeOrAuto, congestion_control

uses_telemetry = False
uses_sent = False


class Params(PolicyParams):
    window: SizeOrAuto = Field("auto", description="bytes on the wire in flight at most; auto: 1.5 BDP")


def memory(params: Params, facts: PathFacts) -> NDArray[np.float64]:
    """The window, nothing else."""
    own = np.zeros(FREE)
    own[WINDOW] = facts.bdp * 3 // 2 if params.window == "auto" else params.window
    return own


@congestion_control
def react(  # type: ignore[no-untyped-def]
    own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key
):
    pass
