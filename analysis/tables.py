"""The text that a run prints: one row a variant, the collectives as nccl-tests prints them, layers with experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.admission.booked import booked
from analysis.grid import Cell, Column, Grid, Shown, lay_out, over, write
from analysis.load import Results, load
from analysis.serving import class_grid, request_grid
from analysis.stats import percentile

_ASKED = ("prompt_tokens", "output_tokens")  # of requests
_CLASSES = 4  # of demands that have a column, the most important ones
_WIDTH = 120  # of the table of layers; beyond it the p99 is left out


def summary_table(folder: Path | str) -> str:
    """The text of ``summary_grids``."""
    return "\n\n".join(str(grid) for grid in summary_grids(load(folder).runs()).values())


def summary_grids(runs: Mapping[str, Results]) -> dict[str, Grid]:
    """`runs`: a row a variant (or for the only run); a table each of what else there is, such as `collectives`.

    Requests alone, without a flow, are what `runs` is about. Empty columns are left out.
    """
    served = any(run.rows("requests") for run in runs.values())
    alone = served and not any(run.rows("flows") for run in runs.values())
    grids = {"runs": request_grid(runs) if alone else _runs_grid(runs)}
    if any(run.rows("collectives") for run in runs.values()):
        grids["collectives"] = _collective_grid(runs)
    if any(run.rows("moe_steps") for run in runs.values()):
        grids["moe_steps"] = _moe_grid(runs)
    if served and not alone:
        grids["requests"] = request_grid(runs)
    by_class = class_grid(runs) if served else None
    if by_class is not None:
        grids["request_classes"] = by_class
    if any(run.rows("demands") for run in runs.values()):
        grids["demands"] = _demand_grid(runs)
    if any(run.rows("failures") for run in runs.values()):
        grids["failures"] = _failure_grid(runs)
    return grids


def _runs_grid(runs: Mapping[str, Results]) -> Grid:
    columns = list(_COLUMNS)
    if len(runs) > 1 and comparable(runs) and not any(run.rows("requests") for run in runs.values()):
        goal = _mean_collective if any(map(_mean_collective, runs.values())) else _mean_fct
        measured = [value for value in map(goal, runs.values()) if value]
        best = min(measured, default=None)
        place = next(i for i, column in enumerate(columns) if column[2] is goal) + (goal is _mean_collective)
        if best:
            columns.insert(place, ("vs", "best", lambda run: over(goal(run), best), "ratio"))
    cells = [(title, unit, [value(run) for run in runs.values()], form) for title, unit, value, form in columns]
    return lay_out(runs, cells, left=2)


def _collective_grid(runs: Mapping[str, Results]) -> Grid:
    """op, algorithm, ranks, size, repeats, time, algbw, busbw: means over the repeats of the same operation."""
    keys = ["op", "algorithm", "ranks", "bytes"]
    found: list[tuple[str, tuple[str, str, int, int], int, list[float]]] = []
    for name, run in runs.items():
        frame = run.frame("collectives")
        for key, part in frame.groupby(keys, sort=False):
            means = [float(part[c].mean()) for c in ("time_us", "algbw_gbytes", "busbw_gbytes")]
            found.append((name, key, int(part["time_us"].notna().sum()), means))
    best: dict[tuple[str, int, int], float] = {}
    for _, (op, _, ranks, size), _, means in found:
        best[op, ranks, size] = float(np.fmin(best.get((op, ranks, size), np.inf), means[0]))
    titles = [("variant", ""), ("op", ""), ("algorithm", ""), ("ranks", ""), ("size", "B"), ("done", "")]
    titles += [("time", "us"), ("algbw", "GB/s"), ("busbw", "GB/s")] + ([("vs", "best")] if len(runs) > 1 else [])
    rows = []
    for name, (op, algorithm, ranks, size), done, means in found:
        row = [name, op, algorithm, str(ranks), str(size), str(done)]
        row += [write(None if np.isnan(mean) else mean, form) for mean, form in zip(means, ("", "2", "2"), strict=True)]
        if len(runs) > 1:
            row.append(write(over(means[0], best[op, ranks, size]), "ratio"))
        rows.append(row)
    if len(runs) == 1:
        titles, rows = titles[1:], [row[1:] for row in rows]
    return Grid("", titles, rows, left=3 if len(runs) > 1 else 2)


def _moe_grid(runs: Mapping[str, Results]) -> Grid:
    """A row a run with layers of experts: means over its finished (step, layer) rows, memory over its GPUs.

    Times, bytes sent and weights moved are a layer's; memory is the fullest GPU's. The speed-up is the first run's mean
    time over the own, where both had the same work.
    """
    runs = {name: run for name, run in runs.items() if run.rows("moe_steps")}
    tables = [run.frame("moe_steps") for run in runs.values()]
    columns: list[Shown] = [
        ("steps", "layers", [f"{t['step'].nunique()} x {int((t['step'] == 0).sum())}" for t in tables], ""),
        ("not", "done", [int(t["time_us"].isna().sum()) or None for t in tables], ""),
    ]
    done = [table.dropna(subset=["time_us"]) for table in tables]
    columns += [(title, unit, [value(table) for table in done], form) for title, unit, value, form in _LAYER]
    gpus = [run.frame("gpus", ["peak_memory_bytes", "out_of_memory"]) for run in runs.values()]
    peaks = [float(table["peak_memory_bytes"].max()) / 1e9 if len(table) else 0.0 for table in gpus]
    columns += [
        ("peak", "GB", [peak or None for peak in peaks], ""),
        ("GPUs", "OOM", [int(table["out_of_memory"].sum()) or None for table in gpus], ""),
    ]
    faster = _speed_ups(list(runs.values()), [_mean(table, "time_us") for table in done])
    if any(value is not None for value in faster[1:]):
        columns.append(("speed-", "up", faster, "ratio"))
    grid = lay_out(runs, columns, left=1)
    if max(map(len, str(grid).splitlines())) > _WIDTH:
        grid = lay_out(runs, [column for column in columns if column[1] != "p99 us"], left=1)
    over = f", speed-up over {next(iter(runs))}" if columns[-1][2] is faster else ""
    return grid._replace(heading=f"A layer with experts: means, GPUs' peak memory{over}")


def _demand_grid(runs: Mapping[str, Results]) -> Grid:
    """A row a run with demands. Admitted shares by class, the most important first, without demands that still wait."""
    runs = {name: run for name, run in runs.items() if run.rows("demands")}
    classes = [run.frame("demand_classes", ["priority", "offered", "blocking"]) for run in runs.values()]
    blocking = [dict(zip(table["priority"], table["blocking"], strict=True)) for table in classes]
    columns: list[Shown] = [("demands", "offered", [int(table["offered"].sum()) for table in classes], "")]
    priorities = sorted({priority for found in blocking for priority in found}, reverse=True)
    for place, priority in enumerate(priorities[:_CLASSES]):
        shares = [1 - found.get(priority, np.nan) for found in blocking]
        cells = [None if np.isnan(share) else share for share in shares]
        columns.append(("" if place else "admitted", f"class {priority}", cells, "share"))
    columns += [(title, unit, [value(run) for run in runs.values()], form) for title, unit, value, form in _DEMANDS]
    return lay_out(runs, columns, left=1)._replace(
        heading="Demands: admitted by class; objective: priorities earned over those asked for"
    )


def _failure_grid(runs: Mapping[str, Results]) -> Grid:
    """A row a run in which something failed: packets lost in all, the rest of the worst failure."""
    runs = {name: run for name, run in runs.items() if run.rows("failures")}
    columns: list[Shown] = [
        (title, unit, [value(run) for run in runs.values()], form) for title, unit, value, form in _FAILURES
    ]
    heading = "Failures: packets lost in all; of the worst one: flows, recovery, slowdown over that of flows not hit"
    return lay_out(runs, columns, left=1)._replace(heading=heading)


def _earned(run: Results) -> float | None:
    table = run.frame("demands", ["priority", "earned"])
    return float(table["earned"].sum() / table["priority"].sum()) if len(table) else None


def _reserved(run: Results) -> float | None:
    """Mean share that is reserved, over the links between switches that ever carried a demand."""
    table = booked(run)
    used = table.loc[table["demands"] > 0, "mean_share"]
    return float(used.mean()) if len(used) else None


def _mean(layers: pd.DataFrame, column: str) -> float | None:
    """Nothing to show where it is 0."""
    return (float(layers[column].mean()) or None) if len(layers) else None


def _speed_ups(runs: Sequence[Results], times: Sequence[float | None]) -> list[Cell]:
    work = [_work(run) for run in runs]
    return [
        times[0] / time if times[0] and time and mine is not None and mine == work[0] else None
        for time, mine in zip(times, work, strict=True)
    ]


def _work(run: Results) -> tuple[int, int, int, int] | None:
    """Seed, layers, GPUs, copies of tokens that were routed; None where some of it was left undone."""
    if run.summary["moe_steps"].get("unfinished"):
        return None
    counts = run.frame("counters", ["name", "count"]).groupby("name")["count"].sum()
    copies = run.frame("gpus", ["tokens"])["tokens"].sum()
    copies += counts.get("token copies dropped", 0) - counts.get("token copies added", 0)
    return run.manifest["seed"], run.rows("moe_steps"), run.rows("gpus"), int(copies)


def comparable(runs: Mapping[str, Results]) -> bool:
    """Whether all runs have the same work to do, so that their times may be put in relation."""
    facts = set()
    for run in runs.values():
        served = run.rows("requests"), *(run.number("requests", name, "mean") for name in _ASKED)
        operations = run.frame("collectives", ["op", "ranks", "bytes"]).drop_duplicates()
        flows = None if len(operations) or served[0] else (run.rows("flows"), run.number("flows", "bytes", "mean"))
        facts.add(
            (served, flows, tuple(run.manifest["loads"]), tuple(sorted(operations.itertuples(index=False, name=None))))
        )
    return len(facts) == 1


def _mean_collective(run: Results) -> float | None:
    return run.number("collectives", "time_us", "mean")


def _mean_fct(run: Results) -> float | None:
    return run.number("flows", "fct_us", "mean")


def _finished(run: Results) -> int | None:
    return int(run.summary["flows"]["fct_us"]["n"]) if run.rows("flows") else None


def _unfinished(run: Results) -> int | None:
    return int(run.summary.get("flows", {}).get("unfinished", 0)) or None


def _sum(table: str, column: str) -> Callable[[Results], Cell]:
    """Sum of a column; nothing to show where it is 0."""
    return lambda run: int(run.frame(table, [column])[column].sum()) or None


def longest_queue(run: Results) -> float | None:
    """KB, over the ports of switches (a NIC's own queue is only its backlog); of all links without switches."""
    frame = run.frame("links", ["src", "queue_max_bytes"])
    at_switch = frame["src"].isin(list(run.tier_of))
    queues = frame.loc[at_switch, "queue_max_bytes"] if run.tier_of else frame["queue_max_bytes"]
    return float(queues.max()) / 1000 if len(queues) and queues.max() > 0 else None


def _reordered(run: Results) -> float | None:
    frame = run.frame("reordering")
    packets = int(frame["packets"].sum())
    late = int(frame.loc[frame["distance"] > 0, "packets"].sum())
    return late / packets if late else None


def _status(run: Results) -> str:
    return run.status + (", interrupted" if run.manifest.get("interrupted") else "")


def _of(table: str, column: str, statistic: str) -> Callable[[Results], Cell]:
    return lambda run: run.number(table, column, statistic)


def _worst(column: str) -> Callable[[Results], Cell]:
    """Of all failures of a run; nothing to show where it is 0."""
    return lambda run: int(run.number("failures", column, "max") or 0) or None


# an empty title goes on with the group to its left
_COLUMNS: list[Column] = [
    ("status", "", _status, ""),
    ("flows", "done", _finished, ""),
    ("not", "done", _unfinished, ""),
    ("collective", "us", _mean_collective, ""),
    ("busbw", "GB/s", _of("collectives", "busbw_gbytes", "mean"), "2"),
    ("FCT us", "mean", _mean_fct, ""),
    ("", "p50", _of("flows", "fct_us", "p50"), ""),
    ("", "p99", _of("flows", "fct_us", "p99"), ""),
    ("slowdown", "p50", _of("flows", "slowdown", "p50"), ""),
    ("", "p99", _of("flows", "slowdown", "p99"), ""),
    ("link", "max", lambda run: run.number("links", "utilisation", "max") or None, "share"),
    ("queue", "max KB", longest_queue, ""),
    ("dropped", "packets", _sum("links", "dropped"), ""),
    ("resent", "packets", _sum("flows", "retransmitted"), ""),
    ("reordered", "share", _reordered, "share"),
]

_LAYER: list[tuple[str, str, Callable[[pd.DataFrame], Cell], str]] = [
    ("layer", "us", lambda layers: _mean(layers, "time_us"), ""),
    ("", "p99 us", lambda layers: percentile(layers["time_us"].to_numpy(dtype=float), 0.99), ""),
    ("dispatch", "us", lambda layers: _mean(layers, "dispatch_us"), ""),
    ("experts", "us", lambda layers: _mean(layers, "expert_us"), ""),
    ("combine", "us", lambda layers: _mean(layers, "combine_us"), ""),
    ("weights", "us", lambda layers: _mean(layers, "weights_us"), ""),
    ("", "moved", lambda layers: _mean(layers, "weight_transfers"), "1"),
    ("plan", "us", lambda layers: _mean(layers, "planner_us"), ""),
    ("max/", "mean", lambda layers: _mean(layers, "max_over_mean"), "2"),
    ("sent", "GB", lambda layers: (_mean(layers, "bytes_moved") or 0) / 1e9 or None, ""),
]

_DEMANDS: list[Column] = [
    ("objective", "share", _earned, "share"),
    ("pre-", "empted", _sum("demand_classes", "preempted"), ""),
    ("", "lost", _sum("demand_classes", "lost"), ""),
    ("gave", "up", _sum("demand_classes", "gave_up"), ""),
    ("moves", "", _sum("demands", "moves"), ""),
    ("wait ms", "mean", _of("demands", "wait_ms", "mean"), ""),
    ("decisions", "", lambda run: run.rows("decisions") or None, ""),
    ("gap", "mean", _of("decisions", "gap", "mean"), "share"),
    ("charged", "ms", lambda run: run.number("decisions", "charged_ms", "mean") or None, ""),
    ("reserved", "mean", _reserved, "share"),
]

_FAILURES: list[Column] = [
    ("failures", "", lambda run: run.rows("failures"), ""),
    ("packets", "lost", _sum("failures", "packets_lost"), ""),
    ("flows", "hit", _worst("flows_hit"), ""),
    ("", "rerouted", _worst("flows_rerouted"), ""),
    ("", "lost", _worst("flows_lost"), ""),
    ("recovery", "us", lambda run: run.number("failures", "recovery_us", "max"), ""),
    ("slowdown", "ratio", lambda run: run.number("failures", "inflation", "max"), "ratio"),
]
