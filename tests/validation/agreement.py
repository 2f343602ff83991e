"""Packets against fluid: completion of collectives where paths are balanced, and how far ECMP is off.

``line_rate``, or a window of two BDP and more; unlimited buffers; fluid links at rate x payload / (payload + header).
"""

from __future__ import annotations

from typing import NamedTuple

from models.builders import leaf_spine
from models.paths import Routes
from models.structure import longest_rtt
from sim.network.protocol import Network
from sim.network.settings import ACK_BYTES
from tests.validation.world import HEADER, MTU, collective, fluid, packets

LINK = (100 * 10**9, 500_000)


class Agreement(NamedTuple):
    """Completion of one operation by packets and in fluid, ps. ``message``: bytes of one flow."""

    algorithm: str
    policy: str
    transport: str
    message: int
    packets: int
    fluid: int

    @property
    def difference(self) -> float:
        return self.packets / self.fluid - 1


def compare(
    algorithm: str, policy: str, transport: str, message: int, spines: int = 4, bdps: int = 2, seed: int = 1
) -> Agreement:
    """An all_to_all (``direct``) or all_gather (others) over 4 leaves x 4 hosts whose least message is ``message``."""
    topology = leaf_spine.build(leaves=4, spines=spines, hosts_per_leaf=4, host_link=LINK, fabric_link=LINK)
    routes = Routes(topology)
    window = None
    if transport == "window":
        rtt = longest_rtt(routes, MTU + HEADER, ACK_BYTES)
        window = bdps * MTU * (-(-rtt * LINK[0] // (8 * 10**12 * (MTU + HEADER))))
    operation = "all_to_all" if algorithm == "direct" else "all_gather"
    both: list[int] = []
    networks: list[Network] = [packets(topology, routes, window=window), fluid(topology, routes, payload_rate=True)]
    for network in networks:
        timers = {"batch_timer": "100ns", "jitter": "50ns"} if policy == "ethereal" and not both else {}
        acks = window is not None and not both
        row = collective(
            operation, algorithm, message * topology.hosts, topology, network, policy, acks=acks, seed=seed, **timers
        )
        both.append(row.time)
    return Agreement(algorithm, policy, transport, message, *both)
