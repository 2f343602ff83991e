"""What packet policies see beside queues: loads of links, what packets met on their way, and the period of a policy."""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import World

_LONG = types.int64


@njit(types.void(World, _LONG), internal=True)
def tick_due(w, now):  # type: ignore[no-untyped-def]
    """The policy's period is over."""
