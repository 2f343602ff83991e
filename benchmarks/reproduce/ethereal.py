"""Ethereal's packet experiments: ``python benchmarks/reproduce/ethereal.py [--sizes 1,4,16] [--workers 2] [--draw]``.

Addanki et al., "Ethereal: Divide and Conquer Network Load Balancing in Large-Scale Distributed Training", arXiv
2407.00550v2: 256 GPUs, 16 leaves, 16 spines, 400 Gbps links of 500 ns, rate-based DCTCP that marks at 800 KB, 9000 B of
payload, ACKs first, shared buffers of 64 MB with PFC, go-back-N on single paths and per-packet timers of 1 ms where
packets are sprayed. Set-up from the authors' public code; their completion times are not public, only the sentence "up
to 30 % below spraying, up to 40 % below REPS". Completion times are divided by the bandwidth lower bound.

With a failed link, leaf0-spine0 goes down after 1 us; routing hears of it 100 ms later.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.kept_rows import compute, read
from benchmarks.reproduce.ethereal_report import AFTER_FAILURE, COLLECTIVES, POLICIES, report

FILE = Path(__file__).resolve().parent / "rows" / "ethereal.jsonl"
GPUS, RATE = 256, 400e9
SPRAYED = ("spray", "reps", "reps_v1")
SIZES = (1, 16)  # MB; the paper goes on to 256, which takes a direct collective hours


def scenario(collective: str, policy: str, size: int, failed: bool) -> dict[str, Any]:
    """The scenario of one case, as a file would hold it."""
    operation, algorithm = COLLECTIVES[collective]
    link = {"rate": "400Gbps", "delay": "500ns"}
    return {
        "name": "ethereal",
        "fabric": {
            "topology": {
                "kind": "leaf_spine", "leaves": 16, "spines": 16, "hosts_per_leaf": 16,
                "host_link": link, "fabric_link": link,
            },
            "switch": {
                "overflow": "pause", "priority": True, "shared": {"buffer": "64MB"}, "pause": {"alpha": 1},
                "ecn": {"kmin": "800KB", "kmax": "800KB"},
            },
            "transport": {
                "kind": "dctcp", "mtu": "9000B", "rto": "1ms", "parameters": {"variant": "rate"},
                "recovery": "selective_repeat" if policy in SPRAYED else "go_back_n",
            },
        },
        "dispatch": {"collective": algorithm, **POLICIES[policy]},
        "workload": [{"kind": "collective", "op": operation, "size": f"{size}MB"}],
        "events": [{"at": "1us", "link": "leaf0-spine0", "set": "down"}] if failed else [],
        "telemetry": {"flow_times": False},
        "stop": {"time": "2s"},
    }  # fmt: skip


def bound_us(collective: str, size: int) -> float:
    """Bandwidth lower bound: what each NIC must send at the least."""
    share = (GPUS - 1) / GPUS * (1 if collective == "all_to_all" else 2)
    return share * size * 1e6 * 8 / RATE * 1e6


def work(case: str) -> dict[str, Any]:
    """One case: completion time, and what the fabric went through."""
    from sim.api import load, run

    collective, policy, size, link = case.split("/")
    began = time.process_time()
    results = run(load(scenario(collective, policy, int(size), link == "failed")), quiet=True)
    table, links, flows = (results.frame(name) for name in ("collectives", "links", "flows"))
    finished = bool(len(table)) and bool(table["time_us"].notna().all())
    took = float(table["time_us"].iloc[0]) if finished else None
    return {
        "time_us": took, "ratio": None if took is None else round(took / bound_us(collective, int(size)), 4),
        "status": results.status, "flows": len(flows), "retransmitted": int(flows["retransmitted"].sum()),
        "marked": int(links["marked"].sum()), "dropped": int(links["dropped"].sum()),
        "paused_us": round(float(links["paused_us"].sum()), 1), "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip


def cases(sizes: tuple[int, ...]) -> list[str]:
    """Small sizes first, so that an interrupted run has all of them."""
    found = []
    for size in sizes:
        for collective in COLLECTIVES:
            found += [f"{collective}/{policy}/{size}/up" for policy in POLICIES]
            found += [f"{collective}/{policy}/{size}/failed" for policy in AFTER_FAILURE]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="MB of the collectives")
    parser.add_argument("--workers", type=int, default=2, help="processes; no more than there are idle cores")
    parser.add_argument("--draw", action="store_true", help="compute nothing")
    options = parser.parse_args()
    if not options.draw:
        compute(FILE, work, cases(tuple(int(size) for size in options.sizes.split(","))), options.workers)
    report(read(FILE))


if __name__ == "__main__":
    main()
