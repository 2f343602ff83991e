"""Why a layer with experts took its time: back from the GPU that left it last.

The tables hold what ran on each GPU and what the network carried. What something waited for is told by what ended last
of all that it can wait for: before the experts the tokens and weights that came to that GPU, before their results leave
the experts, before anything on a GPU the kernel that had its stream. The exchange of counts waits for all GPUs of the
group, so before tokens leave, the slowest gate of those GPUs counts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import pandas as pd

from analysis.load import Results
from analysis.rows import picoseconds, rows_where
from analysis.why.chain import Chain, chain_lines
from analysis.why.finished import flows_between, flows_of
from analysis.why.parts import part_lines
from analysis.why.text import table, time_text

_WHAT = ("dispatch", "combine", "weights", "shards")
_STAGES = ("dispatch", "expert", "combine", "weights", "planner")
_SLOWEST = 3  # GPUs that are listed


# what a kernel, or a flow that no other flow released, waits for: flows of its layer at its host (what computes before
# the gate: results of layers before), and kernels on it (a kernel: any, since the stream runs one after the other).
# The gate stands for the counts of the whole group
_FLOWS_BEFORE = {
    "experts": ("dispatch", "shards", "weights"),
    "receive": ("combine",),
    "combine": ("shards",),
    "shards": ("dispatch",),
    "weights": ("weights",),
}
_FIRST = ("attention", "dense", "gate")
_KERNELS_BEFORE = {
    "dispatch": ("send", "gate"),
    "weights": ("gate",),
    "combine": ("experts",),
    "shards": ("experts",),
}


class _Activities:
    """What ended when at each host: kernels and flows (rows with ``what``, ``from_ps``, ``to_ps``)."""

    def __init__(self, kernels: pd.DataFrame, flows: pd.DataFrame, name: str) -> None:
        self._name = name
        self._prefix = f"{name}."
        self.rows = [*kernels.itertuples(), *flows.itertuples()]
        self._by_id = {row.id: row for row in self.rows if not is_kernel(row)}
        # (host, whether kernel, what, whether of this layer) -> rows in order of their ends
        self._ended: dict[tuple[str, bool, str, bool], list[Any]] = {}
        for row in sorted(self.rows, key=lambda row: row.to_ps):
            for host in {row.host} if is_kernel(row) else {row.src, row.dst}:
                self._ended.setdefault((host, is_kernel(row), row.what, self.own(row)), []).append(row)
        self._group = self._groups()
        self._left = self._departures()

    def own(self, row: Any) -> bool:
        """Whether it served this layer."""
        return bool(row.job == self._name or row.job.startswith(self._prefix))

    def _groups(self) -> dict[str, str]:
        """Host -> one host that stands for all that exchange with it."""
        over: dict[str, str] = {}

        def top(host: str) -> str:
            while over.setdefault(host, host) != host:
                host = over[host]
            return host

        for row in filter(self.own, self._by_id.values()):
            a, b = top(row.src), top(row.dst)
            over[max(a, b)] = min(a, b)
        return {host: top(host) for host in list(over)}

    def _departures(self) -> dict[str, list[int]]:
        """Host -> when the tokens of each micro-batch left it."""
        starts: dict[str, set[int]] = {}
        for row in filter(self.own, self._by_id.values()):
            if row.released_by < 0 and row.what == "dispatch":
                starts.setdefault(row.src, set()).add(int(row.from_ps))
        return {host: sorted(found) for host, found in starts.items()}

    def before(self, row: Any, until: int) -> Any:
        """What ended last of that which ``row`` waited for up to ``until``, or None."""
        if not is_kernel(row) and row.released_by in self._by_id:
            return self._by_id[row.released_by]
        host = row.host if is_kernel(row) else row.src
        found = [
            rows[place - 1]
            for (at, kernel, what, own), rows in self._ended.items()
            if at == host and (_waits_for_kernel(row, what, own) if kernel else _waits_for_flow(row, what, own))
            if (place := bisect_right(rows, until, key=lambda one: one.to_ps))
        ]
        last = max(found, key=lambda one: (one.to_ps, is_kernel(one)), default=None)
        if last is not None and last.what == "gate" and counts_come_before(row):
            return self._slowest_gate(last, bisect_left(self._left.get(host, []), row.from_ps), until)
        return last

    def _slowest_gate(self, last: Any, turn: int, until: int) -> Any:
        """The gate that ended last of those of micro-batch ``turn`` in the group: the counts had to wait for it.

        Micro-batches come in the same order everywhere. ``last``: the gate to fall back on.
        """
        group = self._group.get(last.host)
        gates = [
            rows[turn]
            for (host, kernel, what, own), rows in self._ended.items()
            if kernel and own and what == "gate" and self._group.get(host) == group and turn < len(rows)
        ]
        return max((gate for gate in gates if gate.to_ps <= until), key=lambda row: (row.to_ps, -row.gpu), default=last)


def is_kernel(row: Any) -> bool:
    return hasattr(row, "gpu")


def counts_come_before(row: Any) -> bool:
    return row.what == "send" if is_kernel(row) else row.what in ("dispatch", "weights")


def _waits_for_kernel(row: Any, what: str, own: bool) -> bool:
    return is_kernel(row) or (own and what in _KERNELS_BEFORE.get(row.what, ()))


def _waits_for_flow(row: Any, what: str, own: bool) -> bool:
    if is_kernel(row) and row.what in _FIRST:
        return not own and what == "combine"
    return own and what in _FLOWS_BEFORE.get(row.what, ())


def facts(run: Results, step: int, layer: int) -> dict[str, Any]:
    name = f"moe:{step}.{layer}"
    found = rows_where(run, "moe_steps", [("step", "==", step), ("layer", "==", layer)])
    # several workloads may have a step and layer of that number: the slowest
    (row,) = found.sort_values("time_us", ascending=False, na_position="last").head(1).to_dict("records")
    took = int(picoseconds(row["time_us"]))
    known: dict[str, Any] = {"kind": "moe", "step": step, "layer": layer}
    known |= {f"{stage}_ps": int(picoseconds(row[f"{stage}_us"])) for stage in _STAGES}
    known |= {"max_over_mean": row["max_over_mean"]}
    if took < 0:
        return {**known, "status": "unfinished"}
    mine = _kernels(run, [("job", "==", name)])
    flows = flows_of(run, [f"{name}.{what}" for what in _WHAT])
    ends = [int(table["to_ps"].max()) for table in (flows, mine) if len(table)]
    if not ends:
        return {**known, "status": "finished", "total_ps": took, "start_ps": 0, "parts": [], "chain": [], "slowest": []}
    end = max(ends)
    start = end - took
    # other layers and jobs may have had the stream, or have had to end first
    near = _kernels(run, [("start_us", "<=", end / 1e6), ("start_us", ">=", (start - took) / 1e6)])
    flows = flows_between(run, start - took, end)
    flows = flows[flows["job"].str.startswith("moe:")]
    flows = flows.assign(what=flows["job"].str.rpartition(".")[2])
    chain = _walk(_Activities(near, flows, name), start, end)
    return {
        **known, "status": "finished", "start_ps": start, "total_ps": took, **chain.facts(start),
        "slowest": _slowest(mine),
    }  # fmt: skip


def _kernels(run: Results, filters: list[tuple[str, str, Any]]) -> pd.DataFrame:
    rows = rows_where(run, "kernels", filters)
    hosts = {gpu: run.host_name(gpu) for gpu in rows["gpu"].unique()}
    start, duration = picoseconds(rows["start_us"]), picoseconds(rows["duration_us"])
    texts = {name: rows[name].astype(str) for name in ("kernel", "job")}
    return rows.assign(
        from_ps=start, to_ps=start + duration, host=rows["gpu"].map(hosts), what=texts["kernel"], job=texts["job"]
    )


def _walk(seen: _Activities, start: int, end: int) -> Chain:
    """Back from whatever ended at ``end``."""
    chain = Chain(end)
    row = max((one for one in seen.rows if one.to_ps == end and seen.own(one)), key=is_kernel)
    while True:
        host = row.host if is_kernel(row) else row.src
        where = host if is_kernel(row) else f"{row.src} -> {row.dst}"
        if not seen.own(row):
            chain.before(
                "other", max(int(row.from_ps), start), where, f"{row.what} of {row.job.removesuffix(f'.{row.what}')}"
            )
        elif is_kernel(row):
            chain.before(row.what, max(int(row.from_ps), start), where)
        else:
            chain.flow_before(row, where)
        earlier = seen.before(row, chain.reached) if chain.reached > start else None
        if earlier is None or earlier.to_ps <= start:
            chain.before("join", start, host)
            return chain
        gap = "idle" if is_kernel(row) else "launch"
        gap = "plan" if earlier.what == "gate" and counts_come_before(row) else gap
        chain.before(gap, int(earlier.to_ps), host)
        row = earlier


def _slowest(kernels: pd.DataFrame) -> list[dict[str, Any]]:
    """The GPUs that computed longest for this layer, beside the median."""
    if not len(kernels):
        return []
    took = (kernels["to_ps"] - kernels["from_ps"]).groupby(kernels["host"]).sum()
    experts = kernels[kernels["kernel"] == "experts"]
    expert = (experts["to_ps"] - experts["from_ps"]).groupby(experts["host"]).sum()
    first = took.sort_values(ascending=False, kind="stable").head(_SLOWEST)
    return [
        {
            "host": str(host),
            "compute_ps": int(ps),
            "experts_ps": int(expert.get(host, 0)),
            "over_median": ps / took.median(),
        }
        for host, ps in first.items()
    ]


def lines(known: dict[str, Any]) -> list[str]:
    """The facts as text."""
    text = [f"moe step {known['step']}, layer {known['layer']}"]
    stages = ", ".join(f"{stage} {time_text(known[f'{stage}_ps'])}" for stage in _STAGES if known[f"{stage}_ps"])
    text += [f"  {stages}", f"  the busiest GPU got {known['max_over_mean']:.2f} times the mean of its group's tokens"]
    if known["status"] != "finished":
        return [*text, "  unfinished; only finished layers are split"]
    text.insert(1, f"  took {time_text(known['total_ps'])} from {time_text(known['start_ps'])} on")
    if not known["chain"]:
        return [*text, "  nothing of it is in the tables: its GPUs computed and sent nothing"]
    text += ["", "Where its time went, along its critical path", *part_lines(known["parts"], known["total_ps"])]
    text += ["", "The critical path (from the layer's start)", *chain_lines(known["chain"])]
    rows = [
        [gpu["host"], time_text(gpu["compute_ps"]), time_text(gpu["experts_ps"]), f"{gpu['over_median']:.2f}x"]
        for gpu in known["slowest"]
    ]
    return [*text, "", "GPUs that computed longest for it", *table(["", "compute", "experts", "over the median"], rows)]
