"""Time of one GEMM, y[m, n] = x[m, k] W[k, n]: a physical model with tiles and waves, times a measured correction.

The physical model: the output is cut into tiles, a wave is as many tiles as there are multiprocessors (SMs), the
contraction goes in steps of 64, and where tiles are fewer than SMs the contraction may be split among them:

    compute = min over tiles (and split s) of  ceil(tiles s / SMs) (ceil(steps / s) step_us + wave_us) + split_us(s)
    memory  = bytes read and written over the rate of L2 or of memory, blended by how far they exceed the L2
    time    = floor + (compute^4 + memory^4)^(1/4) + unaligned (if m is no multiple of 4)

so that time has the steps of the fine m sweep. Its parameters are fitted per GPU and dtype. The correction is
exp(residual) by trilinear interpolation in (log2 m, log2 n, log2 k) on the measured nodes, clamped at their edge:
outside, the physics extrapolates alone and the answer is marked. A row stands for what a library picks for a dtype:
the `kernel` of a measured row is a function of GPU, dtype and m there, so it is no input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Body, Column, Prediction, unpack
from models.errors import InputError, Problem, nearest
from models.jit import njit

COLUMNS = (
    Column("dtype", "text"),
    Column("m", "integer", 1, 2**24),
    Column("n", "integer", 1, 2**24),
    Column("k", "integer", 1, 2**24),
)

#: Output tiles of the libraries' kernels, rows x columns.
TILES = ((16, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 128))
STEP = 64
_PER_ROW = tuple(1.0 / high for high, _ in TILES)
_PER_COLUMN = tuple(1.0 / wide for _, wide in TILES)
#: Bytes an element of x and W takes, scales of blocks included; y is written with 2.
BYTES = {"bfloat16": 2.0, "float16": 2.0, "fp8": 1.0, "fp8_block": 1.0 + 4 / 128, "nvfp4": 0.5 + 1 / 16}
#: Parameters of the physical model, in order; then a step's us for each tile. us, bytes and us/byte.
PARAMETERS = ("floor", "memory", "l2_memory", "l2_bytes", "wave", "split", "split_byte", "unaligned")
BINS = 8  # of an octave, in the search for a node
FIXED = 2  # before them: bytes an element, SMs

_Array = NDArray[np.float64]
_HEAD = 10 + len(TILES)  # parameters before the first axis
#: A dtype's fit as one vector: the parameters, then for each of m, n, k {nodes, bins, log2 of the nodes, bins}, then
#: residual[m, n, k]. One argument, because Numba hands an array over as seven words.


@njit("f8(f8[::1], f8, f8, f8)", inline=True)
def _physical(p: _Array, m: float, n: float, k: float) -> Any:
    each, sms, floor, memory, l2_memory, l2, wave = p[0], p[1], p[2], p[3], p[4], p[5], p[6]
    total = (m * k + n * k) * each + m * n * 2.0
    over = total / l2
    cached = 1.0 / (1.0 + over * over)
    moved = total * (cached * l2_memory + (1.0 - cached) * memory)
    steps = np.ceil(k * (1.0 / STEP))
    compute = np.inf
    one = 1.0 / sms
    for tile in range(len(TILES)):
        tiles = np.ceil(m * _PER_ROW[tile]) * np.ceil(n * _PER_COLUMN[tile])
        step = p[10 + tile]
        whole = np.ceil(tiles * one - 1e-9) * (steps * step + wave)
        ways = max(min(np.floor(sms / tiles), 16.0, steps), 1.0)
        waves = np.ceil(tiles * ways * one - 1e-9)
        split = p[7] + p[8] * ways * m * n * 4.0 if ways > 1.0 else 0.0
        compute = min(compute, whole, waves * (np.ceil(steps / ways) * step + wave) + split)
    time = floor + np.sqrt(np.sqrt(moved * moved * moved * moved + compute * compute * compute * compute))
    if m % 4.0 != 0.0:
        time += p[9]
    return time


@njit("Tuple((i8, f8, i8))(f8[::1], i8, f8)", inline=True)
def _cell(t: _Array, at: int, x: float) -> Any:
    """On the axis at ``at``: the interval that holds x, the share of its upper node in [0, 1], where the axis ends."""
    nodes, bins = int(t[at]), int(t[at + 1])
    first = at + 2
    guess = min(max((x - t[first]) * BINS, 0.0), bins - 1.0)
    cell = int(t[first + nodes + int(guess)])
    while cell + 2 < nodes and t[first + cell + 1] <= x:
        cell += 1
    low, high = t[first + cell], t[first + cell + 1]
    return cell, min(max((x - low) / (high - low), 0.0), 1.0), first + nodes + bins


@njit("f8(f8[::1], f8, f8, f8)", inline=True)
def _residual(t: _Array, m: float, n: float, k: float) -> Any:
    a, u, second = _cell(t, _HEAD, np.log2(m))
    b, v, third = _cell(t, second, np.log2(n))
    c, w, start = _cell(t, third, np.log2(k))
    row = int(t[third])
    plane = int(t[second]) * row
    at = start + a * plane + b * row + c
    low = (t[at] * (1 - w) + t[at + 1] * w) * (1 - v) + (t[at + row] * (1 - w) + t[at + row + 1] * w) * v
    at += plane
    high = (t[at] * (1 - w) + t[at + 1] * w) * (1 - v) + (t[at + row] * (1 - w) + t[at + row + 1] * w) * v
    return low * (1 - u) + high * u


@njit("f8(f8[::1], f8, f8, f8)")
def gemm_us(t: _Array, m: float, n: float, k: float) -> Any:
    """Microseconds of one GEMM by a table of ``GemmModel.table``; for compiled callers."""
    return _physical(t, m, n, k) * np.exp(_residual(t, m, n, k))


@njit("f8[::1](f8[::1], f8[::1], f8[::1], f8[::1])")
def gemm_array(t: _Array, m: _Array, n: _Array, k: _Array) -> Any:
    """The same for rows."""
    out = np.empty(len(m))
    for row in range(len(m)):
        out[row] = gemm_us(t, m[row], n[row], k[row])
    return out


@njit("f8[::1](f8[::1], f8[::1], f8[::1], f8[::1])")
def physical_array(p: _Array, m: _Array, n: _Array, k: _Array) -> Any:
    """The physical model alone, us by row, from its parameters."""
    out = np.empty(len(m))
    for row in range(len(m)):
        out[row] = _physical(p, m[row], n[row], k[row])
    return out


def table_of(parameters: Sequence[float], axes: Sequence[Sequence[int]], residual: _Array) -> _Array:
    """The vector that ``gemm_us`` reads. ``axes``: at least two ascending nodes of m, n, k; residual[m, n, k]."""
    parts = [np.asarray(parameters, dtype=np.float64)]
    for axis in axes:
        nodes = np.log2(np.asarray(axis, dtype=np.float64))
        edges = nodes[0] + np.arange(int((nodes[-1] - nodes[0]) * BINS) + 1) / BINS
        bins = np.clip(np.searchsorted(nodes, edges, side="right") - 1, 0, len(nodes) - 2)
        parts += [np.array([len(nodes), len(bins)], dtype=np.float64), nodes, bins.astype(np.float64)]
    return np.concatenate([*parts, np.ravel(residual)])


class GemmModel:
    """The GEMM times of one GPU, from a fitted body."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self._tables: dict[str, _Array] = {}

    def _part(self, dtype: str) -> dict[str, Any]:
        valid = names(self.body)
        if dtype not in valid:
            raise InputError([Problem("gemm", 0, 0, f"no GEMM times of {dtype}{nearest(dtype, valid)}")])
        part: dict[str, Any] = self.body["dtypes"][valid[dtype]]
        return part

    def table(self, dtype: str) -> _Array:
        """The vector of a dtype that ``gemm_us`` reads; unpacked once."""
        if dtype not in self._tables:
            part = self._part(dtype)
            axes = [part["m"], part["n"], part["k"]]
            self._tables[dtype] = table_of(part["parameters"], axes, unpack(part["residual"]))
        return self._tables[dtype]

    def us(self, dtype: str, m: int, n: int, k: int) -> tuple[float, bool]:
        """Microseconds, and whether the shape is outside the measured range."""
        table, part = self.table(dtype), self._part(dtype)
        inside = all(part[axis][0] <= value <= part[axis][-1] for axis, value in (("m", m), ("n", n), ("k", k)))
        return float(gemm_us(table, float(m), float(n), float(k))), not inside

    def array(self, dtype: str, m: Any, n: Any, k: Any) -> tuple[_Array, NDArray[np.bool_]]:
        """The same for arrays (or scalars beside arrays)."""
        part = self._part(dtype)
        rows = [np.ascontiguousarray(values, dtype=np.float64) for values in np.broadcast_arrays(m, n, k)]
        outside = np.zeros(rows[0].shape, dtype=np.bool_)
        for axis, values in zip("mnk", rows, strict=True):
            outside |= (values < part[axis][0]) | (values > part[axis][-1])
        us: _Array = gemm_array(self.table(dtype), *rows)
        return us, outside


def names(body: Body) -> dict[str, str]:
    """dtype as written -> dtype measured; float16 takes bfloat16's times (the same tensor-core rate)."""
    found = {dtype: dtype for dtype in body["dtypes"]}
    if "bfloat16" in found:
        found.setdefault("float16", "bfloat16")
    return found


def choices(body: Body) -> dict[str, Sequence[str]]:
    """Valid names of the text columns."""
    return {"dtype": sorted(names(body))}


def predict(table: dict[str, NDArray[Any]], body: Body) -> Prediction:
    """Microseconds and the extrapolated mark of each row (columns as in ``COLUMNS``)."""
    model = GemmModel(body)
    us, outside = np.zeros(len(table["m"])), np.zeros(len(table["m"]), dtype=np.bool_)
    for dtype in sorted(set(table["dtype"])):
        rows = table["dtype"] == dtype
        us[rows], outside[rows] = model.array(dtype, table["m"][rows], table["n"][rows], table["k"][rows])
    return Prediction(us, outside)
