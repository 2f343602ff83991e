"""Times of single layers as vLLM ran them, where a model was profiled: ``models/measured/layers_<gpu>.csv.gz``.

A row is one layer of a model at one number of tokens (``lm_head``, ``sampler``: of sampled rows), on one of
``tensor_parallel`` GPUs, median of vLLM's own layer profile. The rows are thinned so that straight lines between them
give the others back within 1 % (or 0.05 us); below the first and above the last, time goes on as the last piece does.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.csv_table import read_table
from models.errors import Problems

FOLDER = Path(__file__).resolve().parent.parent / "measured"
COLUMNS = ("model", "tensor_parallel", "layer", "count", "time_us")
_Array = NDArray[np.float64]


class Profile:
    """One model's layers on one GPU: ``us(layer, counts)``; a layer that it has not takes nothing."""

    def __init__(self, layers: dict[str, tuple[_Array, _Array]]) -> None:
        self.layers = layers

    def us(self, layer: str, count: _Array) -> _Array:
        """Microseconds at each count; 0 at 0."""
        if layer not in self.layers:
            return np.zeros(len(count))
        knots, times = self.layers[layer]
        inside = np.interp(count, knots, times)
        rate = times[-1] / knots[-1]
        beyond = times[-1] + (count - knots[-1]) * rate
        found: _Array = np.where(count > knots[-1], beyond, inside) * (count > 0)
        return found


@functools.cache
def _profiles(gpu: str) -> dict[tuple[str, int], Profile]:
    file = FOLDER / f"layers_{gpu}.csv.gz"
    if not file.exists():
        return {}
    problems = Problems(str(file))
    found: dict[tuple[str, int], dict[str, list[tuple[float, float]]]] = {}
    for row in read_table(file, COLUMNS, (), problems):
        text = row.text
        layers = found.setdefault((text["model"], int(text["tensor_parallel"])), {})
        layers.setdefault(text["layer"], []).append((float(text["count"]), float(text["time_us"])))
    problems.raise_if_any()
    return {key: Profile({name: _columns(rows) for name, rows in layers.items()}) for key, layers in found.items()}


def _columns(rows: list[tuple[float, float]]) -> tuple[_Array, _Array]:
    table: NDArray[Any] = np.array(sorted(rows))
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])


def profile_of(gpu: str, model: str, tensor_parallel: int) -> Profile | None:
    """What was measured of a model on ``tensor_parallel`` GPUs of this kind, bf16; None if nothing was."""
    return _profiles(gpu).get((model, tensor_parallel))
