"""One good 64-bit hash for kernels and policies: the finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.jit import njit

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit("uint64(uint64)")
def mix(value: Any) -> Any:
    """A bijection of 64-bit words whose every output bit depends on every input bit; mix(0) = 0."""
    word = np.uint64(value)
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))


@njit("uint64(uint64, uint64)")
def combine(first: Any, second: Any) -> Any:
    """One word of two; the order matters, and (0, 0) is nothing special."""
    return mix(mix(np.uint64(first) + _GOLDEN) ^ np.uint64(second))
