"""The sending end of flows under a congestion control."""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import World

_LONG = types.int64


@njit(types.void(World, _LONG, _LONG, _LONG), internal=True)
def control_ran_out(w, flow, slot, now):  # type: ignore[no-untyped-def]
    """A congestion control's own timer is due, if it is not stale."""
