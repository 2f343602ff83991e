"""What messages cost beyond their payload, for simulations in which the network itself shares the links.

A profile knows the measured bandwidth by message size inside a node, along a rail and across rails. It tells how many
bytes of link time a flow takes on top of its payload, so that (payload + overhead) / link rate is the measured time
on a link of the profile's own peak rate. On links of another rate the measured *fraction* of the peak stays.

The numbers are in ``message_profiles.json``, with their sources: per kind of message the link time in microseconds by
message size, and the peak rate that it was measured against.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import nearest

SCALE_UP, RAIL, CROSS_RAIL = 0, 1, 2
_FILE = Path(__file__).with_name("message_profiles.json")


@dataclass(frozen=True)
class _Curve:
    """Link time of one message in bytes at the peak rate, at growing message sizes; the first size is 0."""

    size: NDArray[np.float64]
    occupied: NDArray[np.float64]

    def __call__(self, size: NDArray[np.float64]) -> NDArray[np.float64]:
        """Straight lines between the measured sizes; above the largest the bandwidth stays as measured there."""
        if len(self.size) == 1:
            return np.asarray(size + self.occupied[0])
        inside = np.interp(size, self.size, self.occupied)
        beyond = size * (self.occupied[-1] / self.size[-1])
        occupied: NDArray[np.float64] = np.where(size > self.size[-1], beyond, inside)
        return np.maximum(occupied, size)


@dataclass(frozen=True)
class MessageProfile:
    """The measured cost of messages of one library on one kind of machine.

    ``launch_us`` is the fixed time of one phase at each GPU (kernel launch, synchronisation), ``remote_launch_us`` of
    a phase that leaves the node. ``peak_GBps`` holds the link rates (scale-up, rail, cross-rail) per direction that the
    curves were measured on.
    """

    name: str
    about: str
    source: str
    launch_us: float
    remote_launch_us: float
    peak_GBps: tuple[float, float, float]
    _curves: tuple[_Curve, _Curve, _Curve]

    @classmethod
    def named(cls, name: str, *, cross_rail: bool = True) -> MessageProfile:
        """The profile of that name. Without ``cross_rail`` a message across rails costs what one along them costs.

        The measured cross-rail curve holds whatever slowed those messages, contention in that fabric included; a
        simulation whose own fabric has the contention switches it off and keeps the curve by size.
        """
        table = _table()
        if name not in table:
            raise ValueError(f"unknown message profile '{name}'{nearest(name, table)}")
        entry = table[name]
        up, rail, cross = (_curve(name, kind) for kind in (SCALE_UP, RAIL, CROSS_RAIL))
        return cls(
            name,
            entry["about"],
            entry["source"],
            entry["launch_us"],
            entry["remote_launch_us"],
            tuple(entry["peak_GBps"]),
            (up, rail, cross if cross_rail else rail),
        )

    def overhead(
        self, bytes: NDArray[np.int64], units: NDArray[np.int64], kind: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Bytes of link time that flows take beyond their payload.

        ``bytes`` payload of each flow, ``units`` the messages it stands for (all of one size; 0 for a flow that sends
        none), ``kind`` 0 inside the node, 1 along a rail, 2 across rails; three arrays of one shape.
        """
        payload = np.asarray(bytes, np.float64)
        messages = np.asarray(units, np.float64)
        where = np.asarray(kind)
        size = payload / np.maximum(messages, 1.0)
        occupied = np.select([where == at for at in (SCALE_UP, RAIL)], [c(size) for c in self._curves[:2]], 0.0)
        occupied = np.where(where == CROSS_RAIL, self._curves[CROSS_RAIL](size), occupied)
        extra = np.where(messages > 0, messages * (occupied - size), 0.0)
        return np.rint(extra).astype(np.int64)

    def bandwidth(self, size: float, kind: int) -> float:
        """Bandwidth in GB/s that messages of ``size`` bytes reach on a link of the profile's peak rate."""
        occupied = float(self._curves[kind](np.array([float(size)]))[0])
        return self.peak_GBps[kind] * size / occupied


def profile_names() -> list[str]:
    """The names that ``MessageProfile.named`` knows."""
    return sorted(_table())


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_FILE.read_text())
    return table


def _curve(name: str, kind: int) -> _Curve:
    points = _table()[name]["curves"][kind]
    if isinstance(points, str):  # "rail": as along the rail; else another profile's curve of this kind
        return _curve(name, RAIL) if points == "rail" else _curve(points, kind)
    size, microseconds = np.array(points, np.float64).T
    occupied = microseconds * _table()[name]["peak_GBps"][kind] * 1e3
    return _Curve(size, np.maximum(occupied, size))
