"""Names beside points, where they hide least: other names, points, lines."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from analysis.plots.style import TEXT

_CHARACTER = 0.56  # width of a character, of the font's size
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1), (0.5, 1), (-0.5, 1), (0.5, -1),
          (-0.5, -1))  # fmt: skip
_GAPS = (4.0, 9.0)  # from the point, the nearer the better
_STEPS = 60  # points of a line that are looked at
_NAME, _POINT, _LINE, _OUT = 100.0, 15.0, 0.5, 300.0  # what it costs to hide one


def place_labels(
    ax: Axes,
    at: NDArray[np.float64],
    names: Mapping[int, str],
    lines: NDArray[np.float64],
    size: float,
    cell: tuple[float, float],
) -> None:
    """``at`` [points, 2] and ``lines`` [lines, 2, 2] in data units, taken one after the other; ``cell``: inches."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    scale = np.array([cell[0] * 72 / (x1 - x0), cell[1] * 72 / (y1 - y0)])  # to points of 1/72 inch
    origin = np.array([x0, y0])
    points = (at - origin) * scale
    steps = np.linspace(0, 1, _STEPS)[:, None, None]
    inked = ((lines[:, 0] * (1 - steps) + lines[:, 1] * steps).reshape(-1, 2) - origin) * scale
    boxes = np.zeros((0, 4))
    for number, name in names.items():
        half = np.array([len(name) * _CHARACTER * size / 2, size * 0.6])
        best: tuple[float, NDArray[np.float64]] | None = None
        for order, (gap, side) in enumerate(product(_GAPS, _SIDES)):
            middle = points[number] + np.array(side) * (half + gap)
            box = np.concatenate([middle - half, middle + half])
            cost = _hidden(box, boxes, points, inked, cell) + 0.1 * order
            if best is None or cost < best[0]:
                best = (cost, box)
        assert best is not None
        box = best[1]
        boxes = np.vstack([boxes, box])
        x, y = (box[:2] + box[2:]) / 2 / scale + origin
        halo = [withStroke(linewidth=2.0, foreground="white", alpha=0.85)]
        ax.text(x, y, name, fontsize=size, ha="center", va="center", color=TEXT, path_effects=halo, zorder=4)


def _hidden(
    box: NDArray[np.float64],
    boxes: NDArray[np.float64],
    points: NDArray[np.float64],
    inked: NDArray[np.float64],
    cell: tuple[float, float],
) -> float:
    overlap = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    cost = _NAME * int((overlap > 0).all(axis=1).sum())
    for spots, weight in ((points, _POINT), (inked, _LINE)):
        cost += weight * int(((spots > box[:2]) & (spots < box[2:])).all(axis=1).sum())
    outside = (box[:2] < 0).any() or box[2] > cell[0] * 72 or box[3] > cell[1] * 72
    return cost + _OUT * bool(outside)
