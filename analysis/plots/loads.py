"""Latency and congestion against load, a line a policy, from runs that differ in the load of their arrivals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis.load import Results
from analysis.plots.style import MARKERS, TEXT, colour, log_if_wide, settings, sheet, si_axis

_DASH = (0, (4, 2))
_DEFAULT = "follow_path"  # says nothing in a name


def curves(runs: Sequence[Results]) -> Figure | None:
    """Four panels: slowdown, queue, marked and dropped share, link use. None unless two loads are there."""
    loaded = [run for run in runs if run.manifest.get("loads") and run.rows("flows")]
    if len({_load(run) for run in loaded}) < 2:
        return None
    names = policy_names(loaded)
    sampled = all(run.rows("series") for run in loaded)
    points: dict[str, dict[float, list[tuple[dict[str, float], bool]]]] = {}
    for run, name in zip(loaded, names, strict=True):
        figures = (measure(run, sampled), run.status == "saturated")
        points.setdefault(name, {}).setdefault(_load(run), []).append(figures)
    full = ["saturated: no steady state"] if any(run.status == "saturated" for run in loaded) else []
    drawn = sheet(2, 2, (3.7, 2.4), "Latency and congestion against load", [*points, *full], left=0.8, headed=True,
                  gap=(0.75, 0.45), sharex=True)  # fmt: skip
    axes = drawn.axes
    queue = "p99 over time of the longest queue" if sampled else "p99 over links of the longest queue"
    panels = (
        (axes[0, 0], "slowdown", (("p99", "-"), ("p50", _DASH)), "", "Slowdown"),
        (axes[0, 1], "queue", (("queue", "-"),), "B", f"Queue: {queue}"),
        (axes[1, 0], "share", (("marked", "-"), ("dropped", _DASH)), "", "Packets marked and dropped"),
        (axes[1, 1], "use", (("most", "-"), ("mean", _DASH)), "", "Use of the links between switches"),
    )
    for ax, kind, lines, unit, title in panels:
        for index, (_, at) in enumerate(points.items()):
            for key, style in lines:
                _curve(ax, at, key, style, index)
        _dress(ax, kind, unit, title, lines)
    for ax in axes[1]:
        ax.set_xlabel("load (share of capacity)")
    handles: list[Any] = [
        Line2D([], [], color=colour(i), marker=MARKERS[i % 8], ms=5, label=name) for i, name in enumerate(points)
    ]
    handles += [Line2D([], [], color=TEXT, ls="", marker="o", mfc="white", ms=8, label=label) for label in full]
    drawn.legend(handles)
    return drawn.figure


def _curve(ax: Any, at: dict[float, list[tuple[dict[str, float], bool]]], key: str, style: Any, index: int) -> None:
    """Mean over the runs (seeds) of each load, their range as a bar; saturated points are hollow and ringed."""
    loads = sorted(at)
    values = [np.array([found[key] for found, _ in at[load]]) for load in loads]
    middle = np.array([v[np.isfinite(v)].mean() if np.isfinite(v).any() else np.nan for v in values])
    full = np.array([any(flag for _, flag in at[load]) for load in loads])
    ax.plot(loads, middle, ls=style, color=colour(index), marker=MARKERS[index % 8], ms=4)
    for load, several in zip(loads, values, strict=True):
        if len(several) > 1:
            ax.vlines(load, several.min(), several.max(), color=colour(index), lw=1)
    ax.plot(np.array(loads)[full], middle[full], ls="", marker="o", ms=8, mfc="white", mec=colour(index), mew=1.5)


def _dress(ax: Any, kind: str, unit: str, title: str, lines: Sequence[tuple[str, Any]]) -> None:
    values = np.concatenate([line.get_ydata() for line in ax.lines])
    if kind in ("slowdown", "queue"):
        log_if_wide(ax.yaxis, values)
    if ax.get_yscale() != "log":
        ax.set_ylim(bottom=0)
    if kind == "use":
        ax.set_ylim(0, 1.05)
    elif kind == "share":
        ax.set_ylim(0, max(1e-4, np.nanmax(values, initial=0)) * 1.05)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.3g}%"))
    else:
        si_axis(ax.yaxis, unit)
    ax.set_title(title, fontsize=9, loc="left")
    if len(lines) > 1:
        words = {"most": "max"}
        handles = [Line2D([], [], color=TEXT, ls=style, lw=1.2, label=words.get(key, key)) for key, style in lines]
        with settings():  # beside the title, where it hides no line
            place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2, "borderpad": 0.1}
            ax.legend(handles=handles, ncols=2, fontsize=8, columnspacing=1, **place)


def measure(run: Results, sampled: bool) -> dict[str, float]:
    """The figures of one run. Queues are those of switches: a host's own queue is only its backlog."""
    links = run.frame("links", ["src", "dst", "packets", "utilisation", "queue_max_bytes", "marked", "dropped"])
    tiers = run.tier_of
    at_switch = links["src"].isin(list(tiers)) if tiers else np.ones(len(links), dtype=bool)
    inner = at_switch & links["dst"].isin(list(tiers))
    use = links.loc[inner if inner.any() else at_switch, "utilisation"]
    if sampled:
        series = run.frame("series", ["time_us", "group", "queue_max_bytes"])
        switch = ~series["group"].str.startswith("host->") if tiers else np.ones(len(series), dtype=bool)
        queues = series[switch].groupby("time_us")["queue_max_bytes"].max()
    else:
        queues = links.loc[at_switch, "queue_max_bytes"]
    packets = int(links["packets"].sum())
    found = {key: run.number("flows", "slowdown", key) for key in ("p50", "p99")}
    return {
        **{key: np.nan if value is None else value for key, value in found.items()},
        "queue": float(np.quantile(queues, 0.99)) if len(queues) else np.nan,
        "marked": float(links["marked"].sum()) / packets if packets else np.nan,
        "dropped": float(links["dropped"].sum()) / packets if packets else np.nan,
        "most": float(use.max()) if len(use) else np.nan,
        "mean": float(use.mean()) if len(use) else np.nan,
    }


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


def _load(run: Results) -> float:
    return float(max(run.manifest["loads"]))
