"""What all plots share: colours that colour-blind readers can tell apart, SI numbers, figures without pyplot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito (2008), yellow left out (too pale for lines) and grey added
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#777777")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
MARKERS = "osD^vPXp"
TEXT = "#333333"
_SETTINGS: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": TEXT,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def line_style(index: int) -> dict[str, Any]:
    """Colour and dash, so that lines that lie on each other are both seen: distinct for 32 lines."""
    return {"color": colour(index), "linestyle": DASHES[(index + index // len(COLOURS)) % len(DASHES)]}


def settings() -> Any:
    """A context with our settings: figures and axes made inside it look alike."""
    return rc_context(_SETTINGS)


@dataclass(frozen=True)
class Sheet:
    """A figure whose margins are set in inches: nothing can overlap, and no layout engine has to try."""

    figure: Figure
    axes: Any  # [rows, columns] of Axes
    left: float  # of the title and the legend, share of the width
    under_title: float  # share of the height
    columns: int  # of the legend

    def legend(self, handles: Sequence[Any] | None = None) -> None:
        """Under the title; of the first axes' lines unless ``handles`` are given."""
        with settings():
            found = list(handles) if handles is not None else self.axes[0, 0].get_legend_handles_labels()[0]
            place = (self.left, self.under_title)
            self.figure.legend(
                handles=found, loc="upper left", bbox_to_anchor=place, ncols=self.columns, borderaxespad=0, borderpad=0
            )


def sheet(
    rows: int,
    columns: int,
    cell: tuple[float, float],
    title: str,
    labels: Sequence[str] = (),
    *,
    left: float = 0.75,
    right: float = 0.25,
    bottom: float = 0.5,
    gap: tuple[float, float] = (0.25, 0.45),
    headed: bool = False,
    **how: Any,
) -> Sheet:
    """Rows x columns of axes of ``cell`` inches, room for a legend of ``labels``; ``headed``: panels have titles."""
    width = max(left + right + columns * cell[0] + (columns - 1) * gap[0], 5.0)
    each = [0.55 + 0.075 * len(label) for label in labels]  # inches of an entry, about
    across = len(labels) or 1
    if sum(each) > width - 0.3:
        across = max(1, min(across, int((width - 0.3) / max(each))))
    lines = -(-len(labels) // across)
    top = 0.42 + 0.2 * lines + (0.28 if headed else 0.08)
    height = bottom + rows * cell[1] + (rows - 1) * gap[1] + top
    edges = {"left": left / width, "right": 1 - right / width, "bottom": bottom / height, "top": 1 - top / height}
    with settings():
        figure = Figure(figsize=(width, height), dpi=110)
        spaces = {"wspace": gap[0] / cell[0], "hspace": gap[1] / cell[1]}
        axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=edges | spaces, **how)
        start = 0.15 / width
        figure.text(start, 1 - 0.1 / height, title, va="top", fontsize=10.5, weight="bold")
    return Sheet(figure, axes, start, 1 - 0.37 / height, across)


def save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with settings():
        canvas = FigureCanvasAgg(figure)
        # fast compression: encoding would else take longer than drawing
        canvas.print_png(str(path), pil_kwargs={"compress_level": 3})
    return path


def elide(name: str, most: int = 16) -> str:
    """A long name loses its middle."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"


def si(value: float, unit: str = "", digits: int = 3) -> str:
    """1500 B -> '1.5 kB', 2.5e-5 s -> '25 µs'; three digits that matter."""
    if value == 0 or not np.isfinite(value):
        return f"0 {unit}".strip()
    rounds_up_to = abs(value) / (1 - 0.5 * 10**-digits)
    factor, prefix = next((known for known in _PREFIXES if rounds_up_to >= known[0]), _PREFIXES[-1])
    number = float(f"{value / factor:.{digits}g}")
    return f"{number:g} {prefix}{unit}".strip()


def si_axis(axis: Any, unit: str, factor: float = 1.0) -> None:
    """Ticks of ``axis`` with SI prefixes; data times ``factor`` is in ``unit``."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: si(value * factor, unit)))
    if axis.get_scale() == "log":
        low, high = axis.get_view_interval()
        if 0 < low < high < 1000 * low:  # one label a decade would be too few
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1, 3)))
        axis.set_minor_formatter(NullFormatter())


def log_if_wide(axis: Any, values: Sequence[float] | np.ndarray, ratio: float = 20) -> None:
    """Logarithmic where positive values span more than ``ratio``."""
    numbers = np.asarray(values, dtype=float)
    numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
    if len(numbers) and numbers.max() / numbers.min() > ratio:
        axis._set_axes_scale("log")
