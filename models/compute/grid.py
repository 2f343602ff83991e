"""Tables between their knots, for compiled cost models: linear in each coordinate, held at the edges."""

from __future__ import annotations

from typing import Any

from models.jit import njit


@njit("f8(f8[::1], f8)", internal=True)
def place(knots: Any, value: Any) -> Any:
    """Where a value lies on ascending knots, in knots from the first; held at both ends."""
    last = len(knots) - 1
    if last < 1 or value <= knots[0]:
        return 0.0
    if value >= knots[last]:
        return float(last)
    low = 0
    while knots[low + 1] <= value:
        low += 1
    return low + (value - knots[low]) / (knots[low + 1] - knots[low])


@njit("f8(f8[:,:,:,::1], i8, i8, i8, i8, f8, f8)", internal=True)
def _linear2(table: Any, i: Any, j: Any, k: Any, m: Any, c: Any, d: Any) -> Any:
    """Linear in the last two coordinates."""
    right, below = m + (d > 0), k + (c > 0)
    here = table[i, j, k, m] + d * (table[i, j, k, right] - table[i, j, k, m])
    there = table[i, j, below, m] + d * (table[i, j, below, right] - table[i, j, below, m])
    return here + c * (there - here)


@njit("f8(f8[:,:,:,::1], f8, f8, f8, f8)", internal=True)
def linear4(table: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """A 4-D table between its knots; the places come from ``place``."""
    i, j, k, m = int(a), int(b), int(c), int(d)
    a, b, c, d = a - i, b - j, c - k, d - m
    i2, j2 = i + (a > 0), j + (b > 0)
    near = _linear2(table, i, j, k, m, c, d)
    near += b * (_linear2(table, i, j2, k, m, c, d) - near)
    far = _linear2(table, i2, j, k, m, c, d)
    far += b * (_linear2(table, i2, j2, k, m, c, d) - far)
    return near + a * (far - near)
