"""The transport under a congestion control: what is sent when, acknowledged, lost, sent again, and granted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.builders import fat_tree, leaf_spine, star
from models.paths import Routes
from models.topology import Topology
from sim.dispatch.api import FREE, ON_ACK, ON_NACK, ON_SENT, ON_TIMEOUT, ON_TIMER, TIMER, WINDOW, congestion_control
from sim.engine.layout import ACK, DATA, NACK, PULL, RTS
from sim.network.packet import PacketNetwork
from sim.network.protocol import DELIVERED, ENDED, TIMEOUT, Done, Stream, Tell
from sim.network.settings import Control, PacketSettings, Ports

GBPS = 10**9
US = 10**6
CABLE = (100 * GBPS, US)
FULL = 4150  # bytes on the wire
SER = 332_000  # ps of a full packet at 100 Gbps
ACK_SER = 5_120

# two bursts to one host; what does not fit is always the second one's, until the first is over
CROWD = [Stream(0, 0, 2, 12 * 4086, None), Stream(1, 1, 2, 40 * 4086, None)]


@congestion_control
def constant(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):  # type: ignore[no-untyped-def]
    """A fixed window, and a count of each event behind it."""
    own[FREE + event] += 1


@congestion_control
def noting(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):  # type: ignore[no-untyped-def]
    """A fixed window, and all that it was told, row after row. Its first word says how many rows there are."""
    at = FREE + 1 + 9 * int(own[FREE])
    if at + 9 <= len(own):
        own[FREE] += 1
        own[at] = event
        own[at + 1] = now
        own[at + 2] = rtt
        own[at + 3] = marked
        own[at + 4] = acked
        own[at + 5] = lost
        own[at + 6] = in_flight
        own[at + 7] = sequence
        own[at + 8] = following
    if event == ON_SENT and sequence == 0:
        own[TIMER] = now + 100
    if event == ON_ACK and sequence == 0:  # earlier, then put off
        own[TIMER] = now + 10


@congestion_control
def probing(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):  # type: ignore[no-untyped-def]
    """Grows by a packet an ACK, halves at a loss."""
    if event == ON_ACK:
        own[WINDOW] += 4150.0
    elif event in (ON_NACK, ON_TIMEOUT):
        own[WINDOW] = max(own[WINDOW] / 2, 4150.0)


class World(PacketNetwork):
    """A network with a congestion control, and all that it tells."""

    def __init__(
        self, topology: Topology, react: Any = constant, packets: float = 64, words: int = 16, **more: Any
    ) -> None:
        own = np.zeros((topology.hosts, words))
        own[:, WINDOW] = packets * FULL
        own[:, 1] = more.pop("rate", 0)
        of_settings = {
            name: more.pop(name) for name in ("go_back_n", "buffer", "kmin", "kmax", "rto", "ports") if name in more
        }
        settings = PacketSettings(
            **{
                "mtu": 4086, "header": 64, "acks": True, "go_back_n": False, "rto": 100 * US,
                "window": np.full(topology.hosts, 2**62), "buffer": None, "kmin": None, "kmax": None, "pmax": 1.0,
                "key": 7, "control": Control(react, own, **more),
            } | of_settings
        )  # fmt: skip
        self.rows: list[np.ndarray] = []
        super().__init__(topology, Routes(topology), settings, None, self.rows.append)
        self.told: list[tuple[int, Tell]] = []

    def run(self, *streams: Stream, until: int = 10**11, budget: int = 10**6) -> list[Done]:
        for stream in streams:
            self.add(stream)
        self.commit(0)
        self.go_on(until, budget)
        return sorted(self.finished())

    def go_on(self, until: int, budget: int = 10**6) -> int:
        now = 0
        while now < until and self.next_time() <= until:
            now, tells = self.advance(until, budget)
            self.told += [(now, tell) for tell in tells]
            if tells and any(tell.kind == TIMEOUT for tell in tells):
                break
        assert self.check(max(now, 1)) == []
        return now

    def trace(self, kind: int, link: int | None = None) -> np.ndarray:
        """Rows of one kind on one link, in order of time."""
        rows = np.concatenate([np.zeros((0, 9), dtype=np.int64), *self.rows])
        rows = rows[(rows[:, 3] == kind) & ((rows[:, 4] == link) | (link is None))]
        return rows[np.argsort(rows[:, 5], kind="stable")]


def link(topology: Topology, name: str) -> int:
    return topology.link_name.index(name)


def bytes_of(packets: int) -> int:
    return packets * 4086


def test_one_flow_takes_what_arithmetic_says() -> None:
    """2 MB over six links: 489 full packets, one of 2010 B that waits for them at the last link, and its ACK."""
    topology = fat_tree.build(CABLE, CABLE, k=16, tiers=3)
    world = World(topology, packets=64.5, ack_every=16384)
    (done,) = world.run(Stream(0, 0, topology.hosts - 1, 2_000_000, None, notify_end=True))
    last = 160_800
    assert done.end == (489 + 5) * SER + last + 6 * US + 6 * (ACK_SER + US)
    assert done.end == 176_199_520
    assert len(world.trace(ACK)) == 6 * 124
    assert [tell for _, tell in world.told] == [Tell(DELIVERED, 0), Tell(ENDED, 0)]


def test_a_window_holds_the_sender_back_and_a_packet_may_always_go() -> None:
    topology = star.build(2, CABLE)
    rtt = 2 * (SER + US) + 2 * (ACK_SER + US)
    for packets, each in ((1, 1), (0.5, 1), (3.5, 3)):
        world = World(topology, packets=packets)
        (done,) = world.run(Stream(0, 0, 1, bytes_of(6), None))
        rounds = 6 // each
        assert done.end == rounds * rtt + (each - 1) * SER


def test_what_a_control_hears() -> None:
    """Events, round trips, bytes in flight; a timer that comes early, and one that is put off."""
    topology = star.build(2, CABLE)
    world = World(topology, noting, packets=2, words=200, uses_sent=True)
    world.run(Stream(0, 0, 1, bytes_of(2) + 10, None))
    own = world._owns[0]
    rows = own[FREE + 1 : FREE + 1 + 9 * int(own[FREE])].reshape(-1, 9).astype(np.int64).tolist()
    rtt = 2 * (SER + US) + 2 * (ACK_SER + US)
    assert rows[:4] == [
        [ON_SENT, 0, -1, 0, FULL, 0, FULL, 0, 1],
        [ON_TIMER, 100, -1, 0, 0, 0, FULL, 1, 1],
        [ON_SENT, SER, -1, 0, FULL, 0, 2 * FULL, 1, 2],
        [ON_ACK, rtt, rtt, 0, FULL, 0, FULL, 0, 2],
    ]
    assert rows[4] == [ON_SENT, rtt, -1, 0, 74, 0, FULL + 74, 2, 3]
    assert rows[5] == [ON_TIMER, rtt + 10, -1, 0, 0, 0, FULL + 74, 2, 3]
    assert [row[0] for row in rows[6:]] == [ON_ACK, ON_ACK]
    assert [row[4] for row in rows[6:]] == [FULL, 74]
    assert rows[-1][6] == 0


def test_acks_come_by_bytes_for_the_first_and_where_the_sender_asks() -> None:
    topology = star.build(2, CABLE)
    world = World(topology, ack_every=16384)
    world.run(Stream(0, 0, 1, bytes_of(40), None))
    acked = world.trace(ACK, link(topology, "host1->switch0"))[:, 1].tolist()
    assert acked == [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 39]


def test_a_lost_packet_has_a_timer_of_its_own() -> None:
    """Of two bursts one loses packets; each is sent again one timeout after it went."""
    topology = star.build(3, CABLE)
    world = World(topology, packets=40, buffer=4 * FULL)
    done = world.run(*CROWD)
    assert all(one.delivered > 0 for one in done)
    lost = world.counters()["packets lost", "buffer full"]
    assert lost == world.counters()["timers", "retransmission timeout"] > 2
    rows = world.trace(DATA, link(topology, "host1->switch0"))
    first = {row[1]: row[6] for row in rows[rows[:, 2] == 0].tolist()}
    again = {row[1]: row[6] for row in rows[rows[:, 2] == 1].tolist()}
    assert len(again) == lost
    assert list(again.values()) == [first[sequence] + world.settings.rto for sequence in again]
    assert "packets discarded" not in {what for what, _ in world.counters()}


def test_a_gap_in_the_acks_is_a_loss() -> None:
    topology = star.build(3, CABLE)
    slow = World(topology, packets=40, buffer=4 * FULL).run(*CROWD)
    world = World(topology, packets=40, buffer=4 * FULL, reorder=3)
    fast = world.run(*CROWD)
    assert max(one.end for one in fast) < 40 * US < max(one.end for one in slow)
    assert sum(one.retransmitted for one in fast) == world.counters()["packets lost", "buffer full"]
    assert ("timers", "retransmission timeout") not in world.counters()


def test_go_back_n_takes_back_all_that_is_out() -> None:
    """One NACK for the missing packet, whatever comes behind it; a timeout where the missing one is lost again."""
    topology = star.build(3, CABLE)
    world = World(topology, packets=40, buffer=4 * FULL, go_back_n=True)
    done = world.run(*CROWD)
    assert all(one.delivered > 0 and one.held == 0 for one in done)
    counters = world.counters()
    assert counters["control packets", "NACK"] >= 1
    assert counters["packets discarded", "out of order (go-back-N)"] > counters["control packets", "NACK"]
    assert sum(one.retransmitted for one in done) > counters["packets lost", "buffer full"]


@pytest.mark.parametrize("rate", [10 * GBPS, 40 * GBPS])
def test_a_control_paces(rate: int) -> None:
    topology = star.build(2, CABLE)
    world = World(topology, rate=rate)
    world.run(Stream(0, 0, 1, bytes_of(5), None))
    starts = world.trace(DATA, link(topology, "host0->switch0"))[:, 6]
    assert np.diff(starts).tolist() == [FULL * 8 * 10**12 // rate] * 4
    assert world.longest_gap() == FULL * 8 * 10**12 // rate
    capped = World(topology, rate=rate)
    capped.run(Stream(0, 0, 1, bytes_of(3), None, cap=5 * GBPS))
    assert np.diff(capped.trace(DATA, link(topology, "host0->switch0"))[:, 6]).tolist() == [6_640_000] * 2


def test_a_flow_that_asks_waits_for_its_new_path_and_is_told_once() -> None:
    """Packets that went before the new path count as lost in their turn, without a word."""
    topology = leaf_spine.build(2, 2, 1, CABLE, CABLE)
    ways = Routes(topology).paths(0, 1)
    world = World(topology, packets=20)
    world.set_links([ways[0][1]], False)
    world.add(Stream(0, 0, 1, bytes_of(30), ways[0], ask=True))
    world.commit(0)
    now = world.go_on(10**11)
    assert (now, world.told) == (100 * US, [(100 * US, Tell(TIMEOUT, 0))])
    world.reroute(0, ways[1])
    world.commit(now)
    world.go_on(10**11)
    (done,) = world.finished()
    assert done.delivered > 0
    assert done.retransmitted == 20
    assert [tell.kind for _, tell in world.told] == [TIMEOUT, DELIVERED]
    assert done.end < 115 * US + 30 * SER


def test_a_stopped_flow_ends_when_nothing_of_it_is_left() -> None:
    topology = star.build(2, CABLE)
    world = World(topology, packets=10, ack_every=20_000)
    world.add(Stream(0, 0, 1, bytes_of(100), None))
    world.commit(0)
    world.go_on(2 * US)
    world.stop(0)
    world.commit(2 * US)
    world.go_on(10**11)
    (done,) = world.finished()
    assert (done.stopped, done.undelivered) == (1, bytes_of(100 - 7))
    assert world.next_time() == 2**63 - 1


CREDIT = {"credit": True, "ack_every": 16384}


def test_credit_keeps_the_queue_of_an_incast_small() -> None:
    """15 senders: the first window of each piles up, then credit comes at 0.99 of the line's rate."""
    topology = star.build(16, CABLE)
    streams = [Stream(number, number, 15, 400_000, None) for number in range(15)]
    free = World(topology, packets=64)
    held = World(topology, packets=64, **CREDIT)
    down = link(topology, "switch0->host15")
    ends = [max(done.end for done in world.run(*streams)) for world in (free, held)]
    deep = [int(world.link_totals(1)["queue_max_bytes"][down]) for world in (free, held)]
    assert deep[1] < 1.1 * 15 * 64 * FULL
    assert ends[1] < 1.06 * ends[0]
    pulls = held.trace(PULL, link(topology, "host15->switch0"))
    assert len(pulls) > 15 * (400_000 - 64 * FULL) / (4 * 4086)
    grants = np.diff(pulls[:, 5])
    quantum = 256 * 8 * 10**12 / (100 * GBPS) / 0.99
    assert grants.max() == pytest.approx(64 * quantum, rel=0.01)  # four packets' payload in whole quanta


def test_credit_alone_feeds_one_flow_at_nearly_the_rate_of_its_link() -> None:
    topology = fat_tree.build(CABLE, CABLE, k=4, tiers=3)
    world = World(topology, packets=64, **CREDIT)
    (done,) = world.run(Stream(0, 0, 15, 2_000_000, None))
    assert 176_199_520 <= done.end < 180 * US


def test_a_sender_without_credit_asks_for_it() -> None:
    """All that is out is lost, or the credit is: the sender asks again and again, and the flow ends."""
    topology = leaf_spine.build(2, 1, 2, CABLE, CABLE)
    forth, back = link(topology, "leaf0->spine0"), link(topology, "leaf1->spine0")
    for number in (forth, back):
        world = World(topology, packets=8, **CREDIT)
        world.add(Stream(0, 0, 2, bytes_of(60), None))
        world.commit(0)
        world.go_on(5 * US)
        world.set_links([number, number ^ 1], False)
        world.commit(5 * US)
        world.go_on(350 * US)
        world.set_links([number, number ^ 1], True)
        world.commit(350 * US)
        world.go_on(10**11)
        (done,) = world.finished()
        assert done.delivered > 350 * US
        assert world.counters()["control packets", "RTS"] >= 1
        assert len(world.trace(RTS)) >= 1


def _wild(seed: int) -> tuple[dict[str, Any], list[Stream]]:
    """Settings and streams that meet losses of all kinds."""
    rng = np.random.default_rng(seed)
    settings = {
        "react": [constant, probing][int(rng.integers(2))],
        "packets": float(rng.choice([0.5, 3, 20, 70])),
        "buffer": [None, 2 * FULL, 9 * FULL][int(rng.integers(3))],
        "go_back_n": bool(rng.integers(2)),
        "rto": int(rng.choice([8 * US, 60 * US])),
        "ack_every": int(rng.choice([1, 16384])),
        "reorder": int(rng.choice([0, 3])),
        "reorder_buffer": [None, 5 * 4086][int(rng.integers(2))],
        "credit": bool(rng.integers(2)),
        "rate": int(rng.choice([0, 30 * GBPS])),
        "kmin": [None, 3 * FULL][int(rng.integers(2))],
    }
    settings["kmax"] = settings["kmin"]
    if rng.random() < 0.5:
        settings["ports"] = Ports(trim=True, control=int(rng.choice([128, 2**62])), bounce=bool(rng.integers(2)))
    sizes = rng.integers(1, 80 * 4086, 6)
    pairs = [rng.choice(8, 2, replace=False) for _ in sizes]
    return settings, [
        Stream(number, int(src), int(dst), int(size), None)
        for number, ((src, dst), size) in enumerate(zip(pairs, sizes, strict=True))
    ]


@pytest.mark.parametrize("seed", range(60))
def test_every_flow_ends_and_interruptions_change_nothing(seed: int) -> None:
    topology = leaf_spine.build(4, 2, 2, CABLE, (40 * GBPS, US))
    settings, streams = _wild(seed)
    seen = []
    for budget in (10**6, 1 + seed % 50):
        world = World(topology, **settings)
        world.set_links([topology.links - 1], False)
        world.set_loss(range(topology.links), 0.01 * (seed % 3))
        done = world.run(*streams, until=3 * 10**11, budget=budget)
        assert len(done) == len(streams)
        assert all(one.delivered >= 0 for one in done)
        assert world.next_time() == 2**63 - 1
        seen.append((done, world.counters(), np.concatenate(world.rows).tolist()))
    assert seen[0] == seen[1]


def test_a_packet_beyond_the_reorder_buffer_is_thrown_away() -> None:
    topology = star.build(3, CABLE)
    world = World(topology, packets=40, buffer=4 * FULL, reorder_buffer=3 * 4086)
    done = world.run(*CROWD)
    assert all(one.delivered > 0 and one.held <= 3 * 4086 for one in done)
    counters = world.counters()
    assert counters["packets discarded", "beyond the reorder buffer"] == counters["control packets", "NACK"] > 0
    assert len(world.trace(NACK)) >= counters["control packets", "NACK"]
    free = World(topology, packets=40, buffer=4 * FULL)
    assert max(one.held for one in free.run(*CROWD)) > 3 * 4086


def test_what_was_cut_is_sent_again_a_round_trip_later() -> None:
    """Trimming: nothing is lost, each cut is a NACK, and no timer runs out."""
    topology = star.build(3, CABLE)
    world = World(topology, packets=40, buffer=4 * FULL, ports=Ports(trim=True))
    done = world.run(*CROWD)
    counters = world.counters()
    cut = int(world.link_totals(1)["trimmed"].sum())
    assert 0 < cut == counters["control packets", "NACK"] == sum(one.retransmitted for one in done)
    assert max(one.end for one in done) < 80 * SER < 40 * US
    assert set(counters) == {("control packets", "NACK")}


def test_a_header_that_finds_no_room_comes_back() -> None:
    topology = star.build(5, CABLE)
    crowd = [Stream(number, number, 4, bytes_of(40), None) for number in range(4)]
    for bounce in (False, True):
        world = World(topology, packets=40, buffer=2 * FULL, ports=Ports(trim=True, control=128, bounce=bounce))
        done = world.run(*crowd)
        assert all(one.delivered > 0 for one in done)
        counters = world.counters()
        assert (("packets", "sent back") in counters) == bounce
        assert (("timers", "retransmission timeout") in counters) != bounce
