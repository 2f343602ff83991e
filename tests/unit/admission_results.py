"""Made-up but plausible results of a run with demands, written by the real writer: for tests of analysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from sim.record import ResultFolder, frame, write_run, write_variants

NODES = ("Oslo", "Rome", "Paris", "Wien", "Kiew", "Bern")
PLACES = {"Oslo": (10.7, 59.9), "Rome": (12.5, 41.9), "Paris": (2.3, 48.9), "Wien": (16.4, 48.2), "Kiew": (30.5, 50.4)}
CABLES = (("Oslo", "Paris"), ("Oslo", "Kiew"), ("Paris", "Rome"), ("Rome", "Wien"), ("Wien", "Kiew"), ("Paris", "Bern"),
          ("Bern", "Wien"))  # fmt: skip
POLICIES = {"greedy": 1.0, "ilp": 0.8, "ga": 0.85}  # name -> how much it blocks


def demand_tables(policy: str = "greedy", count: int = 300, load: float = 1.0, seed: int = 1) -> dict[str, Any]:
    """Demands of three classes on six cities; demand 7 was preempted, demand 8 lost, the last one waits."""
    rng = np.random.default_rng([seed, len(policy)])
    priority = rng.choice([3, 2, 1], count)
    arrival = np.cumsum(rng.exponential(0.05, count))
    refused = rng.random(count) < 0.1 * load**3 * POLICIES[policy] * (4 - priority)
    status = np.where(refused, "rejected", "ended").astype(object)
    status[[7, 8, count - 1]] = "preempted", "lost", "waiting"
    admitted = np.isin(status, ["ended", "preempted", "lost"])
    decided = np.where(status == "waiting", np.nan, np.ceil(arrival * 10) / 10)
    held = np.where(admitted, np.where(np.isin(status, ["preempted", "lost"]), 1.0, 4.0), np.nan)
    full = "its 8 paths are full: at most 20Mbps free, on Oslo->Paris"
    reason = np.where(refused, full, "").astype(object)
    reason[[7, 8]] = "made room for demand 9", "link Oslo->Paris failed"
    demands: dict[str, Any] = {
        "id": [str(number) for number in range(count)],
        "src": rng.choice(NODES[:3], count).astype(object),
        "dst": rng.choice(NODES[3:], count).astype(object),
        "bandwidth_mbps": rng.choice([200.0, 800.0], count),
        "priority": priority,
        "arrival_s": arrival,
        "hold_s": 4.0,
        "decided_s": decided,
        "end_s": decided + held,
        "admitted": admitted.astype(int),
        "wait_ms": (decided - arrival) * 1e3,
        "earned": np.where(status == "ended", priority, 0),
        "moves": np.where(admitted, rng.integers(0, 2, count), 0),
        "carried": np.where(admitted, 1.0, np.nan),
        "status": status,
        "reason": reason,
    }
    network = nx.Graph(CABLES)
    demands["path"] = [
        ">".join(nx.shortest_path(network, src, dst)) if one else None
        for src, dst, one in zip(demands["src"], demands["dst"], admitted, strict=True)
    ]
    times = np.unique(decided[~np.isnan(decided)])
    asked = np.array([(decided == time).sum() for time in times])
    kept = np.array([(admitted & (decided == time)).sum() for time in times])
    decisions = {
        "id": np.arange(len(times)),
        "agent": 0,
        "start_s": times - 0.01,
        "commit_s": times,
        "demands": asked,
        "present": 12,
        "admitted": kept,
        "preempted": 0,
        "moved": 0,
        "conflicts": 0,
        "objective": kept * 2,
        "bound": asked * 2.0,
        "gap": 1 - kept / asked,
        "status": "feasible",
        "solver": policy,
        "charged_ms": 10.0,
    }
    links = [(a, b) for a, b in CABLES] + [(b, a) for a, b in CABLES]
    share = rng.random(len(links)) * min(load, 1.0)
    reservations = {
        "link": [f"{a}->{b}" for a, b in links],
        "capacity_mbps": 10_000.0,
        "mean_mbps": share * 10_000,
        "peak_mbps": np.minimum(share * 1.3, 1) * 10_000,
        "mean_share": share,
        "demands": (share * 90).astype(int),
    }
    made = {
        "demands": frame("demands", demands),
        "demand_classes": frame("demand_classes", _classes(demands)),
        "decisions": frame("decisions", decisions),
        "reservations": frame("reservations", reservations),
        "links": frame("links", _links(links)),
    }
    return made


def _classes(demands: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for priority in (3, 2, 1):
        mine = demands["priority"] == priority
        status, admitted = demands["status"][mine], demands["admitted"][mine]
        known = [int((status == word).sum()) for word in ("rejected", "gave_up", "preempted", "lost")]
        answered = len(status) - int((status == "waiting").sum())
        blocking = 1 - admitted.sum() / answered
        served = admitted.sum() - known[2] - known[3]
        wait = float(np.nanmean(demands["wait_ms"][mine]))
        rows.append([priority, len(status), int(admitted.sum()), *known, blocking, 1 - served / answered, wait])
    names = ["priority", "offered", "admitted", "rejected", "gave_up", "preempted", "lost"]
    return dict(zip([*names, "blocking", "not_served", "wait_mean_ms"], zip(*rows, strict=True), strict=True))


def _links(links: list[tuple[str, str]]) -> dict[str, Any]:
    zero = ("bytes", "packets", "queue_max_bytes", "marked", "dropped", "trimmed")
    known = {"link": [f"{a}->{b}" for a, b in links], "src": [a for a, _ in links], "dst": [b for _, b in links]}
    return known | {"rate_gbps": 10.0, "utilisation": 0.0, "paused_us": 0.0} | dict.fromkeys(zero, 0)


def manifest(policy: str, load: float, variant: str | None = None) -> dict[str, Any]:
    return {
        "name": "sdn",
        "variant": variant,
        "seed": 1,
        "engine": "fluid",
        "policies": {"admission": {"kind": policy}},
        "loads": [load],
        "fabric": {"kind": "graphml", "hosts": 0, "tiers": {"node": list(NODES)}, "places": PLACES},
        "versions": {"spillway": "0.1.0"},
        "inputs": {"sdn.yaml": "0" * 64},
    }


def write_single(out: Path, policy: str = "greedy", *, load: float = 1.0, seed: int = 1) -> Path:
    with ResultFolder(out) as folder:
        made = demand_tables(policy, load=load, seed=seed)
        known = {**manifest(policy, load), "seed": seed}
        write_run(folder, effective="name: sdn\n", manifest=known, tables=made, status="completed")
    return out


def write_policies(out: Path, load: float = 1.0) -> Path:
    """A variant for each policy."""
    with ResultFolder(out) as folder:
        for name in POLICIES:
            (folder / name).mkdir()
            known, made = manifest(name, load, name), demand_tables(name, load=load)
            write_run(folder / name, effective="name: sdn\n", manifest=known, tables=made, status="completed")
        statuses = dict.fromkeys(POLICIES, "completed")
        write_variants(folder, statuses, effective="name: sdn\n", manifest=manifest("greedy", load))
    return out
