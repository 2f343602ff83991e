"""Priority flow control: links that a switch pauses because too much came over them."""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import World

_LONG = types.int64


@njit(types.void(World, _LONG, _LONG), internal=True)
def pause_came(w, word, now):  # type: ignore[no-untyped-def]
    """A pause (``word`` odd) or its end reaches the sender of link ``word >> 1``."""
