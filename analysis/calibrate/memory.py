"""Fit of memory traffic: floor, rate of memory, rate and size of L2, by robust least squares on log time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analysis.calibrate.common import Shipped, groups
from analysis.shapes import Table
from models.calibrated import Body
from models.compute.memory import PARAMETERS, memory_array
from models.hardware import GPUS

TIMES = ("time_us",)
_VIDUR = "github.com/microsoft/vidur @ 7d47513363ec447a741ac5e47241580b47724fbf, mlp.csv of {}: residual add"
_SERVING = (
    "github.com/casys-kaist/LLMServingSim @ 5daddb21a545658d5150b535712d0494584b5278: dense.csv of {}: SiLU x gate"
)
SHIPPED = {
    "a100_sxm": Shipped(["memory_a100_sxm.csv.gz"], _VIDUR.format("A100"), "MIT, Copyright Microsoft Corporation"),
    "h100_sxm": Shipped(["memory_h100_sxm.csv.gz"], _VIDUR.format("H100"), "MIT, Copyright Microsoft Corporation"),
    "rtx_4090": Shipped(["memory_rtx_4090.csv.gz"], _SERVING.format("RTX4090"), "MIT, CASYS, KAIST"),
    "rtx_pro_6000": Shipped(["memory_rtx_pro_6000.csv.gz"], _SERVING.format("RTXPRO6000"), "MIT, CASYS, KAIST"),
}
#: Not measured: another GPU's law at their own bandwidth, L2 and launch.
DERIVED = {"h200_sxm": "h100_sxm", "b200_sxm": "h100_sxm"}


def fit(table: Table, system: str) -> Body:
    """The body of a GPU: the four parameters and the range of sizes."""
    bytes_, time = table["bytes"].astype(np.float64), table["time_us"].astype(np.float64)
    gpu = GPUS.get(system, GPUS["h100_sxm"])
    rate = 1e6 / gpu.memory_bandwidth
    first = np.log(np.array([float(time.min()), rate / 0.9, rate / 1.5, float(gpu.l2_bytes)]))
    weight = np.array([0.0, 0.02, 0.1, 0.3]) * np.sqrt(len(time)) * 0.1  # the data sheet speaks where rows are silent

    def miss(p: NDArray[np.float64]) -> NDArray[np.float64]:
        answer = memory_array(np.exp(p), bytes_)
        return np.concatenate([np.log(answer / time), weight * (p - first)])

    found = np.exp(least_squares(miss, first, loss="soft_l1", f_scale=0.1).x)
    parameters = {name: float(f"{value:.5g}") for name, value in zip(PARAMETERS, found, strict=True)}
    return {"range": {"bytes": [int(table["bytes"].min()), int(table["bytes"].max())]}, "parameters": parameters}


def scaled(body: Body, system: str, origin: str) -> Body:
    """The body of a GPU without measurements: the origin's, at its own data sheet's bandwidth and L2."""
    ratio = GPUS[origin].memory_bandwidth / GPUS[system].memory_bandwidth
    own = dict(body["parameters"])
    own["memory"] *= ratio
    own["l2_memory"] *= ratio
    own["l2_bytes"] *= GPUS[system].l2_bytes / GPUS[origin].l2_bytes
    own["floor"] *= GPUS[system].launch_us / GPUS[origin].launch_us
    derived = f"not measured: {origin}'s fit at {system}'s bandwidth, L2 size and launch"
    return {**body, "derived": derived, "parameters": {name: float(f"{value:.5g}") for name, value in own.items()}}


def shape(table: Table) -> NDArray[np.int64]:
    """Rows of one size are one shape."""
    return groups(table["bytes"])


def size(table: Table) -> tuple[NDArray[np.float64], str]:
    """Bytes read and written."""
    return table["bytes"].astype(np.float64), "bytes"


def blocks(table: Table) -> dict[str, NDArray[np.bool_]]:
    """The largest quarter of the sizes."""
    return {"largest quarter": table["bytes"] > np.quantile(table["bytes"], 0.75)}


def roofline(table: Table, system: str) -> NDArray[np.float64]:
    """Bytes over the data sheet's bandwidth, us."""
    return np.asarray(1e6 * table["bytes"] / GPUS[system].memory_bandwidth)


def coordinates(table: Table) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What plain interpolation sees."""
    return np.log2(table["bytes"].astype(np.float64))[:, None], np.zeros(len(table["bytes"]), dtype=np.int64)


def shipped_as(systems: dict[str, Body]) -> dict[str, Body]:
    """Bodies for GPUs whose memory was not measured, from those that were."""
    return {name: scaled(systems[origin], name, origin) for name, origin in DERIVED.items() if origin in systems}
