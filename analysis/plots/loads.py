"""Latency and congestion against load, a line a policy, from runs that differ in the load of their arrivals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.load import Results
from analysis.plots.curves import LINE, MARKS, QUEUE, SLOWDOWN, USE, Against, draw
from models.congestion import CONGESTION, congestion

_DEFAULT = "follow_path"  # says nothing in a name


def curves(runs: Sequence[Results]) -> Figure | None:
    """Four panels: slowdown, queue, marked and dropped share, link use. None unless two loads are there."""
    loaded = [run for run in runs if run.manifest.get("loads") and run.rows("flows")]
    if len({load_of(run) for run in loaded}) < 2:
        return None
    rows = [{LINE: name, **_figures(run)} for run, name in zip(loaded, policy_names(loaded), strict=True)]
    against = Against("load", "load (share of capacity)")
    return draw(pd.DataFrame(rows), against, (SLOWDOWN, QUEUE, MARKS, USE), "Latency and congestion against load")


def _figures(run: Results) -> dict[str, Any]:
    """A row of what is drawn, named as in the index of a sweep."""
    row: dict[str, Any] = {"load": load_of(run), "status": run.status}
    row |= {f"flows.slowdown.{key}": run.number("flows", "slowdown", key) for key in ("p50", "p99")}
    links, series = (run.frame(name, columns) if run.rows(name) else None for name, columns in CONGESTION.items())
    return row | {f"congestion.{key}": value for key, value in congestion(links, series, run.manifest).items()}


def policy_names(runs: Sequence[Results]) -> list[str]:
    """A short name a run: of its policies only what differs; of parameters, what differs between runs of a policy."""
    flat = [_flatten(run) for run in runs]
    keys = list(dict.fromkeys(key for facts in flat for key in facts))
    differ = [key for key in keys if _differs(flat, key)]
    kinds = [key for key in differ if key.endswith(".kind") or key == "engine"]
    kinds.sort(key=lambda key: key != "path.kind")
    names = []
    for facts in flat:
        words = [facts[key] for key in kinds if facts.get(key, _DEFAULT) != _DEFAULT]
        words += [f"{key.split('.', 1)[1]}={facts[key]}" for key in differ if key not in kinds and key in facts]
        names.append(", ".join(words))
    shared = ", ".join(dict.fromkeys(facts[key] for facts in flat[:1] for key in facts if key.startswith("path.kind")))
    return [name or shared or "all runs" for name in names]


def _differs(flat: Sequence[dict[str, str]], key: str) -> bool:
    """Whether runs differ in it; a parameter only counts between runs that have the same policy there."""
    level = f"{key.split('.', 1)[0]}.kind"
    groups: dict[str, set[str | None]] = {}
    for facts in flat:
        groups.setdefault("" if key == level else facts.get(level, ""), set()).add(facts.get(key))
    return any(len(values) > 1 for values in groups.values())


def _flatten(run: Results) -> dict[str, str]:
    facts = {"engine": str(run.manifest.get("engine", ""))}
    for level, policy in run.manifest.get("policies", {}).items():
        for key, value in (policy if isinstance(policy, dict) else {"kind": policy}).items():
            facts[f"{level}.{key}"] = str(value)
    return facts


def load_of(run: Results) -> float:
    """The largest, where several workloads have one."""
    return float(max(run.manifest["loads"]))
