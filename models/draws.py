"""Random numbers that belong to a thing and not to a sequence: hashes of its name, in any order they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit
from models.mix import combine

_UNIT = 2.0**-53


@njit("f8[::1](i8, i8[::1], i8[::1])")
def normals(key: Any, first: Any, second: Any) -> Any:
    """Standard normal numbers, [n], each of the name (first, second) under a key (Box and Muller, 1958)."""
    found = np.empty(len(first))
    for i in range(len(first)):
        word = combine(combine(np.uint64(key), np.uint64(first[i])), np.uint64(second[i]))
        radius = (np.float64(combine(word, np.uint64(0)) >> np.uint64(11)) + 1.0) * _UNIT  # above 0
        angle = np.float64(combine(word, np.uint64(1)) >> np.uint64(11)) * _UNIT
        found[i] = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)
    return found
