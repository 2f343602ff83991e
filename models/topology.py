"""The network as arrays: nodes, directed links, names. What every engine, policy and check reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import nearest

NVSWITCH, PCIE, NIC = 1, 2, 3  # tiers of a cluster's own switches; those of its fabric come above


class Attachment(NamedTuple):
    """How hosts are grouped and wired, for clusters of GPUs."""

    domain: NDArray[np.int64]  # [hosts]
    rail: NDArray[np.int64]  # [hosts]
    nics: NDArray[np.int32]  # [hosts, n]


@dataclass(frozen=True)
class Topology:
    """Nodes 0..hosts-1 are the hosts (GPU rank r is node r), switches follow. Links are directed; each has a reverse.

    ``tier`` is 0 for hosts, 1 for the switches they hang on, and so on upwards; -1 where tiers have no meaning.
    ``link_rate`` is bit/s, ``link_delay`` ps (propagation). Link 2c and 2c+1 are the two directions of cable c.
    ``link_name`` has arrows (``leaf0->spine1``, parallel cables ``a->b#0``); ``cable_name`` has dashes.

    In a cluster the hosts of one ``domain`` are joined by scale-up links, and reach the others through their ``nics``,
    which are nodes of their own; its NVSwitches, PCIe ports and NICs have the tiers 1, 2 and 3, its fabric those above.
    Elsewhere every host is a domain of its own, and hangs on the fabric itself.
    """

    kind: str
    hosts: int
    node_name: list[str]
    tier: NDArray[np.int32]  # [nodes]
    link_src: NDArray[np.int32]  # [links]
    link_dst: NDArray[np.int32]  # [links]
    link_rate: NDArray[np.int64]  # [links] bit/s
    link_delay: NDArray[np.int64]  # [links] ps
    cable_name: list[str]  # [links / 2]
    domain: NDArray[np.int64]  # [hosts] the scale-up domain that a host is in
    rail: NDArray[np.int64]  # [hosts] the index of its NIC, or of its set of NICs, in the domain
    nics: NDArray[np.int32]  # [hosts, NICs of each] nodes; no columns where hosts hang on the fabric themselves
    tier_name: dict[int, str] = field(default_factory=dict)  # 0: "host", 1: "leaf", ...
    place: dict[str, tuple[float, float]] = field(default_factory=dict)  # node -> (x or longitude, y or latitude)

    @property
    def nodes(self) -> int:
        return len(self.node_name)

    @property
    def links(self) -> int:
        return len(self.link_src)

    @cached_property
    def node_index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.node_name)}

    @cached_property
    def link_name(self) -> list[str]:
        names = []
        for cable, (a, b) in enumerate(zip(self.link_src[::2].tolist(), self.link_dst[::2].tolist(), strict=True)):
            label = self.cable_name[cable]
            # parallel cables keep their #i; a cable with a name of its own keeps it on both directions
            plain = f"{self.node_name[a]}-{self.node_name[b]}"
            tail = label[len(plain) :] if label.startswith(plain) else f"#{label}"
            names += [
                f"{self.node_name[a]}->{self.node_name[b]}{tail}",
                f"{self.node_name[b]}->{self.node_name[a]}{tail}",
            ]
        return names

    @cached_property
    def _lookup(self) -> dict[str, tuple[int, ...]]:
        table: dict[str, tuple[int, ...]] = {}
        for cable, label in enumerate(self.cable_name):
            table[label] = (2 * cable, 2 * cable + 1)
            a, b = self.node_name[self.link_src[2 * cable]], self.node_name[self.link_dst[2 * cable]]
            plain = f"{a}-{b}"
            if label.startswith(plain):  # the same cable named from its other end
                table[f"{b}-{a}{label[len(plain) :]}"] = (2 * cable, 2 * cable + 1)
        for link, label in enumerate(self.link_name):
            table[label] = (link,)
        return table

    def find_links(self, name: str) -> tuple[int, ...]:
        """The directed links that ``name`` means: both of a cable, one of an arrow. KeyError with the nearest name."""
        if name in self._lookup:
            return self._lookup[name]
        raise KeyError(f"no link '{name}'{nearest(name, self._lookup)}")

    @cached_property
    def out_start(self) -> NDArray[np.int64]:
        """CSR over nodes: links leaving node v are out_link[out_start[v]:out_start[v+1]], in order of link index."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.link_src, minlength=self.nodes))]).astype(np.int64)

    @cached_property
    def out_link(self) -> NDArray[np.int32]:
        return np.argsort(self.link_src, kind="stable").astype(np.int32)

    @property
    def clustered(self) -> bool:
        """Whether hosts reach the fabric through NICs that are nodes of their own."""
        return int(self.nics.shape[1]) > 0

    @cached_property
    def nic_uplink(self) -> NDArray[np.bool_]:
        """[links] whether a link leads from a NIC node into the fabric."""
        first = int(self.nics.min()) if self.clustered else self.nodes
        is_nic = np.zeros(self.nodes, dtype=np.bool_)
        is_nic[self.nics] = True
        uplink: NDArray[np.bool_] = is_nic[self.link_src] & (self.link_dst >= first)
        return uplink

    @cached_property
    def scale_up(self) -> NDArray[np.bool_]:
        """[links] whether a link belongs to a scale-up domain: NVLink, from GPU to GPU or to or from a switch."""
        if not self.clustered:
            return np.zeros(self.links, dtype=np.bool_)
        inside = np.arange(self.nodes) < self.hosts
        inside |= self.tier == NVSWITCH
        links: NDArray[np.bool_] = inside[self.link_src] & inside[self.link_dst]
        return links

    @cached_property
    def lossless(self) -> NDArray[np.bool_]:
        """[links] whether credits keep the queue from overrunning: out of a cluster's own switches and NICs."""
        own: NDArray[np.bool_] = self.clustered & np.isin(self.tier, (NVSWITCH, PCIE, NIC))[self.link_src]
        return own

    @cached_property
    def edge_of_host(self) -> NDArray[np.int32]:
        """[hosts] the edge switch: where a host's first link, or that of its first NIC, leads to (or a neighbour)."""
        if self.clustered:
            uplinks = np.flatnonzero(self.nic_uplink)
            first = np.zeros(self.nodes, dtype=np.int64)
            first[self.link_src[uplinks[::-1]]] = uplinks[::-1]
            return self.link_dst[first[self.nics[:, 0]]].astype(np.int32)
        return self.link_dst[self.out_link[self.out_start[: self.hosts]]].astype(np.int32)

    @cached_property
    def host_rate(self) -> NDArray[np.int64]:
        """[hosts] bit/s of all links that leave a host."""
        return self._leaving(self.link_src < self.hosts)[: self.hosts]

    @cached_property
    def nic_rate(self) -> NDArray[np.int64]:
        """[hosts] bit/s that a host can send into the fabric.

        All its links; in a cluster what its NICs carry on, shared ones in equal parts, at most its links to them.
        """
        if not self.clustered:
            return self.host_rate
        onward = self._leaving(self.nic_uplink)[self.nics]
        onward //= np.bincount(self.nics.ravel(), minlength=self.nodes)[self.nics]
        own = np.flatnonzero((self.link_src < self.hosts) & ~self.scale_up)
        own = own[np.argsort(self.link_src[own], kind="stable")]  # a host's links to its NICs, in their order
        rate: NDArray[np.int64] = np.minimum(onward, self.link_rate[own].reshape(self.nics.shape)).sum(axis=1)
        return rate

    @cached_property
    def outward_rate(self) -> NDArray[np.int64]:
        """[hosts] bit/s that a host can send into the fabric while no other host uses its NICs."""
        return self.host_rate - self.scale_up_rate

    @cached_property
    def scale_up_rate(self) -> NDArray[np.int64]:
        """[hosts] bit/s that a host can send to the others of its domain over scale-up links."""
        return self._leaving((self.link_src < self.hosts) & self.scale_up)[: self.hosts]

    def _leaving(self, links: NDArray[np.bool_]) -> NDArray[np.int64]:
        """[nodes] bit/s of these links that leave a node."""
        rates = self.link_rate[links].astype(np.float64)
        return np.bincount(self.link_src[links], weights=rates, minlength=self.nodes).astype(np.int64)


def reverse(link: int) -> int:
    """The other direction of the same cable."""
    return link ^ 1


class TopologyBuilder:
    """Collects nodes and cables by name, then freezes them with the hosts first."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._nodes: dict[str, tuple[bool, int]] = {}
        self._place: dict[str, tuple[float, float]] = {}
        self._cables: list[tuple[str, str, int, int, int, int, str | None]] = []

    def add_node(self, name: str, *, host: bool, tier: int, place: tuple[float, float] | None = None) -> None:
        """``place``: where a map shows it, (longitude, latitude) or (x, y)."""
        self._nodes[name] = (host, tier)
        if place is not None:
            self._place[name] = place

    def has_node(self, name: str) -> bool:
        return name in self._nodes

    def add_cable(
        self, a: str, b: str, rate: int, delay: int, *, back: tuple[int, int] | None = None, name: str | None = None
    ) -> None:
        """A cable a-b; ``back`` is (rate, delay) of b->a where it differs. Cables are in link order: a->b, b->a."""
        back_rate, back_delay = back or (rate, delay)
        self._cables.append((a, b, rate, delay, back_rate, back_delay, name))

    def freeze(self, tier_name: dict[int, str] | None = None, attachment: Attachment | None = None) -> Topology:
        """The topology. ``attachment`` None: every host is a domain of its own, with its NIC in itself."""
        order = [n for n, (host, _) in self._nodes.items() if host] + [
            n for n, (host, _) in self._nodes.items() if not host
        ]
        index = {name: i for i, name in enumerate(order)}
        total: dict[tuple[str, str], int] = {}
        for a, b, *_ in self._cables:
            key = (a, b) if a < b else (b, a)
            total[key] = total.get(key, 0) + 1
        seen: dict[tuple[str, str], int] = {}
        names: list[str] = []
        for a, b, *_rest, name in self._cables:
            key = (a, b) if a < b else (b, a)
            number = seen.get(key, 0)
            seen[key] = number + 1
            names.append(name or (f"{a}-{b}#{number}" if total[key] > 1 else f"{a}-{b}"))
        ends = np.array([(index[a], index[b]) for a, b, *_ in self._cables], dtype=np.int32).reshape(-1, 2)
        rates = np.array([(c[2], c[4]) for c in self._cables], dtype=np.int64).reshape(-1)
        delays = np.array([(c[3], c[5]) for c in self._cables], dtype=np.int64).reshape(-1)
        hosts = sum(host for host, _ in self._nodes.values())
        if attachment is None:
            alone = np.arange(hosts, dtype=np.int64)
            attachment = Attachment(alone, np.zeros(hosts, dtype=np.int64), np.empty((hosts, 0), dtype=np.int32))
        return Topology(
            kind=self.kind,
            hosts=hosts,
            node_name=order,
            tier=np.array([self._nodes[n][1] for n in order], dtype=np.int32),
            link_src=ends.reshape(-1),
            link_dst=ends[:, ::-1].reshape(-1),
            link_rate=rates,
            link_delay=delays,
            cable_name=names,
            domain=attachment.domain,
            rail=attachment.rail,
            nics=attachment.nics,
            tier_name=tier_name or {},
            place=self._place,
        )
