"""Time of element-wise work and of copies: bytes over the rate of L2 or memory, blended by how far they exceed L2.

``us = floor + bytes (cached l2 + (1 - cached) memory)`` with ``cached = 1 / (1 + (bytes / l2_bytes)^2)``; bytes counts
what is read and what is written. Fitted on the leanest element-wise kernel measured (a residual add, a fused
normalisation): kernels that compute more per byte take longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Body, Column, Prediction
from models.jit import njit

COLUMNS = (Column("bytes", "integer", 1, 2**50),)
PARAMETERS = ("floor", "memory", "l2_memory", "l2_bytes")  # us, us/byte, us/byte, bytes


@njit("f8(f8[::1], f8)")
def memory_us(p: NDArray[np.float64], size: float) -> Any:
    """Microseconds for ``size`` bytes read and written; for compiled callers."""
    over = size / p[3]
    cached = 1.0 / (1.0 + over * over)
    return p[0] + size * (cached * p[2] + (1.0 - cached) * p[1])


@njit("f8[::1](f8[::1], f8[::1])")
def memory_array(p: NDArray[np.float64], size: NDArray[np.float64]) -> Any:
    """The same for rows."""
    out = np.empty(len(size))
    for row in range(len(size)):
        out[row] = memory_us(p, size[row])
    return out


class MemoryModel:
    """Memory traffic of one GPU, from a fitted body."""

    def __init__(self, body: Body) -> None:
        self.parameters = np.array([body["parameters"][name] for name in PARAMETERS], dtype=np.float64)
        self.low, self.high = body["range"]["bytes"]
        self.derived = "derived" in body

    def us(self, size: int) -> tuple[float, bool]:
        """Microseconds, and whether the size is outside the measured range (always so for a derived fit)."""
        return float(memory_us(self.parameters, float(size))), self.derived or not self.low <= size <= self.high


def choices(body: Body) -> dict[str, Sequence[str]]:
    """No text columns."""
    return {}


def predict(table: dict[str, NDArray[Any]], body: Body) -> Prediction:
    """Microseconds and the extrapolated mark of each row."""
    model = MemoryModel(body)
    size = np.ascontiguousarray(table["bytes"], dtype=np.float64)
    outside = (size < model.low) | (size > model.high) | model.derived
    return Prediction(memory_array(model.parameters, size), outside)
