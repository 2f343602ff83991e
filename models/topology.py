"""The network as arrays: nodes, directed links, names. What every engine, policy and check reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.errors import nearest


@dataclass(frozen=True)
class Topology:
    """Nodes 0..hosts-1 are the hosts (GPU rank r is node r), switches follow. Links are directed; each has a reverse.

    ``tier`` is 0 for hosts, 1 for the switches they hang on, and so on upwards; -1 where tiers have no meaning.
    ``link_rate`` is bit/s, ``link_delay`` ps (propagation). Link 2c and 2c+1 are the two directions of cable c.
    ``link_name`` has arrows (``leaf0->spine1``, parallel cables ``a->b#0``); ``cable_name`` has dashes.
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
    tier_name: dict[int, str] = field(default_factory=dict)  # 0: "host", 1: "leaf", ...

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

    @cached_property
    def edge_of_host(self) -> NDArray[np.int32]:
        """[hosts] the switch that a host's first link leads to: its edge switch (a neighbour host if switchless)."""
        first = self.out_link[self.out_start[: self.hosts]]
        return self.link_dst[first].astype(np.int32)

    @cached_property
    def nic_rate(self) -> NDArray[np.int64]:
        """[hosts] bit/s of all links that leave a host."""
        leaving = self.link_src < self.hosts
        return np.bincount(
            self.link_src[leaving], weights=self.link_rate[leaving].astype(np.float64), minlength=self.hosts
        ).astype(np.int64)


def reverse(link: int) -> int:
    """The other direction of the same cable."""
    return link ^ 1


class TopologyBuilder:
    """Collects nodes and cables by name, then freezes them with the hosts first."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._nodes: dict[str, tuple[bool, int]] = {}
        self._cables: list[tuple[str, str, int, int, int, int, str | None]] = []

    def add_node(self, name: str, *, host: bool, tier: int) -> None:
        self._nodes[name] = (host, tier)

    def add_cable(
        self, a: str, b: str, rate: int, delay: int, *, back: tuple[int, int] | None = None, name: str | None = None
    ) -> None:
        """A cable a-b; ``back`` is (rate, delay) of b->a where it differs. Cables are in link order: a->b, b->a."""
        back_rate, back_delay = back or (rate, delay)
        self._cables.append((a, b, rate, delay, back_rate, back_delay, name))

    def freeze(self, tier_name: dict[int, str] | None = None) -> Topology:
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
        return Topology(
            kind=self.kind,
            hosts=sum(host for host, _ in self._nodes.values()),
            node_name=order,
            tier=np.array([self._nodes[n][1] for n in order], dtype=np.int32),
            link_src=ends.reshape(-1),
            link_dst=ends[:, ::-1].reshape(-1),
            link_rate=rates,
            link_delay=delays,
            cable_name=names,
            tier_name=tier_name or {},
        )
