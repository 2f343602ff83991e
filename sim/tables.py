"""A finished world as result tables; the columns are described in ``models/records.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.admission_tables import admission_tables
from sim.build import World
from sim.build_packets import is_controlled
from sim.flow_times import Transport, explain
from sim.link_samples import FEWEST, ROWS
from sim.record import PS_PER_US, frame, microseconds
from sim.serving_tables import serving_tables


def tables_of(world: World) -> dict[str, Any]:
    """Every table that has rows, by name."""
    tables = {"flows": _flows_table(world), "links": _links_table(world)}
    if world.loaded.scenario.telemetry.flow_times:
        transport = world.loaded.scenario.fabric.transport
        derived = world.derived
        timeout = 0 if derived is None or is_controlled(world.loaded, derived) else derived.rto
        sizes = Transport(transport.payload + transport.header, timeout)
        tables |= explain(world.flows, world.network.explain(), world.topology, sizes)
    tables |= admission_tables(world)
    tables |= serving_tables(world.serving.served, int(world.clock.now))
    if world.failures is not None and world.failures.rows:
        tables["failures"] = frame("failures", world.failures.columns(world.telemetry.progress()))
    rows = world.collectives.rows
    if rows:
        size, ranks = np.array([row.bytes for row in rows]), np.array([row.ranks for row in rows])
        took = microseconds(np.array([row.time for row in rows]))
        factor = np.array([_bus_factor(row.op, row.ranks) for row in rows])
        tables["collectives"] = frame(
            "collectives",
            {
                "id": [row.id for row in rows],
                "op": [row.op for row in rows],
                "algorithm": [row.algorithm for row in rows],
                "ranks": ranks,
                "bytes": size,
                "start_us": microseconds(np.array([row.start for row in rows])),
                "time_us": took,
                "algbw_gbytes": size / took / 1e3,
                "busbw_gbytes": size / took / 1e3 * factor,
            },
        )
    if world.steps.rows:
        tables["moe_steps"] = _steps_table(world)
    gpus = np.array(world.gpus.rows(int(world.clock.now)), dtype=np.int64).reshape(-1, 6)
    if len(gpus):
        columns = {"gpu": gpus[:, 0], "busy_us": gpus[:, 1] / PS_PER_US, "wait_us": gpus[:, 2] / PS_PER_US}
        columns |= {"tokens": gpus[:, 3], "peak_memory_bytes": gpus[:, 4], "out_of_memory": gpus[:, 5]}
        tables["gpus"] = frame("gpus", columns)
    kernels = world.gpus.kernels.rows()
    if len(kernels.gpu):
        times = {"start_us": kernels.start / PS_PER_US, "duration_us": kernels.duration / PS_PER_US}
        columns = {"gpu": kernels.gpu, "kernel": kernels.kernel, "job": kernels.job} | times
        tables["kernels"] = frame("kernels", columns)
    series = world.telemetry.columns()
    if series:
        tables["series"] = frame("series", series)
    by_link = world.telemetry.link_columns()
    if by_link:
        tables["link_series"] = frame("link_series", by_link)
    late = world.network.reordering()
    if len(late):
        late = late.copy()
        distances = np.flatnonzero(late)
        if len(distances):
            tables["reordering"] = frame("reordering", {"distance": distances, "packets": late[distances]})
    counters = dict(world.network.counters())
    counters |= {("flows rejected", reason): count for reason, count in world.flows.rejected.items()}
    counters |= world.counted()
    if world.telemetry.links.too_many:
        counters["links not sampled one by one", f"more than {ROWS // FEWEST:,} links"] = world.topology.links
    counters = {what: count for what, count in counters.items() if count}
    if counters:
        rows_of = sorted(counters.items())
        columns = {
            "name": [name for (name, _), _ in rows_of],
            "reason": [reason for (_, reason), _ in rows_of],
            "count": [count for _, count in rows_of],
        }
        tables["counters"] = frame("counters", columns)
    return tables


def _bus_factor(op: str, ranks: int) -> float:
    """Bus over algorithm bandwidth, as in nccl-tests."""
    if op == "all_reduce":
        return 2 * (ranks - 1) / ranks
    return 1.0 if op == "broadcast" else (ranks - 1) / ranks


def _flows_table(world: World) -> Any:
    flows, names = world.flows, world.topology.node_name
    start = np.array([flow.start for flow in flows.flow], dtype=np.int64)
    end, ideal = np.array(flows.end, dtype=np.int64), np.array(flows.ideal, dtype=np.int64)
    finished = np.array([status == "finished" for status in flows.status], dtype=np.bool_)
    took = np.where(finished, end - start, -1)
    fct, alone = microseconds(took), microseconds(ideal)
    return frame(
        "flows",
        {
            "id": np.arange(len(start)),
            "src": [names[flow.src] for flow in flows.flow],
            "dst": [names[flow.dst] for flow in flows.flow],
            "bytes": [flow.bytes - extra for flow, extra in zip(flows.flow, flows.overhead, strict=True)],
            "start_us": microseconds(start),
            "delivered_us": microseconds(np.array(flows.delivered, dtype=np.int64)),
            "end_us": microseconds(end),
            "fct_us": fct,
            "ideal_us": alone,
            "slowdown": fct / alone,
            "path": flows.path,
            "retransmitted": flows.retransmitted,
            "reordered": flows.reordered,
            "reorder_max_bytes": flows.held,
            "status": flows.status,
        },
    )


def _links_table(world: World) -> Any:
    topology, now = world.topology, int(world.clock.now)
    totals = world.network.link_totals(now)
    seconds = max(now, 1) / 1e12
    names = topology.node_name
    return frame(
        "links",
        {
            "link": topology.link_name,
            "src": [names[node] for node in topology.link_src.tolist()],
            "dst": [names[node] for node in topology.link_dst.tolist()],
            "rate_gbps": topology.link_rate / 1e9,
            "bytes": totals["bytes"],
            "packets": totals["packets"],
            "utilisation": totals["bytes"] * 8.0 / (topology.link_rate * seconds),
            "queue_max_bytes": totals["queue_max_bytes"],
            "marked": totals["marked"],
            "dropped": totals["dropped"],
            "trimmed": totals["trimmed"],
            "paused_us": totals["paused_ps"] / PS_PER_US,
        },
    )


def _steps_table(world: World) -> Any:
    rows = sorted(world.steps.rows.items())
    took = [row.end - row.start if row.left == 0 and row.end >= 0 else -1 for _, row in rows]
    columns: dict[str, Any] = {
        "step": [step for (_, step, _), _ in rows],
        "layer": [layer for (_, _, layer), _ in rows],
        "time_us": microseconds(np.array(took)),
    }
    for name, field in (
        ("dispatch_us", "dispatch"),
        ("expert_us", "experts"),
        ("combine_us", "combine"),
        ("weights_us", "weights"),
        ("planner_us", "planner"),
    ):
        columns[name] = np.array([getattr(row, field) for _, row in rows]) / PS_PER_US
    columns["max_over_mean"] = [float(row.max_over_mean) for _, row in rows]
    columns["weight_transfers"] = [row.transfers for _, row in rows]
    columns["bytes_moved"] = [row.bytes for _, row in rows]
    columns["peak_memory_bytes"] = [row.peak for _, row in rows]
    return frame("moe_steps", columns)
