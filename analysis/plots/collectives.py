"""Bus bandwidth of the collectives, a bar a variant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from analysis.load import Results
from analysis.plots.style import colour, line_style, log_if_wide, sheet, si, si_axis

_MOST_BARS = 24  # more than that, of several sizes, become lines against size


def bandwidth(runs: Mapping[str, Results]) -> Figure | None:
    """Bars for few operations, else busbw against size, a line an operation and variant."""
    found = {}
    for name, run in runs.items():
        frame = run.frame("collectives").dropna(subset=["time_us"])
        for (op, size, ranks), part in frame.groupby(["op", "bytes", "ranks"], sort=False):
            values = part["busbw_gbytes"].to_numpy(dtype=float)
            found[op, int(ranks), int(size), name] = (values, float(part["time_us"].mean()))
    if len(found) < 2:  # one bar compares nothing
        return None
    sizes = {key[2] for key in found}
    return _lines(found) if len(found) > _MOST_BARS and len(sizes) > 2 else _bars(found, list(runs))


def _bars(found: dict[tuple[str, int, int, str], tuple[np.ndarray, float]], names: list[str]) -> Figure:
    groups = list(dict.fromkeys(key[:3] for key in found))
    labels = names if len(names) > 1 else []
    title = "Collectives: bus bandwidth (and mean time)"
    drawn = sheet(1, 1, (5.6, 0.3 * len(found) + 0.18 * len(groups) + 0.1), title, labels, left=1.2)
    axes = drawn.axes[0, 0]
    place, middle, shown = 0.0, [], set()
    for group in groups:
        start = place
        for name in names:
            if (*group, name) not in found:
                continue
            values, time = found[*group, name]
            label = None if name in shown else name
            shown.add(name)
            axes.barh(place, values.mean(), height=0.8, color=colour(names.index(name)), label=label)
            spread = ""
            if len(values) > 1:
                low, high = values.mean() - values.min(), values.max() - values.mean()
                axes.errorbar(values.mean(), place, xerr=[[low], [high]], color="black", lw=1, capsize=2)
                spread = f", {len(values)} times"
            axes.annotate(
                f"{values.mean():.3g} GB/s ({si(time * 1e-6, 's')}{spread})",
                (values.max(), place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            place += 1
        middle.append((start + place - 1) / 2)
        place += 0.6
    axes.set_yticks(middle, [f"{op}\n{si(size, 'B')}\n{ranks} ranks" for op, ranks, size in groups])
    axes.set_ylim(place - 0.9, -0.7)
    axes.set_xlim(0, max(values.max() for values, _ in found.values()) * 1.42)
    axes.set_xlabel("bus bandwidth (GB/s)")
    axes.grid(axis="y", visible=False)
    if labels:
        drawn.legend()
    return drawn.figure


def _lines(found: dict[tuple[str, int, int, str], tuple[np.ndarray, float]]) -> Figure:
    lines: dict[tuple[str, int, str], list[tuple[int, float]]] = {}
    for (op, ranks, size, name), (values, _) in found.items():
        lines.setdefault((op, ranks, name), []).append((size, float(values.mean())))
    several = len({key[:2] for key in found}) > 1
    labels = [f"{name}: {op}, {ranks} ranks" if several else name for op, ranks, name in lines]
    drawn = sheet(1, 1, (5.6, 3.4), "Collectives: bus bandwidth against size", labels)
    axes = drawn.axes[0, 0]
    for index, (label, points) in enumerate(zip(labels, lines.values(), strict=True)):
        points.sort()
        axes.plot(*zip(*points, strict=True), marker="o", ms=4, label=label, **line_style(index))
    log_if_wide(axes.xaxis, [key[2] for key in found], 8)
    si_axis(axes.xaxis, "B")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="size", ylabel="bus bandwidth (GB/s)")
    drawn.legend()
    return drawn.figure
