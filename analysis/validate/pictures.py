"""Pictures of a validation: bandwidth and error by size; quantiles, distributions and the course over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from analysis.plots.style import colour, line_style, log_if_wide, save, settings, sheet, si_axis
from analysis.validate.kinds import HELD_OUT, shown
from analysis.validate.verdict import Validation

_MEASURED = "#000000"
_WORDS = {"time_us": "time (us)", "fct_us": "flow completion time (us)", "slowdown": "slowdown"}
_WORDS |= {"ttft_ms": "TTFT (ms)", "tpot_ms": "TPOT (ms)", "e2e_ms": "E2E (ms)"}


def draw(validation: Validation, folder: Path) -> list[Path]:
    """The pictures that the kind has data for, in ``folder``."""
    kind = validation.measured.kind
    figures: dict[str, Figure] = {}
    if kind.group is not None:
        figures["bandwidth"] = bandwidth(validation)
    else:
        figures["quantiles"] = quantiles(validation)
        figures["distribution"] = distribution(validation)
        if kind.start in validation.measured.frame:
            figures["over_time"] = over_time(validation)
    if validation.measured.matched:
        figures["errors"] = errors(validation)
    return [save(figure, folder / f"validation_{name}.png") for name, figure in figures.items()]


def bandwidth(validation: Validation) -> Figure:
    """bytes / time against size, a panel an operation: rings measured (full where held out), a line a case."""
    ops = list(dict.fromkeys(op for one in validation.rows.values() for op in one["op"]))
    labels = ["measured", *(["held out"] if validation.part == "held out" else []), *validation.rows]
    page = sheet(1, len(ops), (3.4, 2.7), "Collectives: measured and simulated", labels, headed=True, gap=(0.6, 0.5))
    handles: dict[str, Any] = {}
    with settings():
        for axis, op in zip(page.axes[0], ops, strict=True):
            for number, (case, rows) in enumerate(validation.rows.items()):
                mine = rows[rows["op"] == op].sort_values("bytes")
                if not len(mine):
                    continue
                for held, label in ((False, "measured"), (True, "held out")):
                    part = mine[mine[HELD_OUT] == held]
                    face = _MEASURED if held else "none"
                    (ring,) = axis.plot(
                        part["bytes"], _gbytes(part, ""), "o", mfc=face, color=_MEASURED, ms=6, label=label
                    )
                    if len(part):
                        handles.setdefault(label, ring)
                ours = mine.groupby("bytes", as_index=False).first()
                (line,) = axis.plot(ours["bytes"], _gbytes(ours, "sim_"), marker=".", label=case, **line_style(number))
                handles.setdefault(case, line)
            _by_size(axis)
            axis.set_ylim(bottom=0)
            axis.set_title(op)
            axis.set_xlabel("size")
        page.axes[0][0].set_ylabel("size / time (GB/s)")
    page.legend([handles[label] for label in labels if label in handles])
    return page.figure


def _by_size(axis: Any, unit: str = "B") -> None:
    """Sizes on a logarithmic axis: a label a decade, more where there are fewer than two."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    si_axis(axis.xaxis, unit)
    if high / low > 30:
        axis.xaxis.set_major_locator(LogLocator())


def _gbytes(rows: pd.DataFrame, prefix: str) -> NDArray[np.float64]:
    """bytes / time; from the bandwidth columns where there is no time."""
    found: NDArray[np.float64]
    if f"{prefix}time_us" in rows:
        found = (rows["bytes"] / rows[f"{prefix}time_us"] / 1e3).to_numpy(dtype=float)
    elif f"{prefix}algbw_gbytes" in rows:
        found = rows[f"{prefix}algbw_gbytes"].to_numpy(dtype=float)
    else:
        n = rows["ranks"].to_numpy(dtype=float)
        factor = rows["op"].map({"all_reduce": 2.0, "broadcast": 0.0}).fillna(1.0) * (n - 1) / n
        found = (rows[f"{prefix}busbw_gbytes"] / factor.where(factor > 0, 1.0)).to_numpy(dtype=float)
    return found


def errors(validation: Validation) -> Figure:
    """Signed error of each measured row against its size, a panel a metric; the narrowest band as dashes."""
    metrics = validation.measured.metrics
    page = sheet(1, len(metrics), (4.2, 2.6), "Simulated over measured, less 1", list(validation.rows),
                 headed=True, gap=(0.7, 0.5))  # fmt: skip
    with settings():
        for axis, metric in zip(page.axes[0], metrics, strict=True):
            axis.axhline(0, color="#999999", lw=1)
            for number, (case, rows) in enumerate(validation.rows.items()):
                error = 100 * rows[f"error_{metric}"].to_numpy(dtype=float)
                axis.plot(rows[validation.measured.kind.size], error, "os^Dv"[number % 5], ms=5, mfc="none", mew=1.3,
                          color=colour(number), label=case)  # fmt: skip
            stated = [b for b in validation.measured.bands if b.metric in (None, metric)]
            limits = [b.limit for b in stated if b.statistic in ("median", "worst")]
            for limit in limits[:1]:
                for side in (-100 * limit, 100 * limit):
                    axis.axhline(side, color="#777777", lw=1, ls=(0, (4, 3)))
            _by_size(axis, validation.measured.kind.size_unit)
            axis.set_title(shown(metric))
            axis.set_xlabel("size" if validation.measured.kind.size_unit else "prompt tokens")
        page.axes[0][0].set_ylabel("error (%)")
    page.legend()
    return page.figure


def quantiles(validation: Validation) -> Figure:
    """Quantile against quantile, a panel a metric: on the diagonal both are alike."""
    metrics = validation.measured.metrics
    page = sheet(1, len(metrics), (3.2, 3.2), "Quantiles: simulated against measured", list(validation.simulated),
                 headed=True, gap=(0.75, 0.5))  # fmt: skip
    with settings():
        for axis, metric in zip(page.axes[0], metrics, strict=True):
            there = validation.measured.frame[metric].dropna().to_numpy(dtype=float)
            ends = [there.min(), there.max()]
            for number, (case, ours) in enumerate(validation.simulated.items()):
                here = ours[metric].dropna().to_numpy(dtype=float)
                if not len(here):
                    continue
                at = np.linspace(0, 1, min(len(there), len(here), 400))
                style = line_style(number) | {"linestyle": ""}
                axis.plot(np.quantile(there, at), np.quantile(here, at), ".", ms=4, label=case, **style)
                ends += [here.min(), here.max()]
            axis.plot([min(ends), max(ends)], [min(ends), max(ends)], color="#999999", lw=1, zorder=0)
            for side in (axis.xaxis, axis.yaxis):
                log_if_wide(side, ends)
            axis.set_title(_WORDS.get(metric, metric))
            axis.set_xlabel("measured")
        page.axes[0][0].set_ylabel("simulated")
    page.legend()
    return page.figure


def distribution(validation: Validation) -> Figure:
    """Cumulative share, a panel a metric: measured in black."""
    metrics = validation.measured.metrics
    page = sheet(1, len(metrics), (3.6, 2.6), "Distributions", ["measured", *validation.simulated], gap=(0.6, 0.5))
    with settings():
        for axis, metric in zip(page.axes[0], metrics, strict=True):
            there = np.sort(validation.measured.frame[metric].dropna().to_numpy(dtype=float))
            axis.plot(
                there, np.arange(1, len(there) + 1) / len(there), color=_MEASURED, lw=2.2, alpha=0.75, label="measured"
            )
            every = [there]
            for number, (case, ours) in enumerate(validation.simulated.items()):
                here = np.sort(ours[metric].dropna().to_numpy(dtype=float))
                axis.plot(here, np.arange(1, len(here) + 1) / max(len(here), 1), label=case, **line_style(number))
                every.append(here)
            log_if_wide(axis.xaxis, np.concatenate(every))
            axis.set_xlabel(_WORDS.get(metric, metric))
            axis.set_ylim(0, 1.02)
        page.axes[0][0].set_ylabel(f"share of {validation.measured.kind.name}")
    page.legend()
    return page.figure


def over_time(validation: Validation, slices: int = 60) -> Figure:
    """Above: rows that started in each slice of time; below: sizes of those that have ended, both from the first start
    on."""
    kind = validation.measured.kind
    start, lasts = kind.start or "", kind.lasts or ""
    what = "payload" if kind.size_unit else "prompt tokens"
    frames = {"measured": validation.measured.frame} | validation.simulated
    title = f"Over time: {kind.name} that start, {what} of those that have ended"
    page = sheet(2, 1, (6.4, 1.7), title, list(frames), sharex="col", gap=(0.4, 0.3), left=1.0)
    begun = {name: (one[start].to_numpy(dtype=float) - one[start].min()) / kind.scale(start)
             for name, one in frames.items()}  # fmt: skip
    edges = np.linspace(0, max(float(times.max()) for times in begun.values()) * (1 + 1e-9) + 1e-9, slices + 1)
    with settings():
        for number, (name, one) in enumerate(frames.items()):
            style = {"color": _MEASURED, "alpha": 0.75} if name == "measured" else line_style(number - 1)
            width = 2.2 if name == "measured" else 1.6
            starts, _ = np.histogram(begun[name], edges)
            page.axes[0, 0].stairs(starts, edges, label=name, linewidth=width, **style)
            if lasts in one:
                ended = begun[name] + one[lasts].to_numpy(dtype=float) / kind.scale(lasts)
                order = np.argsort(ended)[: int(np.isfinite(ended).sum())]
                sent = np.cumsum(one[kind.size].to_numpy(dtype=float)[order])
                page.axes[1, 0].step(ended[order], sent, where="post", linewidth=width, **style)
        page.axes[0, 0].set_ylabel(f"{kind.name} started")
        si_axis(page.axes[1, 0].yaxis, kind.size_unit)
        page.axes[1, 0].set_ylabel(f"{what} ended")
        page.axes[1, 0].set_xlabel("time from the first start")
        si_axis(page.axes[1, 0].xaxis, "s", 1e-6)
    page.legend()
    return page.figure
