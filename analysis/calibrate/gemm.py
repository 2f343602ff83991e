"""Fit of the GEMM model: the physical parameters by robust least squares, the rest by a Gaussian process.

The process is told what a library's heuristics look like: a smooth part, a local part, parts that are sharp in one of
m, n, k and long in the others (a kernel chosen for that n), and a part in rows rounded up to tiles. Rows far off (a
clock or a neighbour's noise, up to threefold) get a larger variance, so they do not pull. Its answers at the nodes
of the grid are what is stored; at run time there is only interpolation.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analysis.calibrate import common
from analysis.calibrate.common import Shipped, groups, take
from analysis.calibrate.local import covariances, krige
from analysis.shapes import Table
from models.calibrated import Body, pack
from models.compute.gemm import BYTES, PARAMETERS, TILES, physical_array
from models.hardware import GPUS, Gpu

TIMES = ("time_us",)

_AIC = "github.com/ai-dynamo/aiconfigurator @ 095f58a51c4ca8e61b66ec108d86f223f8d559ce"
_APACHE = "Apache-2.0, Copyright NVIDIA CORPORATION & AFFILIATES"
_SERVING = "github.com/casys-kaist/LLMServingSim @ 5daddb21a545658d5150b535712d0494584b5278"
SHIPPED = {
    "a100_sxm": Shipped(["gemm_a100_sxm.csv.gz"], f"{_AIC}: a100_sxm gemm_perf, vLLM 0.14.0", _APACHE),
    "h100_sxm": Shipped(["gemm_h100_sxm.csv.gz"], f"{_AIC}: h100_sxm gemm_perf, vLLM 0.24.0", _APACHE),
    "h200_sxm": Shipped(["gemm_h200_sxm.csv.gz"], f"{_AIC}: h200_sxm gemm_perf, vLLM 0.24.0", _APACHE),
    "b200_sxm": Shipped(["gemm_b200_sxm.csv.gz"], f"{_AIC}: b200_sxm gemm_perf, vLLM 0.24.0", _APACHE),
    "rtx_4090": Shipped(["gemm_rtx_4090.csv.gz"], f"{_SERVING}: RTX4090, linear layers", "MIT, CASYS, KAIST"),
    "rtx_pro_6000": Shipped(
        ["gemm_rtx_pro_6000.csv.gz"], f"{_SERVING}: RTXPRO6000, linear layers", "MIT, CASYS, KAIST"
    ),
}
#: The same die with other memory: what one shows at a shape that the other lacks is evidence for it.
SIBLING = {"h100_sxm": "h200_sxm", "h200_sxm": "h100_sxm"}

_INF = 1e9
_NOISE = 0.03
#: Of the process: deviation, smoothness, and length scales over the coordinates of ``coordinates_of``.
_PARTS = (
    (0.30, 5, (8, 8, 8, _INF, _INF, _INF, _INF, _INF)),
    (0.08, 3, (1.5, 1.5, 1.5, _INF, _INF, _INF, _INF, _INF)),
    (0.03, 1, (3, 0.2, 3, _INF, _INF, _INF, _INF, _INF)),
    (0.03, 1, (3, 3, 0.2, _INF, _INF, _INF, _INF, _INF)),
    (0.03, 1, (0.2, 3, 3, _INF, _INF, _INF, _INF, _INF)),
    (0.05, 3, (_INF, 3, 3, 1, 1, 1, _INF, _INF)),
    (0.07, 3, (4, 4, 4, _INF, _INF, _INF, 0.12, 0.18)),
)
_KERNEL = np.array([[deviation, smoothness, *(1.0 / np.array(scales))] for deviation, smoothness, scales in _PARTS])
_REACH = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.5, 0.0, 0.0])
_Array = NDArray[np.float64]


def fit(table: Table, system: str) -> Body:
    """The body of a GPU: parameters, nodes and residuals by dtype."""
    table = fastest(table)
    found = {}
    for dtype in sorted(set(table["dtype"])):
        part = take(table, table["dtype"] == dtype)
        found[str(dtype)] = _fit_dtype(part, system, _sibling_rows(part, system, dtype))
    spans = {axis: [int(table[axis].min()), int(table[axis].max())] for axis in "mnk"}
    return {"range": {"dtype": sorted(found), **spans}, "dtypes": found}


def fastest(table: Table) -> Table:
    """One row a shape: the fastest of its kernels, as the library's own tuning would pick."""
    order = np.argsort(table["time_us"], kind="stable")
    _, first = np.unique(shape(table)[order], return_index=True)
    return take(table, np.sort(order[first]))


def _fit_dtype(part: Table, system: str, other: Table | None) -> dict[str, Any]:
    dtype = str(part["dtype"][0])
    p = physical(part, system, dtype)
    axes = [_nodes(part[axis]) for axis in "mnk"]
    grid = np.meshgrid(*axes, indexing="ij")
    where = coordinates_of(*(axis.ravel().astype(np.float64) for axis in grid), sms=float(p[1]))
    process = Process(part, p)
    values = process.at(where)
    if other is not None:
        values += _borrowed(process, other, system, dtype, grid)
    residual = values.reshape(grid[0].shape)
    return {
        "parameters": [float(f"{value:.5g}") for value in p],
        **{axis: nodes.tolist() for axis, nodes in zip("mnk", axes, strict=True)},
        "residual": pack(residual, 2e-4),
    }


def _nodes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The measured values, below 16 only powers of two, thinned evenly if there are very many; at least two."""
    nodes = np.unique(values)
    thin = (nodes >= 16) | (nodes & (nodes - 1) == 0)
    nodes = nodes[thin] if thin.sum() > 1 else nodes
    if len(nodes) > 80:
        nodes = np.unique(nodes[np.linspace(0, len(nodes) - 1, 40).round().astype(int)])
    return np.array([nodes[0], nodes[0] + 1], dtype=np.int64) if len(nodes) == 1 else nodes


def start(gpu: Gpu | None, dtype: str, shortest: float) -> _Array:
    """Where the fit starts: 80 % of the data sheet's rates; an unknown GPU starts as an H100."""
    gpu = gpu or GPUS["h100_sxm"]
    peak = gpu.peak_of(dtype) if dtype in BYTES and _has(gpu, dtype) else gpu.peak_of("bfloat16")
    memory = 1e6 / gpu.memory_bandwidth
    head = [0.7 * shortest, memory / 0.85, memory / 1.7, float(gpu.l2_bytes), 0.8, 2.0, memory / 2, 0.05]
    rate = 0.8 * peak / gpu.sms / 1e6
    share = (0.3, 0.5, 0.7, 0.9, 1.0, 1.0)
    steps = [2.0 * high * wide * 64 / (rate * part) for (high, wide), part in zip(TILES, share, strict=True)]
    return np.log(np.array(head + steps))


def _has(gpu: Gpu, dtype: str) -> bool:
    name = {"fp8_block": "fp8", "nvfp4": "fp4", "float16": "bfloat16"}.get(dtype, dtype)
    return name in gpu.peak


def physical(part: Table, system: str, dtype: str) -> _Array:
    """The physical model's parameters as ``physical_array`` reads them."""
    gpu = GPUS.get(system)
    m, n, k, time = (np.ascontiguousarray(part[name], dtype=np.float64) for name in ("m", "n", "k", "time_us"))
    fixed = np.array([BYTES.get(dtype, 2.0), float((gpu or GPUS["h100_sxm"]).sms)])
    first = start(gpu, dtype, float(time.min()))
    weight = np.full(len(first), 0.02) * np.sqrt(len(time))
    weight[0] = 0.0
    target = np.log(time)

    def miss(log_p: _Array) -> _Array:
        answer = physical_array(np.concatenate([fixed, np.exp(log_p)]), m, n, k)
        return np.concatenate([np.log(answer) - target, weight * 0.1 * (log_p - first)])

    assert len(first) == len(PARAMETERS) + len(TILES)
    found = least_squares(miss, first, loss="soft_l1", f_scale=0.1, max_nfev=40).x
    found = least_squares(miss, found, loss="cauchy", f_scale=0.1, max_nfev=40).x
    return np.concatenate([fixed, np.exp(found)])


def coordinates_of(m: _Array, n: _Array, k: _Array, sms: float) -> _Array:
    """What the process sees of shapes, [rows, 8].

    log2 of m, n, k; of rows in tiles of 64 and of 256; whether m is no multiple of 4; log2 of how far the last wave of
    tiles of 128 x 256 and of 128 x 128 is from full.
    """
    tiled = [np.log2(np.ceil(m / tile)) for tile in (64, 256)]
    return np.stack(
        [
            np.log2(m),
            np.log2(n),
            np.log2(k),
            *tiled,
            (m % 4 != 0) * 1.0,
            *(_last_wave(m, n, wide, sms) for wide in (256, 128)),
        ],
        axis=1,
    )


def _last_wave(m: _Array, n: _Array, wide: int, sms: float) -> _Array:
    waves = np.ceil(m / 128) * np.ceil(n / wide) / sms
    return np.where(waves > 0.5, np.log2(np.ceil(waves) / waves), 0.0)


class Process:
    """A Gaussian process of log(time / physical) of one dtype, with outliers down-weighted."""

    def __init__(self, part: Table, p: _Array) -> None:
        m, n, k = (np.ascontiguousarray(part[name], dtype=np.float64) for name in "mnk")
        self.keys = list(zip(part["m"].tolist(), part["n"].tolist(), part["k"].tolist(), strict=True))
        self.where = coordinates_of(m, n, k, float(p[1]))
        value = np.log(part["time_us"] / physical_array(p, m, n, k))
        self.middle = float(np.median(value))
        self.value = value - self.middle
        self.between = covariances(self.where, _KERNEL)
        self.variance = np.full(len(value), _NOISE**2)
        for _ in range(2):
            # left_out: the value minus what the other rows say of it
            self.left_out = self.value - self._mean(self.where, np.arange(len(value)))
            typical = 1.4826 * float(np.median(np.abs(self.left_out)))
            self.variance = _NOISE**2 * np.maximum(1.0, np.abs(self.left_out) / (2.0 * typical + 1e-9)) ** 2

    def _mean(self, where: _Array, without: NDArray[np.int64]) -> _Array:
        found: _Array = krige(
            self.where, self.value, self.variance, self.between, _KERNEL, np.ascontiguousarray(where), _REACH, without
        )
        return found

    def at(self, where: _Array) -> _Array:
        """log(time / physical) at coordinates."""
        return self._mean(where, np.full(len(where), -1)) + self.middle


def _sibling_rows(part: Table, system: str, dtype: str) -> Table | None:
    """Rows of the sibling's GPU inside what this table covers: its (n, k) pairs, between their least and largest m."""
    if system not in SIBLING:
        return None
    other = _measured(SIBLING[system], dtype)
    pairs: dict[tuple[int, int], list[int]] = {}
    for m, n, k in zip(part["m"].tolist(), part["n"].tolist(), part["k"].tolist(), strict=True):
        pairs.setdefault((n, k), []).append(m)
    rows = zip(other["m"].tolist(), other["n"].tolist(), other["k"].tolist(), strict=True)
    keep = np.array([(n, k) in pairs and min(pairs[n, k]) <= m <= max(pairs[n, k]) for m, n, k in rows])
    return take(other, keep) if keep.sum() > common.FEWEST else None


def _borrowed(process: Process, other: Table, system: str, dtype: str, grid: Any) -> _Array:
    """What the sibling says of nodes that were not measured here: its surprises, by their regression on ours."""
    inside = zip(other["m"].tolist(), other["n"].tolist(), other["k"].tolist(), strict=True)
    surprise = {key: _surprises(SIBLING[system], dtype)[key] for key in inside}
    own = dict(zip(process.keys, np.clip(process.left_out, -0.3, 0.3).tolist(), strict=True))
    both = np.array([(surprise[key], own[key]) for key in own if key in surprise])
    slope = float(both[:, 0] @ both[:, 1] / (both[:, 0] @ both[:, 0])) if len(both) > common.FEWEST else 0.0
    nodes = zip(*(axis.ravel().tolist() for axis in grid), strict=True)
    return np.array([0.0 if key in own else slope * surprise.get(key, 0.0) for key in nodes])


@functools.cache
def _measured(system: str, dtype: str) -> Table:
    table = fastest(common.shipped_table("gemm", system))
    return take(table, table["dtype"] == dtype)


@functools.cache
def _surprises(system: str, dtype: str) -> dict[tuple[int, int, int], float]:
    """By (m, n, k): log of the measured time over what the other rows say of it, at most a third."""
    part = _measured(system, dtype)
    process = Process(part, physical(part, system, dtype))
    return dict(zip(process.keys, np.clip(process.left_out, -0.3, 0.3).tolist(), strict=True))


def shape(table: Table) -> NDArray[np.int64]:
    """Rows of one dtype and (m, n, k) are one shape."""
    return groups(table["dtype"], table["m"], table["n"], table["k"])


def size(table: Table) -> tuple[_Array, str]:
    """The work, 2 m n k."""
    return 2.0 * table["m"].astype(np.float64) * table["n"] * table["k"], "2mnk, flop"


def blocks(table: Table) -> dict[str, NDArray[np.bool_]]:
    """The largest quarter of the sizes, and one (n, k) family (n = k = 4096 of Llama and Mixtral) left out."""
    work = size(table)[0]
    family = np.isin(table["n"], (4096, 6144, 14336)) & (table["k"] == 4096)
    return {"largest quarter": work > np.quantile(work, 0.75), "family k = 4096": family}


def roofline(table: Table, system: str) -> _Array:
    """max(flop / peak, bytes / bandwidth) of the data sheet, us."""
    gpu = GPUS[system]
    m, n, k = (table[name].astype(np.float64) for name in "mnk")
    peak = np.array([gpu.peak_of(str(dtype)) for dtype in table["dtype"]])
    each = np.array([BYTES[str(dtype)] for dtype in table["dtype"]])
    moved = (m * k + n * k) * each + 2.0 * m * n
    return np.asarray(1e6 * np.maximum(2.0 * m * n * k / peak, moved / gpu.memory_bandwidth))


def coordinates(table: Table) -> tuple[_Array, NDArray[np.int64]]:
    """What plain interpolation sees: log2 m, n, k, by dtype."""
    return np.log2(np.stack([table[name].astype(np.float64) for name in "mnk"], axis=1)), groups(table["dtype"])
