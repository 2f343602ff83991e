"""Collectives on the simulated cluster of ten nodes against nccl-tests on such a cluster, at every measured size."""

from __future__ import annotations

import numpy as np

from analysis.calibrate.common import shipped_table
from benchmarks.moe_runs import load_one, run_loaded
from models.comms.collective import gpus
from validations._row import Found, Row

TITLE = "NCCL on ten nodes of eight H100"
KIND = "measured"
SOURCE = (
    "nccl-tests logs of xxrjun/nccl-tests-cluster 455de4f8 (Apache-2.0), cluster01: 80 GPUs, a NIC of 400 Gb/s each, "
    "out of place (`models/measured/collective_h100_sxm.csv.gz`)"
)
ABOUT = """\
`scenarios/nccl_h100_measured.yaml` in the fluid engine, a run an operation and size. The cost of a message between
nodes was taken from this cluster's all_to_all, so that operation only shows that it survives the way through the
fabric; the other three set nothing. They run as eight rings, one a NIC, and all_reduce once more with a reduction
inside the nodes first. Each algorithm serves every size here, where NCCL changes algorithm and protocol with the
size: that is what misses. Band: 20 %, as for the All2All of experts.
"""
BAND = 0.2
RING = "{kind: ring, channels: 8}"
# as nccl-tests names it, as we do, the algorithm, in words
OPERATIONS = (
    ("alltoall", "all_to_all", "direct", "read back"),
    ("all_reduce", "all_reduce", RING, "eight rings"),
    ("all_reduce", "all_reduce", "{kind: hierarchical, chunks: 8}", "inside the nodes first"),
    ("all_gather", "all_gather", RING, "eight rings"),
    ("reduce_scatter", "reduce_scatter", RING, "eight rings"),
)


def run(quick: bool) -> Found:
    table = shipped_table("collective", "h100_sxm")
    ranks, nodes = gpus(table)
    rows = []
    for name, op, algorithm, words in OPERATIONS:
        at = np.flatnonzero((table["collective"] == name) & (ranks == 80) & (nodes == 10))
        for index in at[np.argsort(table["bytes"][at])][-1 if quick else 0 :]:
            size, measured = int(table["bytes"][index]), float(table["time_us"][index])
            ours = time_us(op, algorithm, size)
            rows.append(Row(f"{size / 2**20:,.0f} MiB", f"{op}, {words}", measured, ours, "us", BAND))
    return Found(rows)


def time_us(op: str, algorithm: str, size: int) -> float:
    """One operation of 80 GPUs."""
    sets = (f"workload.0.op={op}", f"workload.0.size={size}B", f"dispatch.collective={algorithm}")
    (row,) = run_loaded(load_one("nccl_h100_measured", *sets, variants=False)).world.collectives.rows
    return float(row.time) / 1e6
