"""How packets without a path of their own find one, in the specification of the packet engine.

By the packet policy at every switch, by entropies that hosts choose, or at random; and what the policy is told: loads
of links, what packets met on their way, what became of entropies, and the end of each of its periods.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.paths import Routes
from models.topology import Topology
from sim.engine.ports import draw
from sim.engine.words import DOWN
from sim.network.reference_hosts import TICKS
from sim.network.reference_parts import DATA, Flow, Packet, Port
from sim.network.reference_ports import Ports
from sim.network.settings import NO_LIMIT, PacketChoice, PacketSettings

_HASH = 255  # hops of draws other than a packet's
_SPREAD, _HEAR, _LEARN = (word << 23 for word in (1, 2, 3))


class Choosing(Ports):
    """Hosts and links, and the choice among the links that lead on."""

    def __init__(
        self,
        topology: Topology,
        routes: Routes,
        settings: PacketSettings,
        choice: PacketChoice | None,
        on_trace: Callable[[NDArray[np.int64]], None] | None,
    ) -> None:
        super().__init__(topology, settings, on_trace)
        self.choice, self._routes = choice, routes
        self._hops = 0  # links that a packet without a path may take
        self._weight: dict[tuple[int, int], int] = {}
        self._tick_at = 0

    def _learn_hops(self) -> None:
        """Twice the longest way that tables ever knew: they may change while a packet is under way."""
        longest = max(int(self._routes.distance(group).max()) for group in range(self._routes.groups)) + 2
        self._hops = max(self._hops, 2 * longest)

    def _choose(
        self, flow: Flow, sequence: int, transmission: int, hop: int, node: int, word: int, kind: int
    ) -> int | None:
        """One of the node's links towards the destination: as the packet policy says, else of a random path.

        A packet policy is not asked for what isn't data, as a header.
        """
        src, dst, choice = flow.stream.src, flow.stream.dst, self.choice
        links = self._routes.next_links(node, dst)
        if len(links) < 2:
            return links[0] if links else None
        key = self._draw(flow, sequence, transmission, hop)
        if choice is None or choice.pick is None or kind != DATA:
            if choice is not None and choice.spread is not None and word >= 0:
                key = self._draw(flow, word, node, _HASH)
            return self._by_weight(links, dst, key)
        seen = np.zeros(len(links) * (3 if choice.uses_loads else 1), dtype=np.int64)
        if choice.uses_queues:
            seen[: len(links)] = [self._ports[link].queued(self._now) for link in links]
        if choice.uses_loads:
            seen[len(links) :] = [*(self._load(self._ports[link]) for link in links), *links]
        edge = int(self.topology.edge_of_host[dst])
        index: int = choice.pick(
            choice.state, seen, len(links), self._now, node, src, dst, edge, flow.stream.id, sequence, key
        )
        if not 0 <= index < len(links):
            raise ValueError("a packet policy's pick is not below the number of candidate links")
        return links[index]

    def _draw(self, flow: Flow, sequence: int, transmission: int, hop: int) -> int:
        return int(draw(self.settings.key, flow.stream.id, sequence, transmission, hop))

    def _by_weight(self, links: list[int], dst: int, key: int) -> int:
        """A link with a probability in proportion to the shortest paths behind it, in lowest terms."""
        paths = [self._paths(self._ports[link].dst, dst) for link in links]
        weights = [number // math.gcd(*paths) for number in paths]
        rest = key % sum(weights)
        for link, weight in zip(links, weights, strict=True):
            if rest < weight:
                return link
            rest -= weight
        raise AssertionError("the rest of a division is below the divisor")

    def _paths(self, node: int, dst: int) -> int:
        if node == dst:
            return 1
        if (node, dst) not in self._weight:
            onward = self._routes.next_links(node, dst)
            self._weight[node, dst] = sum(self._paths(self._ports[link].dst, dst) for link in onward)
        return self._weight[node, dst]

    # -- hosts that choose entropies

    def _plan_entropy(self, flow: Flow, sequence: int) -> int:
        choice = self.choice
        if choice is None or choice.spread is None:
            return -1
        if flow.planned < 0:
            packets = max(1, self._window(flow) // self.settings.mtu)
            key = self._draw(flow, flow.spreads, 0, _SPREAD)
            flow.spreads += 1
            number = max(sequence, len(flow.sent))
            flow.planned = int(choice.spread(flow.own, self._now, flow.stream.id, number, packets, key))
            if not 0 <= flow.planned < 2**30:
                raise ValueError("a packet policy's entropy is below 0 or not below 2^30")
        return flow.planned

    def _hear(self, flow: Flow, kind: int, entropy: int) -> None:
        if self.choice is not None and self.choice.hear is not None:
            self.choice.hear(flow.own, self._now, kind, entropy, self._draw(flow, flow.heard, 0, _HEAR))
            flow.heard += 1

    # -- what switches are told

    def _learn(self, packet: Packet) -> None:
        if self.choice is None or self.choice.learn is None:
            return
        first, flow = self._ports[packet.way[1]], packet.flow
        key = self._draw(flow, packet.sequence, packet.transmission, _LEARN)
        far = int(self.topology.edge_of_host[flow.stream.dst])
        self.choice.learn(self.choice.state, self._now, first.src, far, first.index, packet.word, key)

    def _stamp(self, packet: Packet, port: Port) -> None:
        """A data packet notes the load or queue that it finds at a link from switch to switch."""
        fabric = port.src >= self.topology.hosts and port.dst >= self.topology.hosts
        if self.choice is None or not self.choice.stamps or packet.kind != DATA or not fabric:
            return
        if self.choice.stamps == "loads":
            found = self._load(port)
        else:
            buffer = self._limits(port)[0]
            found = port.queued(self._now) * 1024 // (buffer if buffer < NO_LIMIT else 1_000_000)
        packet.word = max(packet.word, found)

    def _note_sent(self, port: Port, size: int) -> None:
        if self.choice is not None and self.choice.watches_loads:
            self._load(port)
            port.load += size * 1024

    def _load(self, port: Port) -> int:
        """The discounting rate estimator of a link, in 1/1024 of its rate."""
        assert self.choice is not None
        keep, period = self.choice.load_keep, self._now // self.choice.load_period
        for _ in range(period - port.load_period):
            port.load = port.load * keep // 1024
            if port.load == 0:
                break
        port.load_period = period
        if not port.up:
            return DOWN
        full = int(float(port.rate) * float(self.choice.load_period) / 8e12) * 1024 // (1024 - keep)
        return port.load // max(1, full)

    def _arm_tick(self) -> None:
        """A flow starts: from the next multiple of the period on the policy is called."""
        if self.choice is None or self.choice.tick is None or self._tick_at > self._now:
            return
        self._tick_at = (self._now // self.choice.period + 1) * self.choice.period
        self._after(self._tick_at - self._now, TICKS, self._tick)

    def _tick(self) -> None:
        assert self.choice is not None
        if self._now != self._tick_at or not self._flows:
            return
        loads = np.array([self._load(port) for port in self._ports], dtype=np.int64)
        self.choice.tick(self.choice.state, loads, self._now)
        self._arm_tick()
