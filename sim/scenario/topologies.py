"""The keys of every topology kind. Names equal the builders' in ``models/builders``; defaults are Ethereal's set-up.

``hosts_and_cables`` is the size before anything is built, so that absurd scenarios are refused; None where only the
file tells. ``sized_for`` chooses the sizes that are not written so that a cluster's fabric has a host for each NIC.
The keys of clusters are in ``clusters.py``.
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal

from pydantic import model_validator

from sim.scenario.fields import CONVENTION, ETHEREAL, Section, absent, fault, key, list_of
from sim.scenario.quantities import Rate, Time

_HALF = "half of Ethereal's set-up"
_KIM = "Kim et al. 2008: balanced at a = 2p = 2h"
RATE, DELAY = 400 * 10**9, 500 * 10**3  # bit/s, ps


class Link(Section):
    """Both directions of a cable."""

    rate: Rate = key(RATE, "rate of each direction", ETHEREAL, gt=0)
    delay: Time = key(DELAY, "propagation delay", ETHEREAL)


def _count(default: Any, says: str, source: str = ETHEREAL, least: int = 1) -> Any:
    return key(default, says, source, ge=least)


class Fabric(Section):
    """What all topologies can tell of themselves."""

    def hosts_and_cables(self) -> tuple[int, int] | None:
        """0 hosts: their number is not known."""
        return None

    def sized_for(self, nics: int, per_node: int) -> Fabric:
        """Itself with sizes for ``nics`` hosts, ``per_node`` of each node, where they are not written."""
        return self

    def _with(self, nics: int, **sizes: int) -> Fabric:
        """These sizes, where they are not written."""
        free = {name: size for name, size in sizes.items() if name not in self.model_fields_set}
        return self.with_values(free, f"for the cluster's {nics} NICs")


class LeafSpine(Fabric):
    """Two tiers: every leaf has one cable to every spine."""

    kind: Literal["leaf_spine"] = "leaf_spine"
    leaves: int = _count(8, "leaf switches", _HALF)
    spines: int = _count(8, "spine switches", _HALF)
    hosts_per_leaf: int = _count(16, "hosts of each leaf")
    host_link: Link = key(Link(), "host to leaf")
    fabric_link: Link = key(Link(), "leaf to spine")

    def hosts_and_cables(self) -> tuple[int, int]:
        hosts = self.leaves * self.hosts_per_leaf
        return hosts, hosts + self.leaves * self.spines

    def sized_for(self, nics: int, per_node: int) -> Fabric:
        """A node a leaf, and full bisection where host and fabric links are alike."""
        each = per_node
        if "hosts_per_leaf" in self.model_fields_set:
            each = self.hosts_per_leaf
        elif "leaves" in self.model_fields_set:
            each = nics // self.leaves
        if each == 0 or nics % each:
            return self
        return self._with(nics, leaves=nics // each, hosts_per_leaf=each, spines=each)


class FatTree(Fabric):
    """Folded Clos of k-port switches in two or three tiers (Al-Fares et al. 2008). Either ``k`` or ``hosts``."""

    kind: Literal["fat_tree"] = "fat_tree"
    k: int | None = key(None, "ports of a switch, even: k^3/4 hosts in 3 tiers, k^2/2 in 2; 8 without hosts", ge=2)
    hosts: int | None = key(None, "hosts; the least k that fits exactly is taken", ge=1)
    tiers: int = key(3, "2 (edge, core) or 3 (edge, agg, core)", ge=2, le=3)
    oversubscription: float = key(
        1, "host rate over uplink rate at the lowest switch, by fewer uplinks", "full bisection", ge=1
    )
    host_link: Link = key(Link(), "host to edge")
    fabric_link: Link = key(Link(), "switch to switch")

    @model_validator(mode="after")
    def _one_size(self) -> FatTree:
        if self.k is not None and self.hosts is not None:
            raise fault("give either k or hosts, not both", "hosts")
        return self

    def hosts_and_cables(self) -> tuple[int, int]:
        hosts = self.hosts
        if hosts is None:
            k = self.k or 8
            hosts = k**3 // 4 if self.tiers == 3 else k**2 // 2
        return hosts, hosts * self.tiers

    def sized_for(self, nics: int, per_node: int) -> Fabric:
        return self._with(nics, hosts=nics) if self.k is None else self


class Dragonfly(Fabric):
    """Groups of fully meshed routers, groups joined all to all (Kim et al. 2008)."""

    kind: Literal["dragonfly"] = "dragonfly"
    groups: int | None = key(None, "groups; absent: the largest number, a x h + 1", _KIM, ge=1)
    routers_per_group: int = _count(4, "routers of a group (a)", _KIM)
    hosts_per_router: int | None = key(None, "hosts of a router (p); absent: a / 2", _KIM, ge=1)
    global_links_per_router: int | None = key(None, "links of a router to other groups (h); absent: a / 2", _KIM, ge=1)
    host_link: Link = key(Link(), "host to router")
    fabric_link: Link = key(Link(), "router to router of a group")
    global_link: Link | None = key(None, "group to group; absent: as fabric_link")

    def hosts_and_cables(self) -> tuple[int, int]:
        half = max(1, self.routers_per_group // 2)
        ports = self.global_links_per_router or half
        groups = self.groups or self.routers_per_group * ports + 1
        routers = groups * self.routers_per_group
        hosts = routers * (self.hosts_per_router or half)
        return hosts, hosts + routers * (self.routers_per_group - 1) // 2 + routers * ports // 2

    def sized_for(self, nics: int, per_node: int) -> Fabric:
        group = self.routers_per_group * (self.hosts_per_router or max(1, self.routers_per_group // 2))
        return self._with(nics, groups=nics // group) if nics % group == 0 else self


class Torus(Fabric):
    """A grid of routers with wrap-around in every dimension."""

    kind: Literal["torus"] = "torus"
    dims: list_of(int, "sizes") = key((4, 4, 4), "routers along each dimension")
    hosts_per_router: int = _count(1, "hosts of a router", "direct networks have one")
    host_link: Link = key(Link(), "host to router")
    fabric_link: Link = key(Link(), "router to router")

    @model_validator(mode="after")
    def _sizes(self) -> Torus:
        if not self.dims:
            raise fault("a torus needs at least one dimension", "dims")
        for index, size in enumerate(self.dims):
            if size < 1:
                raise fault(f"a dimension of a torus is at least 1, not {size}", "dims", index)
        return self

    def hosts_and_cables(self) -> tuple[int, int]:
        routers = prod(self.dims)
        hosts = routers * self.hosts_per_router
        return hosts, hosts + routers * len(self.dims)

    def sized_for(self, nics: int, per_node: int) -> Fabric:
        routers = prod(self.dims)
        return self._with(nics, hosts_per_router=nics // routers) if nics % routers == 0 else self


class Star(Fabric):
    """All hosts on one switch."""

    kind: Literal["star"] = "star"
    hosts: int = _count(8, "hosts", CONVENTION)
    host_link: Link = key(Link(), "host to switch")

    def hosts_and_cables(self) -> tuple[int, int]:
        return self.hosts, self.hosts

    def sized_for(self, nics: int, per_node: int) -> Fabric:
        return self._with(nics, hosts=nics)


class Edge(Section):
    """One cable: both directions, each at the full rate."""

    src: str = key(says="node at one end")
    dst: str = key(says="node at the other end")
    rate: Rate = key(RATE, "rate of each direction", ETHEREAL, gt=0)
    delay: Time = key(DELAY, "propagation delay", ETHEREAL)
    parallel: int = _count(1, "number of such cables", "a plain cable")
    name: str | None = key(None, "the cable's own name; absent: src-dst", "names of this program")


class Edges(Fabric):
    """Any graph, as a list of cables: a CSV file ``src,dst,rate,delay[,parallel,name]`` or ``links``."""

    kind: Literal["edges"] = "edges"
    file: str | None = key(None, "CSV file beside the scenario")
    links: list_of(Edge, "cables", least=1) | None = key(None, "the cables, instead of a file")
    hosts: list_of(str, "node names") | None = key(
        None, "the hosts, in order of rank; absent: nodes with one cable, else all"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Edges:
        if self.file is None and self.links is None:
            raise absent("file", "edges come from a file or from links")
        if self.file is not None and self.links is not None:
            raise fault("give either file or links, not both", "links")
        return self

    def hosts_and_cables(self) -> tuple[int, int] | None:
        return None if self.links is None else (0, sum(link.parallel for link in self.links))


class GraphML(Fabric):
    """A GraphML file, such as the Topology Zoo's; every node is a switch with hosts."""

    kind: Literal["graphml"] = "graphml"
    file: str = key(says="GraphML file beside the scenario")
    rate: Rate = key(10**10, "rate of a cable without one in the file", gt=0)
    delay: Time = key(10**9, "delay of a cable without one in the file")
    host_link: Link = key(Link(), "host to its node")
    hosts_per_node: int = _count(1, "hosts of a node", CONVENTION)


class SNDlib(Fabric):
    """A network file of SNDlib, native or XML; every node is a switch with hosts."""

    kind: Literal["sndlib"] = "sndlib"
    file: str = key(says="SNDlib network file beside the scenario")
    unit: Rate = key(10**6, "rate that a capacity of 1 means", "most of SNDlib's networks count Mbit/s", gt=0)
    modules: int = _count(1, "modules of the first kind where nothing is preinstalled", CONVENTION)
    delay: Time = key(10**9, "delay of a cable whose ends have no coordinates in degrees")
    host_link: Link = key(Link(), "host to its node")
    hosts_per_node: int = _count(1, "hosts of a node", CONVENTION)


class SemiRandom(Fabric):
    """A connected random network in which near nodes are joined more often; every node is a switch with hosts.

    Nodes lie at random in a square; a random spanning tree and further cables until the mean degree is reached, both
    with Waxman's probability. Our reconstruction of the setting of Lopez et al. 2020, which published none.
    """

    kind: Literal["semi_random"] = "semi_random"
    nodes: int = key(20, "switches", "up to 50 in Lopez et al. 2020", ge=2)
    degree: float = key(3, "mean cables of a node", "about that of the Topology Zoo's backbones", gt=0)
    seed: int = key(1, "number of the network; the scenario's seed does not change it", ge=0)
    rates: list_of(Rate, "rates", least=1) = key((10**9, 10**10, 4 * 10**10, 10**11), "rates of cables, equally likely")
    delay: Time = key(5 * 10**9, "delay along a side of the square", "1000 km of fibre")
    locality: float = key(0.2, "scale of the distances that are bridged, of the longest one", "Waxman 1988", gt=0)
    host_link: Link = key(Link(), "host to its node")
    hosts_per_node: int = _count(1, "hosts of a node", CONVENTION)

    def hosts_and_cables(self) -> tuple[int, int]:
        hosts = self.nodes * self.hosts_per_node
        return hosts, hosts + round(self.nodes * self.degree / 2)


class Htsim(Fabric):
    """A ``.topo`` file of csg-htsim or uet-htsim (fat-trees)."""

    kind: Literal["htsim"] = "htsim"
    file: str = key(says=".topo file beside the scenario")


FABRICS: dict[str, type[Fabric]] = {
    "leaf_spine": LeafSpine,
    "fat_tree": FatTree,
    "dragonfly": Dragonfly,
    "torus": Torus,
    "star": Star,
    "edges": Edges,
    "graphml": GraphML,
    "sndlib": SNDlib,
    "semi_random": SemiRandom,
    "htsim": Htsim,
}
