"""Made-up but plausible results of request serving: a stand-in for the processes, its tables by the real writer.

``python -m tests.unit.served FOLDER`` writes one folder of each kind, to look at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sim.engine.serving import book as words
from sim.engine.serving.book import GAP_LEAST, GAP_STEP, Book
from sim.engine.serving.state import COUNTS, LOAD
from sim.processes.serving.serving import LoadSeries, Replica, RequestClass, Serving
from sim.record import ResultFolder, frame, write_run, write_variants
from sim.serving_tables import serving_tables
from tests.unit import synthetic

S, MS = 10**12, 10**9
CLASSES = (RequestClass("chat", ttft=500 * MS, tpot=40 * MS), RequestClass("code", ttft=2000 * MS, e2e=20_000 * MS))
POLICIES = {"round_robin": 1.0, "least_requests": 0.6, "power_of_two": 0.65}  # name -> how long the queues are


class _Schedulers:
    """What the tables read of the schedulers, one a replica."""

    def __init__(self, replicas: int) -> None:
        self.counts = np.zeros(replicas, dtype=COUNTS)
        self.loads = np.zeros(replicas, dtype=LOAD)

    def check(self) -> list[str]:
        return []


def empty(replicas: int = 2, classes: Sequence[RequestClass] = CLASSES, pools: Sequence[str] = ("main",)) -> Serving:
    """A workload without requests; replicas dealt over the pools one after another, of 100 blocks each."""
    made = [
        Replica(i, i * len(pools) // replicas, pools[i * len(pools) // replicas], "mixed", np.nan, (i,), i, 1, 1)
        for i in range(replicas)
    ]
    schedulers = _Schedulers(replicas)
    series = LoadSeries(schedulers.loads, made)
    blocks = np.full(replicas, 100)
    book = Book(len(classes))
    return Serving("workload.0", 0, book, schedulers, made, list(pools), list(classes), blocks, series)


def note(serving: Serving, arrival: int, *, status: int = words.FINISHED, **fields: int) -> int:
    """Adds a request; ``first`` and ``last`` are after its arrival, gaps between its tokens equal."""
    row = {"prompt": 100, "output": 11, "kind": 0, "tenant": -1, "replica": 0, **fields}
    for name in ("routed", "queued", "scheduled", "first", "last"):
        if name in row:
            row[name] += arrival
    number = serving.book.add(arrival=arrival, status=status, **row)
    serving.submitted += 1
    serving.over += status in (words.FINISHED, words.REJECTED, words.LOST)
    return number


def crowd(count: int = 400, rate: float = 20.0, *, slow: float = 1.0, replicas: int = 4, seed: int = 1) -> Serving:
    """``count`` requests at ``rate`` a second of two classes; queues grow with the rate and by ``slow``."""
    serving = empty(replicas)
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(1 / rate, count))
    load = rate / 40
    kind = (rng.random(count) < 0.3).astype(int)
    prompt, output = (rng.lognormal(*pair, count).astype(int) + 1 for pair in ((6.5, 1.0), (4.5, 0.8)))
    queue = rng.exponential(0.05 * slow * load / max(1.02 - load, 0.02), count)
    prefill = 0.02 + prompt * 3e-5
    gap = 0.012 * (1 + load) * rng.lognormal(0, 0.15, count)
    where = rng.integers(0, replicas, count)
    scheduled, first = arrival + queue, arrival + queue + prefill
    last = first + gap * (output - 1)
    end = last.max() if count < 50 else np.quantile(last, 0.99)
    status = np.where(last <= end, words.FINISHED, words.RUNNING)
    times = {"arrival": arrival, "routed": arrival, "queued": arrival, "scheduled": scheduled, "first": first}
    columns: dict[str, Any] = {name: (values * S).astype(np.int64) for name, values in times.items()}
    columns["last"] = np.where(status == words.FINISHED, (last * S).astype(np.int64), -1)
    columns |= {"prompt": prompt, "output": output, "generated": output, "kind": kind, "replica": where}
    columns |= {"status": status, "gap_max": (gap * 1.6 * S).astype(np.int64), "tenant": np.full(count, -1)}
    columns["cached"] = prompt // 4
    serving.book.add_block(columns)
    bins = 1 + (np.log(gap * S / GAP_LEAST) / np.log(GAP_STEP)).astype(int)
    np.add.at(serving.book.gaps, (kind, bins), output - 1)
    serving.submitted, serving.over = count, int((status == words.FINISHED).sum())
    _load(serving, columns, float(end), slow * load)
    return serving


def _load(serving: Serving, columns: dict[str, Any], end: float, level: float) -> None:
    counts, rng = serving.schedulers.counts, np.random.default_rng(5)
    for replica in serving.replicas:
        mine = columns["replica"] == replica.index
        replica.tokens = int((columns["prompt"] + columns["output"])[mine].sum())
        replica.iterations, replica.busy = replica.tokens // 30, int(min(level, 1) * end * S)
    counts["looked"], counts["hit"], counts["preemptions"] = 1000, 250, 3
    for sample in range(1, 101):
        now = int(sample * end / 100 * S)
        running = ((columns["scheduled"] <= now) & (columns["last"] > now))[:, None]
        mine = columns["replica"][:, None] == np.arange(len(serving.replicas))
        serving.schedulers.loads["running"] = (running & mine).sum(axis=0)
        serving.schedulers.loads["waiting"] = rng.poisson(4 * level, len(serving.replicas))
        serving.schedulers.loads["used_blocks"] = np.minimum(100, 8 * serving.schedulers.loads["running"])
        serving.series.take(now)


def end_of(serving: Serving) -> int:
    rows = serving.book.rows[: serving.book.count]
    return int(max(rows["last"].max(), rows["arrival"].max()))


def tables(serving: Serving) -> dict[str, pd.DataFrame]:
    return serving_tables([serving], end_of(serving))


def _links() -> pd.DataFrame:
    return synthetic.link_table(np.random.default_rng(1), 1.0, 0.02)


def manifest(policy: str, variant: str | None = None) -> dict[str, Any]:
    known = synthetic.manifest(variant=variant)
    return {**known, "name": "serving", "policies": {"request": {"kind": policy}}}


def write(folder: Path, serving: Serving, policy: str = "round_robin", variant: str | None = None,
          status: str = "completed") -> None:  # fmt: skip
    made = {"links": _links(), **tables(serving)}
    counted = [(*key, count) for key, count in serving.counts.items()]
    if counted:
        made["counters"] = frame(
            "counters", dict(zip(("name", "reason", "count"), zip(*counted, strict=True), strict=True))
        )
    known = manifest(policy, variant)
    write_run(folder, effective="name: serving\n", manifest=known, tables=made, status=status)


def write_single(out: Path, serving: Serving | None = None, **how: Any) -> Path:
    with ResultFolder(out) as folder:
        write(folder, serving or crowd(), **how)
    return out


def write_policies(out: Path, count: int = 400, rate: float = 30.0) -> Path:
    """A variant a policy."""
    with ResultFolder(out) as folder:
        for name, slow in POLICIES.items():
            (folder / name).mkdir()
            write(folder / name, crowd(count, rate, slow=slow), name, name)
        write_variants(folder, dict.fromkeys(POLICIES, "completed"), effective="", manifest=manifest("round_robin"))
    return out


if __name__ == "__main__":
    root = Path(sys.argv[1])
    write_single(root / "single")
    write_policies(root / "policies", 2000)
