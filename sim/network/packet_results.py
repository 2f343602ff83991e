"""What the packet engine tells of its streams, links and packets; and its account, which must balance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from sim.engine import kernel
from sim.engine.offers import HEAD
from sim.network.deadlock import cycle, waits_of
from sim.network.packet_memory import PacketMemory
from sim.network.protocol import Done, LastPackets, LinkState, Stream
from sim.network.settings import PacketChoice, PacketSettings


class PacketResults(PacketMemory):
    """The memory of the packet engine, and what can be read from it."""

    def __init__(
        self,
        topology: Topology,
        settings: PacketSettings,
        choice: PacketChoice | None,
        on_trace: Callable[[NDArray[np.int64]], None] | None,
        explains: bool,
    ) -> None:
        super().__init__(topology, settings, choice, on_trace, explains)
        self._slot_of: dict[int, int] = {}
        self._starts: list[Stream] = []  # not yet committed
        self._done: list[Done] = []
        self._accepted = self._withdrawn = 0  # payload bytes
        self._top_rate = topology.link_rate.astype(np.int64)  # the highest that each link had
        self._gap = 0  # ps from packet to packet at the slowest pace so far

    def finished(self) -> list[Done]:
        done, self._done = self._done, []
        return done

    def active(self) -> list[int]:
        return sorted(self._slot_of)

    def undelivered(self, stream: int, now: int) -> int:
        slot = self._slot_of.get(stream)
        if slot is None:
            return sum(one.bytes for one in self._starts if one.id == stream)
        return int(self._flows["left"][slot])

    def longest_gap(self) -> int:
        return max(self._gap, int(self._world["slowest_gap"][0]))

    def link_state(self, now: int) -> LinkState:
        queues, sent = np.empty((2, self.topology.links), dtype=np.int64)
        kernel.look(self._address, now, queues, sent)
        return LinkState(queues, sent)

    def link_totals(self, now: int) -> dict[str, NDArray[np.int64]]:
        links = self._held["links"][: self.topology.links]
        rare = self._held["rare"][: self.topology.links]
        sizes, packets = np.empty((2, self.topology.links), dtype=np.int64)
        kernel.crossed(self._address, now, sizes, packets)
        paused = rare["paused_ps"].copy()
        if self.settings.ports.pause is not None:
            holds = self._held["holds"][: self.topology.links]
            paused += np.where(holds["paused"] != 0, now - holds["since"], 0)
        return {
            "bytes": sizes,
            "packets": packets,
            "marked": rare["marked"].copy(),
            "dropped": links["dropped"].copy(),
            "queue_max_bytes": links["queue_max"].copy(),
            "trimmed": rare["trimmed"].copy(),
            "paused_ps": paused,
        }

    def deadlock(self) -> list[int]:
        if self.settings.ports.pause is None:
            return []
        held, links = self._held, self.topology.links
        return cycle(waits_of(held["holds"][:links], held["packets"]["next"], held["came"]))

    def explain(self) -> LastPackets:
        self._collect_records()
        heads = np.concatenate([np.zeros((0, HEAD), dtype=np.int64), *self._heads])
        link = np.concatenate([np.zeros(0, dtype=np.int32), *self._links_taken])
        return LastPackets(*heads.T, link, np.concatenate([np.zeros(0, dtype=np.int64), *self._offered]))

    def packet_hops(self) -> int:
        """Data and ACK packets over links so far: the measure of work of the benchmarks."""
        return int(self.link_totals(0)["packets"].sum())

    def delivered_bytes(self) -> int:
        return int(self._world["delivered_bytes"][0])

    def reordering(self) -> NDArray[np.int64]:
        return self._held["distances"].copy()

    def counters(self) -> dict[tuple[str, str], int]:
        late = "out of order (go-back-N)" if self.settings.go_back_n else "beyond the reorder buffer"
        names = {
            ("packets lost", "buffer full"): "lost_full",
            ("packets lost", "link down"): "lost_down",
            ("packets lost", "no way on"): "lost_unreachable",
            ("packets lost", "random loss"): "lost_random",
            ("packets lost", "header queue full"): "lost_header",
            ("packets", "sent back"): "bounced",
            ("pauses", "sent"): "pauses",
            ("packets discarded", late): "discarded",
            ("packets discarded", "duplicate"): "duplicates",
            ("timers", "retransmission timeout"): "timeouts",
            ("control packets", "NACK"): "nacks",
            ("control packets", "credit"): "grants_sent",
            ("control packets", "RTS"): "asked",
        }
        return {key: int(self._world[name][0]) for key, name in names.items() if self._world[name][0]}

    def check(self, now: int) -> list[str]:
        """Packets sent = arrived + lost + in the network (counted twice over); the same of bytes; no link too fast."""
        world = {name: int(self._world[name][0]) for name in self._world.dtype.names or ()}
        inside = self._packets - world["free_count"]
        found = int(kernel.count_packets(self._address))
        sent = world["data_sent"] + world["acks_sent"]
        gone = world["data_arrived"] + world["data_lost"] + world["acks_arrived"] + world["acks_lost"]
        broken = []
        if sent - gone != inside or inside != found:
            broken.append(f"packets: {sent} sent, {gone} arrived or lost, {inside} in the pool, {found} on links")
        waiting = int(self._flows["left"][list(self._slot_of.values())].sum())
        if self._accepted != world["delivered_bytes"] + waiting + self._withdrawn:
            text = f"{world['delivered_bytes']} delivered, {waiting} to come, {self._withdrawn} withdrawn or lost"
            broken.append(f"packets: {self._accepted} payload bytes in, {text}")
        carried = self.link_totals(now)["bytes"].astype(np.float64)
        over = np.flatnonzero(carried * 8e12 > self._top_rate * (float(now) + 1) * (1 + 1e-12))
        broken += [f"link {self.topology.link_name[link]} carried more than its rate allows" for link in over[:5]]
        return broken
