"""Time of one transfer between two GPUs by message size, over the links that were measured.

``link("nvlink4").us(bytes)``: NCCL send and receive of one pair, start-up included, with nothing else on the link. The
law is that of ``models.comms.collective`` for a pair. Fitted by ``analysis.calibrate.point_to_point``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibrated import Column, Prediction, fitted_file, path_of, systems_with
from models.comms.collective import COLLECTIVES, collective_array, section_of
from models.errors import nearest

COLUMNS = (Column("bytes", high=2**44),)
PAIR = COLLECTIVES.index("send_recv")


class LinkModel:
    """One fitted link."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.section = section_of(body["pair"])
        self.curves = self.section.curves["half"]

    def us(self, bytes: int) -> tuple[float, bool]:
        """Microseconds of one transfer, and whether its size lies outside what was measured."""
        time, outside = self.rows(np.array([float(bytes)]))
        return float(time[0]), bool(outside[0])

    def rows(self, bytes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The same for an array of sizes."""
        part, out = self.section, np.empty(len(bytes))
        ranks, nodes = np.full(len(bytes), 2.0), np.ones(len(bytes))
        collective_array(part.law, part.layout, self.curves, part.start, PAIR, ranks, nodes, bytes, out)
        return out, (bytes < part.sizes[0]) | (bytes > part.sizes[1])


def links() -> list[str]:
    """The links whose fit is shipped."""
    return systems_with("point_to_point")


@cache
def link(name: str) -> LinkModel:
    """The shipped fit of a link; ``ValueError`` with the nearest name."""
    if name not in links():
        raise ValueError(f"unknown link '{name}'{nearest(name, links())}")
    return LinkModel(fitted_file(path_of(name, "point_to_point"))[name]["point_to_point"])


def choices(fitted: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    return {}


def predict(table: Mapping[str, NDArray[Any]], fitted: Mapping[str, Any]) -> Prediction:
    """``predicted_us`` of each row: one transfer of ``bytes``."""
    return Prediction(*LinkModel(fitted).rows(np.ascontiguousarray(table["bytes"], np.float64)))
