"""Checks of a packet policy: many calls of its ``pick``, first in plain Python, then as the engine compiled it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.mix import mix
from models.topology import Topology
from sim.dispatch.kit.feedback import Guarded, check_feedback, check_hosts, fresh_state
from sim.dispatch.kit.report import GlobalRandomness, Report
from sim.dispatch.kit.worlds import path_worlds, plain_leaf_spine
from sim.dispatch.registry import Policy
from sim.engine.signatures import PICK

_KEYS = (0x0F1E_2D3C_4B5A, 0x7777_1234_ABCD)
_MOST_PORTS = 64
_CALLS, _SLOW_CALLS, _BALANCE = 8000, 600, 8000
_PACKET = 4160  # bytes
Words = NDArray[np.int64]


class Call(NamedTuple):
    """The numbers of one call, in the order of ``PICK``."""

    n: int
    now: int
    node: int
    source: int
    destination: int
    edge: int
    flow: int
    packet: int
    key: int


def check_packet(report: Report, policy: Policy) -> None:
    """All checks of the level."""
    shared = GlobalRandomness()
    fabrics = {"64 spines": plain_leaf_spine(3, _MOST_PORTS, 2)} | {
        world.name: world.topology for world in path_worlds() if world.name in ("fat-tree", "hosts with two links")
    }
    fine = report.run(
        "state(topology, params, key): a 1-D int64 array, the same each time",
        lambda: [fault for topology in fabrics.values() for fault in _state_faults(policy, topology)],
    )
    check_hosts(report, policy, fabrics["64 spines"])
    check_feedback(report, policy, fabrics)
    if policy.module.pick is None:
        where = "hosts choose" if getattr(policy.module, "spread", None) else "built into the engine"
        report.note("pick", f"{where}: there is nothing to call")
        return
    if not report.check("pick: compiled with @packet_policy", _signature_faults(policy.module.pick)) or not fine:
        return
    calls = {name: _calls(topology) for name, topology in fabrics.items()}
    inside = report.run(
        "state and queues: nothing read or written outside of them",
        lambda: [fault for name in fabrics for fault in _python_faults(report, policy, fabrics[name], calls[name])],
    )
    if not inside:
        return  # compiled, it would write into memory of others
    found: dict[str, list[str]] = {"range": [], "guard": [], "same": [], "queues": []}
    depends = False
    for name, topology in fabrics.items():
        depends |= _compiled(policy, topology, calls[name], name, found)
    report.check(f"pick: an index below n, n = 2..{_MOST_PORTS}, {_CALLS} calls a fabric", found["range"])
    report.check("words around state and queues untouched, queues unchanged", found["guard"])
    report.check("same state and key, same answers", found["same"])
    report.check("uses_queues: says whether the answer depends on queues", found["queues"])
    report.check("no draw from global generators", shared.faults())
    if policy.module.uses_queues and not depends:
        report.note("uses_queues", "True, but no answer depended on them; False would be faster")
    if report.passed:
        report.note("balance", _balance(policy))
    report.note("fabrics", ", ".join(fabrics))


def _fresh(policy: Policy, topology: Topology, key: int = _KEYS[0]) -> Any:
    return fresh_state(policy, topology, key)


def _state_faults(policy: Policy, topology: Topology) -> Iterator[str]:
    for key in _KEYS:
        first, second = _fresh(policy, topology, key), _fresh(policy, topology, key)
        if not isinstance(first, np.ndarray) or first.dtype != np.int64 or first.ndim != 1:
            kind = f"{first.ndim}-D {first.dtype} array" if isinstance(first, np.ndarray) else type(first).__name__
            yield f"it is a {kind}"
        elif not np.array_equal(first, second):
            yield "the same key gave two different states"
        elif first is second:
            yield "both calls gave one and the same array; make a new one each time"


def _signature_faults(pick: Any) -> Iterator[str]:
    if not hasattr(pick, "nopython_signatures"):
        yield "pick is a plain function; put @packet_policy above it"
    elif PICK not in pick.nopython_signatures:
        yield f"pick is compiled for {pick.nopython_signatures}, the engine calls {PICK}"


def _calls(topology: Topology) -> list[Call]:
    """Calls as the engine makes them: real nodes that have a choice; fewer ports than usual as after failures."""
    draw = np.random.Generator(np.random.PCG64(11))
    degree = np.bincount(topology.link_src, minlength=topology.nodes)
    nodes = np.flatnonzero(degree >= 2)
    # nodes of many ports more often, since there are more n to try
    node = draw.choice(nodes, _CALLS, p=degree[nodes] ** 2 / (degree[nodes] ** 2).sum())
    ports = 2 + np.arange(_CALLS) % (np.minimum(_MOST_PORTS, degree[node]) - 1)
    source = draw.integers(0, topology.hosts, _CALLS)
    destination = (source + draw.integers(1, topology.hosts, _CALLS)) % topology.hosts
    flow = draw.integers(0, 500, _CALLS)
    edge = topology.edge_of_host[destination]
    number = np.arange(_CALLS)
    key = [int(mix(np.uint64(one)) >> np.uint64(1)) for one in range(1, _CALLS + 1)]
    columns = [ports, number * 1000, node, source, destination, edge, flow, number // 50]
    return [Call(*row) for row in zip(*(column.tolist() for column in columns), key, strict=True)]


def _queues() -> Words:
    return np.random.Generator(np.random.PCG64(13)).integers(0, 300, (997, _MOST_PORTS)) * _PACKET


def _seen(policy: Policy, topology: Topology, call: Call, queues: Words) -> Words:
    """What a call gets of its links: queues and, if the policy uses loads, these and the links' numbers."""
    if not getattr(policy.module, "uses_loads", False):
        return queues[: call.n].copy()
    first = int(topology.out_start[call.node])
    links = topology.out_link[first : first + call.n].astype(np.int64)
    return np.concatenate([queues[: call.n], links * 37 % 1024, links])


class _Walled(np.ndarray[Any, Any]):
    """An array that takes no negative index: compiled code would wrap it round, or worse."""

    def __getitem__(self, key: Any) -> Any:
        self._look(key)
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._look(key)
        super().__setitem__(key, value)

    def _look(self, key: Any) -> None:
        if isinstance(key, (int, np.integer)) and not 0 <= int(key) < len(self):
            raise IndexError(f"index {int(key)} of {len(self)} words")


def _python_faults(report: Report, policy: Policy, topology: Topology, calls: list[Call]) -> Iterator[str]:
    """Runs the plain function, where Python sees every index. What only compiled code can do is left to the next."""
    plain = policy.module.pick.py_func
    helpers = [name for name in plain.__code__.co_names if hasattr(plain.__globals__.get(name), "nopython_signatures")]
    if helpers:  # compiled, they see no walls
        report.note("plain Python", f"not run: it calls {', '.join(helpers)}, which are compiled")
        return
    state = _fresh(policy, topology).copy().view(_Walled)
    queues = _queues()
    with np.errstate(all="ignore"):
        for number, call in enumerate(calls[:_SLOW_CALLS]):
            row = _seen(policy, topology, call, queues[number % len(queues)]).view(_Walled)
            try:
                plain(state, row, *(np.int64(value) for value in call))
            except IndexError as error:
                yield report.explain(error)
                return
            except Exception as error:
                report.note("plain Python", f"stopped after {number} calls: {report.explain(error)}")
                return


def _compiled(policy: Policy, topology: Topology, calls: list[Call], name: str, found: dict[str, list[str]]) -> bool:
    """Three rounds over the same calls: twice alike, once with other queues. Whether the queues mattered."""
    pick, queues = policy.module.pick, _queues()
    answers = []
    for other in (queues, queues, queues[::-1]):
        state, row = Guarded(_fresh(policy, topology)), Guarded(np.zeros(3 * _MOST_PORTS, dtype=np.int64))
        given = []
        for number, call in enumerate(calls):
            seen = _seen(policy, topology, call, other[number % len(other)])
            row.words[: len(seen)] = seen
            index = pick(state.words, row.words[: len(seen)], *call)
            given.append(index)
            if not 0 <= index < call.n:
                found["range"].append(f"{name}: pick gave {index} of n = {call.n}")
                break
            if not np.array_equal(row.words[: len(seen)], seen):
                found["guard"].append(f"{name}: pick wrote into queues")
                break
        if not (state.intact() and row.intact()):
            found["guard"].append(f"{name}: pick wrote outside of its arrays")
        answers.append(given)
    if answers[0] != answers[1]:
        found["same"].append(f"{name}: the same calls from the same state had other answers")
        return False
    depends = answers[0] != answers[2]
    if depends and not policy.module.uses_queues:
        found["queues"].append(f"{name}: uses_queues is False, but other queues gave other answers")
    return depends


def _balance(policy: Policy) -> str:
    """How evenly packets of many flows fall on 8 ports whose queues drain as fast as they fill on average."""
    ports = 8
    topology = plain_leaf_spine(4, ports, 4)
    state = _fresh(policy, topology).copy()
    draw = np.random.Generator(np.random.PCG64(17))
    hosts = draw.integers(0, topology.hosts - 4, _BALANCE) + 4
    count, queues = np.zeros(ports, dtype=np.int64), np.zeros(ports, dtype=np.int64)
    for number, destination in enumerate(hosts.tolist()):
        key = int(mix(np.uint64(number + 7)) >> np.uint64(1))
        edge = int(topology.edge_of_host[destination])
        at = (topology.hosts, number % 4, destination, edge, number % 97, number // 97, key)
        row = _seen(policy, topology, Call(ports, number * 1000, *at), queues)
        index = policy.module.pick(state, row, ports, number * 1000, *at)
        count[index] += 1
        queues[index] += _PACKET
        queues[:] = np.maximum(queues - _PACKET // ports, 0)
    expected = _BALANCE / ports
    statistic = float(((count - expected) ** 2).sum() / expected)
    verdict = "as random choice or better" if statistic < 24.3 else "uneven"  # 0.1 % point, 7 degrees of freedom
    spread = f"{count.min()} to {count.max()} each, chi-square {statistic:.1f}"
    return f"{_BALANCE} packets on {ports} ports: {spread}, {verdict}"
