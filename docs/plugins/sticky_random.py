"""Every switch keeps to a random port for each destination, and draws a new one after some packets.

Source: own; between ECMP (stays for ever) and packet spraying (a new port for every packet).
"""

import numpy as np

from sim.dispatch.api import Field, PolicyParams, packet_policy

LEVEL = "packet"
uses_queues = False  # True: `queues` holds the bytes waiting at each candidate port


class Params(PolicyParams):
    stay: int = Field(default=8, ge=1, description="Packets on one port, on average.")


def state(topology, params, key):
    """The memory: the two parameters of `pick`, then a random number for every (switch, destination)."""
    numbers = np.random.default_rng(key).integers(0, 2**62, topology.nodes * topology.hosts)
    return np.concatenate([np.array([params.stay, topology.hosts]), numbers])


@packet_policy  # compiled: loops and numbers, no lists or objects
def pick(state, queues, n, now, node, source, destination, edge, flow, packet, key):
    place = 2 + node * state[1] + destination
    if key % state[0] == 0:  # `key` is this decision's own random number
        state[place] = key // state[0]
    return state[place] % n  # an index into the n candidate ports
