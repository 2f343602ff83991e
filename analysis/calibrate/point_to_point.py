"""Fits transfers between two GPUs, a link at a time (see ``models.comms.point_to_point``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.calibrate.collective import section
from analysis.calibrate.common import Shipped
from models.comms import point_to_point as model

COLUMNS = model.COLUMNS
TIMES = ("time_us",)
_VIDUR = "github microsoft/vidur @ 7d475133 (2024-11-19), network profiles, send_recv: {}; medians of 1/16 octave"
SHIPPED = {
    name: Shipped((f"point_to_point_{name}.csv.gz",), _VIDUR.format(what), "MIT")
    for name, what in {
        "nvlink3": "two GPUs of a DGX A100",
        "nvlink4": "two GPUs of a DGX H100",
        "infiniband_a100": "two DGX A100 nodes, one GPU each",
        "infiniband_h100": "two DGX H100 nodes, one GPU each",
        "pcie_a40": "two A40 of a node, through the host",
    }.items()
}


def fit(table: dict[str, NDArray[Any]], system: str) -> dict[str, Any]:
    rows = len(table["bytes"])
    ranks, nodes, types = np.full(rows, 2.0), np.ones(rows), np.full(rows, "half", object)
    pair = section(model.PAIR, ranks, nodes, types, table["bytes"], table["time_us"], "")
    return {"range": {"bytes": pair["bytes"]}, "pair": pair}


def shape(table: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    return np.unique(table["bytes"], return_inverse=True)[1].astype(np.int64)


def size(table: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], str]:
    return table["bytes"].astype(np.float64), "bytes"


def blocks(table: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    return {"largest quarter of sizes": table["bytes"] > np.quantile(table["bytes"], 0.75)}
