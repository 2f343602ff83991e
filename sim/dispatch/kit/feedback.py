"""Checks of what a packet policy has beside ``pick``: entropies chosen by hosts, and what switches learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.mix import mix
from models.topology import Topology
from sim.dispatch.api import CUT, GOOD, LOST, MARKED
from sim.dispatch.kit.report import Report
from sim.dispatch.registry import Policy
from sim.engine.signatures import HEAR, LEARN, SPREAD, TICK

_KEY = 0x1B2C_3D4E_5F60
_CALLS = 6000
_WINDOW = 53  # packets
_GUARD, _WALL = 256, -0x5DEE_CE66
_BUFFER = 1_000_000  # bytes
_RTT = 5_000_000  # ps
_MOST_ENTROPY = 2**31 - 3  # it travels in 32 bits
Words = NDArray[np.int64]


class Guarded:
    """Words with a wall on each side."""

    def __init__(self, words: Words) -> None:
        self._all = np.full(len(words) + 2 * _GUARD, _WALL, dtype=np.int64)
        self.words: Words = self._all[_GUARD : _GUARD + len(words)]
        self.words[:] = words

    def intact(self) -> bool:
        return bool((self._all[:_GUARD] == _WALL).all() and (self._all[len(self._all) - _GUARD :] == _WALL).all())


def check_hosts(report: Report, policy: Policy, topology: Topology) -> None:
    """``memory``, ``spread`` and ``hear``, where the policy has them."""
    module = policy.module
    if getattr(module, "spread", None) is None:
        return
    fine = report.run("memory(topology, params, window, key): 1-D int64, the same", lambda: _memory(policy, topology))
    fine &= _compiled(report, "spread", module.spread, SPREAD, "@entropy_policy")
    if getattr(module, "hear", None) is not None:
        fine &= _compiled(report, "hear", module.hear, HEAR, "@entropy_feedback")
    if not fine:
        return
    found: dict[str, list[str]] = {"range": [], "guard": []}
    first = _played(policy, topology, found)
    report.check(f"spread: an entropy from 0 to {_MOST_ENTROPY:,}, {_CALLS} packets", found["range"])
    report.check("own memory: nothing written outside of it", found["guard"])
    same = [] if first == _played(policy, topology, found) else ["the same calls had other answers"]
    report.check("same memory and keys, same entropies", same)
    report.note("entropies", f"{len(set(first)):,} different ones in {len(first):,} packets")


def _memory(policy: Policy, topology: Topology) -> Iterator[str]:
    first, second = (policy.module.memory(topology, policy.Params(), _WINDOW, _KEY) for _ in range(2))
    if not isinstance(first, np.ndarray) or first.dtype != np.int64 or first.ndim != 1:
        kind = f"{first.ndim}-D {first.dtype} array" if isinstance(first, np.ndarray) else type(first).__name__
        yield f"it is a {kind}"
    elif not np.array_equal(first, second):
        yield "the same key gave two different memories"


def _compiled(report: Report, name: str, function: Any, signature: Any, decorator: str) -> bool:
    faults = []
    if not hasattr(function, "nopython_signatures"):
        faults.append(f"{name} is a plain function; put {decorator} above it")
    elif signature not in function.nopython_signatures:
        faults.append(f"{name} is compiled for {function.nopython_signatures}, the engine calls {signature}")
    return report.check(f"{name}: compiled with {decorator}", faults)


def _key(number: int) -> int:
    return int(mix(np.uint64(number)) >> np.uint64(1))


def _played(policy: Policy, topology: Topology, found: dict[str, list[str]]) -> list[int]:
    """Packets of one flow; of each is heard a window later, by a good or bad word. The entropies."""
    module = policy.module
    own = Guarded(module.memory(topology, policy.Params(), _WINDOW, _KEY))
    draw = np.random.Generator(np.random.PCG64(29))
    kinds = draw.choice([GOOD, MARKED, CUT, LOST], _CALLS, p=[0.7, 0.2, 0.08, 0.02]).tolist()
    given: list[int] = []
    for number in range(_CALLS):
        now = number * _RTT // _WINDOW
        entropy = int(module.spread(own.words, now, 7, number, _WINDOW, _key(number + 1)))
        given.append(entropy)
        if not 0 <= entropy <= _MOST_ENTROPY:
            found["range"].append(f"spread gave {entropy}")
            return given
        if getattr(module, "hear", None) is not None and number >= _WINDOW:
            kind = kinds[number]
            heard = -1 if kind == LOST else given[number - _WINDOW]
            module.hear(own.words, now, kind, heard, _key(number + _CALLS))
        if not own.intact():
            found["guard"].append(f"after packet {number}")
            return given
    return given


def check_feedback(report: Report, policy: Policy, fabrics: dict[str, Topology]) -> None:
    """``learn`` and ``tick``, where the policy has them."""
    module = policy.module
    learn, tick = getattr(module, "learn", None), getattr(module, "tick", None)
    fine = True
    if learn is not None:
        fine &= _compiled(report, "learn", learn, LEARN, "@switch_feedback")
    if tick is not None:
        fine &= _compiled(report, "tick", tick, TICK, "@periodic")
        fine &= report.run("period(params): whole ps above 0", lambda: _period(policy))
    if not fine or (learn is None and tick is None):
        return
    text = "nothing written outside of state, the same each time"
    if learn is not None:
        report.run(f"learn: {text}", lambda: _left(policy, fabrics, _learn_all))
    if tick is not None:
        report.run(f"tick: {text}", lambda: _left(policy, fabrics, _tick_all))


def _period(policy: Policy) -> Iterator[str]:
    period = policy.module.period(policy.Params())
    if isinstance(period, bool) or not isinstance(period, (int, np.integer)) or period <= 0:
        yield f"it is {period!r}"


def _left(
    policy: Policy, fabrics: dict[str, Topology], calls: Callable[[Policy, Topology, Words], None]
) -> Iterator[str]:
    for name, topology in fabrics.items():
        yield from _changed(policy, topology, name, calls)


def fresh_state(policy: Policy, topology: Topology, key: int) -> Words:
    """The policy's memory at the start; it gets the ports' buffer if it asks for it."""
    buffer = (_BUFFER,) if getattr(policy.module, "uses_buffer", False) else ()
    state: Words = policy.module.state(topology, policy.Params(), key, *buffer)
    return state


def _changed(
    policy: Policy, topology: Topology, name: str, calls: Callable[[Policy, Topology, Words], None]
) -> Iterator[str]:
    left = []
    for _ in range(2):
        state = Guarded(fresh_state(policy, topology, _KEY))
        calls(policy, topology, state.words)
        left.append(state.words.copy())
        if not state.intact():
            yield f"{name}: words outside of state were written"
            return
    if not np.array_equal(left[0], left[1]):
        yield f"{name}: the same calls left two different states"


def _learn_all(policy: Policy, topology: Topology, state: Words) -> None:
    """What edge switches hear of packets between hosts at random."""
    draw = np.random.Generator(np.random.PCG64(31))
    edges = np.unique(topology.edge_of_host)
    if len(edges) < 2:
        return
    for number in range(_CALLS // 4):
        edge, far = draw.choice(edges, 2, replace=False).tolist()
        out = topology.out_link[topology.out_start[edge] : topology.out_start[edge + 1]]
        up = out[topology.link_dst[out] >= topology.hosts]
        if len(up):
            numbers = (number * 1000, edge, far, int(draw.choice(up)), int(draw.integers(0, 1025)))
            policy.module.learn(state, *numbers, _key(number + 1))


def _tick_all(policy: Policy, topology: Topology, state: Words) -> None:
    draw, period = np.random.Generator(np.random.PCG64(37)), int(policy.module.period(policy.Params()))
    for number in range(20):
        policy.module.tick(state, draw.integers(0, 1100, topology.links), (number + 1) * period)
