"""A case of the suite as a scenario that anybody can run: a mapping, and a connection matrix beside it where due."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.uet.cases import HEADER, MTU, Case
from benchmarks.uet.matrices import PATTERNS, text
from sim.scenario.show import text_of

SLOW = 4  # a slow link has a quarter of the rate, of the queue and of the marking thresholds
MARKS = (0.2, 0.8)  # of the BDP


def scenario(case: Case, seed: int) -> dict[str, Any]:
    """What the suite's program is told, in the words of the scenario file."""
    return {
        "name": case.slug,
        "seed": seed,
        "fabric": {
            "topology": _topology(case),
            **({"links": _slow(case)} if case.slow else {}),
            "switch": _switch(case),
            "transport": _transport(case),
        },
        "dispatch": _dispatch(case),
        "workload": [_workload(case)],
        "telemetry": {"flow_times": False},
    }


def write(case: Case, seed: int, folder: Path) -> Path:
    """The scenario's file in ``folder``, and its matrix."""
    if case.matrix not in PATTERNS:
        (folder / f"{case.slug}.cm").write_text(text(case.matrix, case.nodes, case.bytes, seed), encoding="utf-8")
    file = folder / f"{case.slug}.yaml"
    file.write_text(text_of(scenario(case, seed)), encoding="utf-8")
    return file


def _topology(case: Case) -> dict[str, Any]:
    link = {"rate": "100Gbps", "delay": "1us"}
    if case.uplinks is None:
        return {"kind": "fat_tree", "hosts": case.nodes, "host_link": link, "fabric_link": link}
    shape = {"leaves": case.nodes // 32, "spines": case.uplinks, "hosts_per_leaf": 32}
    return {"kind": "leaf_spine", **shape, "host_link": link, "fabric_link": link}


def _slow(case: Case) -> dict[str, Any]:
    """Links from the first core switches down to the first aggregation switch."""
    least, most = (-(-round(100 * share) * case.bdp // 100) for share in MARKS)
    change = {
        "rate": f"{100 // SLOW}Gbps",
        "buffer": f"{_queue(case) // SLOW}B",
        "ecn": {"kmin": f"{least * MTU // SLOW}B", "kmax": f"{most * MTU // SLOW}B"},
    }
    return {f"core{number}->agg0": change for number in range(case.slow)}


def _queue(case: Case) -> int:
    return (case.queue or case.bdp) * MTU


def _switch(case: Case) -> dict[str, Any]:
    """Ports to hosts don't mark where the receiver paces."""
    return {
        "overflow": "trim",
        "buffer": f"{_queue(case)}B",
        "ecn": {"kmin": "auto", "kmax": "auto", "at": "dequeue", "host_links": case.control == "nscc"},
    }


def _transport(case: Case) -> dict[str, Any]:
    parameters: dict[str, Any] = {"credit": True} if case.control == "both" else {}
    if case.window is not None and case.control != "credit":
        parameters["window"] = f"{case.window * MTU}B"
    return {
        "kind": "credit" if case.control == "credit" else "nscc",
        "wire_mtu": f"{MTU}B",
        "header": f"{HEADER}B",
        **({"ack_every": "packet"} if case.sack == "packet" else {}),
        **({"parameters": parameters} if parameters else {}),
    }


def _dispatch(case: Case) -> dict[str, Any]:
    """With one entropy a flow has one path, by hash. Host balancers are told how many entropies there are."""
    if case.paths == 1:
        return {"path": "ecmp"}
    return {"path": "spray", "packet": {"kind": case.balancer, "paths": case.paths} if case.paths else case.balancer}


def _workload(case: Case) -> dict[str, Any]:
    if case.matrix in PATTERNS:
        return {"kind": "matrix", "pattern": case.matrix, "size": f"{case.bytes}B"}
    return {"kind": "matrix", "file": f"{case.slug}.cm"}
