"""Rail-optimised clusters: NIC i of every node hangs on the same leaf as NIC i of the other nodes, its rail.

With many nodes, ``nodes_per_leaf`` of them share their leaves: leaf g x rails + i is that of rail i for group g of
nodes. Every leaf has one cable to every spine. Without spines (``spines`` 0, rail-only: Wang et al., "Rail-only", 2023)
GPUs on different rails of different nodes don't reach each other, as GPUs don't forward; collectives that change the
rail inside the node, such as the two-level ones, do without.
"""

from __future__ import annotations

from models.builders import gpu_cluster
from models.builders.gpu_cluster import ScaleUp
from models.topology import Topology, TopologyBuilder


def build(
    nodes: int,
    gpus_per_node: int,
    nics_per_gpu: float,
    scale_up: ScaleUp,
    pcie: tuple[int, int],
    nic_link: tuple[int, int],
    fabric_link: tuple[int, int],
    nodes_per_leaf: int | None = None,
    spines: int | None = None,
) -> Topology:
    """``nodes_per_leaf`` defaults to all nodes, ``spines`` to as many as a leaf has NICs (full bisection).

    ``nic_link`` (NIC to leaf), ``fabric_link`` (leaf to spine) and ``pcie`` are (bit/s, ps).
    """
    rails = gpu_cluster.nics_per_node(nodes, gpus_per_node, nics_per_gpu)
    each = nodes if nodes_per_leaf is None else nodes_per_leaf
    if each < 1:
        raise ValueError(f"nodes_per_leaf is {each}; at least 1 is due")
    if nodes % each:
        near = sorted((count for count in range(1, nodes + 1) if nodes % count == 0), key=lambda n: abs(n - each))[:2]
        raise ValueError(
            f"nodes_per_leaf: {nodes} nodes are no multiple of {each}; nearest possible:"
            f" {' or '.join(str(count) for count in sorted(near))}"
        )
    spines = each if spines is None else spines
    if spines < 0:
        raise ValueError(f"spines is {spines}; 0 (rail-only) or more are possible")
    builder = TopologyBuilder("rail")
    nics = nodes * rails
    leaves = nodes // each * rails
    for nic in range(nics):
        builder.add_node(f"host{nic}", host=True, tier=0)
    for leaf in range(leaves):
        builder.add_node(f"leaf{leaf}", host=False, tier=1)
    for spine in range(spines):
        builder.add_node(f"spine{spine}", host=False, tier=2)
    for nic in range(nics):
        node, rail = divmod(nic, rails)
        builder.add_cable(f"host{nic}", f"leaf{node // each * rails + rail}", *nic_link)
    for leaf in range(leaves):
        for spine in range(spines):
            builder.add_cable(f"leaf{leaf}", f"spine{spine}", *fabric_link)
    fabric = builder.freeze({0: "host", 1: "leaf", 2: "spine"})
    return gpu_cluster.assemble("rail", fabric, nodes, gpus_per_node, nics_per_gpu, scale_up, pcie)
