"""All-reduce inside a node as serving engines run it: vLLM's own kernels, faster than NCCL's for what decode sends.

``models/measured/all_reduce_vllm.csv.gz``: medians of vLLM 0.20 on 2, 4 and 8 GPUs of an A100, H100, H200 and B200, in
CUDA graphs up to 2 MiB and launched one by one above, as batches of those sizes run. Time is linear in log bytes and
log time between the measured sizes; below the first it stays, above the last it grows with the bytes.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.csv_table import read_table
from models.errors import Problems

FILE = Path(__file__).resolve().parent.parent / "measured" / "all_reduce_vllm.csv.gz"
_Array = NDArray[np.float64]


@functools.cache
def _curves() -> dict[tuple[str, int], tuple[_Array, _Array]]:
    """log bytes and log microseconds by GPU and number of GPUs."""
    problems = Problems(str(FILE))
    rows = read_table(FILE, ("gpu", "gpus", "bytes", "time_us"), (), problems)
    problems.raise_if_any()
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for row in rows:
        point = (float(row.text["bytes"]), float(row.text["time_us"]))
        found.setdefault((row.text["gpu"], int(row.text["gpus"])), []).append(point)
    return {key: tuple(np.log(np.array(sorted(points))).T) for key, points in found.items()}


def measured(gpu: str, gpus: int) -> bool:
    return (gpu, gpus) in _curves()


def all_reduce_us(gpu: str, gpus: int, size: _Array) -> _Array:
    """Microseconds for each size in bytes, of a measured pair of ``gpu`` and ``gpus``."""
    sizes, times = _curves()[gpu, gpus]
    place = np.log(np.maximum(size, 1.0))
    found: _Array = np.exp(np.interp(place, sizes, times) + np.maximum(place - sizes[-1], 0.0))
    return found
