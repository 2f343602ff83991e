"""Checks of a congestion control: what it begins with, and many calls of its ``react`` as the engine makes them."""

from __future__ import annotations

from collections.abc import Iterator
from time import process_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.mix import mix
from sim.dispatch.api import (
    FREE,
    HOP_WORDS,
    ON_ACK,
    ON_NACK,
    ON_SENT,
    ON_TIMEOUT,
    ON_TIMER,
    QUEUE,
    RATE,
    SENT,
    SPEED,
    TIME,
    TIMER,
    WINDOW,
    PathFacts,
)
from sim.dispatch.kit.report import GlobalRandomness, Report
from sim.dispatch.registry import Policy
from sim.engine.signatures import REACT

_NO_LIMIT = 2**62
_CALLS = 6000
_ROUNDS = 300  # round trips of the closed loop
_GUARD, _WALL = 64, -5.0e199
_SLOWEST = 100e-6  # seconds of CPU a call, on average
_OPTIONS = {"credit": bool, "credit_share": float, "credit_packets": int, "ack_every": int, "reorder": int}
Words = NDArray[np.float64]


def _facts(rtt: int, gbps: int, mtu: int, hops: int, buffer_bdps: int, trims: bool) -> PathFacts:
    rate = gbps * 10**9
    bdp = rtt * rate // (8 * 10**12)
    buffer = buffer_bdps * max(bdp, mtu) if buffer_bdps else _NO_LIMIT
    return PathFacts(rtt, rate, bdp, mtu, mtu - 64, 64, hops, buffer, trims)


WORLDS = {
    "leaf-spine": _facts(4_337_920, 400, 4160, 4, 5, False),
    "fat-tree with trimming": _facts(14_022_720, 100, 4150, 6, 1, True),
    "unlimited buffers": _facts(8_000_000, 800, 9064, 4, 0, False),
    "inside a node": _facts(700_000, 3600, 4160, 2, 0, False),
    "wide area": _facts(20_000_000_000, 10, 1564, 5, 1, False),
    "less than a packet": _facts(100_000, 25, 9064, 1, 3, False),
}


class Call(NamedTuple):
    """What ``react`` gets beside its memory and the telemetry, in order."""

    event: int
    now: int
    rtt: int
    marked: int
    acked: int
    lost: int
    in_flight: int
    sequence: int
    following: int
    key: int


def check_transport(report: Report, policy: Policy) -> None:
    """All checks of the level."""
    module, shared = policy.module, GlobalRandomness()
    if module.react is None:
        report.note("react", "built into the engine: there is nothing to call")
        return
    fine = report.run(
        f"memory(params, facts): 1-D float64 of {FREE} or more finite numbers, the same each time",
        lambda: [fault for name in WORLDS for fault in _memory_faults(policy, name)],
    )
    report.run("marking, options: as far as there are any", lambda: list(_wishes(policy)))
    if not report.check("react: compiled with @congestion_control", _signature_faults(module.react)) or not fine:
        return
    found: dict[str, list[str]] = {what: [] for what in ("finite", "window", "rate", "timer", "guard", "same")}
    begun, calls = process_time(), 0
    for name in WORLDS:
        first, called = _played(policy, name, found)
        second, _ = _played(policy, name, {what: [] for what in found})
        calls += 2 * called
        if not np.array_equal(first, second):
            found["same"].append(f"{name}: the same calls left other numbers in the memory")
    each = (process_time() - begun) / max(1, calls)
    report.check(f"memory stays finite, {_CALLS} calls a fabric", found["finite"])
    report.check("own[WINDOW]: 0 or more, at most 2^62", found["window"])
    report.check("own[RATE]: 0 or more", found["rate"])
    report.check("own[TIMER]: 0, or later than now", found["timer"])
    report.check("words around the memory untouched, telemetry unchanged", found["guard"])
    report.check("same memory and calls, same numbers", found["same"])
    slow = [f"{each * 1e6:.0f} us a call"] if each > _SLOWEST else []
    report.check(f"time: below {_SLOWEST * 1e6:.0f} us a call", slow)
    report.check("no draw from global generators", shared.faults())
    if report.passed:
        for name in ("leaf-spine", "fat-tree with trimming"):
            report.note(f"alone on a link ({name})", _alone(policy, WORLDS[name]))
    report.note("fabrics", ", ".join(WORLDS))


def _fresh(policy: Policy, name: str) -> Words:
    memory: Words = policy.module.memory(policy.Params(), WORLDS[name])
    return memory


def _memory_faults(policy: Policy, name: str) -> Iterator[str]:
    first, second = _fresh(policy, name), _fresh(policy, name)
    if not isinstance(first, np.ndarray) or first.dtype != np.float64 or first.ndim != 1:
        kind = f"{first.ndim}-D {first.dtype} array" if isinstance(first, np.ndarray) else type(first).__name__
        yield f"it is a {kind}"
    elif len(first) < FREE:
        yield f"it has {len(first)} words; window, rate and timer need {FREE}"
    elif len(first) != len(_fresh(policy, next(iter(WORLDS)))):
        yield "its length depends on the fabric"
    elif not np.isfinite(first).all():
        yield f"{name}: it holds {first[~np.isfinite(first)][0]}"
    elif first[WINDOW] <= 0 or first[RATE] < 0 or first[TIMER] < 0:
        yield f"{name}: window above 0, rate and timer 0 or more are due, not {first[:FREE].tolist()}"
    elif not np.array_equal(first, second):
        yield "the same facts gave two different memories"
    elif first is second:
        yield "both calls gave one and the same array; make a new one each time"


def _wishes(policy: Policy) -> Iterator[str]:
    """What is wrong with the marking and the options that the control asks for."""
    module, params = policy.module, policy.Params()
    for name, facts in WORLDS.items():
        marking = module.marking(params, facts) if hasattr(module, "marking") else None
        if marking is not None and not (0 < marking[0] <= marking[1] and 0 < marking[2] <= 1):
            yield f"{name}: marking is (kmin, kmax, pmax) with 0 < kmin <= kmax and 0 < pmax <= 1, not {marking}"
        options = module.options(params, facts) if hasattr(module, "options") else None
        for key, value in (options or {}).items():
            if key not in _OPTIONS:
                yield f"there is no option {key!r}; valid: {', '.join(_OPTIONS)}"
            elif not isinstance(value, _OPTIONS[key]):
                yield f"the option {key} is a {_OPTIONS[key].__name__}, not {value!r}"


def _signature_faults(react: Any) -> Iterator[str]:
    if not hasattr(react, "nopython_signatures"):
        yield "react is a plain function; put @congestion_control above it"
    elif REACT not in react.nopython_signatures:
        yield f"react is compiled for {react.nopython_signatures}, the engine calls {REACT}"


class _Guarded:
    """Words with a wall on each side."""

    def __init__(self, words: Words) -> None:
        self._all = np.full(len(words) + 2 * _GUARD, _WALL)
        self.words: Words = self._all[_GUARD : _GUARD + len(words)]
        self.words[:] = words

    def intact(self) -> bool:
        return bool((self._all[:_GUARD] == _WALL).all() and (self._all[len(self._all) - _GUARD :] == _WALL).all())


def _played(policy: Policy, name: str, found: dict[str, list[str]]) -> tuple[Words, int]:
    """Events of one flow, most of them ACKs; its timer goes first when it is due. The memory, and the calls made."""
    module, facts = policy.module, WORLDS[name]
    own = _Guarded(_fresh(policy, name))
    telemetry = bool(getattr(module, "uses_telemetry", False))
    path = _Guarded(np.zeros(facts.hops * HOP_WORDS if telemetry else 0))
    draw = np.random.Generator(np.random.PCG64(23))
    kinds = [ON_ACK, ON_NACK, ON_TIMEOUT, *([ON_SENT] if getattr(module, "uses_sent", False) else [])]
    share = np.array([0.85, 0.13, 0.02, 0.6][: len(kinds)])
    now, sent, made = facts.rtt, 0, 0
    for number, event in enumerate(draw.choice(kinds, _CALLS, p=share / share.sum()).tolist()):
        until = now + int(draw.integers(0, 2 * facts.rtt // 20 + 2))
        while 0 < own.words[TIMER] <= until:
            if made >= 4 * _CALLS:  # mostly timers: a slow network and a fast clock
                return own.words.copy(), made
            now = max(now, int(own.words[TIMER]))
            own.words[TIMER] = 0
            made += 1
            if not _one(policy, name, own, path, Call(ON_TIMER, now, -1, 0, 0, 0, 0, 0, sent, _key(made)), found):
                return own.words.copy(), made
        now, made = max(now, until), made + 1
        in_flight = int(draw.integers(0, 3 * max(facts.bdp, facts.mtu)))
        call = _drawn(draw, facts, event, now, in_flight, sent, _key(number + _CALLS))
        sent += event in (ON_SENT, ON_ACK)
        if telemetry and event == ON_ACK:
            _pass_links(draw, path.words, facts, now)
        if not _one(policy, name, own, path, call, found):
            break
    return own.words.copy(), made


def _key(number: int) -> int:
    return int(mix(np.uint64(number)) >> np.uint64(1))


def _drawn(
    draw: np.random.Generator, facts: PathFacts, event: int, now: int, in_flight: int, sent: int, key: int
) -> Call:
    """A call with numbers that the engine may have for this event."""
    late = int(draw.integers(0, 6 * facts.rtt)) if draw.random() < 0.5 else int(draw.integers(0, facts.rtt // 10 + 1))
    rtt = -1 if draw.random() < 0.1 else facts.rtt * int(draw.integers(3, 5)) // 4 + late
    marked = int(draw.random() < 0.3)
    acked, lost = 0, 0
    if event == ON_ACK:
        acked = facts.mtu * int(draw.integers(0, 8))
    elif event == ON_SENT:
        rtt, marked, acked = -1, 0, facts.mtu
    elif event == ON_NACK:
        lost, marked = facts.mtu, marked | 2 * int(draw.random() < 0.5)
    else:
        rtt, marked, lost = -1, 0, facts.mtu
    return Call(
        event, now, rtt, marked, acked, lost, in_flight, max(0, sent - int(draw.integers(0, 50))), sent + 1, key
    )


def _pass_links(draw: np.random.Generator, path: Words, facts: PathFacts, now: int) -> None:
    """What the links on the way note for the next packet."""
    for hop in range(facts.hops):
        word = path[hop * HOP_WORDS : (hop + 1) * HOP_WORDS]
        word[QUEUE] = float(draw.integers(0, 2 * max(facts.bdp, facts.mtu)))
        word[SENT] += facts.mtu * int(draw.integers(1, 20))
        word[TIME], word[SPEED] = max(word[TIME] + 1, now - facts.rtt // 2), facts.rate


def _one(policy: Policy, name: str, own: _Guarded, path: _Guarded, call: Call, found: dict[str, list[str]]) -> bool:
    """Makes the call and looks at what it left; False where going on makes no sense."""
    before = path.words.copy()
    hops = len(path.words) // HOP_WORDS if call.event == ON_ACK else 0
    policy.module.react(own.words, path.words, hops, *call)
    window, rate, timer = own.words[:FREE].tolist()
    if not np.isfinite(own.words).all():
        found["finite"].append(f"{name}: word {int(np.flatnonzero(~np.isfinite(own.words))[0])} after {call}")
        return False
    if not 0 <= window <= _NO_LIMIT:
        found["window"].append(f"{name}: {window:g} after {call}")
    if rate < 0:
        found["rate"].append(f"{name}: {rate:g} after {call}")
    if timer < 0 or 0 < timer <= call.now:
        found["timer"].append(f"{name}: {timer:g} after {call}")
        own.words[TIMER] = 0
    if not (own.intact() and path.intact() and np.array_equal(before, path.words)):
        found["guard"].append(f"{name}: after {call}")
        return False
    return True


def _alone(policy: Policy, facts: PathFacts) -> str:
    """One flow in a closed loop, an ACK a packet: what is in flight beyond the BDP waits, marked from kmin on."""
    module, params = policy.module, policy.Params()
    own: Words = module.memory(params, facts)
    marking = module.marking(params, facts) if hasattr(module, "marking") else None
    mark_at = marking[0] if marking is not None else _NO_LIMIT
    path = np.zeros(HOP_WORDS)
    now, sent, used, waited = float(facts.rtt), 0, 0.0, 0.0
    for _ in range(_ROUNDS):
        pace = own[RATE] if own[RATE] > 0 else facts.rate
        in_flight = max(facts.mtu, min(own[WINDOW], pace * facts.rtt / 8e12, 20.0 * facts.bdp))
        if own[RATE] == 0:
            in_flight = max(facts.mtu, min(own[WINDOW], 20.0 * facts.bdp))
        queue = max(0.0, in_flight - facts.bdp)
        rtt = facts.rtt + queue * 8e12 / facts.rate
        packets = max(1, int(in_flight // facts.mtu))
        for _ in range(packets):
            now += rtt / packets
            sent += 1
            while 0 < own[TIMER] <= now:
                due, own[TIMER] = int(own[TIMER]), 0
                module.react(own, path, 0, ON_TIMER, due, -1, 0, 0, 0, int(in_flight), 0, sent, _key(sent))
            if getattr(module, "uses_sent", False):
                module.react(
                    own, path, 0, ON_SENT, int(now), -1, 0, facts.mtu, 0, int(in_flight), sent, sent, _key(sent)
                )
            path[QUEUE], path[TIME], path[SPEED] = queue, now, facts.rate
            path[SENT] += min(in_flight, facts.bdp) / packets
            numbers = (int(rtt), int(queue >= mark_at), facts.mtu, 0, int(in_flight), sent, sent + packets, _key(sent))
            module.react(own, path, int(getattr(module, "uses_telemetry", False)), ON_ACK, int(now), *numbers)
        used += min(1.0, in_flight / facts.bdp) / _ROUNDS
        waited += queue / facts.mtu / _ROUNDS
    return f"{used:.1%} of its rate over {_ROUNDS} round trips, {waited:.1f} packets waiting on average"
