"""Fits collectives: nccl-tests tables or logs -> law and residual curves (see ``models.comms.collective``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analysis.calibrate import nccl_log
from analysis.calibrate.common import Shipped
from analysis.calibrate.residual import Term
from analysis.calibrate.residual import fit as fit_curves
from models.comms import collective as model
from models.comms.collective import COLLECTIVES, LAW, TYPES, canonical, dtypes, gpus, law_us

TIMES = ("time_us",)
# GB/s per direction of the scale-up link: NVLink 3, 4 and 5 (NVIDIA data sheets); of others the fit presumes nothing
PEAK = {"a100": 300, "h100": 450, "h200": 450, "h800": 200, "b200": 900, "b300": 900, "gb200": 900, "gb300": 900}
_NVIDIA = "github ai-dynamo/aiconfigurator @ 095f58a5 (2026-08-21), nccl_perf.parquet of each system (nccl-tests)"
_CLUSTER = "github xxrjun/nccl-tests-cluster @ 455de4f8 (2026-02-06), cluster01"
_VIDUR = "github microsoft/vidur @ 7d475133 (2024-11-19), network profiles"
_SERVING = (
    "github casys-kaist/LLMServingSim @ e08dc388 (2026-09-08) and 1b2cc02d (2026-09-26), "
    "profiler/perf/RTXPRO6000/hardware.yaml: two GPUs on PCIe 5, NCCL under vLLM, replayed from a CUDA graph"
)
_APACHE = "Apache-2.0"
SHIPPED = {
    "a100_sxm": Shipped(("collective_a100_sxm.csv.gz",), f"{_NVIDIA}; {_VIDUR}", "Apache-2.0; MIT (vidur)"),
    "h100_sxm": Shipped(("collective_h100_sxm.csv.gz",), f"{_NVIDIA}; {_CLUSTER}; {_VIDUR}", "Apache-2.0; MIT (vidur)"),
    **{
        name: Shipped((f"collective_{name}.csv.gz",), _NVIDIA, _APACHE)
        for name in ("h200_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300", "l40s")
    },
    "rtx_pro_6000": Shipped(("collective_rtx_pro_6000.csv.gz",), _SERVING, "MIT, Copyright the LLMServingSim authors"),
}
_ERROR = 0.06  # log units that the law may miss by before the residual curves mend it


def read(path: Any) -> dict[str, NDArray[Any]] | None:
    """A raw nccl-tests log as a table; None where the file is none (a CSV)."""
    return nccl_log.read(path)


def fit(table: dict[str, NDArray[Any]], system: str) -> dict[str, Any]:
    """Laws by maximum a posteriori in log time, then residual curves by layout, data type and log2 of the size."""
    ranks, nodes = gpus(table)
    names = np.array([canonical(name) for name in table["collective"]], object)
    found: dict[str, dict[str, Any]] = {}
    for name in (c for c in COLLECTIVES if c in set(names)):
        found[name] = {}
        for where, several in (("node", False), ("nodes", True)):
            at = np.flatnonzero((names == name) & ((nodes > 1) == several))
            if len(at):
                types = np.array([TYPES.get(t, t) for t in dtypes(table)[at]], object)
                found[name][where] = section(
                    COLLECTIVES.index(name),
                    ranks[at],
                    nodes[at],
                    types,
                    table["bytes"][at],
                    table["time_us"][at],
                    system,
                )
    size = table["bytes"]
    limits = {"bytes": [int(size.min()), int(size.max())], "gpus": [int(ranks.min()), int(ranks.max())]}
    return {"range": limits | {"nodes": [int(nodes.min()), int(nodes.max())]}, "collectives": found}


def section(
    kind: int,
    ranks: NDArray[np.float64],
    nodes: NDArray[np.float64],
    types: NDArray[Any],
    bytes: NDArray[Any],
    time: NDArray[np.float64],
    system: str,
) -> dict[str, Any]:
    """Law and curves of one collective on layouts of one kind (in a node, or across nodes)."""
    size = bytes.astype(np.float64)
    law = _law(kind, ranks, nodes, size, time, system)
    left = np.log(time / np.array([law_us(law, kind, *row) for row in zip(ranks, nodes, size, strict=True)]))
    layouts, layout = np.unique(np.column_stack([nodes, ranks]), axis=0, return_inverse=True)
    names, dtype = np.unique(types.astype(str), return_inverse=True)
    layout = layout.ravel()
    x = np.log2(size)
    knots = np.arange(np.floor(x.min()), np.floor(x.min()) + max(2, np.ceil(x.max()) - np.floor(x.min()) + 1))
    one, none = np.zeros(1), np.zeros(len(x), np.int64)
    whole, shared, by_layout, by_type, own = fit_curves(
        left,
        [
            Term(layout, len(layouts), x, one, 0.05 if _peak(system) else 0.7, 1.0),
            Term(none, 1, x, knots, 0.3, 0.2),
            Term(layout, len(layouts), x, knots, 0.2, 0.1),
            Term(dtype, len(names), x, knots, 0.1, 0.02),
            Term(layout * len(names) + dtype, len(layouts) * len(names), x, knots, 0.1, 0.06),
        ],
    )
    own = own.reshape(len(layouts), len(names), -1)
    curves = {
        name: np.rint(1e3 * (whole + shared + by_layout + by_type[i] + own[:, i])).astype(int).tolist()
        for i, name in enumerate(names)
    }
    return {
        "law": {key: float(f"{value:.5g}") for key, value in zip(LAW, law, strict=True)},
        "layouts": layouts.astype(int).tolist(),
        "log2_start": int(knots[0]),
        "bytes": [int(size.min()), int(size.max())],
        "residual": curves,
    }


def _law(
    kind: int,
    ranks: NDArray[np.float64],
    nodes: NDArray[np.float64],
    size: NDArray[np.float64],
    time: NDArray[np.float64],
    system: str,
) -> NDArray[np.float64]:
    """Priors are the usual values of NCCL over NVLink and InfiniBand; where the rows say nothing, they stand."""
    cells, cell = np.unique(np.column_stack([ranks, nodes, size]), axis=0, return_inverse=True)
    cell = cell.ravel()
    target = np.array([np.median(np.log(time[cell == i])) for i in range(len(cells))])
    several = nodes.max() > 1
    steps = np.exp(target).min()
    peak = _peak(system)
    pairs = kind >= 4
    seen = float((cells[:, 2] / np.exp(target)).max()) * 1e-3  # highest algorithm bandwidth, GB/s
    link = (0.77 * peak, 0.05) if peak else (max(seen, 1e-3) * 1.3, 0.7)
    ring = kind < 3
    fill = (35.0 if ring else 12.0, 0.5, 12e6 if ring else 3e5, 0.7 if ring else 1.5)
    if several:
        fill = (60.0, 1.2, 2e7, 1.5)
        link = (0.77 * peak if peak else 200.0, 0.3)
    prior = np.log(
        [max(0.7 * steps, 1.0) if not several else 17.0, 1.0 if ring else 0.3, link[0], 8e-4, fill[0], fill[2], 45.0]
    )
    spread = np.array([0.7, 0.5 if not several else 1.0, link[1] if not pairs else 0.3, 0.4, fill[1], fill[3], 1.0])

    def miss(point: NDArray[np.float64]) -> NDArray[np.float64]:
        law = np.exp(point)
        told = np.array([law_us(law, kind, *row) for row in cells])
        return np.concatenate([(np.log(told) - target) / _ERROR, (point - prior) / spread])

    return np.exp(least_squares(miss, prior, loss="soft_l1").x)


def _peak(system: str) -> float:
    return float(next((GBps for name, GBps in PEAK.items() if system.startswith(name)), 0))


def shape(table: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Rows of one collective, layout, data type and size are held out together."""
    ranks, nodes = gpus(table)
    keys = [f"{c} {t} {r} {n} {b}" for c, t, r, n, b in _columns(table, ranks, nodes)]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def _columns(table: dict[str, NDArray[Any]], ranks: NDArray[Any], nodes: NDArray[Any]) -> zip[tuple[Any, ...]]:
    return zip(table["collective"], dtypes(table), ranks, nodes, table["bytes"], strict=True)


def size(table: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], str]:
    return table["bytes"].astype(np.float64), "bytes"


def blocks(table: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """The largest quarter of the sizes inside a node, and each number of GPUs inside a node but one."""
    ranks, nodes = gpus(table)
    single = nodes == 1
    sizes = np.unique(table["bytes"][single])
    found = {"largest quarter of sizes": single & (table["bytes"] > np.quantile(sizes, 0.75))}
    pairs = np.isin(np.array([canonical(name) for name in table["collective"]]), COLLECTIVES[4:])
    single &= ~pairs  # which know no other number
    counts = np.unique(ranks[single])
    if len(counts) > 1:
        found |= {f"without {int(n)} GPUs": single & (ranks == n) for n in counts}
    return found


def roofline(table: dict[str, NDArray[Any]], system: str) -> NDArray[np.float64]:
    """Plain alpha-beta: 5 us + 1 us a ring step + bytes at the link's peak (a 400 Gb/s NIC between nodes)."""
    ranks, nodes = gpus(table)
    law = np.array([5.0, 1.0, _peak(system) or 32.0, 1e-9, 1e-9, 1.0, 50.0])
    kinds = [COLLECTIVES.index(canonical(name)) for name in table["collective"]]
    rows = zip(kinds, ranks, nodes, table["bytes"].astype(np.float64), strict=True)
    return np.array([law_us(law, *row) for row in rows])


def coordinates(table: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Log2 of GPUs and bytes, within one collective, data type and number of nodes."""
    ranks, nodes = gpus(table)
    keys = [f"{c} {t} {n}" for c, t, n in zip(table["collective"], dtypes(table), nodes, strict=True)]
    return np.log2(np.column_stack([ranks, table["bytes"]])), np.unique(keys, return_inverse=True)[1].astype(np.int64)


__all__ = ["COLUMNS", "SHIPPED", "TIMES", "blocks", "coordinates", "fit", "read", "roofline", "shape", "size"]
COLUMNS = model.COLUMNS
