"""Random small stories for the twin tests: a network, its settings, and what happens when; told to either engine."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from models.paths import Routes
from models.topology import Topology
from models.units import serialisation_ps
from sim.clock import Clock
from sim.dispatch.packet import destination_rotation, least_queue, round_robin
from sim.dispatch.packet import random as random_port
from sim.network.choices import packet_choice
from sim.network.packet import PacketNetwork, PacketSettings
from sim.network.protocol import DELIVERED, TIMEOUT, LastPackets, Stream, Tell
from sim.network.reference import ReferenceNetwork
from sim.network.settings import NO_LIMIT
from tests.twin.topologies import make_topology

MOST = 2500  # rows of the trace of a story
Command = Callable[[Any], None]  # what is done to a network


@dataclass
class Story:
    """``commands`` [(ps, command)] in order of time; ``after`` what a delivered stream starts."""

    seed: int
    topology: Topology
    settings: PacketSettings
    policy: tuple[Any, dict[str, Any]] | None
    routes: Routes
    stop: int
    streams: list[tuple[int, Stream]]
    after: dict[int, list[Stream]] = field(default_factory=dict)
    commands: list[tuple[int, Command]] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)


@dataclass
class Outcome:
    """All that can be seen of a run."""

    trace: list[tuple[int, ...]]
    done: list[Any]
    tells: list[tuple[int, list[Tell]]]
    states: list[tuple[int, list[int], list[int], list[int]]]  # ps; queued and sent by link; links in a deadlock
    totals: dict[str, list[int]]
    counters: dict[tuple[str, str], int]
    reordering: list[int]
    delivered_bytes: int
    active: list[tuple[int, int]]  # and the bytes that have not arrived
    last: list[tuple[Any, ...]]  # of each completed stream: the packet that completed it, its links and their times
    broken: list[str]


def tell(
    story: Story,
    engine: type[PacketNetwork] | type[ReferenceNetwork],
    tick: int | None = None,
    until: int | None = None,
    traced: bool = True,
) -> Outcome:
    """Runs a story on an engine, with a SimPy process that only interrupts it every ``tick`` ps."""
    blocks: list[np.ndarray] = []
    choice = None
    if story.policy is not None:
        module, parameters = story.policy
        buffer = NO_LIMIT if story.settings.buffer is None else story.settings.buffer
        choice = packet_choice(module, story.topology, module.Params(**parameters), story.seed, 16, buffer)
    network = engine(
        story.topology, story.routes, story.settings, choice, blocks.append if traced else None, explains=True
    )
    clock = Clock(network)
    seen = Outcome([], [], [], [], {}, {}, [], 0, [], [], [])
    patience: dict[int, int] = {}
    streams = {stream.id: stream for _, stream in story.streams}
    streams |= {stream.id: stream for later in story.after.values() for stream in later}

    def hear(tells: list[Tell]) -> None:
        seen.tells.append((clock.now, tells))
        for kind, ident in tells:
            if kind == DELIVERED:
                for stream in story.after.get(ident, []):
                    network.add(stream)
            elif kind == TIMEOUT:
                patience[ident] = patience.get(ident, 0) + 1
                rng = random.Random(story.seed * 1009 + ident * 31 + patience[ident])
                way = any_way(rng, story.topology, story.routes, streams[ident])
                if rng.random() < 0.7:
                    network.reroute(ident, way)
                else:
                    clock.at(clock.now + rng.randrange(1, 10**6), partial(network.reroute, ident, way))

    def look() -> None:
        state = network.link_state(clock.now)
        seen.states.append((clock.now, state.queue_bytes.tolist(), state.sent_bytes.tolist(), network.deadlock()))

    def play() -> Any:
        acts: list[tuple[int, int, Command]] = [(when, 1, command) for when, command in story.commands]
        acts += [(when, 0, lambda net, stream=stream: net.add(stream)) for when, stream in story.streams]
        acts += [(when, 2, lambda _: look()) for when in story.looks]
        for when, _, act in sorted(acts, key=lambda item: item[:2]):
            if when > clock.now:
                yield clock.timeout(when - clock.now)
            act(network)

    def interrupt() -> Any:
        while tick:
            yield clock.timeout(tick)

    clock.on_tell = hear
    clock.process(play())
    if tick:
        clock.process(interrupt())
    clock.run(until=story.stop if until is None else until)
    seen.trace = sorted(tuple(row) for block in blocks for row in block.tolist())
    seen.done = sorted(network.finished())
    seen.totals = {name: column.tolist() for name, column in network.link_totals(clock.now).items()}
    seen.counters = network.counters()
    seen.reordering = network.reordering().tolist()
    seen.delivered_bytes = network.delivered_bytes()
    seen.active = [(stream, network.undelivered(stream, clock.now)) for stream in network.active()]
    seen.last = sorted(last_packets(network.explain()))
    seen.broken = network.check(clock.now)
    return seen


def last_packets(found: LastPackets) -> list[tuple[Any, ...]]:
    """Its rows: (stream, delivered, sequence, transmission, size, links, times offered)."""
    cuts = np.cumsum(found.hops)[:-1]
    ways = zip(np.split(found.link, cuts), np.split(found.offered, cuts), strict=True)
    heads = zip(*(column.tolist() for column in found[:5]), strict=True)
    return [(*head, link.tolist(), offered.tolist()) for head, (link, offered) in zip(heads, ways, strict=False)]


# -- making stories up


Dress = Callable[[random.Random, Topology, PacketSettings], PacketSettings]
Trouble = Callable[[random.Random, Story, list[int]], None]


def make(seed: int, dress: Dress | None = None, more: Trouble | None = None) -> Story:
    """``dress`` says more about packets and ports, ``more`` what else happens, at awkward instants that it is given."""
    rng = random.Random(seed)
    topology = make_topology(rng)
    routes = Routes(topology)
    mtu = rng.choice([1, 7, 100, 997, 1000, 4096])
    settings = _settings(rng, topology, mtu)
    if dress is not None:
        settings = dress(rng, topology, settings)
    streams, after = _streams(rng, topology, routes, mtu)
    # so long that most stories end, even with a few timeouts
    slowest = int(topology.link_rate.min())
    packets = sum(-(-stream.bytes // mtu) for _, stream in streams)
    ahead = serialisation_ps(mtu + settings.header, slowest) + int(topology.link_delay.max())
    stop = max(when for when, _ in streams) + (packets + 20) * ahead * rng.choice([1, 2, 4])
    story = Story(seed, topology, settings, _policy(rng), routes, stop, streams, after)
    rows = tell(story, PacketNetwork).trace
    if len(rows) > MOST:  # the specification is slow
        story.stop = sorted(row[5] for row in rows)[MOST]
    if rng.random() < 0.6:
        _trouble(rng, story, rows)
    if more is not None:
        more(rng, story, awkward_instants(story, rows))
    story.looks = sorted(rng.randrange(story.stop + 1) for _ in range(3))
    return story


def _settings(rng: random.Random, topology: Topology, mtu: int) -> PacketSettings:
    header = rng.choice([0, 64])
    packet = mtu + header
    kmin = rng.choice([None, None, 0, packet, 3 * packet])
    window = np.array(
        [rng.choice([1, mtu, 2 * mtu + 1, 10 * mtu, 2**62]) for _ in range(topology.hosts)], dtype=np.int64
    )
    if rng.random() < 0.5:
        window[:] = window[0]
    near = (
        rng.choice([1, 3]) * mtu * np.arange(1, topology.hosts + 1)
        if topology.clustered and rng.random() < 0.7
        else None
    )
    return PacketSettings(
        mtu=mtu,
        header=header,
        acks=rng.random() < 0.75,
        go_back_n=rng.random() < 0.5,
        rto=rng.choice([100_000, 700_000, 3_000_000, 10_000_000, 3_333_333]),
        window=window,
        buffer=rng.choice([None, packet, 2 * packet + 1, 5 * packet, 3]),
        kmin=kmin,
        kmax=None if kmin is None else kmin + rng.choice([0, packet, 5 * packet]),
        pmax=rng.choice([1.0, 0.5, 0.1]),
        key=rng.randrange(2**63),
        near=near,
    )


def _policy(rng: random.Random) -> tuple[Any, dict[str, Any]] | None:
    drill = {
        "samples": rng.choice([1, 2, 3, "all"]),
        "memory": rng.randint(0, 2),
        "ties": rng.choice(["random", "first"]),
    }
    return rng.choice(
        [
            None,
            None,
            (random_port, {}),
            (round_robin, {"start": rng.choice(["random", "zero"])}),
            (destination_rotation, {}),
            (least_queue, drill),
        ]
    )


def _streams(
    rng: random.Random, topology: Topology, routes: Routes, mtu: int
) -> tuple[list[tuple[int, Stream]], dict[int, list[Stream]]]:
    starts = [0, rng.randrange(10**6), rng.choice([80_000, 160_000, 240_000]), rng.randrange(3 * 10**6)]
    pathless = rng.choice([0.0, 0.5, 1.0])
    streams: list[tuple[int, Stream]] = []
    after: dict[int, list[Stream]] = {}
    for number in range(rng.randint(1, 7)):
        one = _stream(rng, topology, routes, mtu, 10 * number, pathless)
        streams.append((rng.choice(starts), one))
        for child in range(rng.choice([0, 0, 1, 2])):
            after.setdefault(one.id, []).append(_stream(rng, topology, routes, mtu, one.id + 1 + child, pathless))
    if rng.random() < 0.4:
        streams = [(when, _paced(rng, topology, one)) for when, one in streams]
        after = {ident: [_paced(rng, topology, one) for one in ones] for ident, ones in after.items()}
    rng.shuffle(streams)
    return streams, after


def _stream(rng: random.Random, topology: Topology, routes: Routes, mtu: int, ident: int, pathless: float) -> Stream:
    src, dst = rng.sample(range(topology.hosts), 2)
    if topology.kind == "rails" and dst != 0:
        src = 0  # several streams on the same NICs
    packets = rng.choice([1, 1, 2, 3, 5, 8, 13, 21] + [100] * (rng.random() < 0.03))
    size = rng.choice([1, packets * mtu, (packets - 1) * mtu + 1, rng.randint(1, packets * mtu)])
    one = Stream(ident, src, dst, size, None, notify=rng.random() < 0.7, notify_end=rng.random() < 0.3)
    path = None if rng.random() < pathless else any_way(rng, topology, routes, one)
    return one._replace(path=path, ask=path is not None and rng.random() < 0.3)


def _paced(rng: random.Random, topology: Topology, stream: Stream) -> Stream:
    """At most as fast as some link, or a share of it; now and then much faster, or not paced at all."""
    rate = int(rng.choice(topology.link_rate.tolist()))
    return stream._replace(cap=rng.choice([None, rate, rate, rate // 2, rate // 3, rate * 9 // 10, rate // 7, 10**15]))


def any_way(rng: random.Random, topology: Topology, routes: Routes, stream: Stream) -> tuple[int, ...]:
    """An equal-cost path, or any path without a loop."""
    known = routes.paths(stream.src, stream.dst)
    if known and rng.random() < 0.7:
        return rng.choice(known)
    switchless = topology.nodes == topology.hosts
    while True:  # a random walk until it happens to be a path
        way: list[int] = []
        node, visited = stream.src, {stream.src}
        while node != stream.dst:
            leaving = topology.out_link[topology.out_start[node] : topology.out_start[node + 1]].tolist()
            ends = {link: int(topology.link_dst[link]) for link in leaving}
            onward = [
                link
                for link, end in ends.items()
                if end not in visited and (end >= topology.hosts or end == stream.dst or switchless)
            ]
            if not onward:
                break
            way.append(rng.choice(onward))
            node = ends[way[-1]]
            visited.add(node)
        if node == stream.dst:
            return tuple(way)


def awkward_instants(story: Story, rows: list[tuple[int, ...]]) -> list[int]:
    """When packets begin, end and arrive."""
    delay = story.topology.link_delay
    sent = [row for row in rows if row[7] >= 0]
    ends = {row[6] for row in sent} | {row[7] for row in sent} | {row[7] + int(delay[row[4]]) for row in sent}
    return sorted(when for when in ends if when < story.stop) or [1]


def near(rng: random.Random, awkward: list[int]) -> int:
    """One of these instants, or 1 ps beside it."""
    when = rng.choice(awkward[: max(1, len(awkward) * 3 // 4)])
    return max(0, when + rng.choice([0, 0, 0, 0, -1, 1]))


def _trouble(rng: random.Random, story: Story, rows: list[tuple[int, ...]]) -> None:
    """Links that go down and up, tables that follow, streams that change their path or stop; at awkward instants."""
    topology = story.topology
    awkward = awkward_instants(story, rows)

    def instant() -> int:
        return near(rng, awkward)

    used = sorted({row[4] for row in rows})
    changes: list[tuple[int, tuple[int, ...], bool]] = []
    for _ in range(rng.randint(0, 3)):
        link = rng.choice(used) if rng.random() < 0.8 else rng.randrange(topology.links)
        links = (link, link ^ 1) if rng.random() < 0.7 else (link,)
        down, up = sorted((instant(), instant()))
        if rng.random() < 0.3:  # shorter than a packet
            up = down + rng.choice([0, 1, 1_000, 20_000])
        changes.append((down, links, False))
        if rng.random() < 0.7:
            changes.append((up, links, True))
    changes.sort(key=lambda change: change[0])
    state = np.ones(topology.links, dtype=np.bool_)
    convergence = rng.choice([None, 0, 1, 100_000, 1_000_000])
    for when, links, is_up in changes:
        story.commands.append((when, lambda net, links=links, is_up=is_up: net.set_links(links, is_up)))
        state[list(links)] = is_up
        if convergence is not None:
            routes = Routes(topology, state)
            story.commands.append((when + convergence, lambda net, routes=routes: net.set_routes(routes)))
            for _, stream in story.streams:
                paths = routes.paths(stream.src, stream.dst)
                if paths and rng.random() < 0.4:
                    _move(story, when + convergence, stream.id, rng.choice(paths))
    for _ in range(rng.randint(0, 3)):
        _, stream = rng.choice(story.streams)
        way = None if rng.random() < 0.3 else any_way(rng, topology, story.routes, stream)
        _move(story, instant(), stream.id, way)
    everyone = [*story.streams, *((-1, one) for ones in story.after.values() for one in ones)]
    for _ in range(rng.choice([0, 0, 1, 2, 4])):
        begin, stream = rng.choice(everyone)
        when = begin if begin >= 0 and rng.random() < 0.1 else instant()
        story.commands.append((when, lambda net, ident=stream.id: net.stop(ident)))
        if rng.random() < 0.2:
            _move(story, when, stream.id, any_way(rng, topology, story.routes, stream))


def _move(story: Story, when: int, stream: int, way: tuple[int, ...] | None) -> None:
    story.commands.append((when, lambda net: net.reroute(stream, way)))
