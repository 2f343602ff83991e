"""Where the time of all flows of a run went, and what stands out: links, GPUs, the slowest of each kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.load import Results
from analysis.rows import rows_where
from analysis.why import request
from analysis.why.gpus import gpu_costs, gpu_lines
from analysis.why.links import link_costs, link_lines, slower_links
from analysis.why.parts import FLOW_PARTS, MEANING
from analysis.why.text import share_text, short, size_text, table, time_text
from models.explained import PARTS
from models.summary import percentiles

_SLOWEST = 5
_STAGES = ("dispatch", "expert", "combine")


def facts(run: Results) -> dict[str, Any]:
    times = rows_where(run, "flow_times", [], ["id", "job", "total_ps", *PARTS, "bottleneck"])
    return {
        "kind": "overview",
        "name": run.manifest.get("variant") or run.manifest.get("name"),
        "engine": run.manifest.get("engine"),
        "status": run.status,
        "reasons": run.summary.get("reasons", []),
        "flows": run.rows("flows"),
        "finished": len(times),
        "total_ps": int(times["total_ps"].sum()),
        "parts": _parts(times),
        "links": link_costs(run, times),
        "slower_links": slower_links(run),
        "gpus": gpu_costs(run),
        "slow_flows": _slow_flows(run, times),
        "slow_collectives": _slowest(run, "collectives", ["id", "op", "algorithm", "ranks", "bytes", "time_us"]),
        "slow_layers": _slowest(run, "moe_steps", ["step", "layer", *(f"{stage}_us" for stage in _STAGES), "time_us"]),
        "refused_demands": _refused(run),
        "requests": request.overview(run),
    }


def _parts(times: pd.DataFrame) -> list[dict[str, Any]]:
    """Per part that is not 0: sum, share of the time of all flows, mean and p99 over the flows."""
    total = max(int(times["total_ps"].sum()), 1)
    found = []
    for part in FLOW_PARTS:
        column = times[f"{part}_ps"].to_numpy(dtype=np.int64)
        if column.any():
            (high,) = percentiles(column, [0.99])
            found.append(
                {"part": part, "ps": int(column.sum()), "share": int(column.sum()) / total}
                | {"mean_ps": float(column.mean()), "p99_ps": high}
            )
    return found


def _slow_flows(run: Results, times: pd.DataFrame) -> list[dict[str, Any]]:
    slow = times.sort_values(["total_ps", "id"], ascending=[False, True], kind="stable").head(_SLOWEST)
    if not len(slow):
        return []
    ends = rows_where(run, "flows", [("id", "in", slow["id"].tolist())], ["id", "src", "dst", "bytes", "slowdown"])
    by_id = {row.id: row for row in ends.itertuples()}
    found = []
    for row in slow.to_dict("records"):
        ends_of = by_id[row["id"]]
        parts = {part: int(row[f"{part}_ps"]) for part in FLOW_PARTS}
        found.append(
            {"id": int(row["id"]), "job": str(row["job"]), "total_ps": int(row["total_ps"])}
            | {"src": ends_of.src, "dst": ends_of.dst, "bytes": int(ends_of.bytes)}
            | {"slowdown": float(ends_of.slowdown), "most": max(parts, key=lambda part: parts[part])}
        )
    return found


def _slowest(run: Results, name: str, columns: list[str]) -> list[dict[str, Any]]:
    frame = run.frame(name, columns).dropna(subset=["time_us"])
    rows = frame.sort_values("time_us", ascending=False, kind="stable").head(_SLOWEST).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _refused(run: Results) -> list[dict[str, Any]]:
    """The most important demands that were refused or had to go."""
    columns = ["id", "src", "dst", "bandwidth_mbps", "priority", "status", "reason"]
    frame = run.frame("demands", columns)
    frame = frame[frame["status"].isin(["rejected", "preempted", "lost", "gave_up"])]
    rows = frame.sort_values("priority", ascending=False, kind="stable").head(_SLOWEST).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _refused_lines(rows: list[dict[str, Any]]) -> list[str]:
    told = [
        [f"demand:{row['id']}", short(f"{row['src']} -> {row['dst']}", 28), str(row["priority"]), row["status"]]
        for row in rows
    ]
    rows_told = table(["", "", "priority", ""], told, left=2, remark=True)
    return ["", "Demands refused or ended early, the most important first", *rows_told] if rows else []


def lines(known: dict[str, Any]) -> list[str]:
    """The facts as text."""
    served, refused = known["requests"], _refused_lines(known["refused_demands"])
    done = f"{known['finished']} of {known['flows']} flows finished"
    if served is not None:
        requests = f"{served['status'].get('finished', 0)} of {served['requests']} requests finished"
        done = f"{requests}, {done}" if known["flows"] else requests
        refused = [*request.overview_lines(served), *refused]
    text = [f"{known['name']}: {known['status']}, engine {known['engine']}; {done}"]
    text += [f"  {reason}" for reason in known["reasons"]]
    if not known["finished"]:
        return [*text, *refused]
    text += ["", f"Where the time of all flows went: {time_text(known['total_ps'])} together"]
    text += [
        f"  {'':<14} {'share':>6} {'mean':>9} {'p99':>9}",
        *(
            f"  {row['part']:<14} {share_text(row['share']):>6} {time_text(row['mean_ps']):>9} "
            f"{time_text(row['p99_ps']):>9}  {MEANING[row['part']]}"
            for row in known["parts"]
        ),
    ]
    text += ["", "Links by what they cost flows (waiting for others, and being slower than their class)"]
    text += link_lines(known["links"], known["slower_links"])
    if known["gpus"]:
        text += ["", "Busiest GPUs (same work: their time for equal kernels over the median GPU's)"]
        text += gpu_lines(known["gpus"])
    return [*text, "", "Slowest (`why RESULTS ID` tells more)", *_slow_lines(known), *refused]


def _slow_lines(known: dict[str, Any]) -> list[str]:
    rows = [
        _slow(
            f"flow:{flow['id']}",
            f"{flow['src']} -> {flow['dst']}",
            flow["total_ps"],
            f"{size_text(flow['bytes'])}, {flow['slowdown']:.2f} times its ideal; most: {flow['most']}",
        )
        for flow in known["slow_flows"]
    ]
    rows += [
        _slow(
            f"collective:{row['id']}",
            f"{row['op']} {row['algorithm']}",
            row["time_us"] * 1e6,
            f"{row['ranks']} ranks, {size_text(row['bytes'])}",
        )
        for row in known["slow_collectives"]
    ]
    rows += [
        _slow(
            f"moe:{row['step']}.{row['layer']}",
            "layer with experts",
            row["time_us"] * 1e6,
            ", ".join(f"{stage} {time_text(row[f'{stage}_us'] * 1e6)}" for stage in _STAGES),
        )
        for row in known["slow_layers"]
    ]
    return table(["", "", "took", ""], rows, left=2, remark=True)


def _slow(ident: str, who: str, ps: float, more: str) -> list[str]:
    return [ident, short(who, 28), time_text(ps), more]
