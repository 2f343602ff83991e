"""Fits All2All kernels: DeepEP and TensorRT-LLM tables -> laws and residual curves (see ``models.comms.all_to_all``).

The tables of DeepEP hold dispatch and combine side by side; ``read`` lays them one below the other, a row a phase.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analysis.calibrate.common import Shipped, join
from analysis.calibrate.residual import Term
from analysis.calibrate.residual import fit as fit_curves
from analysis.shapes import read_shapes
from models.calibrated import Column, pack
from models.comms import all_to_all as model
from models.comms.all_to_all import KERNELS, inputs, kernels
from models.comms.all_to_all_law import LAW, NORMAL, law_array
from models.errors import Problems

COLUMNS = model.COLUMNS
TIMES = ("time_us",)
_SOURCE = (
    "github ai-dynamo/aiconfigurator @ 095f58a5 (2026-08-21), wideep_deepep_{ll,normal}_perf.parquet (SGLang, DeepEP)"
)
_TRTLLM = "; trtllm_alltoall_perf.parquet (TensorRT-LLM 1.2.0rc6)"
SHIPPED = {
    name: Shipped((f"all_to_all_{name}.csv.gz",), _SOURCE + (_TRTLLM if name == "gb200" else ""), "Apache-2.0")
    for name in ("h100_sxm", "h200_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300")
}
# measured columns of the published tables -> phase
WIDE = {
    "dispatch_avg_t_us": "dispatch",
    "combine_avg_t_us": "combine",
    "dispatch_transmit_us": "dispatch",
    "combine_transmit_us": "combine",
    "dispatch_notify_us": "dispatch_notify",
    "combine_notify_us": "combine_notify",
}
_ERROR = 0.08  # log units that the law may miss by before the residual curves mend it


def fit(table: dict[str, NDArray[Any]], system: str) -> dict[str, Any]:
    """Laws by maximum a posteriori in log time, then residual curves by shape, SMs and log2 of the tokens."""
    kernel, phase, rows, time = _long(table)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, part in sorted({(k, p) for k, p in zip(kernel, phase, strict=True)}):
        for where, several in (("node", False), ("nodes", True)):
            at = (kernel == name) & (phase == part) & ((rows[:, 1] > 1) == several) & (time > 0) & (rows[:, 7] > 0)
            if at.any():
                entry = _section(KERNELS.index(name), part, rows[at], time[at])
                found.setdefault(name, {}).setdefault(part, {})[where] = entry
    names = ("gpus", "nodes", "hidden_size", "", "num_topk", "num_experts", "sms", "num_token")
    limits = {n: [int(c.min()), int(c.max())] for n, c in zip(names, rows.T, strict=True) if n}
    return {"range": limits, "kernels": found}


def read(path: Path) -> dict[str, NDArray[Any]] | None:
    """A published table (DeepEP low latency or normal) laid out a row a phase; None where the file is already so."""
    times = tuple(Column(name, "number", 0, 1e12, optional=True) for name in WIDE)
    problems = Problems(str(path))
    shapes = read_shapes(path, (*COLUMNS, *times), problems)
    problems.raise_if_any()
    assert shapes is not None
    wide = shapes.table
    phases = [name for name in WIDE if name in wide]
    if not phases:
        return None
    shape = {name: values for name, values in wide.items() if name not in WIDE}
    shape["kernel"] = kernels(shape)
    if "system" in shapes.header:
        at = shapes.header.index("system")
        shape["system"] = np.array([row[at] for row in shapes.cells], object)
    parts = []
    for name in phases:
        rows = np.flatnonzero(wide[name] > 0)  # a phase that is not there has time 0
        part = {column: values[rows] for column, values in shape.items() if not column.endswith("_sms")}
        sms = f"{WIDE[name].removesuffix('_notify')}_sms"
        part["sms"] = shape[sms][rows] if sms in shape else np.ones(len(rows), np.int64)
        part["phase"] = np.full(len(rows), WIDE[name], object)
        parts.append(part | {"time_us": wide[name][rows]})
    return join(parts)


def _long(
    table: dict[str, NDArray[Any]],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    kernel = kernels(table)
    named = table["phase"] if "phase" in table else table["op_name"]
    phase = np.array([name.removeprefix("alltoall_") for name in named], object)
    return kernel, phase, inputs(table, kernel, phase), np.asarray(table["time_us"], np.float64)


def _section(kernel: int, phase: str, rows: NDArray[np.float64], time: NDArray[np.float64]) -> dict[str, Any]:
    law = _law(kernel, phase, rows, time)
    left = np.log(time / _told(law, kernel, rows))
    shapes, shape = np.unique(rows[:, [0, 2, 4, 5, 3]], axis=0, return_inverse=True)
    sms, at_sms = np.unique(rows[:, 6], return_inverse=True)
    shape, at_sms = shape.ravel(), at_sms.ravel()
    x = np.log2(rows[:, 7])
    knots = np.arange(np.floor(x.min()), max(np.ceil(x.max()), np.floor(x.min()) + 1) + 1)
    none, one = np.zeros(len(x), np.int64), np.zeros(1)
    terms = [
        Term(none, 1, x, knots, 0.3, 0.2),
        Term(at_sms, len(sms), x, knots, 0.2, 0.1),
        Term(shape, len(shapes), x, one, 0.2, 1.0),
        Term(shape, len(shapes), x, knots, 0.2, 0.1),
        Term(shape * len(sms) + at_sms, len(shapes) * len(sms), x, knots, 0.15, 0.05),
    ]
    shared, by_sms, whole, by_shape, own = fit_curves(
        left, terms if len(sms) > 1 else [*terms[:1], terms[0], *terms[2:4], terms[3]]
    )
    curves = (
        shared[None] + by_sms[None] + whole[:, :, None] + by_shape[:, None] + own.reshape(len(shapes), len(sms), -1)
    )
    return {
        "law": {key: float(f"{value:.5g}") for key, value in zip(LAW, law, strict=True)},
        "shapes": [[float(f"{v:.6g}") for v in row] for row in shapes],
        "sms": sms.astype(int).tolist(),
        "log2_start": int(knots[0]),
        "tokens": [int(rows[:, 7].min()), int(rows[:, 7].max())],
        "residual": pack(np.clip(curves, -6, 6), 1e-3),
    }


def _told(law: NDArray[np.float64], kernel: int, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    told = np.empty(len(rows))
    law_array(law, kernel, np.ascontiguousarray(rows), told)
    return told


def _law(kernel: int, phase: str, rows: NDArray[np.float64], time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Priors: a kernel's floor, 1.6 us a token and SM, NVLink near 300 GB/s, a NIC near 46; the rows move them."""
    several = rows[:, 1].max() > 1
    floor = max(0.8 * float(time.min()), 1.0)
    many = kernel == NORMAL
    prior = np.log(
        [
            floor,
            0.3,
            1.0,
            0.3 if many else 0.003,
            0.15 if many else 0.003,
            0.15 if many else 0.001,
            300.0,
            46.0,
            0.2 if kernel == 0 else 0.003,
        ]
    )
    spread = np.array([0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.7, 0.05, 0.7])
    if phase.endswith("notify"):
        prior[3:6], prior[6:8] = np.log(1e-3), np.log(1e4)
    wide = several or len(np.unique(rows[:, 0])) > 1
    if not wide:
        spread[1] = 0.1
    target = np.log(time)
    some = np.linspace(0, len(rows) - 1, min(len(rows), 900)).astype(int)
    rows, target = rows[some], target[some]

    def miss(point: NDArray[np.float64]) -> NDArray[np.float64]:
        told = _told(np.exp(point), kernel, rows)
        return np.concatenate([(np.log(told) - target) / _ERROR, (point - prior) / spread])

    return np.exp(least_squares(miss, prior, loss="soft_l1", max_nfev=60).x)


def shape(table: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """The phases of one row of the published tables are held out together."""
    kernel, phase, rows, _ = _long(table)
    names = [f"{k} {p if k.startswith('trtllm') else ''}" for k, p in zip(kernel, phase, strict=True)]
    name = np.unique(names, return_inverse=True)[1]
    keys = np.column_stack([name, rows[:, [0, 2, 4, 5, 6, 7]]])
    return np.unique(keys, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def size(table: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], str]:
    rows = _long(table)[2]
    return rows[:, 7] * rows[:, 4] * rows[:, 2] * rows[:, 3], "bytes of all copies of a GPU's tokens"


def blocks(table: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """The largest quarter of the token counts of each kernel; one model shape; each number of nodes or GPUs but one."""
    kernel, phase, rows, _ = _long(table)
    timed = np.array([not p.endswith("notify") for p in phase])
    largest = np.zeros(len(rows), np.bool_)
    for name in set(kernel):
        at = (kernel == name) & timed
        largest |= at & (rows[:, 7] > np.quantile(np.unique(rows[at, 7]), 0.75))
    found = {"largest quarter of tokens": largest}
    one = (rows[:, 2] == 7168) & (rows[:, 4] == 8) & (rows[:, 5] == 256) & (rows[:, 1] == 1)
    deepep = np.array([name.startswith("deepep") for name in kernel])
    if (one & deepep).any():
        found["without hidden 7168, top-8 of 256"] = one & deepep
    for nodes in np.unique(rows[rows[:, 1] > 1, 1]):
        found[f"without {int(nodes)} nodes"] = (rows[:, 1] == nodes) & timed
    for ranks in sorted({8.0, 64.0} & set(rows[~deepep, 0])):
        found[f"TensorRT-LLM without {int(ranks)} GPUs"] = ~deepep & (rows[:, 0] == ranks)
    return found


def roofline(table: dict[str, NDArray[Any]], system: str) -> NDArray[np.float64]:
    """Plain alpha-beta: 20 us + bytes of all copies over the scale-up link's peak, or a 400 Gb/s NIC's."""
    kernel, _, rows, _ = _long(table)
    peak = {"h": 450.0, "b": 900.0, "g": 900.0}.get(system[:1], 450.0)
    law = np.array([20.0, 1e-9, 1e-9, 1e-9, 1e-9, 1e-9, peak, 50.0, 1e-9])
    told = np.empty(len(rows))
    for name in set(kernel):
        at = kernel == name
        told[at] = _told(law, KERNELS.index(name), rows[at])
    return told


def coordinates(table: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Log2 of ranks, hidden, top-k, experts, SMs and tokens, within one kernel, phase and data type."""
    kernel, phase, rows, _ = _long(table)
    keys = [f"{k} {p} {r[3] if k.startswith('trtllm') else 0}" for k, p, r in zip(kernel, phase, rows, strict=True)]
    return np.log2(rows[:, [0, 2, 4, 5, 6, 7]]), np.unique(keys, return_inverse=True)[1].astype(np.int64)
