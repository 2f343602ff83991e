"""Made-up but plausible results of a leaf-spine run, written by the real writer: for tests of analysis and to look at.

``python -m tests.unit.synthetic FOLDER`` writes one folder of each kind.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sim.record import ResultFolder, frame, write_run, write_variants

PATHS = {"ethereal": 1.0, "ecmp": 1.45, "spray": 1.02, "single_path": 2.6}  # name -> how uneven


def fabric(leaves: int = 8, spines: int = 8, per_leaf: int = 16) -> tuple[list[str], list[str], list[str]]:
    names = [f"host{i}" for i in range(leaves * per_leaf)]
    return names, [f"leaf{i}" for i in range(leaves)], [f"spine{i}" for i in range(spines)]


def link_table(
    rng: np.random.Generator, uneven: float, load: float = 0.8, leaves: int = 8, spines: int = 8, per_leaf: int = 16
) -> pd.DataFrame:
    hosts, leaf, spine = fabric(leaves, spines, per_leaf)
    pairs = [(host, leaf[i // per_leaf]) for i, host in enumerate(hosts)]
    pairs += [(a, b) for a in leaf for b in spine]
    both = [end for a, b in pairs for end in ((a, b), (b, a))]
    src, dst = [a for a, _ in both], [b for _, b in both]
    inside = np.array([a[0] in "ls" and b[0] in "ls" for a, b in both])
    use = np.where(inside, load * rng.normal(1, 0.28 * (uneven - 0.98), len(both)), load)
    use = np.clip(use, 0.02, 1)
    queue = np.where(inside, rng.exponential(60_000 * uneven**2, len(both)), 20_000).astype(int)
    packets = (use * 50_000).astype(int)
    dropped = np.where(queue > 400_000, queue // 100_000, 0)
    return frame(
        "links",
        {
            "link": [f"{a}->{b}" for a, b in both],
            "src": src,
            "dst": dst,
            "rate_gbps": 400.0,
            "bytes": packets * 4160,
            "packets": packets,
            "utilisation": use,
            "queue_max_bytes": queue,
            "marked": queue // 40_000,
            "dropped": dropped,
            "trimmed": 0,
            "paused_us": 0.0,
        },
    )


def flow_table(
    rng: np.random.Generator, uneven: float, count: int, *, mixed: bool = False, unfinished: int = 0
) -> pd.DataFrame:
    hosts = np.array(fabric()[0])
    if mixed:  # Poisson arrivals, sizes over five decades, the same for every policy
        common = np.random.default_rng(5)
        src, dst = common.integers(0, 128, count), common.integers(0, 127, count)
        size = np.exp(common.normal(10, 2.4, count)).astype(np.int64) + 64
        start = np.cumsum(common.exponential(0.8, count))
    else:  # all-to-all of 128 hosts, cut at count
        pair = np.arange(count)
        src, dst = pair // 127, pair % 127
        size, start = np.full(count, 125_000), np.zeros(count)
    dst = dst + (dst >= src)
    ideal = size * 8 / 400e3 + 4.2
    slowdown = 1 + rng.gamma(2, 0.35 * uneven, count) * (1 if mixed else 60)
    end = start + ideal * slowdown
    end[count - unfinished :] = np.nan
    spine = rng.integers(0, 8, count)
    path = [f"host{a}>leaf{a // 16}>spine{s}>leaf{b // 16}>host{b}" for a, b, s in zip(src, dst, spine, strict=True)]
    return frame(
        "flows",
        {
            "id": np.arange(count),
            "src": hosts[src],
            "dst": hosts[dst],
            "bytes": size,
            "start_us": start,
            "delivered_us": end - 2.1,
            "end_us": end,
            "fct_us": end - start,
            "ideal_us": ideal,
            "slowdown": (end - start) / ideal,
            "path": path,
            "retransmitted": rng.integers(0, 2, count),
            "reordered": rng.integers(0, 5, count),
            "reorder_max_bytes": rng.integers(0, 20_000, count),
            "status": np.where(np.isnan(end), "unfinished", "finished"),
        },
    )


def series_table(rng: np.random.Generator, uneven: float, samples: int = 400) -> pd.DataFrame:
    groups = {"host->leaf": 128, "leaf->spine": 64, "spine->leaf": 64, "leaf->host": 128}
    time = np.repeat(np.arange(1, samples + 1), len(groups)) * 0.9
    shape = np.sin(np.linspace(0, np.pi, samples)) ** 0.4
    rows = len(time)
    mean = np.repeat(shape, len(groups)) * 30_000 * uneven * rng.uniform(0.7, 1.3, rows)
    use = np.clip(np.repeat(shape, len(groups)) * 0.8 * rng.uniform(0.9, 1.1, rows), 0, 1)
    return frame(
        "series",
        {
            "time_us": time,
            "group": list(groups) * samples,
            "links": list(groups.values()) * samples,
            "queue_mean_bytes": mean,
            "queue_max_bytes": (mean * rng.uniform(2, 4, rows)).astype(int),
            "utilisation_mean": use,
            "utilisation_max": np.clip(use * 1.2, 0, 1),
        },
    )


def collective_table(uneven: float, sizes: Sequence[int] = (16_000_000,), repeat: int = 1) -> pd.DataFrame:
    size = np.repeat(sizes, repeat)
    time = (size / 50e3 + 4) * uneven * (1 + 0.01 * np.arange(len(size)))
    return frame(
        "collectives",
        {
            "id": np.arange(len(size)),
            "op": ["all_to_all"] * len(size),
            "algorithm": ["direct"] * len(size),
            "ranks": np.full(len(size), 128),
            "bytes": size,
            "start_us": np.cumsum(time) - time,
            "time_us": time,
            "algbw_gbytes": size / time / 1e3,
            "busbw_gbytes": size / time / 1e3 * 127 / 128,
        },
    )


def tables(
    name: str = "ethereal", count: int = 16_256, *, load: float | None = None, seed: int = 1, unfinished: int = 0
) -> dict[str, pd.DataFrame]:
    """All tables of one run. With a ``load``: mixed flow sizes and no collective."""
    uneven = PATHS[name] * (1 if load is None else 0.3 + 0.6 / (1.05 - load))
    rng = np.random.default_rng([seed, len(name)])
    made = {
        "flows": flow_table(rng, uneven, count, mixed=load is not None, unfinished=unfinished),
        "links": link_table(rng, PATHS[name], load or 0.8),
        "series": series_table(rng, uneven),
        "reordering": frame("reordering", {"distance": [0, 1, 2, 7], "packets": [500_000, 9000, 700, 3]}),
    }
    if load is None:
        made["collectives"] = collective_table(uneven)
    if made["links"]["dropped"].sum():
        lost = {"name": ["packets_dropped"], "reason": ["queue full"], "count": [made["links"]["dropped"].sum()]}
        made["counters"] = frame("counters", lost)
    return made


def manifest(path: str = "ethereal", load: float | None = None, variant: str | None = None) -> dict[str, Any]:
    _, leaf, spine = fabric()
    return {
        "name": "leaf_spine",
        "variant": variant,
        "seed": 1,
        "engine": "packet",
        "policies": {"path": {"kind": path}, "packet": {"kind": "follow_path"}, "collective": {"kind": "direct"}},
        "loads": [] if load is None else [load],
        "fabric": {"kind": "leaf_spine", "hosts": 128, "tiers": {"leaf": leaf, "spine": spine}},
        "versions": {"spillway": "0.1.0"},
        "inputs": {"leaf_spine.yaml": "0" * 64},
    }


def write_single(
    out: Path, name: str = "ethereal", *, load: float | None = None, status: str = "completed", **how: Any
) -> Path:
    with ResultFolder(out) as folder:
        made = tables(name, load=load, **how)
        write_run(folder, effective="name: leaf_spine\n", manifest=manifest(name, load), tables=made, status=status)
    return out


def write_four_variants(out: Path, count: int = 16_256, **how: Any) -> Path:
    with ResultFolder(out) as folder:
        for name in PATHS:
            (folder / name).mkdir()
            made = tables(name, count, **how)
            known = manifest(name, how.get("load"), name)
            write_run(folder / name, effective="name: leaf_spine\n", manifest=known, tables=made, status="completed")
        write_variants(folder, dict.fromkeys(PATHS, "completed"), effective="name: leaf_spine\n", manifest=manifest())
    return out


EXPERTS = {"static": 5.0, "least_loaded": 1.0, "eplb": 1.4, "sinkhorn": 1.1}  # name -> max over mean of its GPUs


def moe_tables(name: str, gpus: int = 8, layers: int = 3, steps: int = 1, *, unfinished: int = 0) -> dict[str, Any]:
    """Layers with experts, and GPUs of which the first is the busiest; more than 141 GB is out of memory."""
    uneven, rows = EXPERTS[name], layers * steps
    rng = np.random.default_rng([gpus, len(name)])
    moving = name == "least_loaded"
    jitter = rng.uniform(1.0, 1.1, rows)
    expert, dispatch, combine = 2000 * uneven * jitter, 300 * uneven * jitter, 350 * uneven * jitter
    weights, planner = np.full(rows, 1233.0 * moving), np.full(rows, 600.0 * moving)
    time = expert + np.maximum(dispatch, weights) + combine + planner + 60
    time[rows - unfinished :] = np.nan
    load = np.full(gpus, 1 if gpus == 1 else (gpus - uneven) / (gpus - 1))
    load[0] = uneven
    load *= rng.uniform(0.98, 1.0, gpus)
    total = gpus * 131_072 * rows  # the same work for all
    load = np.floor(load / load.sum() * total)
    load[: int(total - load.sum())] += 1
    memory = load / load.mean() * 31e9
    made = {
        "moe_steps": frame(
            "moe_steps",
            {
                "step": np.repeat(np.arange(steps), layers),
                "layer": np.tile(np.arange(layers), steps),
                "time_us": time,
                "dispatch_us": dispatch,
                "expert_us": expert,
                "combine_us": combine,
                "weights_us": weights,
                "planner_us": planner,
                "max_over_mean": uneven * jitter,
                "weight_transfers": 7 * moving,
                "bytes_moved": 10_569_646_080,
                "peak_memory_bytes": memory.max(),
            },
        ),
        "gpus": frame(
            "gpus",
            {
                "gpu": np.arange(gpus),
                "busy_us": load / 131.072 * 2,
                "wait_us": 100.0,
                "tokens": load,
                "peak_memory_bytes": memory,
                "out_of_memory": memory > 141e9,
            },
        ),
    }
    return made


def write_moe(out: Path, names: Sequence[str] = tuple(EXPERTS), **how: Any) -> Path:
    """A variant an expert policy; a single run where there is one name."""
    with ResultFolder(out) as folder:
        for name in names:
            target = folder / name if len(names) > 1 else folder
            target.mkdir(exist_ok=True)
            made = moe_tables(name, **how)
            write_run(target, effective="", manifest=manifest(variant=name), tables=made, status="completed")
        if len(names) > 1:
            write_variants(folder, dict.fromkeys(names, "completed"), effective="", manifest=manifest())
    return out


def write_loads(out: Path, count: int = 2000) -> Path:
    """Three policies at six loads, as runs below one folder."""
    for name in ("ethereal", "ecmp", "spray"):
        for load in (0.1, 0.3, 0.5, 0.7, 0.8, 0.9):
            status = "saturated" if name == "ecmp" and load > 0.75 else "completed"
            write_single(out / f"{name}-{load}", name, load=load, count=count, status=status)
    return out


if __name__ == "__main__":
    root = Path(sys.argv[1])
    write_single(root / "single")
    write_single(root / "mixed", "ecmp", load=0.6, unfinished=40)
    write_four_variants(root / "variants")
    write_four_variants(root / "variants_mixed", load=0.6)
    write_loads(root / "loads")
    write_moe(root / "moe")
    write_moe(root / "moe_64", gpus=64, layers=58, steps=2)
    write_moe(root / "moe_1024", gpus=1024, layers=58)
    write_moe(root / "moe_single", ["static"])
