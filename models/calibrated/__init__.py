"""Fitted cost models: the files beside this module, their loader, and what a model kind shows to ``predict``.

A file is JSON: ``{"format": "spillway-fitted", "schema": 1, "systems": {SYSTEM: {KIND: BODY}}}``. A body states date,
source, licence, number of rows, the range it holds in and its held-out errors per size bin, then the kind's numbers.
Nothing is read before it is asked for, and then once a process. ``NOTICE.md`` names the measurements' owners.
"""

from __future__ import annotations

import base64
import functools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem

#: Model kinds and the modules that evaluate them.
KINDS = {
    "gemm": "models.compute.gemm",
    "moe": "models.compute.moe",
    "attention": "models.compute.attention",
    "memory": "models.compute.memory",
    "collective": "models.comms.collective",
    "all_to_all": "models.comms.all_to_all",
    "point_to_point": "models.comms.point_to_point",
}
FORMAT, SCHEMA = "spillway-fitted", 1
FOLDER = Path(__file__).resolve().parent
Body = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column that a model kind reads: its type and the closed interval its values lie in."""

    name: str
    kind: str = "integer"  # integer | number | text
    low: float = 1
    high: float = 2**40
    optional: bool = False


class Prediction(NamedTuple):
    """Answers by row: microseconds, whether outside the fitted range, and further columns by name."""

    us: NDArray[np.float64]
    extrapolated: NDArray[np.bool_]
    more: dict[str, NDArray[Any]] = {}  # noqa: RUF012  (never written to)


def path_of(system: str, kind: str) -> Path:
    return FOLDER / f"{system}.{kind}.json"


def systems_with(kind: str) -> list[str]:
    """The systems whose own fit of this kind is shipped."""
    return sorted(path.name.split(".")[0] for path in FOLDER.glob(f"*.{kind}.json"))


@functools.cache
def fitted(name: str, kind: str) -> Body:
    """The shipped fit of a GPU preset; a preset without one of its own names a system that stands in for it."""
    from models.hardware import gpu

    system = gpu(name).calibrated.get(kind, name)
    path = path_of(system, kind)
    if not path.exists():
        from models.hardware import GPUS

        able = [other for other in GPUS if path_of(GPUS[other].calibrated.get(kind, other), kind).exists()]
        message = f"no measured {kind} data for '{name}'; hardware with {kind}: {', '.join(able) or 'none'}"
        raise InputError([Problem("hardware", 0, 0, message)])
    body: Body = fitted_file(path)[system][kind]
    return body


@functools.cache
def fitted_file(path: str | Path) -> dict[str, dict[str, Body]]:
    """``{system: {kind: body}}`` of a file that ``calibrate`` wrote."""
    name = str(path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError([Problem(name, 0, 0, f"can't be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise InputError([Problem(name, 0, 0, "is not a text file")]) from None
    except json.JSONDecodeError as error:
        raise InputError([Problem(name, error.lineno, error.colno, f"not a fitted file: {error.msg}")]) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("schema") != SCHEMA:
        raise InputError([Problem(name, 0, 0, f"not a fitted file: format '{FORMAT}', schema {SCHEMA} expected")])
    found: dict[str, dict[str, Body]] = content["systems"]
    return found


def body_of(hardware: str, kind: str) -> Body:
    """The body for a preset's name or a fitted file of one system."""
    from models.hardware import GPUS, nearest_gpu

    if hardware in GPUS:
        return fitted(hardware, kind)
    if not Path(hardware).is_file():
        message = f"unknown hardware '{hardware}'{nearest_gpu(hardware)} (or the path of a fitted file)"
        raise InputError([Problem("hardware", 0, 0, message)])
    bodies = [kinds[kind] for kinds in fitted_file(hardware).values() if kind in kinds]
    if len(bodies) != 1:
        raise InputError([Problem(hardware, 0, 0, f"holds {len(bodies)} fits of {kind}; one is expected")])
    return bodies[0]


def pack(values: NDArray[Any] | Sequence[float], scale: float) -> dict[str, Any]:
    """An array as text: rounded to multiples of ``scale`` in 16 bits, deflated. For big tables."""
    array = np.asarray(values, dtype=np.float64)
    whole = np.rint(array / scale)
    if np.abs(whole).max(initial=0) > 32767:
        raise ValueError(f"values up to {np.abs(array).max():g} do not fit 16 bits of {scale:g}")
    data = zlib.compress(whole.astype("<i2").tobytes(), 9)
    return {"scale": scale, "shape": list(array.shape), "int16": base64.b64encode(data).decode("ascii")}


def unpack(packed: dict[str, Any]) -> NDArray[np.float64]:
    """What ``pack`` packed, as float64 of its shape."""
    data = zlib.decompress(base64.b64decode(packed["int16"]))
    values: NDArray[np.float64] = np.frombuffer(data, dtype="<i2").astype(np.float64) * packed["scale"]
    return values.reshape(packed["shape"])
