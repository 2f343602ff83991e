"""Instances of admission for the programs of this folder: semi-random networks with random demands.

As in ``models/instances.py``, which says what load is: mean degree 4, cables of 1, 10, 40 or 100 Gbps, bandwidths from
10 to 1000 Mbps before they are scaled to the load, priorities 1 to 3, and the 8 shortest paths of each pair by hops.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.candidates import Candidates
from models.demands import Demands
from models.instances import random_demands, semi_random
from models.topology import Topology
from solvers.admission.build import problem_of
from solvers.admission.problem import Problem

DEGREE = 4
PATHS = 8


class Instance(NamedTuple):
    """A network of so many nodes and so many demands that offer it a load."""

    nodes: int
    flows: int
    load: float
    seed: int

    def network(self) -> tuple[Topology, Demands]:
        """ValueError where so few demands can't offer the load."""
        topology = semi_random(self.nodes, DEGREE, self.seed, hosts_per_node=0)
        return topology, random_demands(topology, self.flows, self.load, self.seed)

    def problem(self) -> Problem:
        topology, demands = self.network()
        return problem_of(topology, demands, Candidates(topology, PATHS))


def drawn(number: int, load: float) -> Instance:
    """Instance ``number`` of the setting: 10 to 50 nodes, 100 to 5,000 flows, even in the logarithm.

    Where the demands drawn can't offer the load, the next draw counts.
    """
    rng = np.random.default_rng([20200922, number])
    while True:
        nodes, flows = int(rng.integers(10, 51)), round(100 * 50 ** rng.random())
        instance = Instance(nodes, flows, load, int(rng.integers(10**6)))
        try:
            instance.network()
        except ValueError:
            continue
        return instance
