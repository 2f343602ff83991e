"""How the largest switch queue grows with the message length under packet policies.

Source: McClure et al., arXiv 2507.21372v2: Theta(m) for simple round robin and join-shortest-queue, Omega(sqrt m) for
random spraying, Theta(1) for rotation per destination. Random derangements on a k = 8 fat-tree; hosts send m full
packets at line rate from time 0 into unlimited buffers, all rates and delays equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from models.builders import fat_tree
from models.paths import Routes
from sim.network.protocol import Stream
from sim.processes.pairs import derangement
from tests.validation.world import MTU, drain, packet_choice, packets, switch_links

LINK = (100 * 10**9, 500_000)
LENGTHS = (64, 128, 256, 512, 1024, 2048)


class Expected(NamedTuple):
    """A policy's slope of log queue over log m, and its tolerance."""

    policy: str
    parameters: dict[str, Any]
    slope: float
    tolerance: float


EXPECTED = (
    Expected("round_robin", {"start": "random"}, 1.0, 0.15),
    Expected("least_queue", {"samples": "all", "ties": "first"}, 1.0, 0.15),
    Expected("random", {}, 0.5, 0.1),
    Expected("destination_rotation", {}, 0.0, 0.1),
)


def largest_queue(policy: str, parameters: dict[str, Any], length: int, seed: int, k: int = 8) -> int:
    """Bytes of the longest output queue of a switch in one run."""
    topology = fat_tree.build(k=k, host_link=LINK, fabric_link=LINK)
    rng = np.random.default_rng(seed)
    partner = derangement(rng, topology.hosts).tolist()
    routes = Routes(topology)
    choice = packet_choice(policy, topology, int(rng.integers(2**63)), **parameters)
    network = packets(topology, routes, choice=choice, key=int(rng.integers(2**63)))
    for host, target in enumerate(partner):
        network.add(Stream(host, host, target, length * MTU, None, notify=False))
    network.commit(0)
    end = drain(network)
    return int(network.link_totals(end)["queue_max_bytes"][switch_links(topology)].max())


def queues(expected: Expected, lengths: Sequence[int], permutations: int) -> list[float]:
    """Mean over ``permutations`` of the longest queue in bytes, by message length in packets."""
    return [
        float(
            np.mean([largest_queue(expected.policy, expected.parameters, length, seed) for seed in range(permutations)])
        )
        for length in lengths
    ]


def slope(lengths: Sequence[int], means: Sequence[float]) -> float:
    """Least-squares slope in log-log."""
    return float(np.polyfit(np.log(lengths), np.log(means), 1)[0])
