"""The keys of clusters of GPUs: nodes with scale-up links inside, NICs, and the fabric between them."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from models.builders.gpu_cluster import nics_per_node
from sim.scenario.fields import Kinds, Section, fault, key, one_of, words
from sim.scenario.quantities import Rate, Time
from sim.scenario.topologies import FABRICS, Fabric, LeafSpine, Link

_DGX = "DGX H100"
_SUPERPOD = "DGX SuperPOD H100"


class ScaleUp(Section):
    """The links between the GPUs of a node: over NVSwitches, or a cable between any two of them."""

    kind: words("nvswitch", "mesh") = key("nvswitch", "nvswitch or mesh", _DGX)
    rate: Rate = key(
        3600 * 10**9, "of one GPU, each way, over all its scale-up links", "H100, H200: 18 NVLink 4 of 25 GB/s", gt=0
    )
    delay: Time = key(250_000, "propagation delay of each link")
    planes: int = key(1, "NVSwitches of a node; one stands for all, since NVLink spreads every transfer", ge=1)

    @model_validator(mode="after")
    def _has_switches(self) -> ScaleUp:
        if self.kind == "mesh" and "planes" in self.model_fields_set:
            raise fault("planes are NVSwitches; a mesh has none", "planes")
        return self

    def idle(self) -> set[str]:
        return {"planes"} if self.kind == "mesh" else set()


class Pcie(Link):
    """Both directions of a PCIe link."""

    rate: Rate = key(504 * 10**9, "rate of each direction", "PCIe 5.0 x16: 32 GT/s a lane, 128b/130b", gt=0)
    delay: Time = key(
        250_000, "propagation delay", "half of a DMA read's round trip, about 0.5 us (Neugebauer et al. 2018)"
    )


class _Cluster(Fabric):
    kind: Literal["gpu_cluster", "rail"]
    nodes: int = key(4, "nodes, each a scale-up domain", ge=1)
    gpus_per_node: int = key(8, "GPUs of a node", _DGX, ge=1)
    nics_per_gpu: float = key(1, "NICs of a GPU, or a fraction: 0.5 is one NIC for two GPUs", _DGX, gt=0)
    scale_up: ScaleUp = key(ScaleUp(), "links inside a node")
    pcie: Pcie = key(Pcie(), "GPU to NIC; where GPUs share a NIC each GPU to its PCIe port, and each port to the NIC")

    def _nics_per_node(self) -> int:
        try:
            return nics_per_node(self.nodes, self.gpus_per_node, self.nics_per_gpu)
        except ValueError as error:
            raise fault(str(error), "nics_per_gpu") from None

    def _inside(self) -> int:
        """Cables inside the nodes."""
        gpus, others = self.nodes * self.gpus_per_node, self.gpus_per_node - 1
        scale_up = gpus * others // 2 if self.scale_up.kind == "mesh" else gpus * self.scale_up.planes
        return scale_up + 2 * gpus * max(1, int(self.nics_per_gpu))


class GpuCluster(_Cluster):
    """Nodes of GPUs with NVLink inside, their NICs on any other topology, whose hosts the NICs stand for."""

    kind: Literal["gpu_cluster"] = "gpu_cluster"
    fabric: one_of(Kinds("fabric", FABRICS, ("gpu_cluster", "rail"), elsewhere="is a cluster itself")) = key(
        LeafSpine(), "between the NICs, any topology; what is not written of its size follows from the NICs"
    )

    @model_validator(mode="after")
    def _sizes(self) -> GpuCluster:
        each = self._nics_per_node()
        self.__dict__["fabric"] = self.fabric.sized_for(self.nodes * each, each)
        return self

    def hosts_and_cables(self) -> tuple[int, int]:
        found = self.fabric.hosts_and_cables()
        between = found[1] if found else self.nodes * self._nics_per_node()
        return self.nodes * self.gpus_per_node, self._inside() + between


class Rail(_Cluster):
    """Rail-optimised cluster: NIC i of every node hangs on the same leaf, its rail; spines join the rails."""

    kind: Literal["rail"] = "rail"
    nodes_per_leaf: int | None = key(None, "nodes that share their leaves; absent: all", _SUPERPOD, ge=1)
    spines: int | None = key(
        None,
        "spine switches, one cable to each leaf; 0: rail-only; absent: as many as NICs on a leaf",
        "full bisection",
        ge=0,
    )
    nic_link: Link = key(Link(), "NIC to leaf")
    fabric_link: Link = key(Link(), "leaf to spine")

    @model_validator(mode="after")
    def _divides(self) -> Rail:
        self._nics_per_node()
        return self

    def hosts_and_cables(self) -> tuple[int, int]:
        each, rails = self.nodes_per_leaf or self.nodes, self._nics_per_node()
        spines = each if self.spines is None else self.spines
        leaves = -(-self.nodes // each) * rails
        return self.nodes * self.gpus_per_node, self._inside() + self.nodes * rails + leaves * spines


TOPOLOGIES: dict[str, type[Fabric]] = {**FABRICS, "gpu_cluster": GpuCluster, "rail": Rail}
Topology = one_of(Kinds("topology", TOPOLOGIES))
