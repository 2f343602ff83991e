"""Clusters of GPUs: nodes with scale-up links inside, and NICs on any fabric that another builder made.

Ranks and NICs are numbered node by node: GPU rank r is ``host<r>`` of node r // gpus_per_node, and NIC i of the cluster
stands where the fabric had its host i. A GPU reaches each of its NICs over PCIe, and hands over no more than the NIC
sends, as a NIC fetches what it sends. Several GPUs that share one NIC hang on a PCIe switch with it: each GPU has a
port there (``pcie<r>``) between itself and the NIC, so that GPUs of a node are closer to each other over scale-up links
than through their NIC. GPUs never forward.

Scale-up: every GPU has a cable to each of the node's NVSwitches (``planes``; one stands for all, as NVLink spreads
every transfer over its planes), or one to every other GPU (mesh). Both divide the rate of a GPU evenly over its cables.
"""

from __future__ import annotations

from itertools import pairwise
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.topology import NIC, NVSWITCH, PCIE, Attachment, Topology, TopologyBuilder

_TIER = {0: "host", NVSWITCH: "nvswitch", PCIE: "pcie", NIC: "nic"}
_NEAR_ENOUGH = 0.005  # nics_per_gpu may be a rounded 0.333


class ScaleUp(NamedTuple):
    """``rate``: bit/s that one GPU sends, and receives, over all its scale-up links; ``delay``: ps of each link."""

    kind: str  # nvswitch or mesh
    rate: int
    delay: int
    planes: int = 1  # NVSwitches of a node


def build(
    fabric: Topology,
    nodes: int,
    gpus_per_node: int,
    nics_per_gpu: float,
    scale_up: ScaleUp,
    pcie: tuple[int, int],
) -> Topology:
    """``fabric`` has one host for every NIC, whose links are the NICs' own; ``pcie`` is (bit/s, ps) of a PCIe link.

    ValueError, with what would fit, for other shapes.
    """
    return assemble("gpu_cluster", fabric, nodes, gpus_per_node, nics_per_gpu, scale_up, pcie)


def assemble(
    kind: str,
    fabric: Topology,
    nodes: int,
    gpus_per_node: int,
    nics_per_gpu: float,
    scale_up: ScaleUp,
    pcie: tuple[int, int],
) -> Topology:
    """A topology of this kind: nodes on the hosts of ``fabric``."""
    nics = nics_per_node(nodes, gpus_per_node, nics_per_gpu)
    if fabric.hosts != nodes * nics:
        raise ValueError(
            f"fabric: it has {fabric.hosts} hosts, but {nodes} nodes with {nics} NICs each have {nodes * nics};"
            f" the fabric needs exactly one host a NIC"
        )
    builder = TopologyBuilder(kind)
    gpus = nodes * gpus_per_node
    shared = nics < gpus_per_node
    for gpu in range(gpus):
        builder.add_node(f"host{gpu}", host=True, tier=0)
    planes = _planes(scale_up, gpus_per_node)
    for switch in range(nodes * planes):
        builder.add_node(f"nvswitch{switch}", host=False, tier=NVSWITCH)
    for gpu in range(gpus if shared else 0):
        builder.add_node(f"pcie{gpu}", host=False, tier=PCIE)
    for nic in range(nodes * nics):
        builder.add_node(f"nic{nic}", host=False, tier=NIC)
    names = _fabric_names(fabric, builder)
    for name, tier in zip(names[fabric.hosts :], fabric.tier[fabric.hosts :].tolist(), strict=True):
        builder.add_node(name, host=False, tier=tier if tier < 0 else tier + NIC)
    for node in range(nodes):
        _wire_node(builder, node, gpus_per_node, planes, scale_up)
    nic_of = _nics_of_gpus(gpus_per_node, nics)
    uplink = fabric.host_rate.tolist()
    for gpu in range(gpus):
        node, local = divmod(gpu, gpus_per_node)
        for own in nic_of[local].tolist():
            nic = node * nics + own
            way = [f"host{gpu}", f"pcie{gpu}", f"nic{nic}"] if shared else [f"host{gpu}", f"nic{nic}"]
            for a, b in pairwise(way):
                builder.add_cable(a, b, min(pcie[0], uplink[nic]), pcie[1], back=pcie)
    _copy_cables(builder, fabric, names)
    rank = np.arange(gpus, dtype=np.int64)
    first_nic = gpus + nodes * planes + (gpus if shared else 0)
    node_of, local_of = rank // gpus_per_node, rank % gpus_per_node
    attachment = Attachment(
        domain=node_of,
        rail=nic_of[local_of, 0].astype(np.int64) // nic_of.shape[1],
        nics=(first_nic + node_of[:, None] * nics + nic_of[local_of]).astype(np.int32),
    )
    tier_name = _TIER | {tier + NIC: name for tier, name in fabric.tier_name.items() if tier > 0}
    return builder.freeze(tier_name | {t: n for t, n in fabric.tier_name.items() if t < 0}, attachment)


def nics_per_node(nodes: int, gpus_per_node: int, nics_per_gpu: float) -> int:
    """A whole number of NICs for every GPU, or of GPUs for every NIC. ValueError, with the nearest, for others."""
    for name, value in (("nodes", nodes), ("gpus_per_node", gpus_per_node)):
        if value < 1:
            raise ValueError(f"{name} is {value}; at least 1 is due")
    if not nics_per_gpu > 0:
        raise ValueError(f"nics_per_gpu is {nics_per_gpu:g}; it must be above 0, such as 1, 2 or 0.5")
    if nics_per_gpu >= 1:
        if nics_per_gpu != int(nics_per_gpu):
            low = int(nics_per_gpu)
            raise ValueError(
                f"nics_per_gpu is {nics_per_gpu:g}; above 1 it is a whole number, such as {low} or {low + 1}"
            )
        return gpus_per_node * int(nics_per_gpu)
    sharers = round(1 / nics_per_gpu)
    if abs(sharers * nics_per_gpu - 1) > _NEAR_ENOUGH or gpus_per_node % sharers:
        possible = [count for count in range(1, gpus_per_node + 1) if gpus_per_node % count == 0]
        possible.sort(key=lambda count: abs(log(count * nics_per_gpu)))
        shown = " or ".join(f"{1 / count:.6g}" for count in sorted(possible[:2], reverse=True))
        raise ValueError(
            f"nics_per_gpu: {nics_per_gpu:g} NICs a GPU don't divide {gpus_per_node} GPUs evenly; nearest possible:"
            f" {shown}"
        )
    return gpus_per_node // sharers


def _nics_of_gpus(gpus_per_node: int, nics: int) -> NDArray[np.int64]:
    """[GPUs of a node, NICs of each] which of the node's NICs are a GPU's."""
    local = np.arange(gpus_per_node, dtype=np.int64)[:, None]
    each = max(1, nics // gpus_per_node)
    return (local // (gpus_per_node // nics) if nics < gpus_per_node else local * each) + np.arange(each)


def _planes(scale_up: ScaleUp, gpus_per_node: int) -> int:
    """NVSwitches of a node; a lone GPU needs none."""
    if scale_up.kind not in ("nvswitch", "mesh"):
        raise ValueError(f"scale_up: unknown kind '{scale_up.kind}'; nvswitch or mesh")
    if scale_up.planes < 1:
        raise ValueError(f"scale_up: planes is {scale_up.planes}; at least 1 is due")
    cables = scale_up.planes if scale_up.kind == "nvswitch" else gpus_per_node - 1
    if scale_up.rate < max(1, cables):
        raise ValueError(f"scale_up: a rate of {scale_up.rate} bit/s is too little for {cables} cables")
    return scale_up.planes if scale_up.kind == "nvswitch" and gpus_per_node > 1 else 0


def _wire_node(builder: TopologyBuilder, node: int, gpus_per_node: int, planes: int, scale_up: ScaleUp) -> None:
    """The scale-up links of one node. Rates are rounded down to whole bit/s."""
    gpus = range(node * gpus_per_node, (node + 1) * gpus_per_node)
    if planes:
        for gpu in gpus:
            for switch in range(node * planes, (node + 1) * planes):
                builder.add_cable(f"host{gpu}", f"nvswitch{switch}", scale_up.rate // planes, scale_up.delay)
        return
    for gpu in gpus:
        for other in range(gpu + 1, gpus.stop):
            builder.add_cable(f"host{gpu}", f"host{other}", scale_up.rate // (gpus_per_node - 1), scale_up.delay)


def _fabric_names(fabric: Topology, builder: TopologyBuilder) -> list[str]:
    """The names of the fabric's nodes in the cluster: its hosts are NICs now."""
    names = [f"nic{host}" for host in range(fabric.hosts)] + fabric.node_name[fabric.hosts :]
    taken = next((name for name in names[fabric.hosts :] if builder.has_node(name)), None)
    if taken is not None:
        raise ValueError(f"fabric: its switch '{taken}' has the name of one of the cluster's own nodes; rename it")
    return names


def _copy_cables(builder: TopologyBuilder, fabric: Topology, names: list[str]) -> None:
    """The fabric's cables, with names of their own where they had such."""
    src, dst = fabric.link_src.tolist(), fabric.link_dst.tolist()
    rate, delay = fabric.link_rate.tolist(), fabric.link_delay.tolist()
    for cable, label in enumerate(fabric.cable_name):
        there, back = 2 * cable, 2 * cable + 1
        a, b = src[there], dst[there]
        derived = label.startswith(f"{fabric.node_name[a]}-{fabric.node_name[b]}")
        builder.add_cable(
            names[a],
            names[b],
            rate[there],
            delay[there],
            back=(rate[back], delay[back]),
            name=None if derived else label,
        )
