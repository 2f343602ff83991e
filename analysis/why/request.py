"""Why a request took its time: its parts, who shared the replica with it, and what stood before it in the queue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.load import Results
from analysis.rows import rows_where
from analysis.why.finished import flows_of
from analysis.why.parts import MEANING, part_lines, part_list
from analysis.why.text import share_text, short, size_text, table, time_text
from models.served import REQUEST_PARTS
from models.summary import percentiles

PARTS = tuple(name.removesuffix("_ps") for name in REQUEST_PARTS)
_PS_PER_MS = 10**9
_SLOWEST = 5
_TOLD = (
    "replica",
    "prefill_replica",
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "generated_tokens",
    "preempted",
)
_TIMES = ("ttft_ms", "tpot_ms", "itl_max_ms", "e2e_ms")


def facts(run: Results, number: int, workload: int) -> dict[str, Any]:
    """Of request ``number`` of a workload."""
    where = [("workload", "==", workload)]
    (row,) = rows_where(run, "requests", [*where, ("id", "==", number)]).to_dict("records")
    known: dict[str, Any] = {"kind": "request", "id": number, "workload": workload, "arrival_s": row["arrival_s"]}
    known |= {"class": row["class"], "status": row["status"], "reason": _plain(row["reason"])}
    known |= {name: _plain(row[name]) for name in ("good", "session", "turn")}
    known |= {name: None if pd.isna(row[name]) else int(row[name]) for name in _TOLD}
    known["times"] = {name: _plain(row[name]) for name in _TIMES}
    parts = rows_where(run, "request_times", [*where, ("id", "==", number)]).to_dict("records")
    if parts:
        known["total_ps"] = int(parts[0]["total_ps"])
        known["parts"] = part_list({part: int(parts[0][f"{part}_ps"]) for part in PARTS})
    if known["replica"] is None:
        return known
    columns = ["id", "arrival_s", "replica", "prefill_replica", "prompt_tokens", "queue_ms", *_TIMES]
    others = rows_where(run, "requests", where, columns)
    known["slower_than"] = {name: _rank(others[name], row[name]) for name in ("ttft_ms", "e2e_ms")}
    known["ahead"] = _ahead(others, row)
    known["beside"] = _beside(others, row)
    known["replicas_then"] = _loads(run, row)
    known["cache_flows"] = _cache_flows(run, number) if known["prefill_replica"] is not None else None
    return known


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value.item() if hasattr(value, "item") else value


def _rank(column: pd.Series[Any], value: float) -> float | None:
    """Share of the others that were faster."""
    known = column.dropna().to_numpy()
    return None if np.isnan(value) or len(known) < 2 else float((known < value).sum() / (len(known) - 1))


def _first_replica(row: dict[str, Any]) -> int:
    """Where the prompt was computed."""
    return int(row["replica"] if pd.isna(row["prefill_replica"]) else row["prefill_replica"])


def _ahead(others: pd.DataFrame, row: dict[str, Any]) -> dict[str, int]:
    """Requests of the same replica that had come before and had no token yet when this one came."""
    then = row["arrival_s"]
    where = others["prefill_replica"].fillna(others["replica"])
    before = (others["arrival_s"] < then) | ((others["arrival_s"] == then) & (others["id"] < row["id"]))
    waiting = ~(others["arrival_s"] + others["ttft_ms"] / 1e3 <= then)
    found = others[(where == _first_replica(row)) & before & waiting]
    return {"requests": len(found), "prompt_tokens": int(found["prompt_tokens"].sum())}


def _beside(others: pd.DataFrame, row: dict[str, Any]) -> float | None:
    """Requests in decode on the same replica, the mean over this one's decode; None where it has none."""
    begin, end = row["arrival_s"] + row["ttft_ms"] / 1e3, row["arrival_s"] + row["e2e_ms"] / 1e3
    if not end > begin:
        return None
    rest = others[(others["replica"] == row["replica"]) & (others["id"] != row["id"])].dropna(subset=["ttft_ms"])
    first = rest["arrival_s"] + rest["ttft_ms"] / 1e3
    last = (rest["arrival_s"] + rest["e2e_ms"] / 1e3).fillna(np.inf)
    return float((np.minimum(last, end) - np.maximum(first, begin)).clip(lower=0).sum() / (end - begin))


def _loads(run: Results, row: dict[str, Any]) -> dict[str, Any] | None:
    """Requests at the replica that it came to and at the others of its pool, by the last sample before it came."""
    own, where = _first_replica(row), [("workload", "==", row["workload"])]
    pools = rows_where(run, "replicas", where, ["replica", "pool"]).set_index("replica")["pool"].astype(str)
    before = [*where, ("time_s", "<=", row["arrival_s"])]
    series = rows_where(run, "serving_series", before, ["time_s", "replica", "waiting", "running"])
    if not len(series):
        return None
    last = series[(series["time_s"] == series["time_s"].max()) & (series["replica"].map(pools) == pools[own])]
    level = (last["waiting"] + last["running"]).to_numpy()
    mine = level[last["replica"].to_numpy() == own]
    known = {"sampled_s": float(last["time_s"].iloc[0]), "its_own": int(mine[0]), "replicas": len(level)}
    return known | {"least": int(level.min()), "most": int(level.max())}


def _cache_flows(run: Results, number: int) -> dict[str, Any] | None:
    """The flows that took its KV cache to another replica, and the one that arrived last."""
    flows = flows_of(run, [f"kv:{number}"])
    if not len(flows):
        return None
    last = flows.loc[flows["to_ps"].idxmax()]
    known = {"flows": len(flows), "bytes": int(flows["bytes"].sum()), "last": int(last["id"])}
    return known | {"from": str(last["src"]), "to": str(last["dst"]), "bottleneck": _plain(last["bottleneck"])}


def lines(known: dict[str, Any]) -> list[str]:
    """The facts as text."""
    came = f"{known['prompt_tokens']} prompt and {known['output_tokens']} output tokens"
    text = [f"request {known['id']}: {came}, class {known['class']}, {known['status']}"]
    if known["reason"] is not None:
        text.append(f"  {known['reason']}")
    if known["session"] is not None:
        text.append(f"  turn {known['turn']:.0f} of session {known['session']:.0f}")
    if known["replica"] is None:
        return [*text, f"  came after {time_text(known['arrival_s'] * 1e12)}, and to no replica"]
    at = f"replica {known['replica']}"
    if known["prefill_replica"] is not None:
        at = f"prefill on replica {known['prefill_replica']}, decode on {at}"
    text.append(f"  came after {time_text(known['arrival_s'] * 1e12)}; {at}; {_cached(known)}")
    text.append(f"  {_latencies(known)}")
    if known["good"] is not None:
        text.append("  met every target" if known["good"] else "  missed a target")
    if "parts" in known:
        text += ["", "Where its time went", *part_lines(known["parts"], known["total_ps"])]
    return [*text, "", *_company(known)]


def _cached(known: dict[str, Any]) -> str:
    found = known["cached_tokens"]
    return f"{found} of its prompt tokens were cached" if found else "nothing of its prompt was cached"


def _latencies(known: dict[str, Any]) -> str:
    names = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "itl_max_ms": "longest ITL", "e2e_ms": "E2E"}
    told = []
    for column, name in names.items():
        value = known["times"][column]
        if value is not None:
            rank = known["slower_than"].get(column)
            more = "" if rank is None else f" (slower than {share_text(rank)})"
            told.append(f"{name} {time_text(value * _PS_PER_MS)}{more}")
    return ", ".join(told) or f"no token of {known['output_tokens']} yet"


def _company(known: dict[str, Any]) -> list[str]:
    """Whom it met at its replica."""
    ahead, then = known["ahead"], known["replicas_then"]
    many = "1 request" if ahead["requests"] == 1 else f"{ahead['requests']} requests"
    verb = "was" if ahead["requests"] == 1 else "were"
    text = [f"When it came, {many} with {ahead['prompt_tokens']} prompt tokens {verb} ahead of it."]
    if then is not None and then["replicas"] > 1:
        text.append(
            f"Requests at the {then['replicas']} replicas of its pool, by the last sample before: {then['least']} to "
            f"{then['most']}, at its own {then['its_own']}."
        )
    if known["beside"] is not None:
        text.append(f"While it was decoded, {known['beside']:.1f} others were too, on average.")
    moved = known["cache_flows"]
    if moved is not None:
        worst = f", held up most at {moved['bottleneck']}" if moved["bottleneck"] else ""
        text.append(
            f"Its KV cache went as {moved['flows']} flows, {size_text(moved['bytes'])}; the last was "
            f"flow:{moved['last']}, {moved['from']} -> {moved['to']}{worst}."
        )
    if known["preempted"]:
        text.append(f"It was preempted {known['preempted']} times.")
    return text


# -- of a whole run


def overview(run: Results) -> dict[str, Any] | None:
    """Where the time of all finished requests went, and the slowest of them; None without requests."""
    if not run.rows("requests"):
        return None
    times = run.frame("request_times")
    total = max(int(times["total_ps"].sum()), 1) if len(times) else 1
    parts = []
    for part in PARTS:
        column = times[f"{part}_ps"].to_numpy(dtype=np.int64)
        if column.any():
            (high,) = percentiles(column, [0.99])
            parts.append(
                {"part": part, "ps": int(column.sum()), "share": int(column.sum()) / total}
                | {"mean_ps": float(column.mean()), "p99_ps": high}
            )
    slow = times.sort_values(["total_ps", "id"], ascending=[False, True], kind="stable").head(_SLOWEST)
    told = [
        {"id": int(row["id"]), "workload": int(row["workload"]), "total_ps": int(row["total_ps"])}
        | {"most": max(PARTS, key=lambda part: row[f"{part}_ps"])}
        for row in slow.to_dict("records")
    ]
    several = run.frame("requests", ["workload"])["workload"].nunique() > 1
    counts = run.frame("requests", ["status"])["status"].value_counts()
    return {
        "requests": run.rows("requests"),
        "several": several,
        "status": {str(name): int(number) for name, number in counts.items()},
        "parts": parts,
        "slow": told,
        "starved": [int(one) for one in _starved(run)],
    }


def _starved(run: Results) -> list[int]:
    table_of = run.frame("replicas", ["replica", "starved"])
    return table_of.loc[table_of["starved"] == 1, "replica"].tolist()


def overview_lines(known: dict[str, Any]) -> list[str]:
    """The facts of ``overview`` as text."""
    counts = ", ".join(f"{number} {name}" for name, number in known["status"].items())
    text = ["", f"Where the time of requests went ({counts})"]
    text += [
        f"  {'':<14} {'share':>6} {'mean':>9} {'p99':>9}",
        *(
            f"  {row['part']:<14} {share_text(row['share']):>6} {time_text(row['mean_ps']):>9} "
            f"{time_text(row['p99_ps']):>9}  {MEANING[row['part']]}"
            for row in known["parts"]
        ),
    ]
    if known["starved"]:
        text += ["", f"Hardly any requests came to replicas {', '.join(map(str, known['starved']))}."]
    rows = [[ident(row, several=known["several"]), time_text(row["total_ps"]), row["most"]] for row in known["slow"]]
    return [
        *text,
        "",
        "Slowest requests (`why RESULTS ID` tells more)",
        *table(["", "took", "most"], rows, remark=True),
    ]


def ident(row: dict[str, Any], *, several: bool) -> str:
    """What is typed to ask about it."""
    return short(f"request:{row['workload']}.{row['id']}" if several else f"request:{row['id']}", 28)
