"""What the packet engines are told: the scenario's keys, and what follows from the topology where they say auto."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem, nearest
from models.paths import Routes
from models.structure import longest_hops, longest_rtt, scale_up_rtt
from models.topology import Topology
from models.units import PS_PER_SECOND, serialisation_ps
from sim.dispatch.api import FREE, WINDOW, PathFacts
from sim.network.settings import (
    ACK_BYTES,
    NO_LIMIT,
    Control,
    PacketSettings,
    Pause,
    PortChange,
    Ports,
)
from sim.scenario.load import Loaded
from sim.scenario.switches import HTSIM
from sim.scenario.transports import BUILT_IN, InOrder, Transport

_LEAST_RTO, _DRAINS = 15 * 10**6, 6  # ps, and times that a full buffer takes: uet-htsim
_PLAIN_RTO = 10**9  # ps: code of Ethereal's authors
_BDPS = {True: 1, False: 5}  # buffers of trimming and of other switches: uet-htsim
_FIFTHS = (1, 4)  # of the BDP in packets, where marking begins and is sure: uet-htsim
_OPTIONS = ("credit", "credit_share", "credit_packets", "ack_every", "reorder")  # that a control may set


@dataclass(frozen=True)
class Derived:
    """Numbers that follow from the topology, and where they come from. Sizes in bytes, times in ps."""

    facts: PathFacts  # of hosts with the fastest links
    inside: PathFacts | None  # the same in a scale-up domain
    buffer: int | None
    buffer_source: str
    header_room: int  # of the queue of control packets; NO_LIMIT
    ecn: tuple[int, int] | None  # kmin, kmax
    pmax: float
    ecn_source: str
    rto: int
    rto_source: str
    options: dict[str, Any]  # that the control sets
    window: int  # bytes on the wire that a flow begins with; NO_LIMIT: at line rate
    packets: int  # of the BDP, rounded up


def derive(loaded: Loaded, topology: Topology, routes: Routes) -> Derived:
    """All that follows. InputError where the transport's own functions fail."""
    scenario = loaded.scenario
    transport, switch = scenario.fabric.transport, scenario.fabric.switch
    wire = transport.payload + transport.header
    rtt, rate = longest_rtt(routes, wire, ACK_BYTES), int(topology.outward_rate.max(initial=1))
    packets = max(1, -(-rtt * rate // (8 * PS_PER_SECOND * wire)))
    trims = switch.overflow == "trim"
    buffer, source = None if switch.buffer == "unlimited" else switch.buffer, "fabric.switch.buffer"
    if buffer == "auto":
        buffer, source = _BDPS[trims] * packets * wire, f"{_BDPS[trims]} BDP in whole packets, {HTSIM}"
    limit = NO_LIMIT if buffer is None or switch.overflow == "pause" else buffer
    header_room = NO_LIMIT if switch.header_buffer == "auto" else switch.header_buffer
    if switch.header_buffer == "auto" and trims and buffer is not None:
        header_room = 2 * buffer
    hops = longest_hops(routes)
    facts = _at_rate(PathFacts(rtt, rate, 0, wire, transport.payload, ACK_BYTES, hops, limit, trims), rate)
    inside, inside_rtt = None, scale_up_rtt(topology, wire, ACK_BYTES)
    if inside_rtt:
        inside = facts._replace(rtt=inside_rtt, hops=2, buffer=NO_LIMIT, trims=False)
        inside = _at_rate(inside, int(topology.scale_up_rate.max()))
    options = _options(loaded, facts)
    ecn, pmax, ecn_source = _marking(loaded, facts, packets)
    rto, rto_source = _timeout(loaded, facts)
    window = _first_window(loaded, facts, packets)
    return Derived(
        facts, inside, buffer, source, header_room, ecn, pmax, ecn_source, rto, rto_source, options, window, packets
    )  # fmt: skip


def _at_rate(facts: PathFacts, rate: int) -> PathFacts:
    return facts._replace(rate=rate, bdp=facts.rtt * rate // (8 * PS_PER_SECOND))


def _asked(loaded: Loaded, name: str, facts: PathFacts) -> Any:
    """What the transport's function ``name`` says, or None where it has none. InputError if it fails."""
    policy, params = loaded.dispatch["transport"]
    function = getattr(policy.module, name, None)
    if function is None:
        return None
    try:
        return function(params, facts)
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise InputError([_at(loaded, f"{policy.name}: {name}: {type(error).__name__}: {error}")]) from error


def _at(loaded: Loaded, message: str) -> Problem:
    return loaded.problem_at(("fabric", "transport", "kind"), message)


def _options(loaded: Loaded, facts: PathFacts) -> dict[str, Any]:
    options = dict(_asked(loaded, "options", facts) or {})
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        name = loaded.dispatch["transport"].policy.name
        raise InputError([_at(loaded, f"{name}: options: there is no '{unknown[0]}'{nearest(unknown[0], _OPTIONS)}")])
    if loaded.scenario.engine == "reference" and options.get("credit"):
        raise InputError([_at(loaded, "the reference engine has no receiver credit; use engine: packet")])
    return options


def _marking(loaded: Loaded, facts: PathFacts, packets: int) -> tuple[tuple[int, int] | None, float, str]:
    """Thresholds, the probability below the upper one, and who says so."""
    ecn = loaded.scenario.fabric.switch.ecn
    if ecn is not None and not ecn.marks:
        return None, 1.0, "fabric.switch.ecn"
    if ecn is None:
        wanted = _asked(loaded, "marking", facts)
        name = loaded.dispatch["transport"].policy.name
        if wanted is None:
            return None, 1.0, f"{name} asks for none"
        return (int(wanted[0]), int(wanted[1])), float(wanted[2]), f"what {name} asks for"
    if ecn.kmin == "auto":
        low, high = (-(-share * packets // 5) * facts.mtu for share in _FIFTHS)
        return (low, high), ecn.pmax, f"20 % and 80 % of the BDP in packets, {HTSIM}"
    return (ecn.kmin, ecn.kmax), ecn.pmax, "fabric.switch.ecn"


def _timeout(loaded: Loaded, facts: PathFacts) -> tuple[int, str]:
    transport = loaded.scenario.fabric.transport
    if transport.rto != "auto":
        return transport.rto, "fabric.transport.rto"
    if transport.kind in BUILT_IN or facts.buffer == NO_LIMIT:
        return _PLAIN_RTO, "code of Ethereal's authors"
    drain = -(-facts.buffer * 8 * PS_PER_SECOND // facts.rate)
    return _LEAST_RTO + _DRAINS * drain, f"15 us and {_DRAINS} times what a full buffer takes, {HTSIM}"


def _first_window(loaded: Loaded, facts: PathFacts, packets: int) -> int:
    """Bytes on the wire that a flow of the fastest host may begin with."""
    transport = loaded.scenario.fabric.transport
    if transport.kind == "line_rate":
        return NO_LIMIT
    if transport.kind == "window":
        whole = packets if transport.window == "auto" else -(-transport.window // transport.payload)
        return whole * facts.mtu
    return int(min(_memory(loaded, facts)[WINDOW], NO_LIMIT))


def _memory(loaded: Loaded, facts: PathFacts) -> NDArray[np.float64]:
    """The memory that a flow begins with under these facts."""
    window = loaded.scenario.fabric.transport.window
    own = np.array(_asked(loaded, "memory", facts), dtype=np.float64)
    if own.ndim != 1 or len(own) < FREE or not np.isfinite(own).all() or own[WINDOW] < 0:
        name = loaded.dispatch["transport"].policy.name
        text = f"{name}: memory must be {FREE} or more finite numbers, with a window of 0 or more"
        raise InputError([_at(loaded, text)])
    if window != "auto":
        own[WINDOW] = window
    return own


def settings_of(loaded: Loaded, topology: Topology, derived: Derived, key: int) -> PacketSettings:
    """All of the packet engines' settings. ``key``: 63 random bits of the run."""
    transport, switch = loaded.scenario.fabric.transport, loaded.scenario.fabric.switch
    facts = derived.facts
    window, near = np.full(topology.hosts, NO_LIMIT, dtype=np.int64), None
    if transport.kind == "window":
        if transport.window == "auto":
            window, near = default_windows(topology, derived)
        else:
            window[:] = transport.window
    return PacketSettings(
        mtu=transport.payload,
        header=transport.header,
        acks=transport.kind != "line_rate",
        go_back_n=transport.go_back_n and transport.kind != "line_rate",
        rto=derived.rto,
        window=window,
        buffer=None if facts.buffer == NO_LIMIT else facts.buffer,
        kmin=None if derived.ecn is None else derived.ecn[0],
        kmax=None if derived.ecn is None else derived.ecn[1],
        pmax=derived.pmax,
        key=key,
        near=near,
        ports=Ports(
            trim=switch.overflow == "trim",
            control=derived.header_room,
            bounce=switch.bounce,
            priority=switch.priority,
            shared=None if switch.shared is None else switch.shared.buffer,
            alpha=1.0 if switch.shared is None or switch.shared.alpha is None else switch.shared.alpha,
            pause=pause_of(loaded, topology, derived) if switch.overflow == "pause" else None,
            late_marks=derived.ecn is not None and switch.ecn is not None and switch.ecn.at == "dequeue",
            unmarked=_unmarked(topology) if switch.ecn is not None and not switch.ecn.host_links else None,
            changes=_changes(loaded, topology, derived),
        ),
        control=_control(loaded, topology, derived, window, near),
    )


def default_windows(topology: Topology, derived: Derived) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """[hosts] bytes of payload of flows into the fabric, and of those inside a scale-up domain if there are any.

    Each a bandwidth-delay product of the longest such pair's unloaded RTT, in whole packets, rounded up.
    """

    def windows(facts: PathFacts, rates: NDArray[np.int64]) -> NDArray[np.int64]:
        packets = [max(1, -(-facts.rtt * rate // (8 * PS_PER_SECOND * facts.mtu))) for rate in rates.tolist()]
        return np.array(packets, dtype=np.int64) * facts.payload

    window = windows(derived.facts, topology.outward_rate)
    return window, windows(derived.inside, topology.scale_up_rate) if derived.inside else None


def _unmarked(topology: Topology) -> NDArray[np.bool_]:
    to_hosts: NDArray[np.bool_] = topology.link_dst < topology.hosts
    return to_hosts


def _changes(loaded: Loaded, topology: Topology, derived: Derived) -> dict[int, PortChange]:
    """By link, of switch ports; cables first, then single directions, which are more particular."""
    links, found = loaded.scenario.fabric.links, dict[int, PortChange]()
    limit = None if derived.facts.buffer == NO_LIMIT else derived.facts.buffer
    kmin, kmax = derived.ecn or (None, None)
    for name, change in sorted(links.items(), key=lambda item: "->" in item[0]):
        if change.buffer is None and change.ecn is None:
            continue
        for link in topology.find_links(name):
            if topology.link_src[link] < topology.hosts:
                continue
            old = found.get(link, PortChange(limit, kmin, kmax))
            if change.buffer is not None:
                old = old._replace(buffer=None if change.buffer == "unlimited" else change.buffer)
            if change.ecn is not None:
                old = old._replace(kmin=change.ecn.kmin, kmax=change.ecn.kmax)
            found[link] = old
    return found


def pause_of(loaded: Loaded, topology: Topology, derived: Derived) -> Pause:
    """Thresholds and headroom of priority flow control."""
    keys, alpha = loaded.scenario.fabric.switch.pause, loaded.scenario.fabric.switch.pause_alpha
    shared = loaded.scenario.fabric.switch.shared
    if keys.threshold != "auto":
        limit = keys.threshold
    elif alpha is not None and shared is not None:
        limit = shared.buffer
    else:
        limit = derived.buffer if derived.buffer is not None else NO_LIMIT
    if keys.headroom == "auto":
        headroom = headrooms(topology, derived.facts.mtu)
    else:
        headroom = np.full(topology.links, keys.headroom, dtype=np.int64)
    return Pause(limit, min(keys.resume, limit), headroom, alpha)


def headrooms(topology: Topology, mtu: int) -> NDArray[np.int64]:
    """[links] bytes that may still come over a link after its receiver decided to pause it.

    The packet that reaches the limit may pass it by a packet. Then what is on the wire, what starts until the pause
    arrives (its serialisation at the reverse link's rate, and the delay back), and a packet on either side of these.
    """
    room = np.empty(topology.links, dtype=np.int64)
    known: dict[tuple[int, int, int, int], int] = {}
    back = np.arange(topology.links) ^ 1
    columns = (topology.link_rate, topology.link_delay, topology.link_rate[back], topology.link_delay[back])
    for link, (rate, delay, rate_back, delay_back) in enumerate(zip(*(one.tolist() for one in columns), strict=True)):
        facts = (rate, delay, rate_back, delay_back)
        if facts not in known:
            until = delay + delay_back + serialisation_ps(ACK_BYTES, rate_back)
            known[facts] = -(-rate * until // (8 * PS_PER_SECOND)) + 3 * mtu
        room[link] = known[facts]
    return room


def reorder_buffer(transport: Transport, derived: Derived) -> int | None:
    """Payload that a receiver in order can hold; None: no limit, or one that takes any order."""
    if not isinstance(transport.receiver, InOrder) or transport.receiver.buffer == "unlimited":
        return None
    return derived.packets * transport.payload if transport.receiver.buffer == "auto" else transport.receiver.buffer


def is_controlled(loaded: Loaded, derived: Derived) -> bool:
    """Whether flows are under a congestion control, or a constant one in its place."""
    transport = loaded.scenario.fabric.transport
    if loaded.dispatch["transport"].policy.module.react is not None:
        return True
    return transport.kind != "line_rate" and (derived.facts.trims or isinstance(transport.receiver, InOrder))


def _control(
    loaded: Loaded,
    topology: Topology,
    derived: Derived,
    window: NDArray[np.int64],
    near: NDArray[np.int64] | None,
) -> Control | None:
    """The congestion control; None for a window or line rate as they are built in.

    A window under trimming, or before a receiver that hands over in order, is a constant one of the same packets.
    """
    if not is_controlled(loaded, derived):
        return None
    transport = loaded.scenario.fabric.transport
    module = loaded.dispatch["transport"].policy.module
    held = reorder_buffer(transport, derived)
    if module.react is None:
        react = loaded.registry.load("transport", "constant").module.react
        wire = derived.facts.mtu

        def constant(payload: NDArray[np.int64]) -> NDArray[np.float64]:
            own = np.zeros((topology.hosts, FREE))
            own[:, WINDOW] = -(-payload // transport.payload) * wire
            return own

        return Control(react, constant(window), None if near is None else constant(near), reorder_buffer=held)
    options = dict(derived.options)
    if transport.ack_every != "auto":
        options["ack_every"] = 1 if transport.ack_every == "packet" else transport.ack_every
    if transport.reorder != "auto":
        options["reorder"] = 0 if transport.reorder == "none" else transport.reorder
    near_own = None
    if derived.inside is not None:
        near_own = _memories(loaded, derived.inside, topology.scale_up_rate)
    return Control(
        module.react,
        _memories(loaded, derived.facts, topology.outward_rate),
        near_own,
        uses_telemetry=getattr(module, "uses_telemetry", False),
        uses_sent=getattr(module, "uses_sent", False),
        reorder_buffer=held,
        **options,
    )


def _memories(loaded: Loaded, facts: PathFacts, rates: NDArray[np.int64]) -> NDArray[np.float64]:
    """[hosts, words] by the rate of each host's link."""
    kinds, place = np.unique(rates, return_inverse=True)
    return np.stack([_memory(loaded, _at_rate(facts, int(rate))) for rate in kinds])[place]


def chooses(module: Any) -> bool:
    """Whether a packet policy chooses ports or entropies, and so wins over a flow's hashed path."""
    return module.pick is not None or getattr(module, "spread", None) is not None
