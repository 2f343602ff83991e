"""Time of a collective by message size, GPUs and data type: all_reduce, all_gather, reduce_scatter, alltoall, pairs.

The law, in microseconds, for ``bytes`` S over R GPUs in N nodes of g::

    a + b steps + r z/(1 + z) + ((S x_up/B + S y/R)^4 + (S x_out/C)^4)^(1/4),   z = (S/S0)^(3/4)

a: launch; b: one hop of the ring (LL protocol); r, S0: what the Simple protocol adds while its pipeline fills; B, C:
bandwidth of the scale-up link and of a NIC in GB/s; y: copy of the own part. x_up and x_out are the bytes a GPU sends
over each kind of link per byte of S, by the algorithm: a ring but for alltoall. All_reduce counts its two halves. On
top lies a fitted residual by layout, data type and log size: the protocol switches of NCCL's tuner. S follows the
convention of nccl-tests: the size argument, total output of all_gather, total input of reduce_scatter.

Fitted by ``analysis.calibrate.collective``; the errors are in the fitted files and in docs/calibration.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Column, Prediction
from models.jit import njit

COLUMNS = (
    Column("collective", "text"),
    Column("dtype", "text", optional=True),
    Column("gpus", optional=True, high=2**20),
    Column("num_gpus", optional=True, high=2**20),
    Column("nodes", optional=True, high=2**20),
    Column("bytes", high=2**44),
)
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall", "sendrecv", "send_recv")
SYNONYMS = {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "reducescatter": "reduce_scatter",
    "all_to_all": "alltoall",
}
# NCCL moves bytes; only reductions care for the type, and 16-bit floats are one class to them
TYPES = {
    "half": "half", "float16": "half", "bfloat16": "half", "fp16": "half", "bf16": "half",
    "int8": "int8", "uint8": "int8", "fp8": "int8", "float8": "int8",
    "float": "float", "float32": "float", "fp32": "float", "double": "double", "float64": "double",
    "f8e4m3": "int8", "f8e5m2": "int8",
    "int32": "float", "uint32": "float", "int64": "double", "uint64": "double",
}  # fmt: skip
NIC_GBPS = 45.9  # of a 400 Gb/s NIC, all-to-all of 10 x 8 H100 (nccl-tests-cluster cluster01), where a fit has no nodes
LAW = ("a_us", "b_us", "scale_up_GBps", "copy_us_per_kB", "fill_us", "fill_bytes", "nic_GBps")
FADE = 0.25  # of the residual that is left one octave outside the measured sizes


@njit("Tuple((float64, float64, float64, float64))(int64, float64, float64)", internal=True)
def _shares(kind: int, ranks: float, nodes: float) -> tuple[float, float, float, float]:
    """Steps, and bytes over the scale-up link, over the NIC and copied in place, per byte of the size argument."""
    local = ranks / nodes
    if kind >= 4:  # pairs: everything crosses one link
        return 1.0, 1.0 if nodes == 1 else 0.0, 1.0 if nodes > 1 else 0.0, 0.0
    if kind == 3:
        return ranks - 1.0, (local - 1.0) / ranks, (ranks - local) / ranks, 1.0 / ranks
    twice = 2.0 if kind == 0 else 1.0
    up = twice * (ranks - 1.0) / ranks if local > 1.0 else 0.0
    return twice * (ranks - 1.0), up, twice * (nodes - 1.0) / nodes / local, 1.0 / ranks


@njit("float64(float64[::1], int64, float64, float64, float64)")
def law_us(law: NDArray[np.float64], kind: int, ranks: float, nodes: float, size: float) -> float:
    """The law alone; ``law`` in the order of ``LAW``, ``kind`` an index into ``COLLECTIVES``."""
    steps, up, out, copy = _shares(kind, ranks, nodes)
    root = np.sqrt(size / law[5])
    fill = root * np.sqrt(root)
    inside = size * 1e-3 * (up / law[2] + copy * law[3])
    outside = size * 1e-3 * out / law[6]
    busy = inside
    if outside > 0.0:
        inside, outside = inside * inside, outside * outside
        busy = np.sqrt(np.sqrt(inside * inside + outside * outside))
    time: float = law[0] + law[1] * steps + law[4] * fill / (1.0 + fill) + busy
    return time


@njit("float64(float64[::1], float64[:,::1], float64[:,::1], float64, int64, float64, float64, float64)")
def collective_us(
    law: NDArray[np.float64],
    layout: NDArray[np.float64],
    curves: NDArray[np.float64],
    start: float,
    kind: int,
    ranks: float,
    nodes: float,
    size: float,
) -> float:
    """Law and residual. ``layout``: (nodes, ranks) in log2 of each curve; ``curves`` at log2 sizes from ``start`` on.

    A layout that was not measured takes the curves of the others, the nearer the more (fourth power of distance).
    """
    x = np.log2(size) - start
    last = curves.shape[1] - 1
    place = min(max(x, 0.0), float(last))
    left = min(int(place), last - 1)
    share = place - left
    log_nodes = np.log2(nodes)
    log_ranks = np.log2(ranks)
    total = 0.0
    weights = 0.0
    for i in range(curves.shape[0]):
        apart = (layout[i, 0] - log_nodes) ** 2 + (layout[i, 1] - log_ranks) ** 2
        here = curves[i, left] * (1.0 - share) + curves[i, left + 1] * share
        if apart < 1e-9:  # measured: the others would add one part in 10^8
            total, weights = here, 1.0
            break
        weight = 1.0 / (apart + 1e-4) ** 2
        weights += weight
        total += weight * here
    outside = abs(x - place)
    fade = 1.0 if outside == 0.0 else FADE**outside
    time: float = law_us(law, kind, ranks, nodes, size) * np.exp(total / weights * fade)
    return time


@njit(
    "void(float64[::1], float64[:,::1], float64[:,::1], float64, int64, float64[::1], float64[::1], float64[::1],"
    " float64[::1])"
)
def collective_array(
    law: NDArray[np.float64],
    layout: NDArray[np.float64],
    curves: NDArray[np.float64],
    start: float,
    kind: int,
    ranks: NDArray[np.float64],
    nodes: NDArray[np.float64],
    size: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """``collective_us`` for many rows of one collective and data type."""
    for i in range(len(size)):
        out[i] = collective_us(law, layout, curves, start, kind, ranks[i], nodes[i], size[i])


@dataclass(frozen=True)
class Section:
    """One collective inside a node, or between nodes: its law, curves by data type, and where they hold."""

    law: NDArray[np.float64]
    layout: NDArray[np.float64]  # [curves, 2]: log2 of nodes and of ranks
    curves: dict[str, NDArray[np.float64]]  # data type -> [curves, sizes], natural log
    start: float
    sizes: tuple[float, float]

    def curve(self, dtype: str) -> tuple[NDArray[np.float64], bool]:
        """The curves of the data type, else of the nearest class; the second value tells whether it was measured."""
        if dtype in self.curves:
            return self.curves[dtype], True
        order = ("half", "float", "double", "int8") if dtype != "int8" else ("int8", "half", "float", "double")
        return next(self.curves[name] for name in order if name in self.curves), False


class CollectiveModel:
    """The fitted collectives of one GPU type, built from the body of its fitted file."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.sections = {
            (name, where): section_of(entry)
            for name, both in body["collectives"].items()
            for where, entry in both.items()
        }

    def section(self, collective: str, nodes: int) -> tuple[Section, bool]:
        """The section that answers, and whether it was measured for this use (one node, or several)."""
        where = "nodes" if nodes > 1 else "node"
        found = self.sections.get((collective, where))
        if found is not None:
            return found, True
        other = self.sections.get((collective, "node" if nodes > 1 else "nodes"))
        return (other, False) if other is not None else (next(iter(self.sections.values())), False)

    def us(self, collective: str, ranks: int, bytes: int, dtype: str = "half", nodes: int = 1) -> tuple[float, bool]:
        """Microseconds, and whether it lies outside what was measured. ``ranks`` GPUs in all, over ``nodes`` nodes."""
        one = np.array([float(ranks)]), np.array([float(nodes)]), np.array([float(bytes)])
        time, outside = self.rows(collective, dtype, *one)
        return float(time[0]), bool(outside[0])

    def rows(
        self,
        collective: str,
        dtype: str,
        ranks: NDArray[np.float64],
        nodes: NDArray[np.float64],
        size: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The same for arrays of one collective and data type."""
        name = canonical(collective)
        time, outside = np.empty(len(size)), np.zeros(len(size), np.bool_)
        for several in (False, True):
            at = np.flatnonzero((nodes > 1) == several)
            if not len(at):
                continue
            section, measured = self.section(name, 2 if several else 1)
            curves, typed = section.curve(TYPES.get(dtype, dtype))
            rank, node, byte = (np.ascontiguousarray(x[at]) for x in (ranks, nodes, size))
            part = np.empty(len(at))
            kind = COLLECTIVES.index(name)
            collective_array(section.law, section.layout, curves, section.start, kind, rank, node, byte, part)
            time[at] = part
            low, high = section.layout.min(0) - 0.01, section.layout.max(0) + 0.01
            place = np.column_stack([np.log2(node), np.log2(rank)])
            beyond = ((place < low) | (place > high)).any(1) | (byte < section.sizes[0]) | (byte > section.sizes[1])
            outside[at] = beyond | (not measured) | (not typed)
        return time, outside


def canonical(collective: str) -> str:
    return SYNONYMS.get(collective, collective)


def section_of(entry: Mapping[str, Any]) -> Section:
    """A section from its entry in a fitted body."""
    curves = {name: np.array(rows, np.float64) / 1e3 for name, rows in entry["residual"].items()}
    layout = np.log2(np.array(entry["layouts"], np.float64))
    law = np.array([entry["law"][name] for name in LAW], np.float64)
    return Section(law, layout, curves, float(entry["log2_start"]), tuple(entry["bytes"]))


def choices(fitted: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    known = [name for name in COLLECTIVES if name in fitted["collectives"]]
    return {"collective": known + [s for s, name in SYNONYMS.items() if name in known], "dtype": sorted(TYPES)}


def check(table: Mapping[str, NDArray[Any]]) -> list[tuple[int, str, str]]:
    """GPUs that don't divide over their nodes; a table without a column of GPUs."""
    rows = len(table["bytes"])
    if not rows:
        return []
    if "gpus" not in table and "num_gpus" not in table:
        return [(0, "bytes", "there is no column 'gpus' (or 'num_gpus')")]
    ranks, nodes = gpus(table)
    faults = np.flatnonzero(ranks % nodes != 0)
    return [(int(i), "nodes", f"{int(ranks[i])} GPUs don't divide over {int(nodes[i])} nodes") for i in faults]


def gpus(table: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ranks and nodes of each row, whatever the columns are called."""
    ranks = np.asarray(table["gpus"] if "gpus" in table else table["num_gpus"], np.float64)
    return ranks, np.asarray(table["nodes"], np.float64) if "nodes" in table else np.ones(len(ranks))


def dtypes(table: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The data type of each row; half where the table does not say."""
    return np.asarray(table["dtype"]) if "dtype" in table else np.full(len(table["bytes"]), "half", object)


def predict(table: Mapping[str, NDArray[Any]], fitted: Mapping[str, Any]) -> Prediction:
    """``predicted_us`` of each row: time of one out-of-place operation, as nccl-tests prints it."""
    model = CollectiveModel(fitted)
    size = np.asarray(table["bytes"], np.float64)
    ranks, nodes = gpus(table)
    names = np.array([canonical(name) for name in table["collective"]], object)
    types = dtypes(table)
    time, outside = np.empty(len(size)), np.zeros(len(size), np.bool_)
    for name, dtype in {(n, t) for n, t in zip(names, types, strict=True)}:
        at = np.flatnonzero((names == name) & (types == dtype))
        time[at], outside[at] = model.rows(name, dtype, ranks[at], nodes[at], size[at])
    return Prediction(time, outside)
