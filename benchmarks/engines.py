"""Speed and memory of the engines, every case in a process of its own, beside a bare kernel in the same run.

``python benchmarks/engines.py [--quick] [--only PART]`` prints Markdown. CPU seconds are ``time.process_time`` of
work that is already compiled; a warm-up of every path comes first. Cases take turns, so that a noisy minute hits all
of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.uet.speed import BALANCERS, LARGE, NODES, first_use, speed

LINK = (100 * 10**9, 500_000)
SIZE = 2_000_000
SHAPES = {128: (16, 16, 8), 1024: (32, 32, 32)}  # hosts -> leaves, spines, hosts a leaf
AIMS = {128: 12.0, 1024: 8.0}  # M packet-hops per CPU second
RATIO = 0.7  # of the bare kernel, at least
MODES = ("static", "ecmp", "spray", "random")

Result = dict[str, Any]


def _fabric(hosts: int) -> tuple[Any, Any]:
    from models.builders import leaf_spine
    from models.paths import Routes

    leaves, spines, per_leaf = SHAPES[hosts]
    topology = leaf_spine.build(leaves=leaves, spines=spines, hosts_per_leaf=per_leaf, host_link=LINK, fabric_link=LINK)
    return topology, Routes(topology)


def _window(topology: Any, routes: Any) -> int:
    """Packets: the default of the scenario file, one BDP of the longest pair's RTT."""
    from models.structure import longest_rtt

    return -(-longest_rtt(routes, 4160, 64) * LINK[0] // (8 * 10**12 * 4160))


def _partners(hosts: int) -> Any:
    import numpy as np

    from sim.processes.pairs import derangement

    return derangement(np.random.default_rng(1), hosts)


def _paths(name: str, topology: Any, routes: Any, flows: list[Any]) -> list[Any]:
    """Each flow's path as the policy of this name gives it."""
    import importlib

    import numpy as np

    from sim.dispatch.views import PathView

    module = importlib.import_module(f"sim.dispatch.path.{name}")
    policy = module.Policy(module.Params(), PathView(topology, routes, 12345, lambda: 0))
    return [pieces[0].path for pieces in policy.assign(flows, np.random.default_rng(1))]


def bare_case(hosts: int) -> Result:
    from benchmarks.bare import permutation

    leaves, spines, _ = SHAPES[hosts]
    topology, routes = _fabric(hosts)
    window = _window(topology, routes)
    partner = _partners(hosts)
    permutation(leaves, spines, partner, size=SIZE // 20, rate=LINK[0], delay=LINK[1], window=window)
    before = time.process_time()
    hops, _ = permutation(leaves, spines, partner, size=SIZE, rate=LINK[0], delay=LINK[1], window=window)
    return {"cpu": time.process_time() - before, "hops": hops}


def packet_case(hosts: int, mode: str) -> Result:
    import numpy as np

    from sim.dispatch.api import Flow
    from sim.dispatch.packet import random
    from sim.network.packet import PacketChoice, PacketNetwork, PacketSettings
    from sim.network.protocol import Stream

    topology, routes = _fabric(hosts)
    window = _window(topology, routes)
    partner = _partners(hosts).tolist()
    settings = PacketSettings(
        mtu=4096, header=64, acks=True, go_back_n=False, rto=10**9,
        window=np.full(hosts, window * 4096), buffer=10**6, kmin=200_000, kmax=800_000, pmax=1.0, key=12345,
    )  # fmt: skip
    choice = None
    if mode == "random":
        choice = PacketChoice(random.pick, random.state(topology, random.Params(), 1), random.uses_queues)
    name = "spray" if mode == "random" else mode
    cpu = hops = lost = 0.0
    for size in (SIZE // 20, SIZE):  # the first to warm up
        flows = [Flow(host, host, partner[host], size, 0) for host in range(hosts)]
        paths = _paths(name, topology, routes, flows)
        if name == "spray":
            routes.tables()
        network = PacketNetwork(topology, routes, settings, choice, explains=True)
        before = time.process_time()
        for flow, path in zip(flows, paths, strict=True):
            network.add(Stream(flow.id, flow.src, flow.dst, flow.bytes, path, notify=False))
        network.commit(0)
        while network.active():
            now, _ = network.advance(10**13, 10**9)
        cpu, hops = time.process_time() - before, network.packet_hops()
        lost = int(network.link_totals(now)["dropped"].sum())
        if network.check(now):
            raise RuntimeError(network.check(now)[0])
    return {"cpu": cpu, "hops": hops, "lost": lost}


def all_to_all_engine(policy: str) -> Result:
    """The fluid engine alone: 16,256 streams in, their ends out."""
    from sim.dispatch.api import Flow
    from sim.network.fluid import FluidNetwork
    from sim.network.protocol import INFINITY, Stream

    topology, routes = _fabric(128)
    cpu, solves, number = 0.0, 0, 0
    for group in (16, 128):  # the first to warm up
        pairs = [(src, (src + step) % group) for src in range(group) for step in range(1, group)]
        flows = [Flow(index, src, dst, 125_000, 0) for index, (src, dst) in enumerate(pairs)]
        paths = _paths(policy, topology, routes, flows)
        network = FluidNetwork(topology, routes, explains=True)
        before = time.process_time()
        for flow, path in zip(flows, paths, strict=True):
            network.add(Stream(flow.id, flow.src, flow.dst, flow.bytes, path))
        network.commit(0)
        while network.next_time() != INFINITY:
            network.advance(10**15, 10**9)
        number = len(network.finished())
        cpu, solves = time.process_time() - before, network.recomputations()
    return {"cpu": cpu, "flows": number, "solves": solves}


_SCENARIO = """
name: benchmark
engine: fluid
fabric: {{topology: {topology}, transport: {{kind: line_rate}}}}
dispatch: {{path: {path}}}
workload: [{workload}]
"""
_LEAF_SPINE = (
    "{{kind: leaf_spine, leaves: {0}, spines: {1}, hosts_per_leaf: {2}, "
    "host_link: {{rate: 100Gbps, delay: 500ns}}, fabric_link: {{rate: 100Gbps, delay: 500ns}}}}"
)
_FAT_TREE = (
    "{{kind: fat_tree, k: {0}, host_link: {{rate: 100Gbps, delay: 500ns}}, "
    "fabric_link: {{rate: 100Gbps, delay: 500ns}}}}"
)


def _program(topology: str, path: str, workload: str) -> Result:
    """A whole run in this process: load, build, run, write the results."""
    from sim.build import build
    from sim.progress import Progress
    from sim.run import run_one
    from sim.scenario.load import load

    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "scenario.yaml"
        file.write_text(_SCENARIO.format(topology=topology, path=path, workload=workload))
        out = Path(name) / "out"
        out.mkdir()
        started, before = time.perf_counter(), time.process_time()
        world = build(load(file)[0])
        built = time.process_time() - before
        with Progress(world, True, "") as progress:
            status = run_one(world, out, progress)
        if status not in {"completed", "saturated"}:
            raise RuntimeError(f"{workload}: {status}")
        cpu = time.process_time() - before
        wall = time.perf_counter() - started
    return {"cpu": cpu, "wall": wall, "build": built, "flows": len(world.flows.flow)}


def program_case(topology: str, path: str, workload: str, small: str) -> Result:
    _program(small, path, workload.replace("100000", "200"))  # warm up: imports, compiled code
    return _program(topology, path, workload)


_ALL = "{kind: collective, op: all_to_all, size: 16MB}"
_POISSON = "{kind: flows, arrivals: {kind: poisson, load: 0.6}, sizes: websearch, count: 100000}"
_PERMUTATION = "{kind: matrix, pattern: permutation, size: 2MB}"
_SMALL = _LEAF_SPINE.format(4, 4, 4)


def compile_case() -> Result:
    """Imports and the first, tiny run of both engines: what a first user waits for."""
    started, before = time.perf_counter(), time.process_time()
    _program(_SMALL, "ecmp", _PERMUTATION)
    packet_case(128, "random")
    return {"cpu": time.process_time() - before, "wall": time.perf_counter() - started}


CASES: dict[str, Callable[[], Result]] = {"compile": compile_case}
for _hosts in SHAPES:
    CASES[f"bare-{_hosts}"] = partial(bare_case, _hosts)
    for _mode in MODES:
        CASES[f"{_mode}-{_hosts}"] = partial(packet_case, _hosts, _mode)
for _policy in ("ecmp", "static", "spray"):
    CASES[f"all2all-engine-{_policy}"] = partial(all_to_all_engine, _policy)
for _policy in ("ecmp", "static", "spray", "ethereal"):
    CASES[f"all2all-program-{_policy}"] = partial(program_case, _LEAF_SPINE.format(*SHAPES[128]), _policy, _ALL, _SMALL)
CASES["poisson"] = partial(program_case, _LEAF_SPINE.format(*SHAPES[1024]), "ecmp", _POISSON, _SMALL)
for _nodes in NODES:
    for _balancer in BALANCERS:
        CASES[f"nscc-{_balancer}-{_nodes}"] = partial(speed, _nodes, _balancer)
CASES[f"nscc-large-{LARGE}"] = partial(speed, LARGE, "oblivious")
CASES["nscc-first"] = first_use
CASES["fat-tree"] = partial(program_case, _FAT_TREE.format(64), "ecmp", _PERMUTATION, _FAT_TREE.format(4))


def child(name: str) -> None:
    result = CASES[name]()
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result))


def measure(names: list[str], runs: int, cache: str | None = None) -> dict[str, Result]:
    """Medians over ``runs`` rounds in which the cases take turns."""
    environment = os.environ | ({"XDG_CACHE_HOME": cache} if cache else {})
    found: dict[str, list[Result]] = {name: [] for name in names}
    for turn in range(runs):
        for name in names:
            print(f"\r{turn + 1}/{runs} {name:24}", end="", file=sys.stderr, flush=True)
            done = subprocess.run(
                [sys.executable, __file__, "--child", name], env=environment, check=True, stdout=subprocess.PIPE
            )
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return {
        name: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for name, results in found.items()
    }


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"


def packet_table(runs: int) -> None:
    names = [f"{mode}-{hosts}" for hosts in SHAPES for mode in ("bare", *MODES)]
    results = measure(names, runs)
    print("## Packet engine\n")
    print(
        "Permutation of 2 MB flows, 100 Gbps, 500 ns links, `window` transport of one BDP, 4 KiB packets; 1 MB buffers,"
    )
    print("ECN 200 KB to 800 KB; flow times are noted. Hops of data packets and ACKs per CPU second, start of the")
    print(f"flows included; median of {runs} runs in alternation. Aim: {AIMS[1024]:g} M at 1024 hosts and")
    print(f"{AIMS[128]:g} M at 128, or {RATIO} of the bare kernel.\n")
    print("| hosts | case | packet-hops | CPU s | M hops/s | of bare | memory MB | aim met |")
    print("|---:|---|---:|---:|---:|---:|---:|---|")
    for hosts in SHAPES:
        rates = {
            mode: results[f"{mode}-{hosts}"]["hops"] / results[f"{mode}-{hosts}"]["cpu"] / 1e6
            for mode in ("bare", *MODES)
        }
        for mode, rate in rates.items():
            result, ratio = results[f"{mode}-{hosts}"], rate / rates["bare"]
            met = "" if mode == "bare" else _yes(rate >= AIMS[hosts] or ratio >= RATIO)
            print(
                f"| {hosts} | {mode} | {result['hops']:,.0f} | {result['cpu']:.3f} | {rate:.2f} | {ratio:.2f} "
                f"| {result['memory'] / 1e6:.0f} | {met} |"
            )
    print(
        "\n`spray` is a random path a packet (`follow_path`); `random` is the packet policy, called at every switch.\n"
    )


def fluid_table(runs: int) -> None:
    names = [name for name in CASES if name.startswith("all2all")]
    results = measure(names, runs)
    slow = measure(["poisson"], min(runs, 3))
    print("## Fluid engine\n")
    print("All2All of 128 hosts, 125 kB a flow: engine alone, and the whole program (load, build, run, results).\n")
    print("| case | flows | CPU s | flows/s | aim | met | memory MB |")
    print("|---|---:|---:|---:|---:|---|---:|")
    for name, result in (results | slow).items():
        aim = 10.0 if name == "poisson" else 0.5
        print(
            f"| {name} | {result['flows']:,.0f} | {result['cpu']:.3f} | {result['flows'] / result['cpu']:,.0f} "
            f"| {aim:g} s | {_yes(result['cpu'] <= aim)} | {result['memory'] / 1e6:.0f} |"
        )
    print("\n`poisson`: 100,000 websearch flows at load 0.6 on 1024 hosts, whole program.\n")


def large_table() -> None:
    result = measure(["fat-tree"], 1)["fat-tree"]
    print("## A large fabric\n")
    print("65,536-host fat-tree (k = 64), permutation of 2 MB in fluid, whole program.\n")
    print("| wall s | of it building (CPU) | CPU s | aim | met | memory GB | aim | met |")
    print("|---:|---:|---:|---:|---|---:|---:|---|")
    memory = result["memory"] / 1e9
    print(
        f"| {result['wall']:.1f} | {result['build']:.1f} | {result['cpu']:.1f} | 60 s | {_yes(result['wall'] <= 60)} "
        f"| {memory:.2f} | 4 GB | {_yes(memory <= 4)} |\n"
    )


def transport_table(runs: int) -> None:
    """Aims: CPU seconds at 1024 hosts, M hops a second at 128, memory; uet-htsim's own are its authors' programs."""
    names = [f"nscc-{balancer}-{nodes}" for nodes in NODES for balancer in BALANCERS]
    results = measure(names, runs)
    print("## Packet engine with congestion control\n")
    print("The permutation of the suite of uet-htsim (docs/uet_suite.md): 2 MB flows, 100 Gbps, 1 us, three-tier")
    print(
        "fat-tree, `nscc`, trimming, 4150 B packets; the run of the whole program without load and build. uet-htsim on"
    )
    print(
        "the 1024-host oblivious case, quiet machine: 9.3 CPU s for 2.84 M packet-hops, 79 MB; 128 hosts: 0.22 CPU s,"
    )
    print("1.5 M hops/s. Aims: 0.5 CPU s there, 8 M hops/s at 128 hosts, below 200 MB.\n")
    print("| hosts | balancer | packet-hops | CPU s | M hops/s | build CPU s | memory MB | tail us | aim met |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---|")
    for nodes in NODES:
        for balancer in BALANCERS:
            one = results[f"nscc-{balancer}-{nodes}"]
            rate = one["hops"] / one["cpu"] / 1e6
            met = one["memory"] < 200e6 and (rate >= 8 if nodes == NODES[0] else one["cpu"] <= 0.5)
            print(
                f"| {nodes} | {balancer} | {one['hops']:,.0f} | {one['cpu']:.3f} | {rate:.2f} | {one['build']:.2f} "
                f"| {one['memory'] / 1e6:.0f} | {one['tail']:.1f} | {_yes(met)} |"
            )
    large = measure([f"nscc-large-{LARGE}"], 1)[f"nscc-large-{LARGE}"]
    print(
        f"\n{LARGE} hosts, oblivious, load and build included: {large['wall']:.0f} s (aim: 180 s, met: "
        f"{_yes(large['wall'] <= 180)}), {large['hops'] / 1e6:.0f} M packet-hops, {large['memory'] / 1e6:.0f} MB.\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        cold = measure(["nscc-first"], 1, cache)["nscc-first"]
        warm = measure(["nscc-first"], 1, cache)["nscc-first"]
    print(
        f"First use (16 hosts): {cold['wall']:.1f} s with an empty cache (aim: 60 s, met: {_yes(cold['wall'] <= 60)}), "
        f"{warm['wall']:.2f} s with a filled one, {warm['imports']:.2f} s of it Python's imports.\n"
    )


def compile_table() -> None:
    with tempfile.TemporaryDirectory() as cache:
        cold = measure(["compile"], 1, cache)["compile"]
        warm = measure(["compile"], 1, cache)["compile"]
    print("## Compilation\n")
    print("Imports and a first small run of both engines in a new process.\n")
    print("| cache | wall s | CPU s |")
    print("|---|---:|---:|")
    for name, result in (("empty", cold), ("filled", warm)):
        print(f"| {name} | {result['wall']:.1f} | {result['cpu']:.1f} |")
    print()


def main() -> None:
    parts: dict[str, Callable[[int], None]] = {
        "compile": lambda runs: compile_table(),
        "packet": packet_table,
        "transport": transport_table,
        "fluid": fluid_table,
        "large": lambda runs: large_table(),
    }
    parser = argparse.ArgumentParser(description="Speed and memory of the engines.")
    parser.add_argument("--quick", action="store_true", help="one run of each case, without the large fabric")
    parser.add_argument("--only", choices=sorted(parts), help="one part")
    parser.add_argument("--child", choices=sorted(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    runs = 1 if options.quick else 5
    print("# Engines\n")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start.\n")
    for name, part in parts.items():
        if options.only == name or (options.only is None and not (options.quick and name == "large")):
            part(runs)


if __name__ == "__main__":
    main()
