"""Exact maximum flow through some links of a topology."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from models.topology import Topology


def flow_between(topology: Topology, links: NDArray[np.int32], rate: NDArray[np.int64], src: int, dst: int) -> int:
    """Exact maximum flow in bit/s from node ``src`` to node ``dst`` through ``links`` of the given rates."""
    unit = int(np.gcd.reduce(rate))
    if unit == 0:
        return 0
    scaled = rate // unit
    tails, heads = topology.link_src[links], topology.link_dst[links]
    if int(scaled.sum()) < 2**31:  # SciPy counts in int32
        shape = (topology.nodes, topology.nodes)
        graph = coo_array((scaled.astype(np.int32), (tails, heads)), shape=shape).tocsr()
        return int(maximum_flow(graph, src, dst).flow_value) * unit
    import networkx  # slow to import, and hardly ever needed

    network = networkx.DiGraph()
    network.add_nodes_from([src, dst])
    for tail, head, value in zip(tails.tolist(), heads.tolist(), scaled.tolist(), strict=True):
        before = network.get_edge_data(tail, head, {"capacity": 0})["capacity"]
        network.add_edge(tail, head, capacity=before + value)
    return int(networkx.maximum_flow_value(network, src, dst)) * unit
