"""Fit of ``models/compute/attention.py``: the law by robust least squares in log time, its table by kriging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analysis.calibrate import common
from analysis.calibrate.common import Shipped
from analysis.calibrate.kriging import Field, krige
from models.calibrated import Column, pack
from models.compute import attention
from models.hardware import GPUS, Gpu

COLUMNS = attention.COLUMNS
TIMES = ("time_us",)
_AIC = "github.com/ai-dynamo/aiconfigurator @ 095f58a51c4ca8e61b66ec108d86f223f8d559ce"
_APACHE = "Apache-2.0, Copyright NVIDIA CORPORATION & AFFILIATES"
_SIM = "github.com/casys-kaist/LLMServingSim @ 5daddb21a545658d5150b535712d0494584b5278: profiler/perf, attention.csv"
SHIPPED = {
    system: Shipped([f"attention_{system}.csv.gz"], f"{_AIC}: {system} attention, vLLM {version}", _APACHE)
    for system, version in (
        ("a100_sxm", "0.14.0"),
        ("h100_sxm", "0.24.0"),
        ("h200_sxm", "0.24.0"),
        ("b200_sxm", "0.24.0"),
    )
} | {
    system: Shipped(
        [f"attention_mixed_{system}.csv.gz"], f"{_SIM}, thinned", "MIT, Copyright the LLMServingSim authors"
    )
    for system in ("rtx_4090", "rtx_pro_6000")
}
#: Heads and KV heads of the models whose mixed batches were measured (their config.json).
_MODELS = {"meta-llama/Llama-3.1-8B": (32, 8), "Qwen/Qwen3-30B-A3B-Instruct-2507": (32, 4)}

# Start values and bounds (factors of the start) of the laws' free numbers, after the hardware's five.
_START = {
    "context": (9.0, 0.6, 0.7, 0.5, 0.5, 0.3),
    "generation": (8.0, 0.9, 2.0, 0.8, 1.0, 0.1, 1.0, 0.005),
    "mixed": (6.0, 0.6, 0.7, 0.9, 2.0, 1.0, 0.001, 0.5, 0.005, 0.8),
}
_FREEDOM = 50.0
_PRIOR = 0.1  # pull of a free number's logarithm to its start: what rows are silent on stays plausible
# Coordinates of the residual: log2 of (batch x KV heads), length, queries per KV head, KV heads. A field that is long
# in all but two coordinates says that a kernel is chosen by these two. Sizes and lengths: by held-out errors on the
# A100, H100 and B200 tables; they hold for all GPUs.
_FIELDS = {
    "context": (Field(0.3, (7.0, 5.0, 3.0, 12.0)), Field(0.04, (2.0, 2.0, 2.0, 3.0), rough=True)),
    "generation": (
        Field(0.08, (1.6, 3.0, 4.0, 4.0)),
        Field(0.04, (2.5, 4.0, 4.0, 3.0), rough=True),
        Field(0.05, (1.5, 1.5, 20.0, 20.0)),
        Field(0.05, (20.0, 1.0, 1.0, 20.0)),
        Field(0.05, (1.0, 20.0, 1.0, 1.0)),
    ),
}
_NOISE = 0.02
# The same for mixed batches: log2(1 + .) of chunk, past, decodes, their length.
_MIXED_FIELDS = (
    Field(0.15, (4.0, 5.0, 4.0, 4.0)),
    Field(0.12, (1.5, 2.0, 1.5, 1.5)),
    Field(0.08, (8.0, 8.0, 1.0, 1.0)),
    Field(0.08, (1.0, 8.0, 8.0, 1.0)),
    Field(0.08, (8.0, 8.0, 1.0, 8.0)),
)
_MIXED_AXES = (
    [16, 32, 64, 128, 256, 512, 1024, 2048],
    [0, 16, 64, 256, 1024, 2048, 4096, 8192, 16384],
    [0, 1, 2, 4, 8, 16, 32, 64, 128, 256],
    [0, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384],
)
_MIXED_ROWS = 2500  # of a model, at most, for its table
_GROUPS = (1, 2, 4, 5, 8, 16, 32, 64)
_KV_HEADS = (1, 2, 4, 8, 16, 32, 64)


def _hardware(system: str, packed: bool) -> list[float]:
    gpu: Gpu = GPUS.get(system, GPUS["h100_sxm"])
    return [gpu.sms, gpu.peak["bfloat16"] / 1e6, gpu.memory_bandwidth / 1e6, gpu.l2_bytes, float(packed)]


def _shapes(table: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> list[NDArray[np.float64]]:
    count = len(rows)
    kv = table.get("kv_len", table["isl"])
    dim = table.get("head_dim", np.full(len(kv), 128))
    named = [table["batch_size"], table["isl"], kv, table["num_heads"], table["num_key_value_heads"], dim]
    return [np.ascontiguousarray(values[rows], np.float64) for values in named] + [np.full(count, 2.0)]


def _points(batch: Any, kv: Any, heads: Any, kv_heads: Any) -> NDArray[np.float64]:
    return np.log2(np.stack([batch * kv_heads, kv, heads / kv_heads, kv_heads], axis=1))


def _fit_law(phase: str, system: str, shapes: list[NDArray[np.float64]], log_time: NDArray[np.float64]) -> list[float]:
    """The law with the smaller error of the ways to tile (packed heads or not)."""
    number = attention.PHASES.index(phase)
    best: tuple[float, list[float]] = (np.inf, [])
    for packed in (True, False) if phase == "context" else (False,):
        head = _hardware(system, packed)
        start = np.log(_START[phase])

        def error(
            theta: NDArray[np.float64], head: list[float] = head, start: NDArray[np.float64] = start
        ) -> NDArray[np.float64]:
            law = np.array([*head, *np.exp(theta)])
            off = np.log(attention.law_us(number, law, *shapes)) - log_time
            return np.concatenate([off, _PRIOR * (theta - start)])

        bounds = (start - np.log(_FREEDOM), start + np.log(_FREEDOM))
        result = least_squares(error, start, loss="soft_l1", f_scale=0.1, bounds=bounds, max_nfev=100)
        if result.cost < best[0]:
            best = (float(result.cost), [*head, *(float(f"{value:.6g}") for value in np.exp(result.x))])
    return best[1]


def fit(table: Mapping[str, NDArray[Any]], system: str) -> dict[str, Any]:
    """The body of a fitted file from measured rows of one GPU."""
    pairs = sorted({(int(h), int(k)) for h, k in zip(table["num_heads"], table["num_key_value_heads"], strict=True)})
    groups = sorted({*_GROUPS} | {h // k for h, k in pairs})
    kv_heads = sorted({*_KV_HEADS} | {k for _, k in pairs})
    dims = np.unique(table["head_dim"]) if "head_dim" in table else np.array([128])
    body: dict[str, Any] = {"head_dim": int(dims[0]), "heads": [list(pair) for pair in pairs], "phases": {}}
    for number, phase in enumerate(attention.PHASES):
        rows = np.flatnonzero(table["phase"] == phase)
        if not len(rows):
            continue
        shapes = _shapes(table, rows)
        batch, _, kv, heads, of_kv = shapes[:5]
        log_time = np.log(table["time_us"][rows])
        law = _fit_law(phase, system, shapes, log_time)
        residual = log_time - np.log(attention.law_us(number, np.array(law), *shapes))
        prefix = phase == "context" and bool((shapes[1] < kv).any())
        # The table has no coordinate for a prefix before the chunk: there the law stands alone.
        residual = residual * (not prefix)
        guess = krige(_FIELDS[phase], _points(batch, kv, heads, of_kv), residual, _NOISE)
        axes = [kv_heads, groups, np.unique(batch).astype(int).tolist(), np.unique(kv).astype(int).tolist()]
        grid = np.meshgrid(*(np.array(axis, np.float64) for axis in axes), indexing="ij")
        flat = [part.ravel() for part in grid]
        values = guess.at(_points(flat[2], flat[3], flat[0] * flat[1], flat[0])).reshape(grid[0].shape)
        body["phases"][phase] = {
            "law": law,
            "axes": axes,
            "table": pack(values, 5e-4),
            "limits": {
                "batch": [int(batch.min()), int(batch.max())],
                "length": [int(kv.min()), int(kv.max())],
                "kv_rows": int((batch * kv * of_kv).max()),
                "rows": int((batch * kv * heads).max()),
                "prefix": prefix,
            },
        }
    if (table["phase"] == attention.MIXED).any():
        body["mixed"] = _fit_mixed(common.take(table, table["phase"] == attention.MIXED), system)
    body["range"] = {
        phase: {name: part["limits"][name] for name in ("batch", "length")} for phase, part in body["phases"].items()
    }
    return body


def _fit_mixed(table: Mapping[str, NDArray[Any]], system: str) -> dict[str, Any]:
    """Law and tables of mixed batches, a table for each pair of heads."""
    names = (*attention.MIXED_COLUMNS, "num_heads", "num_key_value_heads")
    new, past, decodes, kv, heads, kv_heads = (table[name].astype(np.float64) for name in names)
    shapes = (new, past, decodes, kv, heads, kv_heads, np.full(len(new), 128.0), np.full(len(new), 2.0))
    log_time = np.log(table["time_us"])
    head, start = _hardware(system, False), np.log(_START["mixed"])

    def error(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        off = np.log(attention.mixed_law_us(np.array([*head, *np.exp(theta)]), *shapes)) - log_time
        return np.concatenate([off, _PRIOR * (theta - start)])

    bounds = (start - np.log(_FREEDOM), start + np.log(_FREEDOM))
    result = least_squares(error, start, loss="soft_l1", f_scale=0.1, bounds=bounds, max_nfev=100)
    law = [*head, *(float(f"{value:.6g}") for value in np.exp(result.x))]
    residual = log_time - np.log(attention.mixed_law_us(np.array(law), *shapes))
    points = np.log2(1 + np.stack([new, past, decodes, kv], axis=1))
    grid = np.meshgrid(*(np.log2(1 + np.array(axis, np.float64)) for axis in _MIXED_AXES), indexing="ij")
    nodes = np.stack([part.ravel() for part in grid], axis=1)
    pairs = sorted(set(zip(heads.astype(int).tolist(), kv_heads.astype(int).tolist(), strict=True)))
    tables = []
    for pair in pairs:
        mine = np.flatnonzero((heads == pair[0]) & (kv_heads == pair[1]))
        mine = mine[:: max(1, -(-len(mine) // _MIXED_ROWS))]
        guess = krige(_MIXED_FIELDS, points[mine], residual[mine], 2 * _NOISE)
        tables.append(pack(guess.at(nodes).reshape(grid[0].shape), 5e-4))
    limits = {name: int(table[name].max()) for name in attention.MIXED_COLUMNS}
    return {
        "law": law,
        "heads": [list(pair) for pair in pairs],
        "axes": list(_MIXED_AXES),
        "tables": tables,
        "limits": limits,
    }


def rows(system: str) -> dict[str, NDArray[Any]]:
    """The shipped rows; mixed batches without a partner become plain rows of their phase."""
    file = SHIPPED[system].files[0]
    if not file.startswith("attention_mixed"):
        return common.read_measured(file, common.columns_of("attention")).table
    columns = [Column("model", "text"), *(Column(name, low=0) for name in attention.MIXED_COLUMNS)]
    raw = common.read_measured(file, [*columns, Column("time_us", "number", 1e-6, 1e12)]).table
    chunk, past, decodes, kv = (raw[name] for name in attention.MIXED_COLUMNS)
    heads = np.array([_MODELS[name] for name in raw["model"]], np.int64)
    alone, decoding = decodes == 0, chunk == 0
    return {
        "phase": np.where(alone, "context", np.where(decoding, "generation", attention.MIXED)).astype(object),
        "num_heads": heads[:, 0],
        "num_key_value_heads": heads[:, 1],
        "batch_size": np.where(decoding, decodes, 1),
        "isl": np.where(decoding, 1, chunk),
        "kv_len": np.where(decoding, kv, chunk + past),
        **{name: raw[name] for name in attention.MIXED_COLUMNS},
        "time_us": raw["time_us"],
    }


def shape(table: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Rows of one shape (all columns but the time) carry one number."""
    return common.groups(*(table[column.name] for column in COLUMNS if column.name in table))


def size(table: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float64], str]:
    """Bins of the errors: tokens x heads touched."""
    rows = table["batch_size"] * table.get("kv_len", table["isl"])
    if "n_decode" in table:
        mixed = table["prefill_chunk"] + table["kv_prefill"] + table["n_decode"] * table["kv_decode"]
        rows = np.where(table["phase"] == attention.MIXED, mixed, rows)
    return (rows * table["num_heads"]).astype(np.float64), "batch x length x heads"


def blocks(table: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Held-out blocks: the largest quarter of sizes of each phase; one head count."""
    work, _ = size(table)
    largest = np.zeros(len(work), np.bool_)
    for phase in (*attention.PHASES, attention.MIXED):
        rows = table["phase"] == phase
        if rows.any():
            largest |= rows & (work > np.quantile(work[rows], 0.75))
    found = {"largest quarter": largest}
    for heads, kv_heads in ((40, 8), (32, 4)):
        left_out = (table["num_heads"] == heads) & (table["num_key_value_heads"] == kv_heads)
        if left_out.any():
            found[f"{heads} heads, {kv_heads} KV heads"] = left_out
    return found


def roofline(table: Mapping[str, NDArray[Any]], system: str) -> NDArray[np.float64]:
    """The plain roofline: the larger of causal tensor work over the peak and bytes over the memory's peak."""
    gpu: Gpu = GPUS.get(system, GPUS["h100_sxm"])
    batch, new, kv, heads, kv_heads, dim, wide = _shapes(table, np.arange(len(table["isl"])))
    context = table["phase"] == "context"
    tokens = np.where(context, new, 1.0)
    work = 4 * batch * heads * dim * tokens * np.where(context, kv - (new - 1) / 2, kv)
    traffic = 2 * wide * dim * batch * (heads * tokens + kv_heads * kv)
    if "n_decode" in table:
        mixed = table["phase"] == attention.MIXED
        named = (table[name].astype(np.float64) for name in attention.MIXED_COLUMNS)
        chunk, past, decodes, length = named
        both = 4 * heads * dim * (chunk * (past + (chunk + 1) / 2) + decodes * length)
        rows = heads * (chunk + decodes) + kv_heads * (past + chunk + decodes * length)
        work, traffic = np.where(mixed, both, work), np.where(mixed, 2 * wide * dim * rows, traffic)
    return np.maximum(work / gpu.peak["bfloat16"], traffic / gpu.memory_bandwidth) * 1e6


def coordinates(table: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Log coordinates of the plain interpolation, and the group it is done within."""
    kv = table.get("kv_len", table["isl"])
    named = (table["batch_size"], kv, table["num_heads"], table["num_key_value_heads"])
    points = np.log2(np.stack([values.astype(np.float64) for values in named], axis=1))
    mixed = table["phase"] == attention.MIXED
    if mixed.any():
        batches = np.stack([table[name] for name in attention.MIXED_COLUMNS], axis=1).astype(np.float64)
        points = np.concatenate([np.where(mixed[:, None], 0.0, points), np.log2(1 + batches) * mixed[:, None]], axis=1)
        return points, common.groups(table["phase"], table["num_key_value_heads"])
    return points, (table["phase"] == "generation").astype(np.int64)
