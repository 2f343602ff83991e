"""Switch load balancers under a storage workload: ``python benchmarks/reproduce/conweave.py [--seeds 3] [--draw]``.

The set-up of Song et al., "Network Load Balancing with In-network Reordering Support for RDMA", SIGCOMM 2023
(ConWeave), as far as its public code states it: 128 hosts on 8 leaves and 8 spines, 100 Gbps, 2:1 oversubscribed (BDP
104 kB), flow sizes of AliStorage2019, load 0.5 and 0.8 of the fabric, DCQCN, packets of 1000 B, 9 MB of buffer a
switch, lossless with PFC and go-back-N ("lossless"), or drops and selective repeat ("irn"). Shorter than there: 10 ms
of traffic after a warm-up of 2 ms, instead of 100 ms after 5 ms. ConWeave itself is not built. Published orderings:
CONGA below LetFlow below ECMP in mean and tail, DRILL ahead where nothing is asymmetric and packets may overtake (own
papers), HULA ahead of CONGA at high load.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.kept_rows import compute, read
from benchmarks.reproduce.conweave_report import EDGES, LOADS, LOSSES, POLICIES, report

FILE = Path(__file__).resolve().parent / "rows" / "conweave.jsonl"
OVERSUBSCRIPTION = 2
WARM_UP_US, END_US = 2_000, 12_000


def scenario(policy: str, losses: str, load: float, seed: int) -> dict[str, Any]:
    """The scenario of one case, as a file would hold it."""
    link = {"rate": "100Gbps", "delay": "1us"}
    lossless = {"overflow": "pause", "shared": {"buffer": "9MB"}, "pause": {"alpha": 1}}
    return {
        "name": "conweave",
        "seed": seed,
        "fabric": {
            "topology": {
                "kind": "leaf_spine", "leaves": 8, "spines": 8, "hosts_per_leaf": 16,
                "host_link": link, "fabric_link": link,
            },
            "switch": {
                "priority": True, "ecn": {"kmin": "100KB", "kmax": "400KB", "pmax": 0.2},
                **(lossless if losses == "lossless" else {"shared": {"buffer": "9MB"}, "buffer": "9MB"}),
            },
            "transport": {
                "kind": "dcqcn", "mtu": "1000B",
                "recovery": "go_back_n" if losses == "lossless" else "selective_repeat",
            },
        },
        "dispatch": POLICIES[policy],
        "workload": [
            {
                "kind": "flows", "arrivals": {"kind": "poisson", "load": load / OVERSUBSCRIPTION},
                "sizes": "alistorage2019", "pairs": "uniform", "until": f"{END_US}us",
            }
        ],
        "telemetry": {"flow_times": False},
        "stop": {"time": "100ms"},
    }  # fmt: skip


def work(case: str) -> dict[str, Any]:
    """One case: slowdowns of the flows that began after the warm-up, all and by size."""
    import numpy as np

    from sim.api import load, run

    policy, losses, offered, seed = case.split("/")
    began = time.process_time()
    results = run(load(scenario(policy, losses, float(offered), int(seed))), quiet=True)
    flows = results.frame("flows", ["start_us", "bytes", "slowdown", "reordered", "retransmitted"])
    flows = flows[flows["start_us"] >= WARM_UP_US]
    done = flows.dropna(subset=["slowdown"])
    group = np.searchsorted(EDGES[1:], done["bytes"].to_numpy(), side="left")
    classes = {}
    for number in range(len(EDGES) - 1):
        some = done["slowdown"].to_numpy()[group == number]
        if len(some) >= 100:
            classes[str(EDGES[number + 1])] = [round(float(some.mean()), 4), round(float(np.percentile(some, 99)), 4)]
    return {
        "flows": len(flows), "unfinished": len(flows) - len(done), "mean": round(float(done["slowdown"].mean()), 4),
        "p99": round(float(done["slowdown"].quantile(0.99)), 4), "classes": classes, "status": results.status,
        "reordered": int(flows["reordered"].sum()), "retransmitted": int(flows["retransmitted"].sum()),
        "paused_us": round(float(results.frame("links", ["paused_us"])["paused_us"].sum()), 1),
        "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip


def cases(seeds: int) -> list[str]:
    return [
        f"{policy}/{losses}/{load}/{seed}"
        for seed in range(1, seeds + 1)
        for losses in LOSSES
        for load in LOADS
        for policy in POLICIES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes; no more than there are idle cores")
    parser.add_argument("--draw", action="store_true", help="compute nothing")
    options = parser.parse_args()
    if not options.draw:
        compute(FILE, work, cases(options.seeds), options.workers)
    report(read(FILE))


if __name__ == "__main__":
    main()
