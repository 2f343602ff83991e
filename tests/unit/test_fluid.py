"""The fluid network in short stories: system, expectation, reason. Rates in bit/s, times in ps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.topology import Topology, TopologyBuilder
from sim.network.fluid import FluidNetwork
from sim.network.ideal import IdealNetwork
from sim.network.protocol import DELIVERED, INFINITY, Done, Stream, Tell

G = 10**9
US = 10**6


def chain(switches: int, rate: int = 8 * G, delay: int = US) -> Topology:
    """Switches in a row; host i hangs on switch i. Cable 0..: hosts, then switch to switch."""
    builder = TopologyBuilder("chain")
    for number in range(switches):
        builder.add_node(f"h{number}", host=True, tier=0)
    for number in range(switches):
        builder.add_node(f"s{number}", host=False, tier=1)
        builder.add_cable(f"h{number}", f"s{number}", rate, delay)
    for number in range(switches - 1):
        builder.add_cable(f"s{number}", f"s{number + 1}", rate, delay)
    return builder.freeze()


def way(topology: Topology, *names: str) -> tuple[int, ...]:
    return tuple(topology.find_links(f"{a}->{b}")[0] for a, b in pairwise(names))


def network(topology: Topology, *streams: Stream, now: int = 0) -> FluidNetwork:
    result = FluidNetwork(topology, FixedShares())
    for stream in streams:
        result.add(stream)
    result.commit(now)
    return result


class FixedShares:
    """Routes with one split for every pair, nothing where it was not given."""

    def __init__(self, links: tuple[int, ...] = (), shares: tuple[float, ...] = ()) -> None:
        self.links, self.fractions = links, shares

    def share(self, src: int, dst: int) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.links, dtype=np.int32), np.array(self.fractions, dtype=np.float64)

    def shares(self, src: list[int], dst: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        links, share = self.share(0, 0)
        return np.tile(links, len(src)), np.tile(share, len(src)), np.full(len(src), len(links))


def story(engine: FluidNetwork | IdealNetwork) -> list[tuple[int, int]]:
    """(time, stream) of every delivery until the end."""
    log = []
    while engine.next_time() < INFINITY:
        now, tells = engine.advance(INFINITY - 1, 10**6)
        log += [(now, tell.stream) for tell in tells]
    return log


def test_two_streams_share_their_bottleneck_and_the_second_speeds_up() -> None:
    """1 MB and 2 MB into one link of 8 Gbit/s: 4 each for 2 ms, then the second alone at 8 for 1 ms; latency 2 us."""
    topology = chain(3)
    paths = [way(topology, "h0", "s0", "s1", "h1"), way(topology, "h2", "s2", "s1", "h1")]
    engine = network(topology, Stream(0, 0, 1, 10**6, paths[0]), Stream(1, 2, 1, 2 * 10**6, paths[1]))
    assert engine.rates() == {0: 4 * G, 1: 4 * G}
    assert engine.check(0) == []
    assert story(engine) == [(2000 * US + 3 * US, 0), (3000 * US + 3 * US, 1)]
    assert engine.finished() == [Done(0, 2003 * US, 2003 * US, 0, 0, 0), Done(1, 3003 * US, 3003 * US, 0, 0, 0)]
    assert engine.finished() == []
    totals = engine.link_totals(4000 * US)
    into = topology.find_links("s1->h1")[0]
    assert totals["bytes"][into] == 3 * 10**6
    assert engine.delivered_bytes() == 3 * 10**6
    assert engine.active() == []


def test_parking_lot() -> None:
    """One stream over three links and one over each of them: all at half, whatever the length of the path."""
    topology = chain(4)
    long = Stream(0, 0, 3, 10**6, way(topology, "s0", "s1", "s2", "s3"))
    short = [Stream(1 + i, i, i + 1, 10**6, way(topology, f"s{i}", f"s{i + 1}")) for i in range(3)]
    assert network(topology, long, *short).rates() == dict.fromkeys(range(4), 4 * G)


def test_weight_two_gets_twice_as_much() -> None:
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = network(topology, Stream(0, 0, 1, 10**6, path, 1.0), Stream(1, 0, 1, 10**6, path, 2.0))
    assert engine.rates() == pytest.approx({0: 8 * G / 3, 1: 16 * G / 3}, rel=1e-12)


def test_a_cap_leaves_the_rest_to_others() -> None:
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = network(topology, Stream(0, 0, 1, 10**6, path, 1.0, 1 * G), Stream(1, 0, 1, 10**6, path))
    assert engine.rates() == {0: 1 * G, 1: 7 * G}


def test_a_link_dies_and_comes_back() -> None:
    """1 MB at 8 Gbit/s takes 1 ms; the link is away from 0.25 ms to 0.75 ms, so it takes 1.5 ms."""
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = network(topology, Stream(0, 0, 1, 10**6, path))
    assert engine.advance(250 * US, 10**6) == (250 * US, [])
    engine.set_links([path[1]], False)
    assert engine.pending()
    engine.commit(250 * US)
    assert engine.rates() == {0: 0.0}
    assert engine.next_time() == INFINITY
    assert engine.link_state(300 * US).sent_bytes[path[0]] == 250_000
    engine.set_links([path[1]], True)
    engine.commit(750 * US)
    assert story(engine) == [(1503 * US, 0)]


def test_equal_starts_and_equal_finishes_are_one_recomputation_each() -> None:
    """Ten streams of 7/3 Gbit/s each start and end together: one recomputation for each instant, one hand-over."""
    topology = chain(2, rate=70 * G // 3)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = network(topology, *[Stream(i, 0, 1, 12345, path) for i in range(10)])
    assert engine.recomputations() == 1
    now, tells = engine.advance(INFINITY - 1, 10**6)
    assert tells == [Tell(DELIVERED, i) for i in range(10)]
    assert engine.recomputations() == 2
    assert now == -(-12345 * 8 * 10 * 10**12 // (70 * G // 3)) + 3 * US


def test_a_spread_stream_is_held_back_by_its_slowest_path() -> None:
    """A quarter over each of four ways, one of them at a tenth of the rate: four times that, not 3.1 times the rest."""
    builder = TopologyBuilder("diamond")
    for host in ("a", "b"):
        builder.add_node(host, host=True, tier=0)
    for middle in range(4):
        builder.add_node(f"m{middle}", host=False, tier=1)
        rate = G if middle == 3 else 10 * G
        builder.add_cable("a", f"m{middle}", rate, US)
        builder.add_cable(f"m{middle}", "b", rate, US * (1 + middle))
    topology = builder.freeze()
    ways = [way(topology, "a", f"m{middle}", "b") for middle in range(4)]
    routes = FixedShares(tuple(link for path in ways for link in path), (0.25,) * 8)
    engine = FluidNetwork(topology, routes)
    engine.add(Stream(0, 0, 1, 10**6, None))
    engine.commit(0)
    assert engine.rates() == {0: 4 * G}
    engine.set_routes(FixedShares(ways[0], (1.0, 1.0)))
    engine.commit(1000 * US)  # half is left, and takes the first way alone
    assert engine.rates() == {0: 10 * G}
    assert story(engine) == [(1400 * US + 2 * US, 0)]
    assert engine.link_totals(2000 * US)["bytes"].tolist()[:4] == [125_000 + 500_000, 0, 125_000 + 500_000, 0]


def test_latency_of_a_spread_stream_is_that_of_its_slowest_path() -> None:
    topology = chain(3)
    paths = way(topology, "h0", "s0", "s1", "h1") + way(topology, "s0", "s1")
    engine = FluidNetwork(topology, FixedShares(paths[:3], (1.0, 1.0, 1.0)))
    engine.add(Stream(0, 0, 1, 10**6, None))
    engine.commit(0)
    assert story(engine) == [(1003 * US, 0)]


def test_a_pair_without_a_path_stands_until_it_is_rerouted() -> None:
    topology = chain(2)
    engine = network(topology, Stream(0, 0, 1, 10**6, None))
    assert engine.rates() == {0: 0.0}
    assert engine.next_time() == INFINITY
    assert engine.active() == [0]
    engine.reroute(0, way(topology, "h0", "s0", "s1", "h1"))
    engine.commit(10 * US)
    assert story(engine) == [(10 * US + 1003 * US, 0)]


def test_a_reroute_keeps_the_weight() -> None:
    topology = chain(2)
    cable = way(topology, "s0", "s1")
    engine = network(topology, Stream(0, 0, 1, 3000, cable, 3.0), Stream(1, 0, 1, 3000, way(topology, "h0", "s0")))
    engine.reroute(1, cable)
    engine.reroute(0, cable)
    engine.commit(0)
    assert engine.rates() == pytest.approx({0: 6 * G, 1: 2 * G})


def test_a_reroute_moves_what_is_left() -> None:
    """Two streams on one link, 2 ms to go; at 1 ms one of them leaves to a free link: both end 0.5 ms later."""
    builder = TopologyBuilder("pair")
    builder.add_node("a", host=True, tier=0)
    builder.add_node("b", host=True, tier=0)
    builder.add_cable("a", "b", 8 * G, US)
    builder.add_cable("a", "b", 8 * G, US)
    engine = network(builder.freeze(), Stream(0, 0, 1, 10**6, (0,)), Stream(1, 0, 1, 10**6, (0,)))
    engine.reroute(1, (2,))
    engine.reroute(77, (2,))  # long gone
    engine.commit(1000 * US)
    assert engine.rates() == {0: 8 * G, 1: 8 * G}
    now, tells = engine.advance(INFINITY - 1, 10**6)
    assert (now, [tell.stream for tell in tells]) == (1501 * US, [0, 1])
    assert engine.link_totals(now)["bytes"].tolist() == [1_500_000, 0, 500_000, 0]


def test_a_stopped_stream_leaves_its_share_and_keeps_what_it_moved() -> None:
    """Two streams at 4 Gbit/s; one stops at 1 ms with half a MB gone, the other goes on at 8. One starts too late."""
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = network(topology, Stream(0, 0, 1, 10**6, path), Stream(1, 0, 1, 10**6, path))
    assert engine.advance(1000 * US, 10**6) == (1000 * US, [])
    assert engine.undelivered(0, 1000 * US) == 500_000
    for stream in (0, 2, 77):
        engine.stop(stream)
    engine.add(Stream(2, 0, 1, 1000, path))
    assert engine.undelivered(2, 1000 * US) == 1000
    engine.commit(1000 * US)
    assert engine.rates() == {1: 8 * G}
    assert sorted(engine.finished()) == [
        Done(0, -1, 1000 * US, 0, 0, 0, 500_000, 1),
        Done(2, -1, 1000 * US, 0, 0, 0, 1000, 1),
    ]
    assert story(engine) == [(1503 * US, 1)]
    assert engine.delivered_bytes() == 1_500_000
    assert engine.link_totals(1503 * US)["bytes"][path[0]] == 1_500_000
    assert engine.check(1503 * US) == []


def test_a_stop_is_too_late_for_a_stream_that_has_drained() -> None:
    """At 1001 us its bytes have left and travel: it is delivered as if nothing was said."""
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    for engine in (network(topology, Stream(0, 0, 1, 10**6, path)), IdealNetwork(topology, FixedShares())):
        if isinstance(engine, IdealNetwork):
            engine.add(Stream(0, 0, 1, 10**6, path))
            engine.commit(0)
        engine.advance(1001 * US, 10**6)
        engine.stop(0)
        engine.commit(1001 * US)
        assert engine.undelivered(0, 1001 * US) == 0
        assert story(engine) == [(1003 * US, 0)]
        assert engine.finished() == [Done(0, 1003 * US, 1003 * US, 0, 0, 0)]


def test_a_move_in_the_instant_of_the_start_counts() -> None:
    topology = chain(3)
    for engine in (FluidNetwork(topology, FixedShares()), IdealNetwork(topology, FixedShares())):
        engine.add(Stream(0, 0, 1, 10**6, way(topology, "h0", "s0", "s1", "h1")))
        engine.reroute(0, way(topology, "s0", "s1"))
        engine.commit(0)
        assert story(engine) == [(1001 * US, 0)]


def test_a_cap_counts_as_links_do_and_stays_on_a_reroute() -> None:
    """At an efficiency of a half links of 8 carry 4 Gbit/s of payload, and a cap of 2 lets 1 through."""
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    for engine in (FluidNetwork(topology, FixedShares(), 0.5), IdealNetwork(topology, FixedShares(), 0.5)):
        engine.add(Stream(0, 0, 1, 10**6, path, 3.0, 2 * G))
        engine.commit(0)
        engine.reroute(0, path[1:])
        engine.commit(4000 * US)
        assert story(engine) == [(8000 * US + 2 * US, 0)]


def test_ideal_stops_too() -> None:
    topology = chain(2)
    engine = IdealNetwork(topology, FixedShares())
    for number in range(2):
        engine.add(Stream(number, 0, 1, 10**6, way(topology, "h0", "s0", "s1", "h1")))
    engine.commit(0)
    engine.stop(0)
    engine.stop(2)
    engine.add(Stream(2, 0, 1, 10, None))
    engine.commit(250 * US)
    assert engine.finished() == [Done(0, -1, 250 * US, 0, 0, 0, 750_000, 1), Done(2, -1, 250 * US, 0, 0, 0, 10, 1)]
    assert story(engine) == [(1003 * US, 1)]
    assert engine.check(0) == []


def random_streams(seed: int, topology: Topology) -> list[tuple[int, Stream]]:
    rng = np.random.default_rng(seed)
    last = topology.hosts - 1
    result = []
    for number in range(60):
        a, b = sorted(rng.choice(last + 1, 2, replace=False).tolist())
        path = way(topology, f"h{a}", *[f"s{i}" for i in range(a, b + 1)], f"h{b}")
        start = int(rng.integers(0, 40)) * US
        result.append((start, Stream(number, a, b, int(rng.integers(1, 50_000)), path, float(rng.integers(1, 4)))))
    return sorted(result)


@pytest.mark.parametrize("tick", [1000, 1000 * 317, US])
def test_interrupting_the_engine_changes_nothing(tick: int) -> None:
    """The same history in ticks of 1 ns to 1 us, sampled on the way, and in one go: the same deliveries, to the ps."""
    topology = chain(5)
    streams = random_streams(3, topology)

    def run(step: int | None) -> list[Done]:
        engine = FluidNetwork(topology, FixedShares())
        for start, stream in streams:
            now = 0
            while engine.next_time() <= start:
                engine.advance(start, 3)
            engine.add(stream)
            engine.commit(start)
        now, ticks = streams[-1][0], 0
        while engine.next_time() < INFINITY:
            now = now + step if step is not None and ticks < 20_000 else INFINITY - 1
            now, _ = engine.advance(now, 10**6)
            ticks += 1
            if ticks % 1000 == 0:
                engine.link_state(now)
        return engine.finished()

    assert run(tick) == run(None)


def test_huge_transfers_do_not_overflow() -> None:
    """10^15 bytes at 8 Gbit/s take 10^6 s; two of them twice as long, and end together."""
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = network(topology, Stream(0, 0, 1, 10**15, path), Stream(1, 0, 1, 10**15, path))
    now, tells = engine.advance(INFINITY - 1, 10**6)
    assert [tell.stream for tell in tells] == [0, 1]
    assert 0 <= now - 3 * US - 2 * 10**18 < 10**6  # rounded up on a grid of 1e-13
    assert engine.link_totals(now)["bytes"][path[1]] == 2 * 10**15


def test_only_streams_somebody_waits_for_stop_the_engine() -> None:
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    quiet = [Stream(i, 0, 1, 1000 * (i + 1), path, notify=False) for i in range(5)]
    engine = network(topology, *quiet, Stream(9, 0, 1, 10**4, path))
    now, tells = engine.advance(INFINITY - 1, 10**6)
    assert tells == [Tell(DELIVERED, 9)]
    assert [done.stream for done in engine.finished()] == [0, 1, 2, 3, 4, 9]
    assert engine.advance(now + 5, 10**6) == (now + 5, [])


def test_efficiency_scales_the_payload_rate() -> None:
    topology = chain(2)
    engine = FluidNetwork(topology, FixedShares(), 0.5)
    engine.add(Stream(0, 0, 1, 10**6, way(topology, "h0", "s0", "s1", "h1")))
    engine.commit(0)
    assert engine.rates() == {0: 4 * G}


def test_the_check_sees_an_unfair_rate_and_an_overloaded_link() -> None:
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = network(topology, Stream(0, 0, 1, 10**6, path))
    engine._stream["rate"][0] = 5 * G
    assert "without a bottleneck" in engine.check(0)[0]
    engine._stream["rate"][0] = 9 * G
    assert "h0->s0" in engine.check(0)[0]


def test_ideal_streams_do_not_share() -> None:
    topology = chain(2)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = IdealNetwork(topology, FixedShares())
    for stream in (Stream(0, 0, 1, 10**6, path), Stream(1, 0, 1, 10**6, path), Stream(2, 0, 1, 10**6, path, 1.0, G)):
        engine.add(stream)
    engine.commit(0)
    assert engine.active() == [0, 1, 2]
    assert story(engine) == [(1003 * US, 0), (1003 * US, 1), (8003 * US, 2)]
    assert engine.check(0) == []
    assert engine.link_totals(0)["bytes"][path[0]] == 3 * 10**6


def test_ideal_stands_while_its_link_is_down_and_moves_on_a_reroute() -> None:
    topology = chain(3)
    path = way(topology, "h0", "s0", "s1", "h1")
    engine = IdealNetwork(topology, FixedShares())
    engine.add(Stream(0, 0, 1, 10**6, path))
    engine.commit(0)
    engine.set_links([path[0]], False)
    engine.commit(500 * US)
    assert engine.next_time() == INFINITY
    engine.reroute(0, path[1:])
    engine.commit(600 * US)
    assert story(engine) == [(1102 * US, 0)]
    assert engine.link_totals(2000 * US)["bytes"][list(path)].tolist() == [500_000, 10**6, 10**6]
