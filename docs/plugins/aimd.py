"""A window that grows by a packet a round trip, and is halved once a round trip where a packet was marked or lost.

Source: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks",
Computer Networks and ISDN Systems 17, 1989: additive increase and multiplicative decrease converge to fair shares.
"""

import numpy as np

from sim.dispatch.api import (
    FREE,
    ON_ACK,
    WINDOW,
    Field,
    PolicyParams,
    congestion_control,
)

LEVEL = "transport"

MTU, INCREASE, FACTOR, RECOVER = range(FREE, FREE + 4)  # the flow's own words begin at FREE


class Params(PolicyParams):
    increase: float = Field(default=1.0, gt=0, description="Packets that the window grows by in a round trip.")
    decrease: float = Field(default=0.5, gt=0, lt=1, description="What is left of the window after a decrease.")


def memory(params, facts):
    """What a flow begins with: `facts` has the fabric's RTT, BDP, packet size and more."""
    own = np.zeros(FREE + 4)
    own[WINDOW] = max(facts.bdp, facts.mtu)  # bytes on the wire that may be in flight
    own[MTU], own[INCREASE], own[FACTOR] = facts.mtu, params.increase, params.decrease
    return own


def marking(params, facts):
    """The marking that it asks of switches where the scenario has none: kmin, kmax, probability."""
    return max(facts.bdp // 4, facts.mtu), max(facts.bdp // 4, facts.mtu), 1.0


@congestion_control  # compiled: numbers and loops; called for every ACK, loss and timeout of every flow
def react(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):
    if event == ON_ACK and marked == 0:
        own[WINDOW] += own[INCREASE] * own[MTU] * acked / own[WINDOW]
    elif sequence >= own[RECOVER]:  # one decrease for all packets that were in flight
        own[RECOVER] = following
        own[WINDOW] = max(own[WINDOW] * own[FACTOR], own[MTU])
