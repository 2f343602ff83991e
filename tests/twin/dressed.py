"""Stories of today's networks: ports that cut, pause, share or mark late, flows under a congestion control, links that
lose packets or change their rate.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.topology import Topology
from models.units import serialisation_ps
from sim.dispatch.api import FREE, RATE, TIMER, WINDOW, PathFacts
from sim.dispatch.transport import dcqcn, dctcp, nscc, swift, timely
from sim.network.settings import ACK_BYTES, NO_LIMIT, Control, PacketSettings, Pause, PortChange, Ports
from tests.twin import controls
from tests.twin.stories import Story, make, near

SEED = 10_000  # of the first of these stories


def make_dressed(number: int) -> Story:
    """Ports in turn, so that all kinds are there; whether a control, by chance."""
    kind = number % len(KINDS)

    def dress(rng: random.Random, topology: Topology, settings: PacketSettings) -> PacketSettings:
        packet = settings.mtu + settings.header
        if KINDS[kind].get("trim") or rng.random() < 0.75:
            settings = replace(settings, acks=True, control=_control(rng, topology, settings))
        if KINDS[kind].get("trim"):
            settings = replace(settings, buffer=rng.choice([3, packet, 2 * packet + 1, 3 * packet]))
        return replace(settings, ports=_ports(rng, topology, packet, KINDS[kind]))

    return make(SEED + number, dress, _trouble)


INVENTED = [controls.constant, controls.halving, controls.pacing, controls.nosy]
REAL: list[tuple[Any, dict[str, Any]]] = [
    (nscc, {}),
    (nscc, {"gate": 0}),
    (dctcp, {}),
    (dctcp, {"variant": "rate"}),
    (dcqcn, {"increase_timer": "2us", "cnp_interval": "1us"}),
    (swift, {}),
    (timely, {}),
]
# what is certain of the ports of a story; the rest is by chance
KINDS: list[dict[str, Any]] = [
    {},
    {"trim": True},
    {"trim": True, "late_marks": True},
    {"priority": True},
    {"late_marks": True},
    {"shared": True},
    {"shared": True, "trim": True},
    {"pause": True},
    {"pause": True, "priority": True},
    {"pause": True, "shared": True},
]


def _ports(rng: random.Random, topology: Topology, packet: int, kind: dict[str, Any]) -> Ports:
    plain = not kind
    most = 8 * (packet + ACK_BYTES)
    changes = {}
    for _ in range(rng.choice([0, 0, 1, 3])):
        kmin = rng.choice([None, 0, packet, 2 * packet])
        kmax = None if kmin is None else kmin + rng.choice([0, 3 * packet])
        changes[rng.randrange(topology.links)] = PortChange(rng.choice([None, packet, 3 * packet]), kmin, kmax)
    shared = rng.randrange(packet, 2 * most) if kind.get("shared") else None
    return Ports(
        trim=kind.get("trim", False),
        control=rng.choice([64, 64, 100, 128, 1000, NO_LIMIT]),
        bounce=kind.get("trim", False) and rng.random() < 0.7,
        priority=kind.get("priority", False) or (not plain and rng.random() < 0.2),
        shared=shared,
        alpha=rng.choice([0.5, 1.0, 2.0, 1 / 3]),
        pause=_pause(rng, topology, packet, shared) if kind.get("pause") else None,
        late_marks=kind.get("late_marks", False) or (not plain and rng.random() < 0.2),
        unmarked=np.array([rng.random() < 0.5 for _ in range(topology.links)]) if rng.random() < 0.3 else None,
        changes=changes,
    )


def _pause(rng: random.Random, topology: Topology, packet: int, shared: int | None) -> Pause:
    limit = rng.choice([1, packet, 2 * packet + 1, 4 * packet])
    enough = 2 * (topology.link_rate // 10**9 * topology.link_delay // 8000 + packet + ACK_BYTES)
    headroom = rng.choice([enough, enough, np.full(topology.links, packet), np.zeros(topology.links)])
    resume = rng.choice([0, 1, packet, limit])
    alpha = None if shared is None else rng.choice([None, 0.5, 1.0])
    return Pause(limit, min(resume, limit), headroom.astype(np.int64), alpha)


def _control(rng: random.Random, topology: Topology, settings: PacketSettings) -> Control:
    packet = settings.mtu + settings.header
    near = None
    if rng.random() < 0.4:
        module, parameters = rng.choice(REAL)
        react, uses_sent = module.react, module.uses_sent
        own = np.tile(module.memory(module.Params(**parameters), _facts(rng, topology, settings)), (topology.hosts, 1))
    else:
        react, uses_sent = rng.choice(INVENTED), rng.random() < 0.3
        own = _memory(rng, topology, packet, react)
        if topology.clustered and rng.random() < 0.5:
            near = _memory(rng, topology, packet, react)
    return Control(
        react=react,
        own=own,
        near=near,
        uses_sent=uses_sent,
        ack_every=rng.choice([1, 1, packet, 3 * packet, 10 * packet, NO_LIMIT]),
        reorder=0 if settings.go_back_n else rng.choice([0, 0, 1, 3, 20]),
        reorder_buffer=rng.choice([None, None, settings.mtu, 3 * settings.mtu + 1, 10 * settings.mtu]),
    )


def _facts(rng: random.Random, topology: Topology, settings: PacketSettings) -> PathFacts:
    """Of a fabric a little like this one."""
    rate = int(rng.choice(topology.link_rate.tolist()))
    packet = settings.mtu + settings.header
    rtt = 4 * (int(topology.link_delay.max()) + serialisation_ps(packet, rate))
    bdp = max(packet, rate * rtt // (8 * 10**12))
    buffer = NO_LIMIT if settings.buffer is None else settings.buffer
    return PathFacts(rtt, rate, bdp, packet, settings.mtu, ACK_BYTES, rng.randint(2, 6), buffer, rng.random() < 0.5)


def _memory(rng: random.Random, topology: Topology, packet: int, react: Any) -> NDArray[np.float64]:
    own = np.zeros((topology.hosts, controls.WORDS))
    windows = [1, packet, 2 * packet + 1, 10 * packet, 10 * packet, 30 * packet]
    own[:, WINDOW] = [rng.choice(windows) for _ in range(topology.hosts)]
    own[:, FREE] = packet
    slowest = int(topology.link_rate.min())
    if react is controls.pacing:
        own[:, WINDOW] = rng.choice([float(packet), 20.0 * packet, 1e18])
        own[:, RATE] = rng.choice([0, slowest, slowest // 3])
        own[:, FREE] = rng.choice([1.0, 3.0, 20.0]) * serialisation_ps(packet, slowest)
        own[:, FREE + 1] = slowest // 50
    own[:, TIMER] = 0.0
    return own


def _trouble(rng: random.Random, story: Story, awkward: list[int]) -> None:
    """Rates that change, and come back or not; packets lost at random, for a while or to the end."""
    links, rates = story.topology.links, story.topology.link_rate
    for _ in range(rng.choice([0, 0, 1, 2])):
        some = rng.sample(range(links), min(links, rng.choice([1, 2])))
        slower = [max(1, int(rates[link]) * rng.choice([1, 1, 2, 3]) // rng.choice([1, 2, 3, 7])) for link in some]
        story.commands.append((near(rng, awkward), lambda net, some=some, slower=slower: net.set_rates(some, slower)))
        if rng.random() < 0.5:
            before = [int(rates[link]) for link in some]
            when = near(rng, awkward)
            story.commands.append((when, lambda net, some=some, before=before: net.set_rates(some, before)))
    for _ in range(rng.choice([0, 0, 1, 2])):
        some = rng.sample(range(links), min(links, rng.choice([1, 3, links])))
        for share in rng.choice([[0.01], [0.2, 0.0], [0.5], [1.0, 0.0]]):
            story.commands.append((near(rng, awkward), lambda net, some=some, share=share: net.set_loss(some, share)))
