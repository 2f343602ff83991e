"""Scheduled switch ports, random loss and rates that change, on the compiled engine alone; at 1 byte/ns by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import sim.clock
from models.builders import leaf_spine, star
from models.paths import Routes
from models.topology import Topology
from sim.dispatch.api import FREE, HOP_WORDS, WINDOW, congestion_control
from sim.engine.layout import BOUNCED, DATA, TRIMMED
from sim.network.packet import PacketNetwork
from sim.network.protocol import INFINITY, Done, Stream
from sim.network.settings import NO_LIMIT, Control, PacketSettings, PortChange, Ports
from tests.twin.dressed import KINDS, make_dressed
from tests.twin.stories import Outcome, tell

NS, US = 10**3, 10**6
SLOW = 8 * 10**9  # bit/s: 1 byte/ns
KB = 1000  # bytes of a packet, without header
STAR = star.build(8, (SLOW, US))
TO_HOST = 1  # the switch's link to host 0
STORIES = 120

Row = tuple[int, ...]  # as in sim.engine.layout.TRACE


def settings(topology: Topology, ports: Ports, **others: Any) -> PacketSettings:
    window = np.full(topology.hosts, 10 * KB)
    known: dict[str, Any] = {"buffer": 2 * KB, "kmin": None, "kmax": None, "acks": False, "header": 0, "mtu": KB}
    known |= {"go_back_n": False, "rto": 10**9, "window": window, "pmax": 1.0, "key": 7, "ports": ports}
    return PacketSettings(**known | others)


class Run:
    """Streams (source, packets) to host 0, started at 0 and run to their end, or until ``until``."""

    def __init__(self, topology: Topology, made: PacketSettings, traced: bool = True) -> None:
        self.rows: list[Row] = []
        on_trace = (lambda block: self.rows.extend(map(tuple, block.tolist()))) if traced else None
        self.network = PacketNetwork(topology, Routes(topology), made, None, on_trace)
        self.now = 0

    def send(self, streams: Sequence[tuple[int, int]], until: int = 10**11) -> Run:
        for ident, (source, packets) in enumerate(streams):
            self.network.add(Stream(ident, source, 0, packets * KB, None))
        return self.go(until)

    def go(self, until: int) -> Run:
        self.network.commit(self.now)
        while self.network.next_time() <= until:
            self.now, _ = self.network.advance(until, 1000)
            if not self.network.active():
                break
        assert self.network.check(self.now) == []
        return self

    def at(self, link: int) -> list[Row]:
        """(offered, start, end, kind, size) of what a link sent, in order."""
        rows = sorted((row for row in self.rows if row[4] == link and row[6] >= 0), key=lambda row: row[6])
        return [(*row[5:8], row[3]) for row in rows]

    def total(self, name: str, link: int | None = None) -> int:
        column = self.network.link_totals(self.now)[name]
        return int(column.sum() if link is None else column[link])

    def done(self) -> list[Done]:
        return sorted(self.network.finished())


def many(count: int, packets: int = 20) -> list[tuple[int, int]]:
    return [(source, packets) for source in range(1, count + 1)]


def test_what_does_not_fit_is_cut_and_headers_go_first() -> None:
    run = Run(STAR, settings(STAR, Ports(trim=True))).send(many(5))
    rows = run.at(TO_HOST)
    kinds = Counter(row[3] for row in rows)
    assert kinds[DATA] + kinds[TRIMMED] == 100
    assert kinds[TRIMMED] == run.total("trimmed", TO_HOST) > 20
    assert run.network.counters() == {}
    data = [row for row in rows if row[3] == DATA]
    assert [row[0] for row in data] == sorted(row[0] for row in data)  # first in, first out
    headers = [row for row in rows if row[3] == TRIMMED]
    assert {row[2] - row[1] for row in headers} == {64 * NS}
    for offered, start, _, _ in data:  # a header waits for no data that came after it
        assert not any(other[0] < offered and start < other[1] for other in headers)
    # as long as anything waits the link is busy
    assert all(row[1] == max(row[0], end) for row, end in zip(rows[1:], (row[2] for row in rows), strict=False))


def test_a_fair_coin_cuts_the_packet_that_comes_or_the_last_that_waits() -> None:
    """Two packets come at once, the second finds the first one waiting: of about each two one is cut, either one."""
    run = Run(STAR, settings(STAR, Ports(trim=True))).send(many(2, 400))
    cut = Counter(row[0] for row in run.rows if row[4] == TO_HOST and row[3] == TRIMMED)
    assert abs(cut[0] - 210) < 40  # headers take room too, so a few more than 400
    assert abs(cut[1] - 210) < 40


def test_headers_beyond_their_room_are_lost_or_go_back() -> None:
    lost = Run(STAR, settings(STAR, Ports(trim=True, control=2 * 64))).send(many(7))
    assert lost.network.counters() == {("packets lost", "header queue full"): lost.total("dropped")}
    assert lost.total("dropped") > 10
    back = Run(STAR, settings(STAR, Ports(trim=True, control=2 * 64, bounce=True))).send(many(7))
    sent_back = back.network.counters()[("packets", "sent back")]
    assert sent_back == sum(row[3] == BOUNCED for row in back.rows) > 10
    assert {row[4] for row in back.rows if row[3] == BOUNCED} <= {1 + 2 * source for source in range(1, 8)}
    assert back.total("dropped") == 0


def test_control_packets_overtake_data() -> None:
    """Host 1's ACKs, for data from host 0, share the port to host 0 with a queue of data."""
    ends = {}
    for priority in (False, True):
        run = Run(STAR, settings(STAR, Ports(priority=priority), acks=True, buffer=None))
        run.network.add(Stream(9, 0, 1, 5 * KB, None))
        run.send(many(5))
        ends[priority] = {done.stream: done.end for done in run.done()}
    # 5 packets, 1 us to the switch, 1 us there and 1 us on; a 64 B ACK back, which may wait for a packet at each end
    alone = (5 + 3) * US + 2 * (US + 64 * NS)
    assert alone <= ends[True][9] <= alone + 2 * US
    assert ends[False][9] > alone + 10 * US


def test_late_marks_tell_of_the_queue_behind_a_packet() -> None:
    made = settings(STAR, Ports(late_marks=True), buffer=None, kmin=2 * KB, kmax=2 * KB)
    run = Run(STAR, made).send(many(3, 10))
    rows = run.at(TO_HOST)
    behind = [sum(KB for other in rows if other[0] < row[2] <= other[1]) for row in rows]
    assert run.total("marked", TO_HOST) == sum(bytes_ >= 2 * KB for bytes_ in behind) > 0
    assert run.total("marked") == run.total("marked", TO_HOST)
    unmarked = np.arange(STAR.links) == TO_HOST
    made = replace(made, ports=replace(made.ports, unmarked=unmarked))
    assert Run(STAR, made).send(many(3, 10)).total("marked") == 0


@pytest.mark.parametrize(
    ("alpha", "accepted"),
    # k packets hold k KB of 3: one more fits while k + 1 <= alpha (3 - k), and while they are 3 at most
    [(1.0, 2), (0.5, 1), (0.3, 0), (8.0, 3)],
)
def test_a_port_may_hold_a_share_of_what_is_free(alpha: float, accepted: int) -> None:
    made = settings(STAR, Ports(shared=3 * KB, alpha=alpha), buffer=None)
    run = Run(STAR, made).send(many(5, 1))
    assert run.network.counters() == {("packets lost", "buffer full"): 5 - accepted}
    assert run.total("packets", TO_HOST) == accepted


def test_ports_share_the_memory_of_their_switch() -> None:
    """Three packets come for host 0 and three for host 7: alpha 1 leaves 1 KB of 3 for the second port."""
    run = Run(STAR, settings(STAR, Ports(shared=3 * KB, alpha=1.0), buffer=None))
    for source in (4, 5, 6):
        run.network.add(Stream(10 + source, source, 7, KB, None))
    run.send([(1, 1), (2, 1), (3, 1)])
    assert (run.total("packets", TO_HOST), run.total("packets", 15)) == (2, 1)
    late = Run(STAR, settings(STAR, Ports(shared=4 * KB, alpha=1.0), buffer=None)).send([(1, 3), (2, 3)])
    assert late.total("dropped") == 2  # two come each microsecond while one leaves: from the second on one is too much


def test_each_port_may_differ() -> None:
    changes = {TO_HOST: PortChange(NO_LIMIT, None, None)}
    assert Run(STAR, settings(STAR, Ports())).send(many(5)).total("dropped") > 0
    assert Run(STAR, settings(STAR, Ports(changes=changes))).send(many(5)).total("dropped") == 0


def test_random_loss_takes_its_share() -> None:
    run = Run(STAR, settings(STAR, Ports(), buffer=None), traced=False)
    run.network.set_loss([TO_HOST, 4], 0.1)
    run.send([(1, 5000), (2, 5000)])
    lost = {done.stream: done.lost for done in run.done()}
    for stream, share in ((0, 0.1), (1, 1 - 0.9**2)):  # host 2's link loses too
        assert abs(lost[stream] - 5000 * share) < 4 * (5000 * share * (1 - share)) ** 0.5
    assert run.network.counters() == {("packets lost", "random loss"): run.total("dropped")}
    assert run.total("packets", 4) == 5000  # it has crossed the link before it is lost
    assert run.total("dropped", TO_HOST) + run.total("dropped", 4) == sum(lost.values())


@pytest.mark.parametrize("ports", [Ports(), Ports(priority=True), Ports(shared=10**9, alpha=1e9)])
def test_a_degraded_link_keeps_the_pace_of_the_packet_on_the_wire(ports: Ports) -> None:
    for link in (2, TO_HOST):  # host 1's NIC; the switch port, where three packets wait
        run = Run(STAR, settings(STAR, ports, buffer=None))
        run.send([(1, 8), (2, 8)], until=5 * US + 300 * NS)
        run.network.set_rates([link], [SLOW // 2])
        run.now = 5 * US + 300 * NS
        run.go(10**11)
        starts = [row[1] for row in run.at(link)]
        if ports.scheduled or link == 2:  # else the trace has what was known when a packet was accepted
            took = [row[2] - row[1] for row in run.at(link)]
            begun = sum(start <= 5 * US + 300 * NS for start in starts)
            assert took == [US] * begun + [2 * US] * (len(took) - begun)
    # to host 0 go 16 packets; at 5.3 us the fourth is on the wire (from 5 to 6 us)
    assert max(done.delivered for done in run.done()) == (6 + 12 * 2 + 1) * US


def test_rates_may_change_more_than_once_under_a_packet() -> None:
    """Bytes of the packet on the wire are counted at the pace at which it began."""
    run = Run(STAR, settings(STAR, Ports(), buffer=None))
    run.send([(1, 1)], until=0)
    for now, rate in ((200 * NS, SLOW // 2), (400 * NS, SLOW * 10), (600 * NS, SLOW // 7)):
        run.network.advance(now, 1000)
        run.network.set_rates([2], [rate])
        run.network.commit(now)
        state = run.network.link_state(now)
        assert (state.queue_bytes[2], state.sent_bytes[2]) == (KB - now // NS, now // NS)


@congestion_control
def noting(own, path, hops, event, now, rtt, marked, acked, lost, in_flight, sequence, following, key):  # type: ignore[no-untyped-def]
    """Keeps what ACKs bring of two hops."""
    for word in range(2 * HOP_WORDS if hops == 2 else 0):
        own[FREE + 2 * HOP_WORDS * sequence + word] = path[word]


def test_telemetry_of_two_links() -> None:
    """Two packets: 1 us each on the NIC, 2 us each at the switch port, where the second waits from 3 us to 4 us."""
    own = np.zeros((8, FREE + 4 * HOP_WORDS))
    own[:, WINDOW] = 10 * KB
    control = Control(noting, own, uses_telemetry=True)
    run = Run(STAR, settings(STAR, Ports(), buffer=None, acks=True, control=control), traced=False)
    run.network.set_rates([TO_HOST], [SLOW // 2])
    run.send([(1, 2)])
    seen = run.network._held["owns"].reshape(-1, own.shape[1])[:, FREE:].reshape(-1, 2, 2, HOP_WORDS)
    noted = seen[seen.any((1, 2, 3))][0].tolist()
    assert noted == [
        [[0, KB, US, SLOW], [KB, KB, 4 * US, SLOW // 2]],
        [[0, 2 * KB, 2 * US, SLOW], [0, 2 * KB, 6 * US, SLOW // 2]],
    ]


# -- the same, whether or not ends of serialisation are events, and however often it is interrupted


def unlike(one: Outcome, other: Outcome) -> list[str]:
    """What differs, but for the trace."""
    known, seen = vars(one) | {"trace": []}, vars(other) | {"trace": []}
    return [f"{name}: {known[name]} against {seen[name]}" for name in known if known[name] != seen[name]]


def untraced(topology: Any, routes: Any, made: Any, choice: Any, _: Any, explains: bool) -> PacketNetwork:
    return PacketNetwork(topology, routes, made, choice, None, explains)


@pytest.mark.parametrize("seed", range(STORIES))
def test_lazy_and_eager_ports_do_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    story = make_dressed(seed)
    eager, lazy = tell(story, PacketNetwork), tell(story, untraced)  # type: ignore[arg-type]
    assert eager.broken == []
    assert unlike(eager, lazy) == []
    until = min(story.stop, 3 * US)
    whole = tell(story, untraced, None, until)  # type: ignore[arg-type]
    monkeypatch.setattr(sim.clock, "BUDGET", 1 + 7 * seed % 100)
    assert unlike(whole, tell(story, untraced, 10 * NS + 13 * seed, until)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(STORIES // 4))
def test_one_scheduled_queue_is_first_in_first_out(seed: int) -> None:
    """Late marks without a threshold, or more shared memory than is ever used, change nothing."""
    story = make_dressed(seed * len(KINDS))  # ports without anything
    plain = replace(story.settings, kmin=None, kmax=None, ports=Ports())
    outcome = tell(replace(story, settings=plain), untraced)  # type: ignore[arg-type]
    for ports in (Ports(late_marks=True), Ports(shared=2**50, alpha=2.0)):
        made = replace(plain, ports=ports)
        assert unlike(outcome, tell(replace(story, settings=made), untraced)) == []  # type: ignore[arg-type]


def test_trimming_in_a_fabric_loses_no_packet() -> None:
    topology = leaf_spine.build(4, 2, 4, (SLOW, US), (SLOW, US))
    run = Run(topology, settings(topology, Ports(trim=True), buffer=5 * KB), traced=False).send(many(15, 50))
    assert run.network.next_time() == INFINITY
    assert run.network.counters() == {}
    assert sum(done.lost for done in run.done()) == run.total("trimmed") > 400
