"""Random small runs that must end within their limits and keep every law: ``python benchmarks/soak.py --runs 10000``.

Each number draws a scenario: topology, switch, transport, policies, work, failures and losses. It is run in memory. A
run fails that raises, breaks an invariant, or has not ended after a minute. ``--first N`` begins at number N; one alone
is ``--first N --runs 1 --show``, which prints the scenario too. Numbers that once failed are kept as tests
(``tests/property/test_soak.py``).
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

LIMIT_S = 60
HOST_POLICIES = ("oblivious", "reps", "reps_v1", "bitmap", "mixed", "plb")
SWITCH_POLICIES = (
    "random", "round_robin", "switch_round_robin", "adaptive", "least_queue", "destination_rotation", "letflow",
    "conga", "hula", "stochastic_automaton",
)  # fmt: skip
NEED_ACKS = ("reps", "reps_v1", "bitmap", "mixed", "plb", "conga", "stochastic_automaton")
CONTROLS = ("nscc", "credit", "constant", "dctcp", "dcqcn", "swift", "hpcc", "timely")


def scenario(number: int) -> dict[str, Any]:
    """The scenario of a number."""
    rng = random.Random(number)
    topology, hosts, links, switches = _topology(rng)
    transport, control = _transport(rng)
    dispatch = _dispatch(rng, transport["kind"])
    return {
        "name": "soak",
        "seed": number + 1,
        "fabric": {
            "topology": topology,
            "switch": _switch(rng, transport["kind"]),
            "transport": transport,
            "convergence_delay": rng.choice(["10us", "1ms", "100us"]),
        },
        "dispatch": dispatch,
        "workload": [_work(rng, hosts, dispatch) for _ in range(rng.choice([1, 1, 2]))],
        "events": [_event(rng, links, switches) for _ in range(rng.choice([0, 0, 1, 2, 3]))],
        "stop": {"time": rng.choice(["5ms", "20ms", "100ms"]), "stall": "20ms"},
        "telemetry": {"flow_times": control or rng.random() < 0.5},
    }


def _topology(rng: random.Random) -> tuple[dict[str, Any], int, list[str], list[str]]:
    """A fabric, its hosts, and names of some cables and switches."""
    rates = ["10Gbps", "25Gbps", "100Gbps", "400Gbps"]
    host = {"rate": rng.choice(rates), "delay": rng.choice(["100ns", "500ns", "1us"])}
    fabric = {"rate": rng.choice(rates), "delay": rng.choice(["100ns", "1us"])} if rng.random() < 0.5 else host
    kind = rng.choice(["leaf_spine", "leaf_spine", "fat_tree", "star", "torus", "dragonfly"])
    if kind == "fat_tree":
        fabric = host
    both = {"host_link": host, "fabric_link": fabric}
    if kind == "star":
        hosts = rng.randint(2, 6)
        return {"kind": "star", "hosts": hosts, "host_link": host}, hosts, ["host0-switch0"], ["switch0"]
    if kind == "fat_tree":
        return {"kind": "fat_tree", "k": 4, **both}, 16, ["host0-edge0", "edge0-agg0", "agg0-core0"], ["agg1", "core0"]
    if kind == "torus":
        return {"kind": "torus", "dims": [3, 2], **both}, 6, [], []
    if kind == "dragonfly":
        shape = {"groups": 3, "routers_per_group": 2, "hosts_per_router": 1, "global_links_per_router": 1}
        return {"kind": "dragonfly", **shape, **both}, 6, [], []
    leaves, spines, per_leaf = rng.randint(2, 3), rng.randint(1, 4), rng.randint(1, 3)
    shape = {"leaves": leaves, "spines": spines, "hosts_per_leaf": per_leaf}
    return {"kind": kind, **shape, **both}, leaves * per_leaf, ["leaf0-spine0", "host0-leaf0"], ["spine0", "leaf1"]


def _transport(rng: random.Random) -> tuple[dict[str, Any], bool]:
    kind = rng.choice(["window", "window", "line_rate", *CONTROLS])
    transport: dict[str, Any] = {"kind": kind, "mtu": rng.choice(["256B", "1000B", "4096B"])}
    if kind != "line_rate":
        transport["rto"] = rng.choice(["auto", "100us", "1ms"])
        if rng.random() < 0.3:
            transport["recovery"] = "go_back_n"
    if kind in CONTROLS and rng.random() < 0.5 and "recovery" not in transport:
        transport["ack_every"] = rng.choice(["packet", "8KB", "16KB"])
        transport["reorder"] = rng.choice(["none", 8, 64])
    if kind in CONTROLS and rng.random() < 0.2 and "recovery" not in transport:
        transport["receiver"] = {"kind": "in_order", "buffer": rng.choice(["8KB", "64KB"])}
    return transport, kind in CONTROLS


def _switch(rng: random.Random, transport: str) -> dict[str, Any]:
    switch: dict[str, Any] = {}
    overflow = rng.choice(["drop", "pause"] if transport == "line_rate" else ["drop", "trim", "pause"])
    switch["overflow"] = overflow
    if overflow != "pause":
        switch["buffer"] = rng.choice(["8KB", "50KB", "1MB"])
    else:
        switch["pause"] = rng.choice([{"threshold": "20KB"}, {"threshold": "100KB"}])
    if rng.random() < 0.5:
        switch["ecn"] = {"kmin": "8KB", "kmax": rng.choice(["8KB", "40KB"]), "at": rng.choice(["enqueue", "dequeue"])}
    if rng.random() < 0.3:
        switch["priority"] = True
    if overflow == "drop" and rng.random() < 0.3:
        switch["shared"] = {"buffer": "200KB", "alpha": rng.choice([0.5, 1, 4])}
    return switch


def _dispatch(rng: random.Random, transport: str) -> dict[str, Any]:
    if rng.random() < 0.35:
        path = rng.choice(["ecmp", "static", "ethereal", "wcmp", "least_loaded", {"kind": "subflows", "k": 3}])
        return {"path": path}
    packet = rng.choice(["follow_path", *HOST_POLICIES, *SWITCH_POLICIES])
    if transport == "line_rate" and packet in NEED_ACKS:
        packet = "random"
    return {"path": "spray", "packet": packet}


def _work(rng: random.Random, hosts: int, dispatch: dict[str, Any]) -> dict[str, Any]:
    size = rng.choice(["1B", "4096B", "30KB", "200KB"])
    kind = rng.choice(["matrix", "flows", "collective"])
    if kind == "collective":
        operation = rng.choice(["all_to_all", "all_reduce"])
        dispatch["collective"] = "direct"
        return {"kind": "collective", "op": operation, "size": size}
    if kind == "flows":
        return {
            "kind": "flows", "arrivals": {"kind": "poisson", "load": rng.choice([0.2, 0.7, 1.5])},
            "sizes": {"kind": "constant", "size": size}, "pairs": "uniform", "count": rng.randint(1, 60),
        }  # fmt: skip
    pattern = rng.choice(["permutation", "all_to_all", "incast", "tornado"])
    extra = {"senders": hosts - 1} if pattern == "incast" else {}
    return {"kind": "matrix", "pattern": pattern, "size": size, **extra}


def _event(rng: random.Random, links: list[str], switches: list[str]) -> dict[str, Any]:
    names = [("link", name) for name in links] + [("switch", name) for name in switches]
    if not names:
        names = [("host", "host0")]
    element, name = rng.choice(names)
    event: dict[str, Any] = {"at": rng.choice(["0us", "3us", "40us"]), element: name}
    event |= rng.choice([
        {"set": "down"}, {"set": "down", "for": "50us"}, {"set": "down", "for": "5us", "every": "30us"},
        {"set": "degrade", "rate": "25%"}, {"set": "loss", "loss": rng.choice([0.001, 0.05, 0.5])},
        {"set": "loss", "loss": 0.2, "for": "200us"},
    ])  # fmt: skip
    return event


class TookTooLongError(Exception):
    """A run did not end in time."""


def run(number: int, limit: int = LIMIT_S) -> tuple[str, str]:
    """The status of a run, or "failed" and why."""
    from sim.api import load
    from sim.build import build
    from sim.flow_times import broken_parts
    from sim.progress import Progress
    from sim.run import broken_laws, run_world
    from sim.tables import tables_of

    def late(*_: object) -> None:
        raise TookTooLongError(f"not ended after {limit} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    try:
        world = build(load(scenario(number)).runs[0])
        with Progress(world, True, "") as progress:
            status, _ = run_world(world, progress)
        world.flows.settle()
        tables = tables_of(world)
        broken = broken_laws(world) + broken_parts(tables)
        return ("failed", "; ".join(broken)) if broken else (status, "")
    except Exception:
        return "failed", traceback.format_exc(limit=-4)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--show", action="store_true", help="print the scenarios")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.runs)
    if options.show:
        from sim.scenario.show import text_of

        for number in numbers:
            print(text_of(scenario(number)))
    run(options.first, limit=0)  # compiles, so that no worker's minute goes to that
    found: Counter[str] = Counter()
    began, failed = time.perf_counter(), []
    with ProcessPoolExecutor(options.workers) as pool:
        for number, (status, why) in zip(numbers, pool.map(run, numbers, chunksize=8), strict=True):
            found[status] += 1
            if status == "failed":
                failed.append(number)
                print(f"run {number} failed:\n{why}", flush=True)
            if (number - options.first) % 200 == 199:
                print(f"{number - options.first + 1} of {options.runs}: {dict(found)}", file=sys.stderr, flush=True)
    print(f"{options.runs} runs in {time.perf_counter() - began:.0f} s: {dict(found)}; failed: {failed or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
