"""Receivers that grant credit to their senders, paced below the rate of their link."""

from __future__ import annotations

from numba import types

from models.jit import njit
from sim.engine.layout import World

_LONG = types.int64


@njit(types.void(World, _LONG, _LONG), internal=True)
def credit_due(w, host, now):  # type: ignore[no-untyped-def]
    """A receiving host may grant the next credit."""
