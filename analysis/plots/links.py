"""Load of every link as a heat map: a panel a tier pair, its rows the sending nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from analysis.load import Results
from analysis.plots.style import elide, sheet, si_axis

_VARIANTS = 6  # side by side
_CELLS = 40  # along a side; more nodes are binned
_UNLIKE = 3  # the busiest link of one run so many times busier than another's: not the same stretch of time
_SPARSE = 0.3  # below this share of cells with a link, columns are the links of a node instead


@dataclass(frozen=True)
class Panel:
    """Largest load in each cell (NaN: no link), what rows and columns are; mean and largest of all its links."""

    values: NDArray[np.float64]
    rows: str
    columns: str
    row_names: list[str]
    column_names: list[str]
    mean: float
    most: float


def heat(runs: Mapping[str, Results]) -> Figure | None:
    """Rows of panels: the tier pairs; columns of panels: the variants. One colour scale. None if no link was in use."""
    shown = dict(list(runs.items())[:_VARIANTS])
    tables = {name: table for name, run in shown.items() if len(table := _classed(run))}
    most = [float(table["load"].max()) for table in tables.values()]
    if not any(most):
        return None
    groups = list(dict.fromkeys(group for table in tables.values() for group in table["group"]))
    timed = max(most) > _UNLIKE * min(most)
    if timed:  # shares of runs that last unlike long do not compare; the time that a link was busy does
        tables = {name: table.assign(load=table["busy_us"]) for name, table in tables.items()}
    panels = {(g, n): arrange(part) for n, t in tables.items() for g in groups if len(part := t[t["group"] == g])}
    top = max(panel.most for panel in panels.values())
    title = "Load of the links" + (f" (first {_VARIANTS} of {len(runs)} variants)" if len(runs) > _VARIANTS else "")
    wide = len(tables) > 1
    cell = (2.1 if wide else 4.4, max(1.3, min(2.1, 8.4 / len(groups))))
    left = max(0.8, 0.5 + 0.07 * max(len(name) for panel in panels.values() for name in short(panel.row_names)))
    drawn = sheet(len(groups), len(tables), cell, title, left=left, right=1.2, gap=(0.4, 0.75),
                  headed=True)  # fmt: skip
    image = None
    for row, group in enumerate(groups):
        for column, name in enumerate(tables):
            ax, panel = drawn.axes[row, column], panels.get((group, name))
            if panel is None:
                ax.set_visible(False)
                continue
            image = _draw(ax, panel, top)
            ax.set_title(_head(panel, group, name if wide and row == 0 else ""), fontsize=8.5)
            if column and panel.row_names == getattr(panels.get((group, next(iter(tables)))), "row_names", None):
                ax.tick_params(labelleft=False)
            if column == 0:
                ax.set_ylabel(f"{group}\n{panel.rows}" if wide else panel.rows, fontsize=8)
    width, height = drawn.figure.get_size_inches()
    place = (1 - 0.95 / width, 0.5 / height, 0.14 / width, 1 - 1.2 / height)
    bar = drawn.figure.colorbar(image, cax=drawn.figure.add_axes(place))
    bar.set_label(
        "time that the link was busy" if timed else "use of the link over the run (1: never idle)", fontsize=8
    )
    if timed:
        si_axis(bar.ax.yaxis, "s", 1e-6)
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    bar.ax.tick_params(labelsize=8)
    return drawn.figure


def _draw(ax: Axes, panel: Panel, top: float) -> AxesImage:
    image = ax.imshow(panel.values, cmap="viridis", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
    ax.grid(False)
    ax.set_facecolor("#EEEEEE")
    ax.tick_params(length=2, pad=2)
    _ticks(ax.xaxis, panel.column_names)
    _ticks(ax.yaxis, panel.row_names)
    ax.set_xlabel(panel.columns, fontsize=8, labelpad=1)
    return image


def _head(panel: Panel, group: str, name: str) -> str:
    """Variant or tier pair, and how uneven the links are."""
    uneven = f"max/mean {panel.most / panel.mean:.2f}" if panel.mean > 0 else "idle"
    return f"{elide(name) or group}: {uneven}"


def _classed(run: Results) -> pd.DataFrame:
    """Links between switches (all links where there are none) with their class and order in it."""
    table = run.frame("links", ["src", "dst", "utilisation", "bytes", "rate_gbps"])
    table["load"] = table["utilisation"]
    table["busy_us"] = table["bytes"] * 8 / table["rate_gbps"] / 1e3
    tiers = run.tier_of
    table["from"] = table["src"].map(tiers).fillna("host")
    table["to"] = table["dst"].map(tiers).fillna("host")
    table["group"] = table["from"] + "->" + table["to"]
    inner = (table["from"] != "host") & (table["to"] != "host")
    return table[inner] if inner.any() else table


def arrange(links: pd.DataFrame) -> Panel:
    """Sources down, destinations across; where few pairs have a link, the links of a source across; binned to 40."""
    rows, names_down = _numbered(links["src"])
    columns, names_across = _numbered(links["dst"])
    row_title, column_title = f"from {links['from'].iloc[0]}", f"to {links['to'].iloc[0]}"
    narrow = min(len(names_down), len(names_across)) == 1
    if narrow and len(links) > _CELLS:  # a long strip reads better folded
        width = int(np.ceil(np.sqrt(len(links))))
        long, title = (names_down, row_title) if len(names_down) > 1 else (names_across, column_title)
        position = rows + columns  # one of them is 0 everywhere
        rows, columns = position // width, position % width
        names_down, names_across = long[::width], [f"+{number}" for number in range(width)]
        row_title, column_title = f"{title}, {width} a row", "next ones"
    elif len(links) < _SPARSE * len(names_down) * len(names_across):
        columns = links.groupby("src").cumcount().to_numpy()
        names_across = [str(number) for number in range(columns.max() + 1)]
        column_title = f"n-th link {column_title}"
    rows, names_down, row_title = _binned(rows, names_down, row_title)
    columns, names_across, column_title = _binned(columns, names_across, column_title)
    values = np.full((len(names_down), len(names_across)), -np.inf)
    use = links["load"].to_numpy(dtype=float)
    np.maximum.at(values, (rows, columns), use)
    values[np.isneginf(values)] = np.nan
    return Panel(values, row_title, column_title, names_down, names_across, float(use.mean()), float(use.max()))


def _numbered(nodes: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """Index of each node among the sorted names, spine2 before spine10, and those names."""
    codes, found = pd.factorize(nodes)
    names = [str(name) for name in found]
    order = sorted(range(len(names)), key=lambda i: (_stem(names[i]), len(names[i]), names[i]))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[codes], [names[i] for i in order]


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _binned(index: NDArray[np.int64], names: list[str], title: str) -> tuple[NDArray[np.int64], list[str], str]:
    if len(names) <= _CELLS:
        return index, names, title
    each = -(-len(names) // _CELLS)
    return index // each, names[::each], f"{title} (largest of {each})"


def short(names: list[str]) -> list[str]:
    """The number at the end of each name; the whole name where it has none."""
    return [name[len(_stem(name)) :] or name for name in names]


def _ticks(axis: object, names: list[str]) -> None:
    """Numbers of the nodes, at most nine labels; whole names only where they carry no number."""
    step = max(1, -(-len(names) // 9))
    axis.set_ticks(range(0, len(names), step), short(names)[::step], fontsize=7)  # type: ignore[attr-defined]
