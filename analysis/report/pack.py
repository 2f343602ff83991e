"""Numbers and texts packed for a page: arrays in the least width, sorted by significance of their bytes, compressed.

The page's ``decode.js`` is the other half.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_LARGEST = 2**53  # whole numbers that JavaScript can count


class Packer:
    """Gathers arrays; what ``add`` returns stands for the array in the JSON beside them."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, values: Any) -> dict[str, Any]:
        """Whole numbers exactly, floats to 7 digits, null as NaN."""
        array = np.asarray(values)
        kept = _whole(array) if array.dtype.kind in "iub" else array.astype("<f4")
        planes = kept.view(np.uint8).reshape(len(kept), kept.itemsize).T.tobytes() if len(kept) else b""
        entry = {"kind": kept.dtype.str.lstrip("<|"), "at": self._size, "n": len(kept)}
        self._parts.append(planes)
        self._size += len(planes)
        return entry

    def exact(self, values: Any) -> dict[str, Any]:
        """Floats that are whole numbers, NaN where there is none: -1 stands for it."""
        array = np.asarray(values, dtype=np.float64)
        return self.add(np.where(np.isnan(array), -1, np.rint(array)).astype(np.int64))

    def words(self, values: Any) -> dict[str, Any]:
        """Texts of which there are few different ones; null is -1."""
        codes, found = pd.factorize(pd.array(values, dtype="str"))
        return {"words": [str(word) for word in found], "codes": self.add(codes)}

    def page(self, content: dict[str, Any]) -> str:
        """The JSON and the arrays as base64 of gzip: its length, the JSON, the arrays."""
        text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
        return compressed(struct.pack("<I", len(text)) + text + b"".join(self._parts))


def compressed(content: bytes) -> str:
    """Base64 of gzip, the same for the same content."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    low, high = (int(array.min()), int(array.max())) if len(array) else (0, 0)
    if high > _LARGEST or low < -_LARGEST:
        raise ValueError("a whole number is too large for a page")
    for kind in ("<u1", "<u2", "<u4") if low >= 0 else ("<i1", "<i2", "<i4"):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    return array.astype("<f8")
